"""One file from a server that fails on command: resumed, checked, whole or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.catalogue import fetch
from darkop_dist.catalogue.fetch import Fetched, Listener, Patience, Stopped, fetch_file
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import DamagedFileError, InputFileError, OutputError, StorageError, UnreachableFileError
from darkop_dist.events.transfer import RemoteTransport

CONTENT = bytes(range(251)) * 1000
ADLER = f"{zlib.adler32(CONTENT):08x}"
BLOCK = 25_000
QUICK = Patience(tries=3, first_wait_s=0.01)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BLOCK_BYTES", BLOCK)


@pytest.fixture
def server(tmp_path: Path, flaky_server: Callable[[Path], Any]) -> Any:
    (tmp_path / "served").mkdir()
    for name in ("a.root", "copy.root"):
        (tmp_path / "served" / name).write_bytes(CONTENT)
    return flaky_server(tmp_path / "served")


class Download:
    """A download to a folder of its own, with what was said."""

    def __init__(self, folder: Path, server: Any) -> None:
        self.folder, self.server = folder, server
        self.said: list[str] = []
        self.after: dict[int, Callable[[], object]] = {}
        self.stop = threading.Event()

    def moved(self, _: Path, size: int) -> None:
        self.after.pop(size, lambda: None)()

    def __call__(self, name: str = "a.root", *copies: str, timeout_s: float = 5.0, **known: Any) -> Fetched:
        uris = [self.server.url(one) for one in (name, *copies)]
        file = DatasetFile(uri=uris[0], replicas=tuple(uris[1:]), **known)
        transport = RemoteTransport(Access(timeout_s=timeout_s), self.stop)
        listener = Listener(self.said.append, self.moved, self.stop)
        return fetch_file(file, self.folder / "a.root", transport, listener, QUICK)

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*"))


@pytest.fixture
def download(tmp_path: Path, server: Any) -> Download:
    return Download(tmp_path / "here", server)


def asked(server: Any, name: str = "a.root") -> list[tuple[int, int]]:
    return [(r.start, r.stop) for r in server.requests if r.method == "GET" and r.path == name]


def test_a_file_comes_whole_and_leaves_nothing_else(download: Download, server: Any) -> None:
    found = download(bytes=len(CONTENT), adler32=ADLER)
    assert (found.path.read_bytes(), found.adler32, found.moved) == (CONTENT, ADLER, len(CONTENT))
    assert download.left == ["a.root"]
    assert asked(server) == [(at, min(at + BLOCK, len(CONTENT))) for at in range(0, len(CONTENT), BLOCK)]
    assert download(bytes=len(CONTENT), adler32=ADLER).moved == 0
    assert len(asked(server)) == 11


def test_cut_connections_cost_a_block_each(download: Download, server: Any) -> None:
    server.fail("a.root", "cut", method="GET", kept=1000, after=2, first=1)
    server.fail("a.root", "reset", method="GET", kept=1000, after=6, first=1)
    assert download(adler32=ADLER).path.read_bytes() == CONTENT
    spans = asked(server)
    assert len(spans) == 11 + 2
    assert len(set(spans)) == 11


def test_what_was_broken_off_goes_on_where_it_stopped(download: Download, server: Any) -> None:
    server.fail("a.root", "cut", method="GET", kept=0, from_byte=100_001)
    with pytest.raises(UnreachableFileError, match=r"a\.root: .*asked 3 times\. What was loaded is kept: the same"):
        download(adler32=ADLER)
    assert download.left == ["a.root.part", "a.root.part.json"]
    assert (download.folder / "a.root.part").read_bytes() == CONTENT[:100_000]
    server.mend()
    assert download(adler32=ADLER).moved == len(CONTENT) - 100_000
    assert f"{server.url('a.root')}: goes on from byte 100000 of {len(CONTENT)}" in download.said
    assert min(start for start, _ in asked(server)) == 100_000
    assert download.left == ["a.root"]


def test_a_part_of_another_state_of_the_file_is_not_gone_on_with(download: Download, server: Any) -> None:
    server.fail("a.root", "cut", method="GET", kept=0, from_byte=100_001)
    with pytest.raises(UnreachableFileError):
        download()
    server.mend()
    changed = CONTENT[::-1]
    (server.folder / "a.root").write_bytes(changed)
    assert download().path.read_bytes() == changed
    assert any(
        "has changed on the server since its first 100000 bytes were loaded; begun again" in s for s in download.said
    )
    assert asked(server)[0][0] == 0


def test_a_file_that_changes_on_the_way_is_begun_again_once(download: Download, server: Any) -> None:
    changed = CONTENT[::-1]
    download.after[2 * BLOCK] = lambda: (server.folder / "a.root").write_bytes(changed)
    assert download().path.read_bytes() == changed
    assert any("changed on the server while it was loaded; it is begun again" in text for text in download.said)
    assert download.left == ["a.root"]


def test_a_file_that_keeps_changing_is_an_error(download: Download, server: Any) -> None:
    def change() -> None:
        (server.folder / "a.root").write_bytes(os.urandom(len(CONTENT)))
        download.after[2 * BLOCK] = change

    change()
    with pytest.raises(
        DamagedFileError, match=r"a\.root: changed on the server while it was loaded, twice\. Try again"
    ):
        download()
    assert download.left == []


def test_a_corrupt_copy_is_never_kept_and_the_good_one_is_taken(download: Download, server: Any) -> None:
    server.fail("a.root", "corrupt", method="GET", from_byte=70_000, to_byte=70_001)
    with pytest.raises(DamagedFileError, match=rf"has the adler32 \w{{8}} instead of {ADLER}\. Tell who serves it"):
        download(adler32=ADLER)
    assert download.left == []
    assert download("a.root", "copy.root", adler32=ADLER).source == server.url("copy.root")
    assert (download.folder / "a.root").read_bytes() == CONTENT
    assert any("the next copy is tried" in text for text in download.said)
    assert download.left == ["a.root"]


def test_when_no_copy_is_good_all_are_named(download: Download, server: Any) -> None:
    server.fail("a.root", "corrupt", method="GET")
    server.fail("copy.root", "status", status=403)
    with pytest.raises(
        DamagedFileError, match=r"none of its 3 copies .*adler32.*copy\.root: the server refuses.*none\.root: no such"
    ):
        download("a.root", "copy.root", "none.root", adler32=ADLER)
    assert download.left == []


def test_a_part_that_rotted_on_the_disk_is_begun_again(download: Download, server: Any) -> None:
    server.fail("a.root", "cut", method="GET", kept=0, from_byte=100_001)
    with pytest.raises(UnreachableFileError):
        download(adler32=ADLER)
    server.mend()
    with (download.folder / "a.root.part").open("r+b") as part:
        part.write(b"rot")
    assert download(adler32=ADLER).path.read_bytes() == CONTENT
    assert any("with what was there before; it is begun again" in text for text in download.said)


@pytest.mark.parametrize(
    ("fault", "known", "error", "message"),
    [
        ({"kind": "lie", "size": 99}, {"bytes": len(CONTENT)}, DamagedFileError, "has 99 bytes on the server instead of the 251000 of its record"),
        ({"kind": "short", "kept": 3, "method": "GET"}, {}, UnreachableFileError, "3 bytes came where 25000 were asked for; asked 3 times"),
        ({"kind": "hang", "method": "GET"}, {}, UnreachableFileError, "does not answer in time; asked 3 times"),
        ({"kind": "hang", "kept": 5000, "method": "GET"}, {}, UnreachableFileError, "does not answer in time; asked 3 times"),
        ({"kind": "status", "status": 500}, {}, UnreachableFileError, "answers with status 500; asked 3 times"),
        ({"kind": "status", "status": 404}, {}, InputFileError, "no such file on the server"),
        ({"kind": "status", "status": 401}, {}, InputFileError, "the server refuses the file .401"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) and "kind" in value else "",
)  # fmt: skip
def test_bad_answers_leave_nothing(
    fault: dict[str, Any], known: dict[str, Any], error: type[Exception], message: str, download: Download, server: Any
) -> None:
    server.fail("a.root", **fault)
    with pytest.raises(error, match=message):
        download(timeout_s=0.3, **known)
    assert download.left == []


def test_a_file_that_is_shorter_than_the_server_says(download: Download, server: Any) -> None:
    server.fail("a.root", "lie", size=300_000)
    with pytest.raises(UnreachableFileError, match=r"1000 bytes came where 25000 were asked for; asked 3 times"):
        download()
    assert download.left == ["a.root.part", "a.root.part.json"]


def test_slow_answers_have_a_deadline(download: Download, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkop_dist.events.transfer.SLOWEST_BYTES_PER_S", 1e6)
    server.fail("a.root", "slow", method="GET", bytes_per_s=20_000, from_byte=50_001)
    with pytest.raises(UnreachableFileError, match="does not answer in time"):
        download(timeout_s=0.2)
    assert (download.folder / "a.root.part").stat().st_size == 50_000


def test_a_busy_server_is_left_alone_as_long_as_it_asks(download: Download, server: Any) -> None:
    server.fail("a.root", "status", method="GET", status=503, retry_after_s=1, first=1)
    start = time.monotonic()
    assert download(adler32=ADLER).path.read_bytes() == CONTENT
    assert time.monotonic() - start >= 1.0  # a lower bound cannot fail on a busy machine
    server.fail("copy.root", "status", status=503, retry_after_s=3600)
    (download.folder / "a.root").unlink()
    with pytest.raises(UnreachableFileError, match="status 503, and asks to be left alone for 3600 s"):
        download("copy.root")
    assert download.left == []


def test_another_file_at_the_place_is_left_alone(download: Download) -> None:
    download.folder.mkdir()
    (download.folder / "a.root").write_text("mine")
    with pytest.raises(
        OutputError, match=r"a\.root: is there already, but has 4 bytes instead of 251000\. Move it away"
    ):
        download(bytes=len(CONTENT))
    assert (download.folder / "a.root").read_text() == "mine"
    assert download.left == ["a.root"]


def test_a_place_that_cannot_be_written(download: Download, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot be written .*Choose another directory"):
        download()


def test_a_stop_keeps_what_was_loaded(download: Download) -> None:
    download.after[3 * BLOCK] = download.stop.set
    with pytest.raises(Stopped):
        download(adler32=ADLER)
    assert (download.folder / "a.root.part").read_bytes() == CONTENT[: 3 * BLOCK]
    download.stop.clear()
    assert download(adler32=ADLER).moved == len(CONTENT) - 3 * BLOCK


FETCH = """
import resource, sys, threading
from pathlib import Path
from darkop_dist.catalogue import fetch
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.events.transfer import RemoteTransport

