"""How much each client may ask for in a time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CLIENTS = 4096
"""Clients that are remembered; who was not seen for longest is forgotten, and begins with a full bucket again."""


class RateLimit:
    """A bucket of tokens for each client, which fills at a constant rate.

    What is larger than the bucket is let through when the bucket is full, and leaves a debt behind; so the mean rate
    holds for requests of every size.

    Args:
        per_s: tokens that come back in a second.
        burst_s: seconds in which an empty bucket fills.
        clock: seconds, never going back.
    """

    def __init__(self, per_s: float, burst_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._size, self._clock = per_s, max(1.0, per_s * burst_s), clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, amount: float = 1.0) -> float:
        """Take tokens.

        Returns:
            0 if they were taken; otherwise the seconds until they can be, and nothing was taken.

        >>> times = iter([0.0, 0.0, 1.0])
        >>> limit = RateLimit(per_s=10.0, burst_s=1.0, clock=lambda: next(times))
        >>> limit.take("me", 15.0), limit.take("me", 1.0), limit.take("me", 1.0)
        (0.0, 0.6, 0.0)
        """
        now = self._clock()
        level, seen = self._levels.pop(client, (self._size, now))
        level = min(self._size, level + (now - seen) * self._per_s)
        missing = min(amount, self._size) - level
        self._levels[client] = (level if missing > 0 else level - amount, now)
        if len(self._levels) > _MOST_CLIENTS:
            self._levels.popitem(last=False)
        return max(0.0, missing / self._per_s)
