"""A real HTTP server of scores with faults on command: what a network and a sick server do to answers.

Faults are taken from a script, one per request for scores, in the order in which requests come; without one the server
does what it should.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.wire import ModelDescription, Problem, decode_batch, encode_scores
from darkop_dist.scoring.wire.arrow import CONTENT_TYPE

Fault = tuple[str, float]
"""What goes wrong, and a number: seconds for ``delay``, ``busy``, ``rate`` and ``hang``."""


@dataclass
class ScoreServer:
    """The server's state, for the test that commands it.

    Attributes:
        scorer: the model.
        name: under which it is served.
        faults: taken by the next requests for scores.
        draw: gives the fault of a request when the script is empty.
        came: when each request for scores came, by ``time.monotonic``.
        events: events of each request that was scored.
        seen: headers of each request for scores.
        fingerprint: told to clients; the scorer's by default.
        most_at_once: the largest number of requests under way at a time.
        silent: describes nothing, answers nothing.
    """

    scorer: Scorer
    name: str = "toy"
    best_events: int = 64
    most_events: int = 100_000
    most_bytes: int = 1 << 26
    faults: deque[Fault] = field(default_factory=deque)
    draw: Callable[[], Fault] = lambda: ("", 0.0)
    came: list[float] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    fingerprint: str = ""
    most_at_once: int = 0
    silent: bool = False
    port: int = 0
    lock: Any = field(default_factory=threading.Lock)
    under_way: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def description(self) -> ModelDescription:
        told = ModelDescription.of(
            self.name,
            self.scorer,
            best_events=self.best_events,
            most_events=self.most_events,
            most_bytes=self.most_bytes,
            version="test",
        )
        return told.model_copy(update={"fingerprint": self.fingerprint}) if self.fingerprint else told


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: ScoreServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.state.silent:
            self._reset()
        elif self.path == "/v1/models":
            self._send(200, json.dumps([self.state.description().model_dump(mode="json")]).encode())
        elif self.path == f"/v1/models/{self.state.name}":
            self._send(200, self.state.description().model_dump_json().encode())
        else:
            self._problem(Problem(code="unknown-model", detail=f"there is no {self.path}"))

    def do_POST(self) -> None:
        state = self.state
        body = self.rfile.read(int(self.headers["content-length"]))
        with state.lock:
            state.came.append(time.monotonic())
            state.seen.append({name.lower(): value for name, value in self.headers.items()})
            state.under_way += 1
            state.most_at_once = max(state.most_at_once, state.under_way)
            fault, number = state.faults.popleft() if state.faults else state.draw()
        try:
            self._answer("reset" if state.silent else fault, number, body)
        finally:
            with state.lock:
                state.under_way -= 1

    def _answer(self, fault: str, number: float, body: bytes) -> None:
        state, scorer = self.state, self.state.scorer
        if fault in ("delay", "hang"):
            time.sleep(number)
        if fault in ("reset", "hang"):
            return self._reset()
        if fault == "busy":
            return self._problem(Problem(code="busy", detail="busy", retry_after_s=number))
        if fault == "rate":
            return self._send(429, b"slow down", {"retry-after": f"{number:g}"})
        if fault == "gone":
            return self._send(502, b"<html>bad gateway</html>")
        if fault == "invalid":
            return self._problem(Problem(code="invalid-input", detail="input fields: not finite, first in event 0"))
        if fault == "failed":
            return self._problem(Problem(code="failed", detail="model toy failed with OutOfMemoryError"))
        found = state.fingerprint or scorer.fingerprint
        if self.headers.get("darkop-fingerprint") not in (None, found):
            values: Any = {"expected": self.headers["darkop-fingerprint"], "found": found}
            detail = f"model has the fingerprint {found}, the run began with {values['expected']}"
            return self._problem(Problem(code="fingerprint", detail=detail, values=values))
        batch = decode_batch(body, scorer.inputs)
        scores = scorer.score(batch)
        with state.lock:
            state.events.append(len(scores))
        if fault == "short":
            scores = scores[:-1]
        if fault == "nan":
            scores = np.full_like(scores, np.nan)
        if fault == "other":
            found = "f" * 64
        answer = bytes(encode_scores(scores))
        headers = {"darkop-fingerprint": found, "darkop-queue-s": "0.001", "darkop-compute-s": "0.002"}
        if fault == "garbage":
            answer = b"no arrow at all"
        if fault == "truncated":
            self._send(200, answer, headers | {"content-length": str(len(answer))}, cut=len(answer) // 2)
            return self._reset()
        return self._send(200, answer, headers)

    def _problem(self, problem: Problem) -> None:
        headers = {} if problem.retry_after_s is None else {"retry-after": str(int(problem.retry_after_s) + 1)}
        self._send(problem.status, problem.model_dump_json().encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        sent = {"content-type": CONTENT_TYPE, "content-length": str(len(body))} | (headers or {})
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.wfile.flush()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """Clients may go."""


@contextmanager
def score_server(scorer: Scorer, **changes: Any) -> Iterator[ScoreServer]:
    """A server on loopback, until the context is left."""
    state = ScoreServer(scorer, **changes)
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