fetch.BLOCK_BYTES = 25_000
url, target, adler, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
say = lambda text: print(text, flush=True)
moved = lambda path, size: print("moved", size, flush=True)
listener = fetch.Listener(say, moved, threading.Event())
found = fetch.fetch_file(DatasetFile(uri=url, adler32=adler), Path(target), RemoteTransport(Access(timeout_s=20.0)), listener)
print("whole", found.moved, flush=True)
"""


def start(server: Any, folder: Path, limit_bytes: int = 10**9) -> subprocess.Popen[str]:
    arguments = [server.url("a.root"), str(folder / "a.root"), ADLER, str(limit_bytes)]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments], stdout=pipe, stderr=pipe, text=True)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"it ended without {text!r}: {process.communicate()[1]}")


def test_of_two_processes_one_loads_and_the_other_waits(tmp_path: Path, server: Any) -> None:
    folder = tmp_path / "here"
    server.fail("a.root", "hang", method="GET", from_byte=100_001, first=1)
    first = start(server, folder)
    wait_for(first, "moved 100000")
    second = start(server, folder)
    wait_for(second, "another process loads it; it is waited for")
    server.closing.set()  # what hangs is let go: the first one goes on
    assert "whole 251000" in first.communicate()[0]
    assert "whole 0" in second.communicate()[0]
    spans = asked(server)
    assert len(set(spans)) == 11
    assert len(spans) == 12
    assert [path.name for path in folder.iterdir()] == ["a.root"]


def test_a_killed_process_lets_go_and_the_next_one_goes_on(tmp_path: Path, server: Any) -> None:
    folder = tmp_path / "here"
    server.fail("a.root", "hang", method="GET", from_byte=100_001, first=1)
    first = start(server, folder)
    wait_for(first, "moved 100000")
    second = start(server, folder)
    wait_for(second, "it is waited for")
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    first.communicate()
    assert "whole 151000" in second.communicate()[0]
    assert (folder / "a.root").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["a.root"]


def test_a_full_disk_leaves_a_part_to_go_on_with(tmp_path: Path, server: Any, download: Download) -> None:
    process = start(server, download.folder, limit_bytes=110_000)
    error = process.communicate()[1]
    assert "StorageError" in error
    assert "the disk is full (File too large). What was loaded is kept" in error
    assert download.left == ["a.root.part", "a.root.part.json"]
    assert (download.folder / "a.root.part").read_bytes() == CONTENT[:110_000]
    assert download(adler32=ADLER).moved == len(CONTENT) - 110_000
    assert download.left == ["a.root"]


def test_a_disk_without_any_room_leaves_nothing(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"the disk is full \(No space left on device\)"):
        download()
    assert download.left == []


def test_the_part_says_what_it_is(download: Download, server: Any) -> None:
    server.fail("a.root", "cut", method="GET", kept=0, from_byte=BLOCK + 1)
    with pytest.raises(UnreachableFileError):
        download()
    state = json.loads((download.folder / "a.root.part.json").read_text())
    assert state["source"] == server.url("a.root")
    assert state["size"] == len(CONTENT)
    assert state["version"]
