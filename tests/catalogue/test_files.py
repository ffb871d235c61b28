"""Records become files: sorted, checked, and unpacked once."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from darkop_dist.catalogue import ResolvedFile, resolve_files
from darkop_dist.config.datasets import DatasetFile, DatasetRecord
from darkop_dist.errors import InputFileError, OutputError

ARCHIVE_MEMBERS = {
    "collision": 151,
    "signal_M2000": 4,
    "tthadronic": 146,
    "ttleptonic": 48,
    "ttsemilep": 138,
    "Wjets": 68,
}
"""Members by sample of the real archive, counted with `tar tzf`."""


def record(*files: str | DatasetFile) -> DatasetRecord:
    return DatasetRecord(name="test", kind="data", files=files)


def make_archive(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_globs_and_paths_are_sorted(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "z.parquet"):
        (tmp_path / name).write_text("x\n1\n")
    found = resolve_files(record("z.parquet", "*.csv", "https://example.org/f.root"), tmp_path, tmp_path / "cache")
    assert [file.path_or_url for file in found] == [
        f"{tmp_path}/a.csv",
        f"{tmp_path}/b.csv",
        f"{tmp_path}/z.parquet",
        "https://example.org/f.root",
    ]
    assert not (tmp_path / "cache").exists()


def test_events_and_size_of_a_file_are_kept_and_checked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    good = DatasetFile(uri="a.csv", bytes=4, events=1)
    assert resolve_files(record(good), tmp_path, tmp_path) == (ResolvedFile(f"{tmp_path}/a.csv", events=1),)
    with pytest.raises(InputFileError, match=r"a\.csv: has 4 bytes instead of 5\. Download it again"):
        resolve_files(record(good.model_copy(update={"bytes": 5})), tmp_path, tmp_path)


def test_files_of_atlas_end_in_a_number(tmp_path: Path) -> None:
    name = "DAOD_PHYSLITE.37110904._000001.pool.root.1"
    (tmp_path / name).write_text("x")
    assert [file.path_or_url for file in resolve_files(record("*.pool.root.*"), tmp_path, tmp_path)] == [
        f"{tmp_path}/{name}"
    ]
    (tmp_path / "a.root.csv.1").write_text("x")
    with pytest.raises(InputFileError, match=r"a\.root\.csv\.1: is of an unknown type"):
        resolve_files(record("a.root.csv.1"), tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("none.root", r"none\.root: no such file"),
        ("none*.root", r"none\*\.root: no file matches this pattern"),
        ("folder", "folder: is not a file"),
        ("a.txt", r"a\.txt: is of an unknown type. Files must end in one of \.root, \.csv"),
        ("tar://*.csv::none.tgz", r"none\.tgz: no such archive"),
        ("tar://*.csv", "is not of the form tar://MEMBERS::ARCHIVE"),
        ("tar://*.csv::a.txt", r"a\.txt: is damaged or no tar archive"),
        ("tar://*.root::good.tgz", r"good\.tgz: no member matches '\*\.root'\. The archive holds d/x\.csv"),
        ("tar://*.csv::cut.tgz", r"cut\.tgz: is damaged"),
        ("tar://*.csv::cut.tar.bz2", r"cut\.tar\.bz2: is damaged"),
        ("tar://*.csv::evil.tgz", r"evil\.tgz: holds the unsafe name '\.\./x\.csv'"),
    ],
)
def test_unusable(tmp_path: Path, uri: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.txt").write_text("text")
    content = os.urandom(20000)
    whole = make_archive(tmp_path / "good.tgz", {"d/x.csv": content}).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    whole = make_archive(tmp_path / "whole.tar.bz2", {"x.csv": content}, "w:bz2").read_bytes()
    (tmp_path / "cut.tar.bz2").write_bytes(whole[: len(whole) // 2])
    make_archive(tmp_path / "evil.tgz", {"../x.csv": b"1"})
    with pytest.raises(InputFileError, match=message):
        resolve_files(record(uri), tmp_path, tmp_path / "cache")
    if "good" not in uri:
        assert list((tmp_path / "cache").glob("*")) == []


def test_a_file_named_twice(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputFileError, match="names this file twice, so its events would count twice"):
        resolve_files(record("a.csv", "*.csv"), tmp_path, tmp_path)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="test: the dataset has no files"):
        resolve_files(record(), tmp_path, tmp_path)


def test_members_are_unpacked_once_and_repaired(tmp_path: Path) -> None:
    make_archive(tmp_path / "many.tgz", {"d/a.csv": b"x\n1\n", "d/b.csv": b"x\n2\n", "c.csv": b"x\n3\n"})
    cache = tmp_path / "cache"
    found = resolve_files(record("tar://d/*.csv::many.tgz"), tmp_path, cache)
    assert [file.label for file in found] == ["many.tgz::d/a.csv", "many.tgz::d/b.csv"]
    assert [Path(file.path_or_url).read_text() for file in found] == ["x\n1\n", "x\n2\n"]
    assert len(list(cache.iterdir())) == 1

    first = Path(found[0].path_or_url)
    before = first.stat().st_mtime_ns, first.stat().st_ino
    assert resolve_files(record("tar://d/*.csv::many.tgz"), tmp_path, cache) == found
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == before

    first.write_text("x\n")
    assert resolve_files(record("tar://d/*.csv::many.tgz"), tmp_path, cache) == found
    assert first.read_text() == "x\n1\n"

    (first.parent.parent.parent / "inventory.json").write_text("[")
    assert resolve_files(record("tar://*.csv::many.tgz"), tmp_path, cache)[0].member == "c.csv"
    assert len(list(cache.iterdir())) == 1


def test_links_are_not_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "link.tgz", "w:gz") as tar:
        link = tarfile.TarInfo("x.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(InputFileError, match=r"no member matches '\*'"):
        resolve_files(record("tar://*::link.tgz"), tmp_path, tmp_path / "cache")


def test_unwritable_cache(tmp_path: Path) -> None:
    make_archive(tmp_path / "a.tgz", {"a.csv": b"1"})
    (tmp_path / "cache").write_text("a file where the directory should be")
    with pytest.raises(OutputError, match=r"cannot unpack .*a\.tgz here .* Make the cache writable"):
        resolve_files(record("tar://*::a.tgz"), tmp_path, tmp_path / "cache")


def test_real_archive(shared_data: Path, tmp_path: Path) -> None:
    base = shared_data / "zprime"
    everything = resolve_files(record("tar://*.csv::processed_files.tgz"), base, tmp_path)
    assert len(everything) == 555
    for sample, count in ARCHIVE_MEMBERS.items():
        files = resolve_files(
            record(f"tar://processed_files/OUTPUT_{sample}_*.csv::processed_files.tgz"), base, tmp_path
        )
        assert len(files) == count
        assert set(files) <= set(everything)
