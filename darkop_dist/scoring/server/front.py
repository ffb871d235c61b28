"""What every HTTP front does with a request: who asks, whether the client still waits, and what it is told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from starlette.datastructures import Headers
from starlette.responses import Response

from darkop_dist.scoring.server.access import Access
from darkop_dist.scoring.server.body import Bodies, GoneError, Receive, until_gone
from darkop_dist.scoring.server.meter import UNKNOWN, Meter, NoMeter, RequestSeen
from darkop_dist.scoring.server.request import Scored, ScoreRequest
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import CONTENT_TYPE, Problem, RefusedError

T = TypeVar("T")


class Answers(Protocol):
    """What a front needs of an engine, or of something that stands before several."""

    @property
    def names(self) -> tuple[str, ...]:
        """The models that can be asked for."""
        ...

    @property
    def is_ready(self) -> bool:
        """New requests are taken on."""
        ...

    async def describe(self, model: str) -> ModelDescription:
        """What a client must know of a model."""
        ...

    async def score(self, request: ScoreRequest) -> Scored:
        """Score a request."""
        ...


@dataclass(frozen=True)
class Front:
    """An engine and what stands before it.

    Attributes:
        engine: answers.
        access: who may ask, and how much; everybody by default.
        meter: told of the requests that are refused before the engine sees them.
        bodies: the memory that bodies may take together.
    """

    engine: Answers
    access: Access = field(default_factory=Access)
    meter: Meter = field(default_factory=NoMeter)
    bodies: Bodies = field(default_factory=Bodies)

    def admit(self, scope: Mapping[str, Any]) -> str:
        """Let a request in, before its body is read.

        Returns:
            Who asks, for ``Access.admit_events``.

        Raises:
            RefusedError: the token is wrong, or the client asks too often.
        """
        peer = scope.get("client") or ("unknown", 0)
        return self.access.admit(Headers(raw=scope["headers"]).get("authorization"), str(peer[0]))

    def count_refusal(self, model: str, outcome: str) -> None:
        """Count a request that never reached the engine."""
        known = model if model in self.engine.names else UNKNOWN
        self.meter.observe_request(RequestSeen(known, outcome))


def timeout_of(headers: Headers) -> float | None:
    """How long the client still waits, from its header.

    Raises:
        RefusedError: the header holds no time.
    """
    text = headers.get("darkop-timeout-s")
    if text is None:
        return None
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = math.nan
    if not 0 < timeout_s < math.inf:
        detail = f"the header darkop-timeout-s is {text[:40]!r}. Send seconds above zero, or leave it out"
        raise RefusedError(Problem(code="invalid-input", detail=detail))
    return timeout_s


def problem_response(problem: Problem) -> Response:
    """A problem as a response; seconds are rounded up in its header, and exact in its body."""
    headers = {}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(problem.retry_after_s))
    if problem.code == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    return Response(problem.model_dump_json(), problem.status, headers, media_type=CONTENT_TYPE)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of work, which is given up as soon as the client goes away.

    Args:
        receive: as ASGI gives it; the body was read.
        work: what the client waits for.

    Raises:
        GoneError: the client went away.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise GoneError
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
