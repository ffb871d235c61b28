"""A replica: what Serve runs, one process with the models, behind HTTP, gRPC and Ray handles."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import RunError
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.pool import messages as _messages  # noqa: F401  # before the first message comes
from darkop_dist.scoring.pool.binding import bind_replica
from darkop_dist.scoring.pool.meter import BothMeters, RayMeter
from darkop_dist.scoring.pool.settings import PoolSettings
from darkop_dist.scoring.pool.store import get_checkpoint
from darkop_dist.scoring.pool.succession import Succession
from darkop_dist.scoring.server import ScoreRequest
from darkop_dist.scoring.server.access import Access
from darkop_dist.scoring.server.front import Front
from darkop_dist.scoring.server.http import http_app
from darkop_dist.scoring.server.metrics import PrometheusMeter
from darkop_dist.scoring.server.v2_grpc import InferenceServicer
from darkop_dist.scoring.server.v2_http import v2_routes
from darkop_dist.scoring.server.v2_service import V2Service
from darkop_dist.scoring.wire.problem import RefusedError

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
"""How often Ray's gauges are set."""


class Replica(InferenceServicer):
    """One process with the models; abstract in ``_hold``, which tells Serve what is in its memory.

    Args:
        settings: of the pool, as JSON.
    """

    def __init__(self, settings: str) -> None:
        bind_replica()
        self._settings = PoolSettings.model_validate_json(settings)
        self._shown, self._ray_meter = PrometheusMeter(), RayMeter()
        meter = BothMeters(self._shown, self._ray_meter)
        self._models = Succession(self._settings.engine, meter, load_model, self._hold)
        self._front = Front(self._models, Access(self._settings.access), meter)
        self._v2 = V2Service(self._front)
        self._shown.watch(self._models.stats)
        self._looking: asyncio.Task[None] | None = None

    @property
    def v2(self) -> V2Service:
        """What answers the Open Inference Protocol."""
        return self._v2

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Serve calls it at the start, and at every update.

        Args:
            config: ``models``, fingerprint by name; and ``draining``, refuse new requests.
        """
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        await self._models.take_up(config["models"])
        if config["draining"]:
            self._models.refuse()

    async def score(
        self,
        model: str,
        arrays: dict[str, npt.NDArray[np.float32]],
        fingerprint: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Score a batch for a Ray handle.

        Args:
            model: name of the model.
            arrays: by input name; the first axis counts the events.
            fingerprint: what the client's run began with.
            timeout_s: how long the client waits.

        Returns:
            ``scores``, ``fingerprint``, ``queue_s`` and ``compute_s``; or ``problem``, a ``Problem`` as plain values.
        """
        try:
            scored = await self._models.score(ScoreRequest(model, arrays, fingerprint, timeout_s))
        except RefusedError as error:
            return {"problem": error.problem.model_dump()}
        return {
            "scores": scored.scores,
            "fingerprint": scored.fingerprint,
            "queue_s": scored.queue_s,
            "compute_s": scored.compute_s,
        }

    async def describe(self, model: str) -> dict[str, Any]:
        """A model for a Ray handle: a ``ModelDescription`` as plain values, or ``problem``."""
        try:
            return (await self._models.describe(model)).model_dump(mode="json")
        except RefusedError as error:
            return {"problem": error.problem.model_dump()}

    async def models(self) -> list[dict[str, Any]]:
        """Every model for a Ray handle, as ``describe`` has it."""
        return [await self.describe(name) for name in self._models.names]

    async def check_health(self) -> None:
        """Serve replaces a replica for which this fails.

        Raises:
            RunError: it holds no models.
        """
        if not self._models.names:
            raise RunError("the replica holds no models")

    def build_app(self) -> Any:
        """The ASGI application that answers HTTP."""
        front = self._front
        return http_app(
            self._models,
            front.access,
            front.meter,
            metrics=self._shown.text,
            routes=v2_routes(front),
            bodies=front.bodies,
        )

    @abstractmethod
    async def _hold(self, model: str) -> None:
        """Tell Serve that a model is in memory."""

    async def _look(self) -> None:
        while True:
            self._ray_meter.observe_engine(self._models.stats())
            await asyncio.sleep(_LOOK_S)

    async def __del__(self) -> None:
        """Serve calls it when a replica has answered what it had taken on, and is to go."""
        if self._looking is not None:
            self._looking.cancel()
        await self._models.close()


def load_model(fingerprint: str) -> Scorer:
    """The model of a checkpoint that the cluster holds, verified.

    Raises:
        RunError: the cluster does not hold it.
        FingerprintError: the weights or the architecture are not those of the card.
    """
    from darkop_dist.scoring.local import LocalScorer

    return LocalScorer(get_checkpoint(fingerprint))
