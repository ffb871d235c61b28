"""The engine of a replica, and the one that takes its place when the pool is given other checkpoints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial

from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.server import Engine, EngineSettings, Scored, ScoreRequest
from darkop_dist.scoring.server.meter import EngineStats, Meter
from darkop_dist.scoring.wire.description import ModelDescription

logger = logging.getLogger(__name__)


class Succession:
    """Answers requests with the engine of the moment; what a front asks.

    Args:
        settings: limits of every engine.
        meter: told of every request and of every call of a model.
        load: loads the model of a fingerprint.
        hold: told of every model that was asked for, and is in memory.
    """

    def __init__(
        self,
        settings: EngineSettings,
        meter: Meter,
        load: Callable[[str], Scorer],
        hold: Callable[[str], Awaitable[None]],
    ) -> None:
        self._settings, self._meter, self._load, self._hold = settings, meter, load, hold
        self._engine = Engine({}, settings, meter)
        self._fingerprints: dict[str, str] = {}
        self._behind: set[asyncio.Task[None]] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The models that can be asked for."""
        return self._engine.names

    @property
    def is_ready(self) -> bool:
        """New requests are taken on."""
        return self._engine.is_ready and bool(self.names)

    def stats(self) -> EngineStats:
        """The engine at this moment."""
        return self._engine.stats()

    async def describe(self, model: str) -> ModelDescription:
        """What a client must know of a model.

        Raises:
            RefusedError: there is no such model, or it cannot be loaded.
        """
        return await self._engine.describe(model)

    async def score(self, request: ScoreRequest) -> Scored:
        """Score a request.

        Raises:
            RefusedError: with the reason as a problem.
        """
        scored = await self._engine.score(request)
        if request.model in self.names:
            await self._hold(request.model)
        return scored

    async def take_up(self, fingerprints: Mapping[str, str]) -> None:
        """Serve other models from now on.

        They are loaded beside the old ones, as many as are held in memory. Then the new engine takes the place of the
        old one, which answers what it has taken on before it goes: a request is answered by either, and by none twice.

        Args:
            fingerprints: by the name under which each is served.

        Raises:
            RefusedError: a model cannot be loaded; the old ones stay.
        """
        if dict(fingerprints) == self._fingerprints:
            return
        loads = {name: partial(self._load, fingerprint) for name, fingerprint in fingerprints.items()}
        fresh = Engine(loads, self._settings, self._meter)
        try:
            await fresh.start()
        except BaseException:
            await fresh.close()
            raise
        old, self._engine, self._fingerprints = self._engine, fresh, dict(fingerprints)
        logger.info("models: %s", ", ".join(f"{name} {one[:12]}" for name, one in fingerprints.items()))
        self._later(_retire(old))
        for name in fresh.stats().loaded:
            await self._hold(name)

    def refuse(self) -> None:
        """Refuse new requests from now on; those that were taken on are answered."""
        self._later(self._engine.drain())

    async def close(self) -> None:
        """Refuse everything and let go of models and threads."""
        for task in self._behind:
            task.cancel()
        await self._engine.close()

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._behind.add(task)  # the loop itself keeps no reference
        task.add_done_callback(self._behind.discard)


async def _retire(engine: Engine) -> None:
    await engine.drain()
    await engine.close()
