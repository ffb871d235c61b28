"""The server fails as it is told to, and only then: seen with the standard library's client, not with the one under test."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server(tmp_path: Path, flaky_server: Callable[[Path], Any]) -> Any:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    return flaky_server(tmp_path)


def ask(server: Any, span: str | None = None, *, method: str = "GET", name: str = "a.bin", wait_s: float = 5.0) -> Any:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=wait_s)
    try:
        connection.request(method, f"/{name}", headers={"Range": f"bytes={span}"} if span else {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_without_faults_it_is_a_file_server(server: Any) -> None:
    assert ask(server)[::2] == (200, CONTENT)
    status, headers, body = ask(server, "10-19")
    assert (status, body, headers["Content-Range"]) == (206, CONTENT[10:20], "bytes 10-19/10240")
    assert ask(server, "-5")[2] == CONTENT[-5:]
    assert ask(server, "10230-99999")[2] == CONTENT[10230:]
    assert ask(server, "20000-20010")[0] == 416
    assert ask(server, method="HEAD")[1]["Content-Length"] == "10240"
    assert ask(server, name="none.bin")[0] == 404
    assert [(r.method, r.start, r.stop) for r in server.requests[:2]] == [("GET", 0, 10240), ("GET", 10, 20)]


def test_a_fault_hits_the_requests_it_is_meant_for(server: Any) -> None:
    server.fail("a.bin", "status", status=503, retry_after_s=7, first=1, after=1)
    answers = [ask(server) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 503, 200]
    assert answers[1][1]["Retry-After"] == "7"
    assert [request.fault for request in server.requests] == [None, "status", None]
    server.mend()
    server.fail("a.bin", "status", status=500, from_byte=5000)
    assert (ask(server, "0-4999")[0], ask(server, "4000-5000")[0]) == (206, 500)


def test_hangs_end_with_the_client_not_the_server(server: Any) -> None:
    server.fail("a.bin", "hang", first=1)
    server.fail("a.bin", "hang", kept=100, first=1, after=1)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            ask(server, wait_s=0.2)


@pytest.mark.parametrize(("kind", "error"), [("cut", http.client.IncompleteRead), ("reset", ConnectionResetError)])
def test_connections_break_in_the_body(server: Any, kind: str, error: type[Exception]) -> None:
    server.fail("a.bin", kind, kept=0 if kind == "reset" else 100)
    with pytest.raises(error):
        ask(server)


def test_answers_can_be_wrong(server: Any) -> None:
    server.fail("a.bin", "corrupt", from_byte=15, to_byte=17, first=1)
    server.fail("a.bin", "short", kept=3, after=1, first=1)
    server.fail("a.bin", "lie", size=99)
    body = ask(server, "10-19")[2]
    assert body[:5] + body[7:] == CONTENT[10:15] + CONTENT[17:20]
    assert body[5:7] == bytes(0xFF ^ value for value in CONTENT[15:17])
    assert ask(server, "10-19")[2] == CONTENT[10:13]
    assert ask(server, method="HEAD")[1]["Content-Length"] == "99"


def test_slow_answers_are_whole(server: Any) -> None:
    server.fail("a.bin", "slow", bytes_per_s=20_000)
    start = time.monotonic()
    assert ask(server, "0-3999")[2] == CONTENT[:4000]
    assert time.monotonic() - start > 0.15  # a lower bound cannot fail on a busy machine
