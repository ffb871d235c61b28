"""The engine: the models of a replica, and what becomes of a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from darkop_dist.errors import InputValueError
from darkop_dist.scoring.check import check_batch
from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.server.accelerator import Accelerator
from darkop_dist.scoring.server.meter import CANCELLED, SCORED, UNKNOWN, EngineStats, Meter, NoMeter, RequestSeen
from darkop_dist.scoring.server.request import EngineSettings, Scored, ScoreRequest
from darkop_dist.scoring.server.shelf import Held, Load, Shelf
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Problem, RefusedError

__all__ = ["Engine", "EngineSettings", "Load", "ScoreRequest", "Scored"]

DRAINING_RETRY_S = 1.0
"""When a client of a draining replica may come again: by then somebody else answers at its address."""

_QUICK_BYTES = 256 * 1024
"""Batches up to this size are checked on the event loop, in less time than a thread takes to begin."""


class Engine:
    """Scores requests with the models of one replica; for one event loop at a time.

    Args:
        models: by name, what loads each; called in a thread when the model is first asked for.
        settings: limits.
        meter: told of every request and of every call of a model.
    """

    def __init__(
        self, models: Mapping[str, Load], settings: EngineSettings | None = None, meter: Meter | None = None
    ) -> None:
        self._settings, self._meter = settings or EngineSettings(), meter or NoMeter()
        self._accelerator = Accelerator()
        self._shelf = Shelf(models, self._settings, self._accelerator, self._meter)
        self._draining = False
        self._open = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The models that can be asked for."""
        return self._shelf.names

    @property
    def settings(self) -> EngineSettings:
        """The limits."""
        return self._settings

    @property
    def is_ready(self) -> bool:
        """New requests are taken on."""
        return not self._draining

    async def start(self, *models: str) -> None:
        """Load models before the first client asks for them.

        Args:
            models: their names; by default as many as are held in memory, in their order.

        Raises:
            RefusedError: there is no such model, or it cannot be loaded.
        """
        for model in models or self.names[: self._settings.most_models]:
            await self._shelf.get(model)

    async def drain(self) -> None:
        """Refuse new requests, and wait until those that were taken on are answered."""
        self._draining = True
        await self._shelf.drain()
        while self._open:  # batches that are still checked, and callers that are still told
            await asyncio.sleep(0.001)
            await self._shelf.drain()

    async def close(self) -> None:
        """Refuse everything, also what waits, and let go of models and threads."""
        self._draining = True
        self._shelf.close(self._drained())
        self._accelerator.close()

    def stats(self) -> EngineStats:
        """The engine at this moment; other threads may ask too."""
        held = dict(self._shelf.held)
        return EngineStats(
            waiting={name: one.batcher.waiting for name, one in held.items()},
            loaded=tuple(held),
            running=sum(one.batcher.running for one in held.values()),
            is_draining=self._draining,
        )

    async def describe(self, model: str) -> ModelDescription:
        """What a client must know of a model.

        Raises:
            RefusedError: there is no such model, or it cannot be loaded.
        """
        return await self._shelf.describe(model)

    async def score(self, request: ScoreRequest) -> Scored:
        """Score a request.

        Raises:
            RefusedError: with the reason as a problem.
        """
        name = request.model if request.model in self.names else UNKNOWN
        seen = RequestSeen(name, CANCELLED, size=_size(request.batch))
        self._open += 1
        try:
            scored = await self._score(request)
            events = len(scored.scores)
            seen = replace(seen, outcome=SCORED, events=events, queue_s=scored.queue_s, compute_s=scored.compute_s)
        except RefusedError as error:
            seen = replace(seen, outcome=error.problem.code)
            raise
        finally:
            self._open -= 1
            self._meter.observe_request(seen)
        return scored

    async def _score(self, request: ScoreRequest) -> Scored:
        if self._draining:
            raise self._drained()
        came = time.perf_counter()
        held = await self._shelf.get(request.model, request.timeout_s)
        _check_fingerprint(request, held.scorer.fingerprint)
        events = await self._check(request.batch, held)
        if not events:
            return Scored(np.empty(0, dtype=np.float32), held.scorer.fingerprint, 0.0, 0.0)
        left = None if request.timeout_s is None else request.timeout_s - (time.perf_counter() - came)
        if self._shelf.held.get(request.model) is not held:  # it was put away while the batch was checked
            held = await self._shelf.get(request.model, left)
            _check_fingerprint(request, held.scorer.fingerprint)
        batch = {
            spec.name: request.batch[spec.name] for spec in held.scorer.inputs
        }  # requests that are joined look alike
        if left is not None and left <= 0:
            detail = "the time for which the client waits has passed before the request could wait for its model"
            raise RefusedError(Problem(code="deadline", detail=detail))
        return await held.batcher.score(batch, events, left)

    async def _check(self, batch: Batch, held: Held) -> int:
        """Check limits and inputs; the number of events."""
        size, first = _size(batch), held.scorer.inputs[0].name
        array = batch.get(first)
        events = len(array) if isinstance(array, np.ndarray) and array.ndim else 0
        check_limits(events, size, self._settings)
        try:
            if size <= _QUICK_BYTES:
                return check_batch(batch, held.scorer.inputs)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._accelerator.side_threads, check_batch, batch, held.scorer.inputs)
        except InputValueError as error:
            raise RefusedError(Problem(code="invalid-input", detail=str(error))) from error

    def _drained(self) -> RefusedError:
        detail = "this replica is being stopped and takes no new requests. Try again, another one will answer"
        return RefusedError(Problem(code="draining", detail=detail, retry_after_s=DRAINING_RETRY_S))


def check_limits(events: int, size: int, settings: EngineSettings) -> None:
    """Check the size of a request.

    Args:
        events: in the request.
        size: its bytes.
        settings: limits.

    Raises:
        RefusedError: it is too large; the problem's values hold the limits.
    """
    limits = {"most_events": settings.most_events, "most_bytes": settings.most_bytes}
    for found, most, unit in ((events, settings.most_events, "events"), (size, settings.most_bytes, "bytes")):
        if found > most:
            detail = f"the request holds {found} {unit}, more than the {most} that are allowed. Send it in pieces"
            raise RefusedError(Problem(code="too-large", detail=detail, values=dict(limits)))


def _check_fingerprint(request: ScoreRequest, found: str) -> None:
    expected = request.fingerprint
    if expected not in (None, found):
        detail = f"model {request.model} has the fingerprint {found}, the run began with {expected}"
        raise RefusedError(Problem(code="fingerprint", detail=detail, values={"expected": expected, "found": found}))


def _size(batch: Batch) -> int:
    return sum(getattr(array, "nbytes", 0) for array in batch.values()) if isinstance(batch, Mapping) else 0
