"""Dynamic batching: requests that wait are joined, scored in one call, and answered each with its own scores.

When to wait for more is decided as follows. While a model computes, requests wait anyway, and are joined meanwhile.
When it has become free, a batch that is not full waits for others only if others are expected (see ``Company``), and
then until as many have come, or for ``wait_s``, or for the fixed cost of a call as it was measured (see ``Pace``):
waiting longer than what joining saves cannot pay. So a lone client's request on an idle engine goes to the model at
once, and as it came, uncopied.
"""

from __future__ import annotations

import asyncio
import logging
import time

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import DarkopError, InputValueError, RunError
from darkop_dist.scoring.contract import Batch, Scorer
from darkop_dist.scoring.server.accelerator import Accelerator
from darkop_dist.scoring.server.line import Line, Waiting, join
from darkop_dist.scoring.server.meter import BatchSeen, Meter
from darkop_dist.scoring.server.pace import Company, Pace
from darkop_dist.scoring.server.request import EngineSettings, Scored
from darkop_dist.scoring.wire.problem import Problem, RefusedError

logger = logging.getLogger(__name__)

LONGEST_BUSY_S = 3.0
"""A place is free when the next batch begins, long before all is done: nobody is sent away for longer."""

Joined = tuple[list[Waiting], Batch]


