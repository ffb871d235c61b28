"""What the HTTP and the gRPC side of the Open Inference Protocol have in common."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata
from typing import Any

from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.server.front import Front
from darkop_dist.scoring.server.request import Scored, ScoreRequest
from darkop_dist.scoring.server.v2_model import check_fingerprint, model_config, model_metadata, server_metadata
from darkop_dist.scoring.server.v2_statistics import Statistics
from darkop_dist.scoring.server.v2_tensors import FINGERPRINT, VERSION, Wanted, fingerprint_of
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Problem, RefusedError


class V2Service:
    """Answers as JSON says it; the two sides translate.

    Args:
        front: the engine and what stands before it.
    """

    def __init__(self, front: Front) -> None:
        self.front = front
        self._statistics = Statistics()

    def server(self) -> dict[str, Any]:
        """What the server is."""
        return server_metadata(metadata.version("darkop-dist"))

    def index(self) -> list[dict[str, str]]:
        """The models that can be asked for; those that are not in memory are loaded when they are."""
        is_ready = self.front.engine.is_ready
        state, reason = ("READY", "") if is_ready else ("UNAVAILABLE", "this replica is being stopped")
        names = self.front.engine.names
        return [{"name": name, "version": VERSION, "state": state, "reason": reason} for name in names]

    def is_model_ready(self, model: str, version: str) -> bool:
        """Whether requests for a model are taken on; loads nothing.

        Raises:
            RefusedError: there is no such model or version.
        """
        fingerprint_of(version)
        self._check_name(model)
        return self.front.engine.is_ready

    async def metadata(self, model: str, version: str) -> dict[str, Any]:
        """A model's inputs and output.

        Raises:
            RefusedError: there is no such model or version, or it cannot be loaded.
        """
        return model_metadata(await self._describe(model, version))

    async def config(self, model: str, version: str) -> dict[str, Any]:
        """A model's configuration as Triton writes it.

        Raises:
            RefusedError: there is no such model or version, or it cannot be loaded.
        """
        return model_config(await self._describe(model, version))

    def statistics(self, model: str, version: str) -> dict[str, Any]:
        """What became of the requests for a model, or for all of them if it is empty.

        Raises:
            RefusedError: there is no such model or version.
        """
        fingerprint_of(version)
        if model:
            self._check_name(model)
        return self._statistics.as_json([model] if model else self.front.engine.names)

    async def limit(self, model: str, timeout_s: float | None) -> int:
        """The most bytes that the inputs of one request for a model may hold.

        Raises:
            RefusedError: there is no such model, it cannot be loaded, or that took longer than ``timeout_s``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return (await self.front.engine.describe(model)).most_bytes
        except TimeoutError as error:
            detail = f"model {model} is still being loaded after {timeout_s:.3g} s, longer than its client waits"
            raise RefusedError(Problem(code="deadline", detail=detail)) from error

    async def score(self, model: str, batch: Batch, wanted: Wanted) -> Scored:
        """Score a batch.

        Raises:
            RefusedError: with the reason as a problem.
        """
        came, scored = time.perf_counter(), None
        try:
            scored = await self.front.engine.score(ScoreRequest(model, batch, wanted.fingerprint, wanted.timeout_s))
        finally:
            if model in self.front.engine.names:
                self._statistics.count(model, scored, time.perf_counter() - came)
        return scored

    async def _describe(self, model: str, version: str) -> ModelDescription:
        expected = fingerprint_of(version)
        description = await self.front.engine.describe(model)
        check_fingerprint(description, expected)
        return description

    def _check_name(self, model: str) -> None:
        names = self.front.engine.names
        if model not in names:
            detail = f"there is no model {model[:100]!r}; there is {', '.join(names) or 'none'}"
            raise RefusedError(Problem(code="unknown-model", detail=detail))


def answer_parameters(scored: Scored) -> dict[str, str | float]:
    """What an answer says besides its scores."""
    return {
        FINGERPRINT: scored.fingerprint,
        "darkop_queue_s": round(scored.queue_s, 6),
        "darkop_compute_s": round(scored.compute_s, 6),
    }
