"""The servers give what their folders hold, and the relay counts and breaks; seen with other clients than ours."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONTENT = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "below").mkdir()
    (folder / "below" / "a.bin").write_bytes(CONTENT)
    return folder


def fetch(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:  # noqa: S310  # all addresses are of this machine
        return answer.read()


def test_xrootd_serves_both_protocols(folder: Path, xrootd_server: Callable[..., Any]) -> None:
    client = pytest.importorskip("XRootD.client")
    server = xrootd_server(folder)
    assert server is xrootd_server(folder)
    with client.File() as file:
        assert file.open(server.url("below/a.bin"))[0].ok
        assert file.read()[1] == CONTENT
    assert fetch(server.http("below/a.bin")) == CONTENT
    with client.File() as file:
        assert not file.open(server.url("new.bin"), client.flags.OpenFlags.NEW)[0].ok, "it is read-only"
    assert [path.name for path in folder.iterdir()] == ["below"]


def test_xrootd_stalls_and_stops(folder: Path, xrootd_server: Callable[..., Any]) -> None:
    server = xrootd_server(folder, own=True)
    server.stall()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=0.3)
    with pytest.raises(TimeoutError):
        connection.request("GET", "/below/a.bin")
        connection.getresponse()
    connection.close()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=5).connect()


def test_s3_serves_folders(folder: Path, s3_server: Callable[..., Any]) -> None:
    private, public = s3_server(folder), s3_server(folder, public=True)
    assert private.name != public.name
    found = private.client.get_object(Bucket=private.name, Key="below/a.bin")["Body"].read()
    assert found == CONTENT
    assert fetch(f"{public.endpoint}/{public.name}/below/a.bin") == CONTENT
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(f"{private.endpoint}/{private.name}/below/a.bin")


def test_a_relay_counts_stalls_and_cuts(
    folder: Path, flaky_server: Callable[[Path], Any], relay_to: Callable[[int], Any]
) -> None:
    server = flaky_server(folder)
    relay = relay_to(int(server.address.rpartition(":")[2]))

    def ask() -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=0.5)
        try:
            connection.request("GET", "/below/a.bin")
            return connection.getresponse().read()
        finally:
            connection.close()

    assert ask() == CONTENT
    assert len(CONTENT) < relay.answered < len(CONTENT) + 1000
    relay.cut(after=50_000)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask()
    relay.resume()
    assert ask() == CONTENT
    relay.stall()
    with pytest.raises(TimeoutError):
        ask()
