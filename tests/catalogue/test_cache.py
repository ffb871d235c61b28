"""The cache: what is there is found, what is used stays, what was unused for longest goes."""

import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from darkop_dist.catalogue import cache as cache_module
from darkop_dist.catalogue.cache import FileCache, name_of
from darkop_dist.catalogue.fetch import Fetched
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import InputFileError, OutputError

CONTENT = b"0123456789" * 100
ADLER = f"{zlib.adler32(CONTENT):08x}"
ROOM = 5_000
"""Three files of a thousand bytes with the notes beside them."""


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache")


def put(cache: FileCache, name: str, used_s: float | None = None) -> DatasetFile:
    file = DatasetFile(uri=f"https://example.org/{name}", bytes=len(CONTENT), adler32=ADLER)
    lease = cache.lease([file], {file.uri: len(CONTENT)})
    path = lease.paths[file.uri]
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    cache.keep(file, Fetched(path, len(CONTENT), ADLER, file.uri))
    if used_s is not None:
        for place in (path, path.with_name("entry.json")):
            os.utime(place, (used_s, used_s))
        found = path.stat()
        note = json.loads(path.with_name("entry.json").read_text())
        path.with_name("entry.json").write_text(json.dumps(note | {"mtime_ns": found.st_mtime_ns}))
        os.utime(path.with_name("entry.json"), (used_s, used_s))
    lease.close()
    return file


def names(cache: FileCache) -> list[str]:
    return [entry.name for entry in cache.entries()]


def test_all_addresses_of_a_file_share_a_copy(cache: FileCache) -> None:
    put(cache, "a.root")
    elsewhere = DatasetFile(uri="root://other//deep/a.root", bytes=len(CONTENT), adler32=ADLER)
    found = cache.find(elsewhere)
    assert found is not None
    assert found.path.read_bytes() == CONTENT
    other = elsewhere.model_copy(update={"adler32": "00000001"})
    assert cache.find(other) is None
    assert cache.place(DatasetFile(uri="https://a/x.root")) != cache.place(DatasetFile(uri="https://b/x.root"))
    assert name_of("https://example.org/f.root?token=secret") == "f.root"


def test_a_file_that_has_changed_on_the_disk_is_not_used(cache: FileCache) -> None:
    file = put(cache, "a.root")
    path = cache.place(file)
    os.utime(path, (1, 1))
    assert cache.find(file) is not None, "it was read again, and is what it was"
    path.write_bytes(CONTENT[::-1])
    assert cache.find(file) is None
    assert not path.exists()


def test_the_unused_for_longest_make_room(cache: FileCache) -> None:
    for name, used_s in (("new.root", 1000.0), ("old.root", 900.0), ("middle.root", 950.0)):
        put(cache, name, used_s)
    assert names(cache) == ["old.root", "middle.root", "new.root"]
    cache.set_limit(ROOM)
    used = cache.find(DatasetFile(uri="https://example.org/old.root", bytes=len(CONTENT), adler32=ADLER))
    assert used is not None, "which makes it the one that was used last"
    wanted = DatasetFile(uri="https://example.org/big.root", bytes=2500)
    lease = cache.lease([wanted], {wanted.uri: 2500})
    assert names(cache)[-1] == "old.root"
    assert "middle.root" not in names(cache)
    lease.close()


def test_files_in_use_stay(cache: FileCache) -> None:
    first, second = put(cache, "a.root", 100.0), put(cache, "b.root", 200.0)
    lease = cache.lease([first], {first.uri: len(CONTENT)})
    assert [entry.name for entry in cache.set_limit(0)] == ["b.root"]
    assert [(entry.name, entry.in_use) for entry in cache.entries()] == [("a.root", True)]
    with pytest.raises(
        OutputError,
        match=r"1\.0 kB are missing; with what is there and in use .* above the ceiling of 0\.0 kB\. Raise it",
    ):
        cache.lease([second], {second.uri: len(CONTENT)})
    assert cache.clear() == ()
    lease.close()
    assert [entry.name for entry in cache.clear()] == ["a.root"]
    assert cache.entries() == ()


def test_files_that_a_running_process_uses_stay_until_it_is_killed(cache: FileCache) -> None:
    file = put(cache, "a.root")
    code = (
        "import sys; from pathlib import Path; from darkop_dist.catalogue.cache import FileCache\n"
        "from darkop_dist.config.datasets import DatasetFile\n"
        f"file = DatasetFile(uri={file.uri!r}, bytes={file.bytes}, adler32={file.adler32!r})\n"
        f"lease = FileCache(Path({str(cache.folder)!r})).lease([file], {{}})\n"
        "print('holds it', flush=True); sys.stdin.read()"
    )
    user = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert user.stdout is not None
    assert user.stdout.readline() == b"holds it\n"
    assert cache.clear() == ()
    assert [entry.in_use for entry in cache.entries()] == [True]
    user.send_signal(signal.SIGKILL)
    user.communicate()
    assert [entry.name for entry in cache.clear()] == ["a.root"]
    assert list((cache.folder / "users").iterdir()) == []


def test_what_other_processes_will_need_counts(cache: FileCache) -> None:
    cache.set_limit(ROOM)
    first, second = (DatasetFile(uri=f"https://example.org/{name}") for name in "ab")
    lease = cache.lease([first], {first.uri: 3000})
    with pytest.raises(OutputError, match="above the ceiling"):
        cache.lease([second], {second.uri: 3000})
    lease.close()
    cache.lease([second], {second.uri: 3000}).close()


def test_a_disk_that_is_too_small_is_seen_before(cache: FileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, "a.root")
    usage = cache_module.shutil._ntuple_diskusage(10**12, 10**12 - 2 * 10**8, 2 * 10**8)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage)
    big = DatasetFile(uri="https://example.org/big.root")
    with pytest.raises(
        OutputError, match=r"3\.00 GB are missing, but only 100\.00 MB can be had on this disk\. Choose another"
    ):
        cache.lease([big], {big.uri: 3 * 10**9})
    assert names(cache) == ["a.root"], "nothing is removed in vain"
    cache.lease([big], {big.uri: 10**8}).close()
    assert "a.root" in names(cache)


def test_folders_of_files_that_could_not_be_had_go(cache: FileCache) -> None:
    file = put(cache, "a.root")
    (cache.folder / "files" / "empty").mkdir()
    assert names(cache) == ["a.root"]
    assert [path.name for path in (cache.folder / "files").iterdir()] == [cache.place(file).parent.name]


def test_settings_that_are_damaged_are_named(cache: FileCache) -> None:
    cache.set_limit(10**9)
    assert cache.limit_bytes == 10**9
    settings = cache.folder / "settings.json"
    settings.write_text(settings.read_text().replace("1000000000", '"much"'))
    with pytest.raises(InputFileError, match=r"settings\.json: has no ceiling in it\. Set one: darkop datasets cache"):
        _ = cache.limit_bytes


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"the cache cannot be written .* Set DARKOP_CACHE to another directory"):
        FileCache(tmp_path / "file" / "cache").lease([], {})
