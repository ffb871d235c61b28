"""Reading over xrootd from a real server: joined ranges, deadlines, numbers, and life after a failure."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import uproot

from darkop_dist.config.access import Access
from darkop_dist.events.remote import fetch, open_root
from darkop_dist.events.xrootd import MOST_PIECES, XrootdFile

pytest.importorskip("XRootD", reason="the xrootd client is not installed")

SHORT = Access(timeout_s=1.0)
ROWS = 20_000
COLUMNS = [f"column_{number}" for number in range(40)]


def write(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with uproot.recreate(path) as file:
        columns = {name: rng.uniform(size=ROWS).astype("f4") for name in COLUMNS}
        file.mktree("Events", {name: column.dtype for name, column in columns.items()})
        file["Events"].extend(columns)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("xrootd")
    write(folder / "a.root", 1)
    (folder / "numbers.bin").write_bytes(bytes(range(256)) * 20_000)
    (folder / "a.csv").write_text("x,y\n1,2\n3,4\n")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, xrootd_server: Callable[..., Any]) -> Any:
    return xrootd_server(folder, own=True)


@pytest.fixture
def relayed(server: Any, relay_to: Callable[[int], Any]) -> tuple[Any, str]:
    relay = relay_to(server.port)
    return relay, f"root://127.0.0.1:{relay.port}//a.root"


def ask(url: str, *ranges: tuple[int, int]) -> list[bytes]:
    file = XrootdFile(url, 10.0)
    try:
        return asyncio.run_coroutine_threadsafe(file.read(ranges), fsspec.asyn.get_loop()).result()
    finally:
        file.close()


def test_what_arrives_is_what_the_file_holds(server: Any, folder: Path) -> None:
    with open_root(str(folder / "a.root")) as file:
        local = file["Events"].arrays(COLUMNS, library="np")
    with open_root(server.url("a.root")) as file:
        remote = file["Events"].arrays(COLUMNS, library="np")
        assert file.file.source.num_bytes == (folder / "a.root").stat().st_size
        assert not file.file.source.has_changed()
    assert all(np.array_equal(local[name], remote[name]) for name in COLUMNS)
    assert fetch(server.url("a.csv")).read() == (folder / "a.csv").read_bytes()
    assert fetch(server.url("numbers.bin")).read() == (folder / "numbers.bin").read_bytes()


@pytest.mark.parametrize("count", [1, 2, MOST_PIECES - 1, MOST_PIECES, MOST_PIECES + 1, 2 * MOST_PIECES])
def test_any_number_of_ranges(server: Any, folder: Path, count: int) -> None:
    content = (folder / "numbers.bin").read_bytes()
    ranges = [(1000 * place, 1000 * place + 1 + place % 700) for place in range(count)]
    assert ask(server.url("numbers.bin"), *ranges) == [content[start:stop] for start, stop in ranges]


def test_ranges_of_any_size_and_beyond_the_end(server: Any, folder: Path) -> None:
    content = (folder / "numbers.bin").read_bytes()
    size = len(content)
    ranges = [(5, 10), (0, size), (size - 10, size + 1000), (size + 5, size + 10), (7, 8)]
    assert ask(server.url("numbers.bin"), *ranges) == [content[start:stop] for start, stop in ranges]


def test_many_ranges_are_few_requests(relayed: tuple[Any, str], folder: Path) -> None:
    """A request and its answer take some hundred bytes besides the data: one for each range would show."""
    relay, url = relayed
    url = url.replace("a.root", "numbers.bin")
    file = XrootdFile(url, 10.0)
    loop = fsspec.asyn.get_loop()
    asyncio.run_coroutine_threadsafe(file.read([(0, 1)]), loop).result()
    ranges = [(5000 * place, 5000 * place + 100) for place in range(1000)]
    relay.reset()
    asyncio.run_coroutine_threadsafe(file.read(ranges), loop).result()
    asked, answered = relay.asked, relay.answered
    file.close()
    assert asked == 24 + 16 * 1000  # the header of the protocol's readv, and 16 bytes for each range
    assert 100_000 < answered < 100_000 + 17 * 1000


@pytest.mark.parametrize(
    ("name", "number", "said"), [("none.root", errno.ENOENT, "no such file on the server"), ("", errno.EISDIR, "3016")]
)
def test_what_the_server_refuses(server: Any, name: str, number: int, said: str) -> None:
    with pytest.raises(OSError, match=said) as caught:
        open_root(server.url(name))
    assert (caught.value.errno, caught.value.filename) == (number, server.url(name))


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.1:9"):
        open_root("root://127.0.0.1:9//a.root", Access(timeout_s=20))
    with pytest.raises(OSError, match=r"nowhere\.invalid") as caught:
        open_root("root://nowhere.invalid//a.root", SHORT)
    assert caught.value.errno == errno.EHOSTUNREACH


def test_a_server_that_nobody_knows() -> None:
    with pytest.raises(OSError, match="the name of the server is not known here") as caught:
        open_root("root://no.such.host.invalid//a.root", Access(timeout_s=5))
    assert caught.value.errno == errno.EHOSTUNREACH


def test_a_silent_server_ends_in_time_and_is_asked_again(server: Any) -> None:
    with open_root(server.url("a.root"), SHORT) as file:
        server.stall()
        try:
            with pytest.raises(TimeoutError, match=r"the server of root://.*a\.root does not answer in time"):
                file["Events"]["column_1"].array()
            with pytest.raises(TimeoutError, match="does not answer in time"):
                open_root(server.url("a.root"), SHORT)
        finally:
            server.resume()
        assert len(file["Events"]["column_1"].array()) == ROWS


@pytest.mark.parametrize("after", [0, 100, 30_000])
def test_a_broken_connection_has_a_number_and_the_next_try_succeeds(relayed: tuple[Any, str], after: int) -> None:
    relay, url = relayed
    with open_root(url, SHORT) as file:
        relay.cut(after)
        with pytest.raises(OSError, match=r"a\.root") as caught:
            file["Events"].arrays(["column_2"], library="np")
        assert caught.value.errno in (errno.ECONNRESET, errno.EIO, errno.ECONNREFUSED)
        relay.resume()
        assert len(file["Events"]["column_2"].array()) == ROWS


def test_tries_are_made_as_configured(relayed: tuple[Any, str]) -> None:
    relay, url = relayed
    relay.cut()
    with pytest.raises(OSError, match=r"a\.root"):
        open_root(url, SHORT)
    once = relay.connections
    with pytest.raises(OSError, match=r"a\.root"):
        open_root(url, SHORT.model_copy(update={"tries": 3}))
    assert once >= 1
    assert relay.connections - once == 3 * once


def test_a_file_that_changes_under_an_open_handle(tmp_path: Path, xrootd_server: Callable[..., Any]) -> None:
    """Replaced: the handle reads the old file to its end. Written over: the server tells."""
    write(tmp_path / "a.root", 1)
    server = xrootd_server(tmp_path, own=True)
    with open_root(server.url("a.root")) as file:
        first = file["Events"]["column_0"].array(library="np")
        assert not file.file.source.has_changed()
        write(tmp_path / "b.root", 2)
        (tmp_path / "b.root").rename(tmp_path / "a.root")
        assert np.array_equal(file["Events"]["column_0"].array(library="np"), first)
        uuid = file.file.uuid
    with open_root(server.url("a.root")) as file:
        assert file.file.uuid != uuid
        assert not file.file.source.has_changed()
        os.utime(tmp_path / "a.root", (1, 1))
        assert file.file.source.has_changed()
    server.stop()


def test_the_end_of_a_process_is_quiet() -> None:
    """XRootD's client looks at every object of the process when it ends, and torch has one that warns of being seen."""
    program = (
        "import torch, XRootD.client; from darkop_dist.events.xrootd import _configured_client as c; c(1.0); c(1.0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
