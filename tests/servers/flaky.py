"""An HTTP file server that fails on command: the storage of a bad day.

It serves one folder with ranges, on this machine only, and records what was asked of it. Faults are set per path, for the
first requests, for later ones, for a part of the file, or for good.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Kind = Literal["hang", "cut", "reset", "slow", "corrupt", "short", "lie", "status"]
SLICES_PER_SECOND = 20


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the requests of one path.

    Attributes:
        kind: ``hang`` never answers; ``cut`` closes the connection in the body, ``reset`` does so with RST; ``slow``
            trickles; ``corrupt`` inverts bits; ``short`` announces and sends fewer bytes than asked; ``lie`` claims
            another size of the file; ``status`` answers with an error.
        first: how many requests it hits; None for all of them.
        after: how many requests pass before it begins.
        method: ``GET`` or ``HEAD``; None for both.
        from_byte: it hits requests that touch this byte of the file or a later one; corruption begins here.
        to_byte: where corruption ends; None for the end of the file.
        kept: bytes of the body that are still sent before ``hang``, ``cut``, ``reset`` or ``short`` take hold; None,
            with ``hang``, for not even a header.
        status: of ``status``.
        retry_after_s: sent along with ``status``.
        retry_after: the same, in words of one's own, such as a date.
        bytes_per_s: of ``slow``.
        size: of ``lie``.
    """

    kind: Kind
    first: int | None = None
    after: int = 0
    method: Literal["GET", "HEAD"] | None = None
    from_byte: int = 0
    to_byte: int | None = None
    kept: int | None = None
    status: int = 503
    retry_after_s: int | None = None
    retry_after: str | None = None
    bytes_per_s: int = 1000
    size: int = 0

    def touches(self, method: str, stop: int) -> bool:
        """Whether it concerns a request at all."""
        return (self.method in (None, method)) and stop > self.from_byte


@dataclass(frozen=True)
class Request:
    """What was asked, and the fault it met, if any."""

    method: str
    path: str
    start: int
    stop: int
    fault: Kind | None


class FlakyServer:
    """The server; made by ``serve``.

    Attributes:
        folder: what it serves.
        address: where, without a slash at the end.
        requests: everything that was asked, in order.
    """

    def __init__(self, folder: Path, port: int, *, tls: bool = False) -> None:
        self.folder = folder
        self.address = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._faults: dict[str, list[tuple[Fault, list[int]]]] = {}
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        """The address of a file of the folder."""
        return f"{self.address}/{name}"

    def fail(self, name: str, kind: Kind, **settings: Any) -> None:
        """Add a fault to a path; the first of its faults that matches a request hits it."""
        with self._lock:
            self._faults.setdefault(name, []).append((Fault(kind, **settings), [0]))

    def mend(self) -> None:
        """Forget all faults and all requests."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def meet(self, method: str, name: str, start: int, stop: int) -> Fault | None:
        """The fault that hits a request, which is recorded."""
        with self._lock:
            found = None
            for fault, seen in self._faults.get(name, []):
                if not fault.touches(method, stop):
                    continue
                seen[0] += 1
                if seen[0] > fault.after and (fault.first is None or seen[0] <= fault.after + fault.first):
                    found = found or fault
            self.requests.append(Request(method, name, start, stop, found.kind if found else None))
            return found


@contextmanager
def serve(folder: Path, certificate: Path | None = None) -> Iterator[FlakyServer]:
    """Serve a folder on a free port of this machine until the block ends; whatever hangs is let go then.

    With a certificate and its key in one file, over HTTPS.
    """

    class Handler(_Handler):
        pass

    with _Quiet(("127.0.0.1", 0), Handler) as listening:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listening.socket = context.wrap_socket(listening.socket, server_side=True)
        server = Handler.server_state = FlakyServer(folder, listening.server_address[1], tls=certificate is not None)
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            listening.shutdown()
            thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FlakyServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, method: str) -> None:
        name = unquote(urlsplit(self.path).path).lstrip("/")
        path = self.server_state.folder / name
        size = path.stat().st_size if path.is_file() else 0
        start, stop = self._range(size)
        fault = self.server_state.meet(method, name, start, stop)
        if fault is not None and fault.kind == "status":
            self._refuse(fault.status, fault.retry_after or fault.retry_after_s)
        elif not path.is_file():
            self._refuse(404, None)
        elif fault is not None and fault.kind == "hang" and fault.kept is None:
            self.server_state.closing.wait()
            self.close_connection = True
        else:
            self._send(method, path, (start, stop), size, fault)

    def _send(self, method: str, path: Path, span: tuple[int, int], size: int, fault: Fault | None) -> None:
        start, stop = span
        kind = fault.kind if fault else None
        claimed = fault.size if fault and kind == "lie" else size
        body = b"" if method == "HEAD" else _bytes_of(path, start, stop, fault)
        announced = len(body) if method == "GET" else claimed
        if fault and kind == "short":
            body = body[: fault.kept or 0]
            announced = len(body)
        if start >= size > 0:
            self._refuse(416, None)
            return
        self.send_response(206 if "Range" in self.headers and method == "GET" else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}-{claimed:x}"')
        self.send_header("Content-Length", str(announced))
        if "Range" in self.headers and method == "GET":
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{claimed}")
        self.end_headers()
        if method == "GET":
            self._send_body(body, fault)

    def _send_body(self, body: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if fault is None or kind in ("corrupt", "lie", "short"):
            self.wfile.write(body)
        elif kind == "slow":
            self._trickle(body, fault.bytes_per_s)
        else:
            self.wfile.write(body[: fault.kept or 0])
            self.wfile.flush()
            self.close_connection = True
            if kind == "hang":
                self.server_state.closing.wait()
            elif kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

    def _trickle(self, body: bytes, bytes_per_s: int) -> None:
        step = max(bytes_per_s // SLICES_PER_SECOND, 1)
        for begin in range(0, len(body), step):
            self.wfile.write(body[begin : begin + step])
            self.wfile.flush()
            if self.server_state.closing.wait(step / bytes_per_s):
                return

    def _refuse(self, status: int, retry_after: int | str | None) -> None:
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _range(self, size: int) -> tuple[int, int]:
        words = self.headers.get("Range", "").removeprefix("bytes=")
        if not words:
            return 0, size
        first, _, last = words.partition("-")
        if not first:
            return max(size - int(last), 0), size
        return int(first), min(int(last) + 1 if last else size, size)


def _bytes_of(path: Path, start: int, stop: int, fault: Fault | None) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        body = bytearray(file.read(max(stop - start, 0)))
    if fault is not None and fault.kind == "corrupt":
        end = stop if fault.to_byte is None else min(fault.to_byte, stop)
        for place in range(max(fault.from_byte, start), end):
            body[place - start] ^= 0xFF
    return bytes(body)
