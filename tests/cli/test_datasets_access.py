"""``darkop datasets download``, ``cache`` and ``check`` against a server that fails on command."""

import json
import re
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import darkop_dist as do
from darkop_dist.catalogue import fetch
from darkop_dist.catalogue.fetch import Patience
from darkop_dist.cli import main
from darkop_dist.cli.datasets_access import DownloadBars, _common
from darkop_dist.errors import DamagedFileError, InputFileError, InputValueError, OutputError, UnknownNameError
from darkop_dist.stages import fetch_files

EVENTS = {"a.root": 50, "b.root": 70, "c.root": 60}


class Place:
    """A server with three files, a catalogue that names them, and the command line."""

    def __init__(
        self, folder: Path, server: Any, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self.server, self._patch, self._capsys = folder, server, patch, capsys
        self.catalogue = folder / "own.json"
        self.write()

    def fact(self, name: str, **changes: object) -> dict[str, object]:
        content = (self.server.folder / name).read_bytes()
        facts = {"bytes": len(content), "adler32": f"{zlib.adler32(content):08x}", "events": EVENTS[name]}
        return {
            key: value for key, value in ({"uri": self.server.url(name)} | facts | changes).items() if value is not None
        }

    def write(self, **changes: dict[str, object]) -> None:
        files = [self.fact(name, **changes.get(name[0], {})) for name in EVENTS]
        records = [{"name": "three", "kind": "data", "files": files}, {"name": "none", "kind": "data", "recid": 30544}]
        self.catalogue.write_text(json.dumps({"provenance": "made here", "records": records}))

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["darkop", "datasets", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = self._capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    def download(self, *options: object) -> tuple[int, str, str]:
        return self("download", "three", "--catalogue", self.catalogue, "--timeout", 1.0, *options)

    def check(self, *options: object) -> tuple[int, str, str]:
        return self("check", "three", "--catalogue", self.catalogue, "--timeout", 1.0, *options)


@pytest.fixture
def place(
    tmp_path: Path,
    flaky_server: Callable[[Path], Any],
    write_nanoaod: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Place:
    monkeypatch.setenv("DARKOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Patience, "__init__", lambda _, **__: None)  # the defaults below, whoever asks
    monkeypatch.setattr(Patience, "tries", 2)
    monkeypatch.setattr(Patience, "first_wait_s", 0.01)
    (tmp_path / "served").mkdir()
    for seed, (name, events) in enumerate(EVENTS.items()):
        write_nanoaod(tmp_path / "served" / name, events, seed=seed)
    return Place(tmp_path, flaky_server(tmp_path / "served"), monkeypatch, capsys)


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_download_to_a_folder_and_to_the_cache(place: Place) -> None:
    status, out, err = place.download("--output", place.folder / "here")
    assert (status, err) == (0, "")
    assert "three: 3 files, " in out
    assert "180 events; " in out
    assert left(place.folder / "here") == sorted(EVENTS)
    for name in EVENTS:
        assert (place.folder / "here" / name).read_bytes() == (place.server.folder / name).read_bytes()
    place.server.mend()
    status, out, _ = place.download("--output", place.folder / "here")
    assert "0.0 kB came over the network" in out
    assert place.server.requests == []
    status, out, _ = place.download()
    assert status == 0
    names = [Path(name).name for name in left(place.folder / "cache" / "downloads" / "files")]
    assert sorted(names) == sorted([*EVENTS, *["entry.json"] * 3])
    assert list((place.folder / "cache" / "downloads" / "users").iterdir()) == []


@pytest.mark.parametrize(
    ("files", "folder"),
    [(("x/y/a", "x/z/b"), "x"), (("a", "b"), "."), (("/d/e/a",), "/d/e"), (("x/a", "/b"), "/"), (("a", "b/c"), ".")],
)
def test_the_folder_of_the_files_is_said(files: tuple[str, ...], folder: str) -> None:
    """One of a cache with a relative path beside one that is used where it is ended in an endless loop."""
    assert _common(tuple(map(Path, files))) == Path(folder)


def test_python_gives_the_files(place: Place) -> None:
    found = do.download_dataset("three", catalogue=[place.catalogue], cache_dir=place.folder / "elsewhere", workers=1)
    assert [path.name for path in found.files] == sorted(EVENTS)
    assert (found.events, found.moved) == (180, found.bytes)
    assert all(place.folder / "elsewhere" / "downloads" in path.parents for path in found.files)
    again = do.download_dataset("three", catalogue=[place.catalogue], cache_dir=place.folder / "elsewhere")
    assert (again, again.moved) == (found.__class__("three", found.files, 180, found.bytes, 0), 0)


@pytest.mark.parametrize(
    ("wanted", "names"), [(50, "b"), (70, "b"), (71, "bc"), (130, "bc"), (131, "abc"), (180, "abc")]
)
def test_max_events_takes_the_fewest_files(wanted: int, names: str, place: Place) -> None:
    found = do.download_dataset("three", catalogue=[place.catalogue], max_events=wanted)
    assert "".join(path.name[0] for path in found.files) == names


def test_max_events_says_what_it_takes(place: Place) -> None:
    _, out, _ = place.download("--max-events", 100)
    assert "three: 100 events are wanted; 130 events are in 2 of its 3 files" in out
    place.write(b={"events": None})
    status, out, _ = place.download("--max-events", 60)
    assert status == 0
    assert "three: 50 of 60 events with 1 of its 3 files" in out
    assert "three: 120 of 60 events with 2 of its 3 files" in out
    with pytest.raises(InputValueError, match=r"dataset three: holds 180 events, not 999\. Ask for fewer, or for all"):
        do.download_dataset("three", catalogue=[place.catalogue], max_events=999)
    place.write()
    with pytest.raises(InputValueError, match=r"dataset three: holds 180 events, not 181\. Ask for fewer, or for all"):
        do.download_dataset("three", catalogue=[place.catalogue], max_events=181)


def test_names_and_records_that_give_no_files(place: Place) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'tree'\. Did you mean three"):
        do.download_dataset("tree", catalogue=[place.catalogue])
    with pytest.raises(InputFileError, match=r"none: the dataset has no files\..*record 30544"):
        do.download_dataset("none", catalogue=[place.catalogue])
    with pytest.raises(InputValueError, match="dataset zjets-nunu-pythia: is generated, not downloaded"):
        do.download_dataset("zjets-nunu-pythia")
    assert place("download", "tree", "--catalogue", place.catalogue)[0] == 2
    assert place("check", "none", "--catalogue", place.catalogue)[0] == 2
    status, _, err = place("download", "x", "--output", "a", "--cache-dir", "b")
    assert (status, err) == (2, "error: --output and --cache-dir: are both given. Give one\n")


def test_one_bad_file_ends_the_download_or_not(place: Place) -> None:
    here = place.folder / "here"
    place.server.fail("b.root", "corrupt", method="GET", from_byte=1000, to_byte=1001)
    status, _, err = place.download("--output", here, "--workers", 1)
    assert status == 2
    assert "b.root: has the adler32" in err
    assert "1 of 3 files are whole and stay; the same command goes on with the others" in err
    assert left(here) == ["a.root"]
    status, out, err = place.download("--output", here, "--keep-going")
    assert status == 2
    assert "lost: " in out
    assert "three: 1 of 3 files could not be downloaded; the first: " in err
    assert left(here) == ["a.root", "c.root"]
    place.server.mend()
    assert place.download("--output", here)[0] == 0
    assert left(here) == sorted(EVENTS)


def test_a_stopped_download_says_what_is_kept(place: Place) -> None:
    place.server.fail("b.root", "hang", method="GET")
    here = place.folder / "here"
    words = ["datasets", "download", "three", "--catalogue", place.catalogue, "--output", here, "--workers", 1]
    # A shell that starts the tests in the background has them ignore SIGINT, which children inherit.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from darkop_dist.cli import main; sys.argv[0] = 'darkop'; main()"
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=pipe, stderr=pipe, text=True)
    while process.poll() is None and ("GET", "b.root") not in [(r.method, r.path) for r in place.server.requests]:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == "error: stopped. What was loaded is kept: the same command goes on from there.\n"
    assert process.returncode == 130
    assert left(here) == ["a.root"]


def test_what_the_disk_cannot_hold_is_refused_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10**8 + 1000

    monkeypatch.setattr(fetch_files, "disk_usage", lambda _: Usage)
    with pytest.raises(
        OutputError, match=r"are missing, but only 1\.0 kB are free on this disk\. Choose another, or fewer events"
    ):
        do.download_dataset("three", catalogue=[place.catalogue], output=place.folder / "here")
    assert not (place.folder / "here").exists()
    assert place.server.requests == []


def test_a_full_disk_in_the_middle(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BLOCK_BYTES", 2000)
    written = fetch._Part.write

    def full(part: Any, block: bytes) -> None:
        if part.size >= 4000:
            raise OSError(28, "No space left on device")
        written(part, block)

    monkeypatch.setattr(fetch._Part, "write", full)
    here = place.folder / "here"
    status, _, err = place.download("--output", here, "--workers", 1, "--keep-going")
    assert status == 1
    assert "a.root: the disk is full (No space left on device). What was loaded is kept" in err
    assert left(here) == ["a.root.part", "a.root.part.json"]
    monkeypatch.undo()
    assert (here / "a.root.part").read_bytes() == (place.server.folder / "a.root").read_bytes()[:4000]


def test_a_file_without_checksum_is_compared_with_the_server(place: Place) -> None:
    bare = {name[0]: {"adler32": None, "bytes": None} for name in EVENTS}
    place.write(**bare)
    assert place.download()[0] == 0
    place.server.mend()
    assert "0.0 kB came over the network" in place.download()[1]
    assert {request.method for request in place.server.requests} == {"HEAD"}
    changed = (place.server.folder / "c.root").read_bytes()
    (place.server.folder / "a.root").write_bytes(changed)
    status, out, _ = place.download()
    assert status == 0
    assert "a.root: has changed on the server since it was downloaded; it is fetched again" in out
    (folder,) = (path.parent for path in (place.folder / "cache").rglob("a.root"))
    assert (folder / "a.root").read_bytes() == changed
    place.server.fail("a.root", "status")
    status, out, _ = place.download()
    assert status == 0
    assert "the copy in the cache is used as it is" in out


def test_the_cache_is_shown_limited_and_emptied(place: Place) -> None:
    status, out, _ = place("cache")
    assert (status, out) == (0, f"{place.folder / 'cache' / 'downloads'}: 0.0 kB of 100.00 GB\n")
    place.download()
    _, out, _ = place("cache", "--limit", "1GB")
    assert all(name in out for name in EVENTS)
    assert out.count("whole") == 3
    assert place.server.url("a.root") in out
    assert "of 1.00 GB" in out
    _, out, _ = place("cache", "--clear")
    assert "removed: 3 files, " in out
    assert left(place.folder / "cache" / "downloads" / "files") == []
    place("cache", "--limit", "1k")
    status, _, err = place.download()
    assert status == 2
    assert "above the ceiling of 1.0 kB. Raise it with darkop datasets cache --limit SIZE" in err
    status, _, err = place("cache", "--limit", "much")
    assert (status, err) == (2, "error: --limit: is 'much'. Write a size such as 200GB, 1.5 TB or 0\n")


def test_check_finds_what_is_wrong(place: Place) -> None:
    status, out, _ = place.check("--checksums", "--open")
    assert (status, out) == (0, "three: 3 files and 0 replicas asked for, nothing wrong\n")
    good = place.server.url("a.root")
    place.write(
        a={"bytes": 5, "replicas": [good]}, b={"replicas": [place.server.url("absent.root")]}, c={"adler32": "00000001"}
    )
    status, out, _ = place.check()
    assert status == 1
    assert " bytes instead of 5 " in out
    assert "no such file on the server" in out
    assert "three: 3 files and 1 replica asked for, 2 wrong" in out, "an address that is named twice is asked once"
    status, out, _ = place.check("--checksums")
    assert "instead of 00000001" in out
    place.write(a={"events": 7}, b={"bytes": None, "adler32": None, "events": None})
    status, out, _ = place.check("--open", "--json")
    assert status == 1
    copies = json.loads(out)
    assert [copy["problem"] for copy in copies] == ["has 50 entries instead of 7", "", ""]
    assert copies[2]["compared"] == ["size", "events"]
    assert copies[2]["events"] == 60
    assert "of 1 the record says nothing that could be compared" in place.check()[1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "hang"}, "does not answer in time"),
        ({"kind": "status", "status": 403}, "the server refuses the file"),
        ({"kind": "lie", "size": 99}, "has 99 bytes instead of"),
    ],
    ids=["hang", "refused", "lie"],
)
def test_check_names_servers_that_fail(fault: dict[str, Any], message: str, place: Place) -> None:
    place.server.fail("b.root", **fault)
    status, out, _ = place("check", "three", "--catalogue", place.catalogue, "--timeout", 0.2)
    assert status == 1
    assert message in out
    assert "three: 3 files and 0 replicas asked for, 1 wrong" in out


def test_mirrors_of_the_users_own_file_come_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors = [{"prefix": place.server.url(""), "instead": [f"{place.folder}/mirror/"]}]
    (place.folder / "access.yml").write_text(json.dumps({"mirrors": mirrors}))
    monkeypatch.setenv("DARKOP_ACCESS", str(place.folder / "access.yml"))
    (place.folder / "mirror").mkdir()
    for name in ("a.root", "b.root"):
        (place.folder / "mirror" / name).write_bytes((place.server.folder / name).read_bytes())
    (place.folder / "mirror" / "b.root").write_bytes(b"rotten")
    status, out, _ = place.download("--output", place.folder / "here")
    assert status == 0
    assert f"{place.folder}/mirror/b.root: has 6 bytes on the server instead of" in out
    assert left(place.folder / "here") == sorted(EVENTS)
    assert {request.path for request in place.server.requests} == {"b.root", "c.root"}
    status, out, _ = place.check()
    assert status == 1
    assert "three: 3 files and 3 replicas asked for, 2 wrong" in out


def test_check_tries_again_before_it_complains(place: Place) -> None:
    place.server.fail("b.root", "status", first=2)  # fsspec asks once with HEAD and once with GET
    assert place.check()[0] == 0


def test_bars_are_drawn_on_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for terminal in (True, False):
        console = Console(file=(tmp_path / str(terminal)).open("w"), force_terminal=terminal, width=120)
        bars = DownloadBars(console)
        bars.expected({tmp_path / "f.root": 4_000_000})
        bars.moved(tmp_path / "f.root", 1_000_000)
        bars.moved(tmp_path / "f.root", 2_000_000)
        bars.say("a word")
        bars._progress.refresh()
        bars.moved(tmp_path / "f.root", 4_000_000)
        bars.close()
        console.file.close()
    drawn = (tmp_path / "True").read_text()
    assert "2.0/4.0 MB" in drawn
    assert re.search(r"[kMG]B/s", drawn)
    assert (tmp_path / "False").read_text() == "a word\n"


def test_a_damaged_file_leaves_the_cache_clean(place: Place) -> None:
    place.server.fail("a.root", "corrupt", method="GET")
    with pytest.raises(DamagedFileError, match="has the adler32"):
        do.download_dataset("three", catalogue=[place.catalogue], workers=1)
    names = [Path(name).name for name in left(place.folder / "cache" / "downloads" / "files")]
    assert "a.root" not in names
    assert not any(name.endswith((".part", ".part.json")) for name in names)
