"""Whole files over real servers: xrootd, its HTTP, S3 and local ones; cut, stalled, changed and absent."""

import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.catalogue import fetch
from darkop_dist.catalogue.fetch import Fetched, Listener, Patience, Seen, Stopped, fetch_file
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import InputFileError, MissingExtraError, UnreachableFileError
from darkop_dist.events import transfer
from darkop_dist.events.transfer import RemoteTransport

CONTENT = bytes(range(251)) * 4000
ADLER = f"{zlib.adler32(CONTENT):08x}"
BLOCK = 100_000
QUICK = Patience(tries=2, first_wait_s=0.01)
Serve = Callable[..., Any]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BLOCK_BYTES", BLOCK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "a.root").write_bytes(CONTENT)
    return folder


def download(
    address: str,
    target: Path,
    *,
    timeout_s: float = 10.0,
    said: list[str] | None = None,
    after: Any = None,
    **known: Any,
) -> Fetched:
    stop = threading.Event()

    def moved(_: Path, size: int) -> None:
        if after is not None:
            after(size)

    listener = Listener((said if said is not None else []).append, moved, stop)
    return fetch_file(
        DatasetFile(uri=address, **known), target, RemoteTransport(Access(timeout_s=timeout_s), stop), listener, QUICK
    )


@pytest.fixture(params=["root", "http", "s3", "file", "path"])
def address(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    if request.param == "s3":
        bucket = request.getfixturevalue("s3_server")(folder)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
        return bucket.url
    if request.param in ("root", "http"):
        server = request.getfixturevalue("xrootd_server")(folder)
        return server.url if request.param == "root" else server.http
    return lambda name: f"{'file://' if request.param == 'file' else ''}{folder / name}"


def test_every_transport_gives_the_file(address: Callable[[str], str], tmp_path: Path) -> None:
    found = download(address("a.root"), tmp_path / "a.root", bytes=len(CONTENT))
    assert (found.path.read_bytes(), found.adler32, found.moved) == (CONTENT, ADLER, len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["a.root"]
    seen = RemoteTransport(Access(timeout_s=10.0)).ask(address("a.root"))
    assert seen.size == len(CONTENT)


def test_every_transport_says_what_is_absent(address: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none\.root: (no such file on the server|No such file)"):
        download(address("none.root"), tmp_path / "none.root")
    assert list(tmp_path.iterdir()) == []


CUT = """
import sys, threading
from pathlib import Path
from darkop_dist.catalogue import fetch
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import UnreachableFileError
from darkop_dist.events.transfer import RemoteTransport

def moved(_, size):
    if size == 500_000:
        print("half", flush=True)
        sys.stdin.readline()

fetch.BLOCK_BYTES = 100_000
listener = fetch.Listener(print, moved, threading.Event())
try:
    fetch.fetch_file(DatasetFile(uri=sys.argv[1]), Path(sys.argv[2]), RemoteTransport(Access(timeout_s=0.5)), listener, fetch.Patience(2, 0.01))
except UnreachableFileError as error:
    print(error)
"""


def test_xrootd_is_gone_on_with_after_a_cut(
    folder: Path, xrootd_server: Serve, relay_to: Callable[[int], Any], tmp_path: Path
) -> None:
    """In another process: after a cut, XRootD's client lets a process wait two minutes before it connects again."""
    relay = relay_to(xrootd_server(folder).port)
    address = f"root://127.0.0.1:{relay.port}//a.root"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", CUT, address, str(tmp_path / "a.root")]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    relay.cut()
    said, wrong = process.communicate("\n")
    assert "asked 2 times. What was loaded is kept: the same command goes on from there." in said
    assert (process.returncode, wrong) == (0, "")
    assert (tmp_path / "a.root.part").stat().st_size == 5 * BLOCK
    relay.resume()
    relay.reset()
    told: list[str] = []
    assert download(address, tmp_path / "a.root", said=told, adler32=ADLER).moved == len(CONTENT) - 5 * BLOCK
    assert f"{address}: goes on from byte 500000 of 1004000" in told
    assert relay.answered < len(CONTENT) - 5 * BLOCK + BLOCK, "nothing came twice beyond a block"


def test_a_server_that_stalls_has_a_deadline(
    folder: Path,
    xrootd_server: Serve,
    relay_to: Callable[[int], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relay = relay_to(xrootd_server(folder).port)
    address = f"root://127.0.0.1:{relay.port}//a.root"
    monkeypatch.setattr(transfer, "SLOWEST_BYTES_PER_S", 1e6)

    def stall(size: int) -> None:
        if size == 3 * BLOCK:
            relay.stall()

    with pytest.raises(UnreachableFileError, match="does not answer in time"):
        download(address, tmp_path / "a.root", timeout_s=0.3, after=stall)
    relay.resume()
    assert (tmp_path / "a.root.part").read_bytes() == CONTENT[: 3 * BLOCK]


def test_xrootd_files_that_change_are_noticed(tmp_path: Path, xrootd_server: Serve) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.root").write_bytes(CONTENT)
    server = xrootd_server(tmp_path / "served", own=True)
    changed = CONTENT[::-1] + b"more"

    def change(size: int) -> None:
        if size == 3 * BLOCK and (tmp_path / "served" / "a.root").stat().st_size == len(CONTENT):
            (tmp_path / "new").write_bytes(changed)
            (tmp_path / "new").replace(tmp_path / "served" / "a.root")

    said: list[str] = []
    found = download(server.url("a.root"), tmp_path / "here" / "a.root", said=said, after=change)
    assert found.path.read_bytes() == changed
    assert any("changed on the server while it was loaded; it is begun again" in text for text in said)


def test_a_server_that_is_gone(folder: Path, xrootd_server: Serve, tmp_path: Path) -> None:
    server = xrootd_server(folder, own=True)
    server.stop()
    with pytest.raises(UnreachableFileError, match=r"a\.root: .*asked 2 times"):
        download(server.url("a.root"), tmp_path / "a.root", timeout_s=0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_is_not_there(
    folder: Path, s3_server: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_server(folder)
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
    with pytest.raises(InputFileError, match=r"NoSuchBucket|no such file"):
        download(f"s3://{bucket.name}-not/a.root", tmp_path / "a.root")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("gridftp://site/f.root", InputFileError, r"gridftp://site/f\.root: no transport is known for gridftp://\. Known are https://"),
        ("root://site//f.root", MissingExtraError, r"needs the module 'XRootD', which is not installed\. Run: pip install 'darkop-dist\[access\]'"),
        ("s3://bucket/f.root", MissingExtraError, r"needs the module 's3fs', .*darkop-dist\[access\]"),
    ],
)  # fmt: skip
def test_transports_that_are_not_there(
    address: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(error, match=message):
        download(address, tmp_path / "f.root")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is a directory"):
        download(f"file://{folder}", tmp_path / "a.root")


def test_waiting_ends_on_request(folder: Path, flaky_server: Callable[[Path], Any]) -> None:
    server = flaky_server(folder)
    server.fail("a.root", "hang")
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        RemoteTransport(Access(timeout_s=60.0), stop).ask(server.url("a.root"))


def test_a_busy_server_may_give_a_date(flaky_server: Callable[[Path], Any], folder: Path) -> None:
    server = flaky_server(folder)
    server.fail("a.root", "status", retry_after="Wed, 21 Oct 2099 07:28:00 GMT")
    with pytest.raises(OSError, match="status 503") as refused:
        RemoteTransport(Access(timeout_s=5.0)).read(server.url("a.root"), 0, 10)
    assert refused.value.retry_after_s > 1e9
    server.mend()
    server.fail("a.root", "status", retry_after="soon")
    with pytest.raises(OSError, match="status 503") as refused:
        RemoteTransport(Access(timeout_s=5.0)).read(server.url("a.root"), 0, 10)
    assert refused.value.retry_after_s is None
    assert RemoteTransport(Access(timeout_s=5.0)).ask(f"{folder}/a.root") == Seen(
        len(CONTENT), str((folder / "a.root").stat().st_mtime)
    )
