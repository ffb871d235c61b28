"""The Open Inference Protocol over HTTP, as Triton's clients speak it.

Answers of a model have one output, ``score``: FP32, shape [events]. Requests that are refused get the problem that
every address of this server gives, with a key ``error`` besides, where these clients look for the sentence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from darkop_dist.scoring.server.body import GoneError, Receive, check_length, declared_length, read_body
from darkop_dist.scoring.server.front import Front, problem_response, timeout_of, unless_gone
from darkop_dist.scoring.server.meter import CANCELLED
from darkop_dist.scoring.server.v2_json import (
    HEADER_LENGTH,
    MOST_JSON_BYTES,
    Inference,
    answer,
    decompress,
    parse,
)
from darkop_dist.scoring.server.v2_service import V2Service
from darkop_dist.scoring.server.v2_tensors import Wanted, invalid
from darkop_dist.scoring.wire.problem import Problem, RefusedError

logger = logging.getLogger(__name__)

Page = Callable[["_Pages", Request], Awaitable[Response]]

FRAME_BYTES = 64 * 1024
"""What a body with binary data may be longer than the numbers that it holds."""

_QUICK_BYTES = 256 * 1024
"""Bodies up to this size are parsed on the event loop, in less time than a thread takes to begin."""

_LINGER_BYTES, _LINGER_S = 128 * 1024 * 1024, 2.0
"""What is read, and thrown away, of a refused body: a client that still sends would see a reset and not the refusal."""

_ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def v2_routes(front: Front) -> list[BaseRoute]:
    """The addresses below ``/v2``; health needs no token.

    Args:
        front: the engine and what stands before it.
    """
    pages = _Pages(V2Service(front))
    found: list[BaseRoute] = [
        Route("/v2", pages.server),
        Route("/v2/health/live", pages.live),
        Route("/v2/health/ready", pages.ready),
        Route("/v2/repository/index", pages.index, methods=["GET", "POST"]),
        Route("/v2/models/stats", pages.statistics),
    ]
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [
            Route(model, pages.metadata),
            Route(f"{model}/ready", pages.model_ready),
            Route(f"{model}/config", pages.config),
            Route(f"{model}/stats", pages.statistics),
            Route(f"{model}/infer", pages.infer, methods=["POST"]),
        ]
    return [*found, Route("/v2/{rest:path}", pages.unknown, methods=_ANY)]


def v2_refusal(problem: Problem) -> Response:
    """A refusal that Triton's clients can read too."""
    plain = problem_response(problem)
    content = {"error": problem.detail, **problem.model_dump(mode="json")}
    headers = {name: value for name, value in plain.headers.items() if name != "content-length"}
    return Response(json.dumps(content), plain.status_code, headers)


def _page(page: Page) -> Page:
    """A page that answers refusals, and failures, in the words of the protocol."""

    @wraps(page)
    async def answered(self: _Pages, request: Request) -> Response:
        try:
            return await page(self, request)
        except RefusedError as error:
            return v2_refusal(error.problem)
        except GoneError:
            return Response(status_code=499)  # nobody reads it
        except Exception as error:
            logger.exception("%s %s failed", request.method, request.url.path)
            detail = f"the server failed with {type(error).__name__}; its log says more"
            return v2_refusal(Problem(code="failed", detail=detail))

    return answered


