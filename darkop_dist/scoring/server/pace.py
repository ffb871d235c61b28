"""How fast a model is, measured while it works."""

from __future__ import annotations

_MEMORY = 0.9
"""Weight of the past: a change of speed is forgotten after some twenty calls."""

_MOST_VAIN = 8
"""Waits in vain after which no more occasions are let pass: one in 128 remains, so a change is noticed."""


class Pace:
    """A straight line through the events and seconds of the calls of a model, the latest counting most."""

    def __init__(self) -> None:
        self._calls = self._events = self._seconds = self._events_squared = self._products = 0.0

    def observe(self, events: int, seconds: float) -> None:
        """Count a call."""
        self._calls = _MEMORY * self._calls + 1
        self._events = _MEMORY * self._events + events
        self._seconds = _MEMORY * self._seconds + seconds
        self._events_squared = _MEMORY * self._events_squared + float(events) ** 2
        self._products = _MEMORY * self._products + events * seconds

    @property
    def fixed_s(self) -> float:
        """Seconds of a call without events: what is saved where two calls become one; 0 before the first call.

        While all calls are of one size nothing separates it from the rest, and the whole call is taken for it.

        >>> pace = Pace()
        >>> pace.observe(1000, 0.5)
        >>> pace.fixed_s
        0.5
        >>> pace.observe(3000, 0.7)
        >>> round(pace.fixed_s, 6)
        0.4
        """
        if not self._calls:
            return 0.0
        spread = self._calls * self._events_squared - self._events**2
        if spread <= 1e-6 * self._calls * self._events_squared:
            return self._seconds / self._calls
        slope = (self._calls * self._products - self._events * self._seconds) / spread
        return min(max(0.0, (self._seconds - slope * self._events) / self._calls), self._seconds / self._calls)

    def seconds_for(self, events: int) -> float | None:
        """Seconds that events will take at the present rate; None before the first call.

        >>> pace = Pace()
        >>> pace.observe(1000, 0.5)
        >>> pace.seconds_for(3000)
        1.5
        """
        return events * self._seconds / self._events if self._events else None


class Company:
    """How many requests may come again together, and whether to wait for them.

    Clients keep step with the server: those whose requests were scored together send the next ones together. So the
    most that were in the house at once (waiting, or in the model) during the last two calls is how many are expected.
    A client that is alone is never expected to have company. Where a wait was in vain, the next occasion is let pass,
    then two, then four and so on: clients that do not keep step are hardly ever waited for.

    Attributes:
        expected: requests that may come together.
    """

    def __init__(self) -> None:
        self._now, self._before, self.expected = 0, 0, 1
        self._vain, self._pass = 0, 0

    def see(self, in_house: int) -> None:
        """Count what is in the house when a request has come."""
        self._now = max(self._now, in_house)

    def turn_page(self, in_house: int) -> None:
        """Begin the next call's count with what is still there."""
        self.expected = max(self._now, self._before, 1)
        self._now, self._before = in_house, self._now

    def is_awaited(self, here: int) -> bool:
        """Whether to wait, now that so many are here and nothing computes."""
        if here >= self.expected:
            return False
        self._pass -= 1
        return self._pass < 0

    def learn(self, *, came: bool) -> None:
        """Learn from a wait whether anybody came."""
        self._vain = 0 if came else min(self._vain + 1, _MOST_VAIN)
        self._pass = 0 if came else 2 ** (self._vain - 1)
