"""The requests that wait for a model, in the order in which they came."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np

from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.server.request import Scored


@dataclass(eq=False)
class Waiting:
    """A request that waits.

    Attributes:
        batch: arrays by name, checked.
        events: in the batch.
        came: when, by ``time.perf_counter``.
        answer: what its caller waits for; done early if the caller has gone.
        size: bytes of the batch.
    """

    batch: Batch
    events: int
    came: float
    answer: asyncio.Future[Scored]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(array.nbytes for array in self.batch.values())

    def refuse(self, error: Exception) -> None:
        """Answer with an error, unless nobody waits for it."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Line:
    """Requests in the order in which they came.

    Args:
        best_events: events up to which requests are joined.
        most_bytes: bytes up to which they are joined.
    """

    def __init__(self, best_events: int, most_bytes: int) -> None:
        self._best_events, self._most_bytes = best_events, most_bytes
        self._waiting: dict[Waiting, None] = {}  # ordered, and quick to leave from the middle

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def events(self) -> int:
        """Events of all that wait."""
        return sum(one.events for one in self._waiting)

    @property
    def oldest(self) -> float:
        """When the first one came; somebody waits."""
        return next(iter(self._waiting)).came

    @property
    def is_full(self) -> bool:
        """The next batch cannot grow by whatever else may come; those who have gone leave the line."""
        joined = self.next_batch()
        return len(joined) < len(self._waiting) or self._fills(sum(one.events for one in joined), joined)

    def append(self, waiting: Waiting) -> None:
        """Let a request wait behind the others."""
        self._waiting[waiting] = None

    def leave(self, waiting: Waiting) -> bool:
        """Take a request out of the line; false if it stands there no more."""
        return self._waiting.pop(waiting, waiting) is None

    def next_batch(self) -> list[Waiting]:
        """The first requests that fit into one batch; the first one always does."""
        for gone in [one for one in self._waiting if one.answer.done()]:
            del self._waiting[gone]
        joined: list[Waiting] = []
        events, size = 0, 0
        for one in self._waiting:
            events, size = events + one.events, size + one.size
            if joined and (events > self._best_events or size > self._most_bytes):
                break
            joined.append(one)
        return joined

    def take(self) -> list[Waiting]:
        """Let the next batch leave the line."""
        joined = self.next_batch()
        for one in joined:
            del self._waiting[one]
        return joined

    def _fills(self, events: int, joined: list[Waiting]) -> bool:
        return events >= self._best_events or sum(one.size for one in joined) >= self._most_bytes


def join(batches: list[Batch]) -> Batch:
    """Batches of the same inputs as one; a single one is given back as it is, without a copy."""
    if len(batches) == 1:
        return batches[0]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
