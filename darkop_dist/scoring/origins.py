"""Where the scores of a chunk came from, for the ledger.

Whoever gives scores says ``note_origin(way, events)``; whoever processes a chunk says ``with recorded_origins() as
origins:`` around it and finds the events by way in ``origins.events``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Origins:
    """Events by the way in which they were scored.

    Attributes:
        events: such as ``{"http://127.0.0.1:8000": 1200, "local (fallback)": 300}``.
    """

    events: dict[str, int] = field(default_factory=dict)


class _Recording(threading.local):
    origins: Origins | None = None


_RECORDING = _Recording()


def note_origin(way: str, events: int) -> None:
    """Count events to a way, if this thread records."""
    if _RECORDING.origins is not None and events:
        counted = _RECORDING.origins.events
        counted[way] = counted.get(way, 0) + events


@contextmanager
def recorded_origins() -> Iterator[Origins]:
    """Record the ways of this thread; a recording inside another one keeps its events to itself."""
    outer, origins = _RECORDING.origins, Origins()
    _RECORDING.origins = origins
    try:
        yield origins
    finally:
        _RECORDING.origins = outer