class Batcher:
    """Joins and scores the requests for one model; for one event loop at a time.

    Args:
        name: the model's.
        scorer: the model.
        settings: limits.
        accelerator: shared with the other models of the replica.
        meter: told of every call.
    """

    def __init__(
        self, name: str, scorer: Scorer, settings: EngineSettings, accelerator: Accelerator, meter: Meter
    ) -> None:
        self._name, self._scorer, self._settings = name, scorer, settings
        self._accelerator, self._meter = accelerator, meter
        self._line = Line(settings.best_events, settings.most_bytes)
        self._pace, self._company = Pace(), Company()
        self._running: list[Waiting] = []
        self._news: asyncio.Future[None] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._call: asyncio.Task[None] | None = None
        accelerator.backlogs[name] = self.backlog_s

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._line)

    @property
    def running(self) -> int:
        """Requests that the model works on."""
        return len(self._running)

    def backlog_s(self) -> float | None:
        """Seconds until all that was taken on is done; None if the model was never measured."""
        return self._pace.seconds_for(self._line.events + sum(one.events for one in self._running))

    async def score(self, batch: Batch, events: int, timeout_s: float | None) -> Scored:
        """Score a batch that was checked, together with others.

        Args:
            batch: arrays by name.
            events: in the batch, at least one.
            timeout_s: how long its caller waits for the model to begin; None for ever.

        Raises:
            RefusedError: too many wait already, the time passed, or the model failed.
        """
        if len(self._line) >= self._settings.most_waiting:
            after = min(self._accelerator.retry_after_s(), LONGEST_BUSY_S)
            detail = f"{len(self._line)} requests wait for model {self._name}, no more may. Try again in {after:.3g} s"
            raise RefusedError(Problem(code="busy", detail=detail, retry_after_s=after))
        loop = asyncio.get_running_loop()
        waiting = Waiting(batch, events, time.perf_counter(), loop.create_future())
        self._line.append(waiting)
        self._company.see(len(self._line) + len(self._running))
        timer = None if timeout_s is None else loop.call_later(max(timeout_s, 0.0), self._expire, waiting, timeout_s)
        self._wake(loop)
        try:
            return await waiting.answer
        finally:
            self._line.leave(waiting)
            if timer is not None:
                timer.cancel()

    async def drain(self) -> None:
        """Wait until everything that was taken on is answered."""
        while tasks := {task for task in (self._worker, self._call) if task is not None and not task.done()}:
            await asyncio.wait(tasks)

    def close(self, error: Exception) -> None:
        """Refuse what waits, and let the model be forgotten."""
        self._refuse_all(error)
        self._accelerator.backlogs.pop(self._name, None)

    def _refuse_all(self, error: Exception) -> None:
        while taken := self._line.take():
            for one in taken:
                one.refuse(error)

    def _expire(self, waiting: Waiting, timeout_s: float) -> None:
        if self._line.leave(waiting):
            detail = f"the request waited {timeout_s:.2g} s for model {self._name}, longer than its client does"
            waiting.refuse(RefusedError(Problem(code="deadline", detail=detail)))

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the line looked at; a request that finds nobody at work goes to the model by the shortest way."""
        if self._worker is None or self._worker.done():
            if not self._accelerator.is_taken and self._company.expected == 1 and (taken := self._line.take()):
                self._accelerator.take_free_turn()
                self._running = taken
                self._call = loop.create_task(self._score(taken, None))
                return
            self._worker = loop.create_task(self._work())
        elif self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _work(self) -> None:
        """Hand one batch after the other to the model, until nobody waits."""
        try:
            while len(self._line):
                ahead = await self._await_turn()
                try:
                    await self._await_company()
                    taken = self._line.take()
                except BaseException:
                    self._accelerator.give_back_turn()
                    raise
                if not taken:
                    self._accelerator.give_back_turn()
                    continue
                batch = ahead[1] if ahead is not None and ahead[0] == taken else None  # unless someone has gone
                self._running = taken
                self._call = asyncio.create_task(self._score(taken, batch))
        except Exception as error:
            logger.exception("model %s: the requests that wait are refused", self._name)
            self._refuse_all(_refusal(self._name, error))

    async def _await_company(self) -> None:
        """Keep the model free for requests that may soon come, as long as that can pay and no other model wants it."""
        longest = min(self._settings.wait_s, self._pace.fixed_s)
        if longest <= 0 or self._accelerator.is_wanted or self._line.is_full:
            return
        if not self._company.is_awaited(here := len(self._line)):
            return
        until = time.perf_counter() + longest
        while not self._line.is_full and 0 < len(self._line) < self._company.expected:
            left = until - time.perf_counter()
            if left <= 0:
                break
            self._news = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._news}, timeout=left)
        self._company.learn(came=len(self._line) > here)

    async def _await_turn(self) -> Joined | None:
        """Take the turn; a batch that is full before is joined meanwhile."""
        if not self._accelerator.is_taken:
            await self._accelerator.take_turn()
            return None
        loop = asyncio.get_running_loop()
        turn = loop.create_task(self._accelerator.take_turn())
        joined = None
        try:
            while not turn.done() and not (full := self._line.is_full):
                self._news = loop.create_future()
                await asyncio.wait({turn, self._news}, return_when=asyncio.FIRST_COMPLETED)
            if not turn.done() and full and len(parts := self._line.next_batch()) > 1:
                batches = [one.batch for one in parts]
                joined = parts, await loop.run_in_executor(self._accelerator.side_threads, join, batches)
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._accelerator.give_back_turn()
            turn.cancel()
            raise
        return joined

    async def _score(self, taken: list[Waiting], batch: Batch | None) -> None:
        """Score requests with one call; if it fails, each with its own, so that only the guilty one is refused."""
        try:
            try:
                await self._score_joined(taken, batch)
            except Exception as error:  # noqa: BLE001  # models raise what they like; the client is told
                if len(taken) == 1:
                    taken[0].refuse(_refusal(self._name, error))
                    return
                for one in taken:
                    if one.answer.done():
                        continue
                    try:
                        await self._score_joined([one], None)
                    except Exception as own:  # noqa: BLE001
                        one.refuse(_refusal(self._name, own))
        finally:
            for one in taken:  # only where the loop is shut down
                one.answer.cancel()
            self._running = []
            self._company.turn_page(len(self._line))
            self._accelerator.give_back_turn()

    async def _score_joined(self, taken: list[Waiting], batch: Batch | None) -> None:
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        batches = [one.batch for one in taken] if batch is None else [batch]
        events = sum(one.events for one in taken)
        scores, seconds = await loop.run_in_executor(
            self._accelerator.model_thread, _compute, self._scorer, batches, events
        )
        self._pace.observe(events, seconds)
        self._meter.observe_batch(BatchSeen(self._name, len(taken), events, seconds))
        first = 0
        for one in taken:
            own = scores[first : first + one.events]
            first += one.events
            if not one.answer.done():
                one.answer.set_result(Scored(own, self._scorer.fingerprint, began - one.came, seconds))


def _compute(scorer: Scorer, batches: list[Batch], events: int) -> tuple[npt.NDArray[np.float32], float]:
    """Scores of joined batches and the seconds that they took, on the model's thread."""
    began = time.perf_counter()
    scores = scorer.score(join(batches))
    if scores.shape != (events,) or scores.dtype != np.float32:
        raise RunError(f"the model gave {scores.dtype} of shape {scores.shape} for {events} events")
    return scores, time.perf_counter() - began


def _refusal(model: str, error: Exception) -> RefusedError:
    """What the client is told of a failure."""
    if isinstance(error, InputValueError):
        return RefusedError(Problem(code="invalid-input", detail=str(error)))
    if not isinstance(error, DarkopError):
        logger.error("model %s failed", model, exc_info=error)
        return RefusedError(Problem(code="failed", detail=f"model {model} failed with {type(error).__name__}: {error}"))
    return RefusedError(Problem(code="failed", detail=str(error)))
