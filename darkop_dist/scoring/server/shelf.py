"""The models of a replica: loaded when they are first asked for, and put away when there is no room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from darkop_dist.errors import DarkopError, nearest_names
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.server.accelerator import Accelerator
from darkop_dist.scoring.server.batching import Batcher
from darkop_dist.scoring.server.meter import Meter
from darkop_dist.scoring.server.request import EngineSettings
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Problem, RefusedError

logger = logging.getLogger(__name__)

Load = Callable[[], Scorer]


@dataclass(frozen=True)
class Held:
    """A model in memory.

    Attributes:
        scorer: the model.
        batcher: what its requests go through.
        description: what clients are told of it.
    """

    scorer: Scorer
    batcher: Batcher
    description: ModelDescription


class Shelf:
    """Holds at most ``most_models`` models; the one that was not asked for longest goes first.

    Args:
        models: by name, what loads each.
        settings: limits.
        accelerator: shared by the models.
        meter: told of every call.
    """

    def __init__(
        self, models: Mapping[str, Load], settings: EngineSettings, accelerator: Accelerator, meter: Meter
    ) -> None:
        self._load, self._settings = dict(models), settings
        self._accelerator, self._meter = accelerator, meter
        self._held: dict[str, Held] = {}
        self._loading: dict[str, asyncio.Task[Held]] = {}
        self._described: dict[str, ModelDescription] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The models that can be asked for."""
        return tuple(self._load)

    @property
    def held(self) -> Mapping[str, Held]:
        """Those in memory, the one that was not asked for longest first."""
        return self._held

    def check_name(self, model: str) -> None:
        """Check that there is a model of a name.

        Raises:
            RefusedError: there is none.
        """
        if model not in self._load:
            nearest = nearest_names(model, self._load)
            hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there is {', '.join(self._load) or 'none'}"
            detail = f"there is no model {model[:100]!r}; {hint}"
            raise RefusedError(Problem(code="unknown-model", detail=detail, values={"models": list(self._load)}))

    async def get(self, model: str, timeout_s: float | None = None) -> Held:
        """A model, loaded if it is not in memory; whoever asks meanwhile waits for the same load.

        Raises:
            RefusedError: there is no such model, it cannot be loaded, or that took longer than ``timeout_s``.
        """
        self.check_name(model)
        if (held := self._held.pop(model, None)) is not None:
            self._held[model] = held  # the last one of the row was asked for last
            return held
        task = self._loading.get(model)
        if task is None or task.done():
            task = self._loading[model] = asyncio.create_task(self._fetch(model, [*self._loading.values()]))
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if not done:
            detail = f"model {model} is still being loaded after {timeout_s:.3g} s, longer than its client waits"
            raise RefusedError(Problem(code="deadline", detail=detail))
        return task.result()

    async def describe(self, model: str) -> ModelDescription:
        """What clients are told of a model; one that was put away is not loaded again for it.

        Raises:
            RefusedError: there is no such model, or it cannot be loaded.
        """
        self.check_name(model)
        return self._described.get(model) or (await self.get(model)).description

    async def drain(self) -> None:
        """Wait until everything that was taken on is answered."""
        if loads := [task for task in self._loading.values() if not task.done()]:
            await asyncio.wait(loads)
        for held in list(self._held.values()):
            await held.batcher.drain()

    def close(self, error: Exception) -> None:
        """Refuse what waits and let go of the models."""
        for task in self._loading.values():
            task.cancel()
        for held in self._held.values():
            held.batcher.close(error)
        self._held.clear()

    async def _fetch(self, model: str, earlier: list[asyncio.Task[Held]]) -> Held:
        """Make room and load, one model after the other: two loads at once would exceed the room."""
        try:
            if earlier:
                await asyncio.wait(earlier)
            while len(self._held) >= self._settings.most_models:
                await self._put_away(next(iter(self._held)))
            loop = asyncio.get_running_loop()
            scorer = await loop.run_in_executor(self._accelerator.side_threads, self._load[model])
            await self._accelerator.take_turn()
            try:
                await loop.run_in_executor(self._accelerator.model_thread, _warm_up, model, scorer)
            finally:
                self._accelerator.give_back_turn()
            held = self._held[model] = self._hold(model, scorer)
            self._described[model] = held.description
        except RefusedError:
            raise
        except Exception as error:
            if not isinstance(error, DarkopError):
                logger.exception("model %s cannot be loaded", model)
            detail = f"model {model} cannot be loaded: {error}"
            raise RefusedError(Problem(code="failed", detail=detail)) from error
        finally:
            del self._loading[model]
        return held

    async def _put_away(self, model: str) -> None:
        held = self._held.pop(model)  # from now on, whoever asks for it waits for it to be loaded again
        await held.batcher.drain()
        held.batcher.close(RefusedError(Problem(code="busy", detail=f"model {model} made room", retry_after_s=0.1)))
        logger.info("model %s was put away to make room", model)

    def _hold(self, model: str, scorer: Scorer) -> Held:
        settings = self._settings
        description = ModelDescription.of(
            model,
            scorer,
            best_events=settings.best_events,
            most_events=settings.most_events,
            most_bytes=settings.most_bytes,
            version=metadata.version("darkop-dist"),
        )
        return Held(scorer, Batcher(model, scorer, settings, self._accelerator, self._meter), description)


def _warm_up(model: str, scorer: Scorer) -> None:
    """Let a model score one event of zeros, so that the first client does not pay for what is made once."""
    try:
        scorer.score({spec.name: np.zeros((1, *spec.shape), dtype=spec.dtype) for spec in scorer.inputs})
    except DarkopError as error:
        logger.warning("model %s does not score an event of zeros: %s", model, error)
