"""A stopwatch of phases: how much of a chunk's time goes into reading, waiting for scores, and the rest.

The code that reads says ``with phase("read")``, the code that asks for scores ``with phase("score")``; whoever
processes a chunk says ``with recorded() as phases`` around it and finds the seconds in ``phases.seconds``. A phase
costs below a microsecond, recorded or not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

READ = "read"
SCORE = "score"


class Phases:
    """Wall seconds by phase, of one thread.

    Attributes:
        seconds: by phase; of phases inside each other the inner one counts and is taken off the outer one.
    """

    def __init__(self) -> None:
        """Nothing has been spent."""
        self.seconds: dict[str, float] = {}
        self._inner: list[float] = []

    def spent(self, name: str) -> float:
        """Seconds spent in a phase; 0 if it never began."""
        return self.seconds.get(name, 0.0)

    def begin(self) -> None:
        """A phase begins."""
        self._inner.append(0.0)

    def end(self, name: str, wall_s: float) -> None:
        """The phase that began last ends after so many seconds."""
        self.seconds[name] = self.spent(name) + wall_s - self._inner.pop()
        if self._inner:
            self._inner[-1] += wall_s


class _Recording(threading.local):
    phases: Phases | None = None


_RECORDING = _Recording()


class _Phase:
    """One phase from its beginning to its end; a class because a generator would cost five times as much."""

    __slots__ = ("_name", "_phases", "_started")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> Self:
        self._phases = _RECORDING.phases
        if self._phases is not None:
            self._phases.begin()
            self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._phases is not None:
            self._phases.end(self._name, time.perf_counter() - self._started)


def phase(name: str) -> _Phase:
    """Count the wall seconds of a ``with`` block to a phase of this thread's recording, if there is one.

    Args:
        name: ``READ``, ``SCORE`` or another.

    Example:
        >>> with recorded() as phases:
        ...     with phase("read"):
        ...         pass
        >>> sorted(phases.seconds)
        ['read']
    """
    return _Phase(name)


@contextmanager
def recorded() -> Iterator[Phases]:
    """Record the phases of this thread; a recording inside another one keeps its seconds to itself."""
    outer, phases = _RECORDING.phases, Phases()
    _RECORDING.phases = phases
    try:
        yield phases
    finally:
        _RECORDING.phases = outer
