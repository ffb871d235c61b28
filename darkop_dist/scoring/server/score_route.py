"""``POST /v1/models/NAME/score``: Arrow IPC in, Arrow IPC out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.datastructures import Headers

from darkop_dist.scoring.server.body import GoneError, Receive, check_length, declared_length, read_body
from darkop_dist.scoring.server.front import Front, problem_response, timeout_of, unless_gone
from darkop_dist.scoring.server.meter import CANCELLED
from darkop_dist.scoring.server.request import Scored, ScoreRequest
from darkop_dist.scoring.wire.arrow import CONTENT_TYPE, decode_batch, encode_scores
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Problem, RefusedError
from darkop_dist.scoring.wire.size import measure

logger = logging.getLogger(__name__)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FRAME_BYTES = 64 * 1024
"""What a body may be longer than the numbers that it holds: Arrow's schema and headers."""

LINGER_BYTES, LINGER_S = 128 * 1024 * 1024, 2.0
"""What is read, and thrown away, of a refused body, so that a client that still sends sees the refusal and no reset."""

_QUICK_BYTES = 256 * 1024
"""What is decompressed on the event loop; larger bodies go to a thread."""


class ScoreRoute:
    """Scores requests; plain ASGI, because bodies are large and are read into one buffer.

    Args:
        front: the engine and what stands before it.
    """

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        model, headers, reading = str(scope["path_params"]["model"]), Headers(raw=scope["headers"]), _Reading(receive)
        try:
            with ExitStack() as held:
                request = await self._request(model, scope, headers, reading, held)
                scored = await unless_gone(receive, self._front.engine.score(request))
        except RefusedError as error:
            await _refuse(error.problem, headers, reading, send)
        except GoneError:
            logger.debug("the client of a request for model %s went away", model)
        else:
            await _answer(scored, send)

    async def _request(
        self, model: str, scope: MutableMapping[str, Any], headers: Headers, receive: Receive, held: ExitStack
    ) -> ScoreRequest:
        """Let a request in, read its body and decode it; what is refused here, the engine never sees."""
        began = time.perf_counter()
        try:
            client = self._front.admit(scope)
            _check_encoding(headers)
            timeout_s = timeout_of(headers)
            description = await _description(self._front, model, timeout_s)
            length, most_bytes = declared_length(headers.get("content-length")), description.most_bytes + FRAME_BYTES
            check_length(length or 0, most_bytes)
            held.enter_context(self._front.bodies.room(most_bytes if length is None else length))
            body = await read_body(receive, length, most_bytes, self._front.bodies.patience_s)
            batch = await _batch(body, description)
            self._front.access.admit_events(client, max(map(len, batch.values()), default=0))
        except RefusedError as error:
            self._front.count_refusal(model, error.problem.code)
            raise
        except GoneError:
            self._front.count_refusal(model, CANCELLED)
            raise
        left = None if timeout_s is None else timeout_s - (time.perf_counter() - began)
        return ScoreRequest(model, batch, headers.get("darkop-fingerprint"), left)


class _Reading:
    """``receive`` that knows whether the body was read to its end."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self.is_done = receive, False

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self.is_done = not message.get("more_body", False)  # also where the client went away
        return message


async def _description(front: Front, model: str, timeout_s: float | None) -> ModelDescription:
    try:
        async with asyncio.timeout(timeout_s):
            return await front.engine.describe(model)
    except TimeoutError as error:
        detail = f"model {model} is still being loaded after {timeout_s:.3g} s, longer than its client waits"
        raise RefusedError(Problem(code="deadline", detail=detail)) from error


def _check_encoding(headers: Headers) -> None:
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        detail = f"content-encoding {encoding[:40]!r} is not understood. Compress inside Arrow, with zstd"
        raise RefusedError(Problem(code="invalid-input", detail=detail))


async def _batch(body: Any, description: ModelDescription) -> dict[str, npt.NDArray[np.float32]]:
    """The batch of a body, which may not become larger than the model takes."""
    inputs, most_bytes = description.input_specs, description.most_bytes
    try:
        size = measure(body)
        if size.decoded > most_bytes:
            detail = (
                f"the body becomes {size.decoded} bytes, more than the {most_bytes} that are allowed. Send it in pieces"
            )
            raise RefusedError(Problem(code="too-large", detail=detail, values={"most_bytes": most_bytes}))
        if size.compressed and size.decoded > _QUICK_BYTES:
            return await asyncio.to_thread(decode_batch, body, inputs)
        return decode_batch(body, inputs)
    except ValueError as error:
        raise RefusedError(Problem(code="invalid-input", detail=str(error))) from error


async def _answer(scored: Scored, send: Send) -> None:
    body = encode_scores(scored.scores).to_pybytes()
    headers = {
        "content-type": CONTENT_TYPE,
        "content-length": str(len(body)),
        "darkop-fingerprint": scored.fingerprint,
        "darkop-queue-s": f"{scored.queue_s:.6f}",
        "darkop-compute-s": f"{scored.compute_s:.6f}",
    }
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _refuse(problem: Problem, headers: Headers, reading: _Reading, send: Send) -> None:
    """Answer with a problem.

    What is left of a short body is thrown away by the server, and the connection lives on. After a body that is long,
    of unknown length, or held back (``expect: 100-continue``), the connection is closed, but only when the client has
    had time to stop sending: an early close would reach it as a reset, before the answer.
    """
    response = problem_response(problem)
    length = headers.get("content-length", "")
    is_short = length.isdigit() and int(length) <= LINGER_BYTES
    closes = not reading.is_done and ("expect" in headers or not is_short)
    raw = [*response.raw_headers, *([(b"connection", b"close")] if closes else [])]
    await send({"type": "http.response.start", "status": response.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": response.body, "more_body": closes})
    if closes:
        if "expect" not in headers:
            await _linger(reading)
        await send({"type": "http.response.body", "body": b""})


async def _linger(reading: _Reading) -> None:
    """Throw away what still comes, for a while."""
    seen = 0
    try:
        async with asyncio.timeout(LINGER_S):
            while not reading.is_done and seen < LINGER_BYTES:
                seen += len((await reading()).get("body", b""))
    except TimeoutError:
        logger.debug("a client still sends a body that was refused")
