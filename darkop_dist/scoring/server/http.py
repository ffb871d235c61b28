"""The HTTP application: scores, descriptions, health and metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from darkop_dist.scoring.server.access import Access
from darkop_dist.scoring.server.body import Bodies
from darkop_dist.scoring.server.front import Answers, Front, problem_response
from darkop_dist.scoring.server.meter import Meter, NoMeter
from darkop_dist.scoring.server.score_route import ScoreRoute
from darkop_dist.scoring.wire.problem import Problem, RefusedError

logger = logging.getLogger(__name__)

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def http_app(
    engine: Answers,
    access: Access | None = None,
    meter: Meter | None = None,
    *,
    metrics: Callable[[], bytes] | None = None,
    routes: Sequence[BaseRoute] = (),
    bodies: Bodies | None = None,
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """An ASGI application before an engine.

    Args:
        engine: answers.
        access: who may ask, and how much; everybody by default.
        meter: told of the requests that are refused before the engine sees them; the engine tells of the others.
        metrics: gives the text of ``GET /metrics``; without it there is no such address.
        routes: of other protocols.
        bodies: the memory that bodies may take together.
        lifespan: what happens before the first request and after the last.
    """
    front = Front(engine, access or Access(), meter or NoMeter(), bodies or Bodies())
    pages = _Pages(front, metrics)
    own = [
        Route("/v1/models", pages.list_models),
        Route("/v1/models/{model}", pages.show_model),
        Route("/v1/models/{model}/score", ScoreRoute(front), methods=["POST"]),
        Route("/v2/health/live", pages.live),
        Route("/v2/health/ready", pages.ready),
    ]
    if metrics is not None:
        own.append(Route("/metrics", pages.show_metrics))
    handlers: Mapping[Any, Any] = {
        RefusedError: _refused, 404: _unknown_address, 405: _unknown_address, Exception: _broken,
    }  # fmt: skip
    return Starlette(routes=[*own, *routes], exception_handlers=handlers, lifespan=lifespan)


class _Pages:
    """What is answered without a model: descriptions, health, metrics. Health needs no token."""

    def __init__(self, front: Front, metrics: Callable[[], bytes] | None) -> None:
        self._front, self._metrics = front, metrics

    async def list_models(self, request: Request) -> Response:
        self._front.admit(request.scope)
        engine, found = self._front.engine, []
        for name in engine.names:
            try:
                found.append((await engine.describe(name)).model_dump(mode="json"))
            except RefusedError as error:  # one that cannot be loaded hides no other
                logger.warning("model %s is left out of the list: %s", name, error)
        return _json(found)

    async def show_model(self, request: Request) -> Response:
        self._front.admit(request.scope)
        return _json((await self._front.engine.describe(request.path_params["model"])).model_dump(mode="json"))

    async def show_metrics(self, request: Request) -> Response:
        self._front.admit(request.scope)
        return Response(self._metrics() if self._metrics else b"", headers={"content-type": PROMETHEUS})

    async def live(self, _: Request) -> Response:
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        is_ready = self._front.engine.is_ready
        return _json({"ready": is_ready}, 200 if is_ready else 503)


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedError):
        raise error
    return problem_response(error.problem)


async def _unknown_address(request: Request, _: Exception) -> Response:
    detail = (
        f"{request.method} {request.url.path[:200]}: there is no such address, or it takes another method. "
        "Scores are at POST /v1/models/NAME/score, models at GET /v1/models"
    )
    return problem_response(Problem(code="unknown-address", detail=detail))


async def _broken(_: Request, error: Exception) -> Response:
    detail = f"the server failed with {type(error).__name__}; its log says more"
    return problem_response(Problem(code="failed", detail=detail))