class _Pages:
    def __init__(self, service: V2Service) -> None:
        self._service = service

    @_page
    async def server(self, request: Request) -> Response:
        self._admit(request)
        return _json(self._service.server())

    @_page
    async def live(self, _: Request) -> Response:
        return _json({"live": True})

    @_page
    async def ready(self, _: Request) -> Response:
        is_ready = self._service.front.engine.is_ready
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    @_page
    async def index(self, request: Request) -> Response:
        self._admit(request)
        return _json(self._service.index())

    @_page
    async def metadata(self, request: Request) -> Response:
        self._admit(request)
        return _json(await self._service.metadata(*_model(request)))

    @_page
    async def model_ready(self, request: Request) -> Response:
        self._admit(request)
        model, version = _model(request)
        is_ready = self._service.is_model_ready(model, version)
        return _json({"name": model, "ready": is_ready}, 200 if is_ready else 503)

    @_page
    async def config(self, request: Request) -> Response:
        self._admit(request)
        return _json(await self._service.config(*_model(request)))

    @_page
    async def statistics(self, request: Request) -> Response:
        self._admit(request)
        return _json(self._service.statistics(*_model(request)))

    @_page
    async def unknown(self, request: Request) -> Response:
        path = f"{request.method} {request.url.path[:200]}"
        detail = f"{path}: there is no such address, or it takes another method. Models are at GET /v2/models/NAME"
        raise RefusedError(Problem(code="unknown-address", detail=detail))

    @_page
    async def infer(self, request: Request) -> Response:
        began, (model, _), front = time.perf_counter(), _model(request), self._service.front
        reading = _Reading(request)
        with ExitStack() as held:
            try:
                inference = await self._inference(request, reading, held)
            except RefusedError as error:
                front.count_refusal(model, error.problem.code)
                await reading.linger()
                raise
            except GoneError:
                front.count_refusal(model, CANCELLED)
                raise
            wanted = inference.wanted
            if wanted.timeout_s is not None:  # no less than nothing: the engine says what became of it
                wanted = replace(wanted, timeout_s=max(0.0, wanted.timeout_s - (time.perf_counter() - began)))
            scored = await unless_gone(request.receive, self._service.score(model, inference.batch, wanted))
        body, headers = answer(model, scored, inference)
        return Response(body, headers=headers)

    async def _inference(self, request: Request, receive: Receive, held: ExitStack) -> Inference:
        """Let a request in, read its body and parse it; what is refused here, the engine never sees."""
        (model, version), headers = _model(request), request.headers
        client, front = self._admit(request), self._service.front
        header_length, encoding = headers.get(HEADER_LENGTH), headers.get("content-encoding", "")
        timeout_s, fingerprint = timeout_of(headers), headers.get("darkop-fingerprint")
        most_bytes = await self._service.limit(model, timeout_s) + FRAME_BYTES
        if header_length is None:
            most_bytes = min(most_bytes, MOST_JSON_BYTES)
        length = declared_length(headers.get("content-length"))
        check_length(length or 0, most_bytes)
        held.enter_context(front.bodies.room(most_bytes if encoding or length is None else length))
        body = await read_body(receive, length, most_bytes, front.bodies.patience_s)

        def parsed() -> Inference:
            return parse(decompress(body, encoding, most_bytes), header_length, version)

        inference = await asyncio.to_thread(parsed) if encoding or len(body) > _QUICK_BYTES else parsed()
        front.access.admit_events(client, max(map(len, inference.batch.values()), default=0))
        return replace(inference, wanted=_with_headers(inference, fingerprint, timeout_s))

    def _admit(self, request: Request) -> str:
        return self._service.front.admit(request.scope)


def _with_headers(inference: Inference, fingerprint: str | None, timeout_s: float | None) -> Wanted:
    """What a request wants, with what its headers say."""
    found = inference.wanted
    if fingerprint and found.fingerprint not in (None, fingerprint):
        raise invalid("the header darkop-fingerprint and the request name two fingerprints. Send one")
    times = [given for given in (found.timeout_s, timeout_s) if given is not None]
    return replace(found, fingerprint=found.fingerprint or fingerprint, timeout_s=min(times, default=None))


def _model(request: Request) -> tuple[str, str]:
    return request.path_params.get("model", ""), request.path_params.get("version", "")


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


class _Reading:
    """``receive`` that knows whether the body was read to its end."""

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._is_done = "expect" in request.headers  # a client that waits for leave to send is not asked to

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._is_done = not message.get("more_body", False)  # also where the client went away
        return message

    async def linger(self) -> None:
        """Throw away what still comes of a refused body, for a while."""
        seen = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self._is_done and seen < _LINGER_BYTES:
                    seen += len((await self()).get("body", b""))
