"""A real HTTP server on loopback that gives prepared answers, as a public service would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answers:
    """What the server says, by path with query.

    Attributes:
        address: beginning of its addresses.
        given: status and body of each path; a body that is no text is sent as JSON. A status of 0 cuts the connection,
            one of -1 says nothing until the server is stopped.
        asked: paths in the order in which they were asked for.
    """

    address: str = ""
    given: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Answers]:
    """Run the server until the end of the block."""
    answers, stopped = Answers(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.asked.append(self.path)
            status, body = answers.given.get(self.path, (404, {"status": 404, "message": "PID does not exist."}))
            if status == -1:
                stopped.wait(60)
            if status <= 0:
                self.close_connection = True
                return
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    answers.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield answers
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
