"""What is counted while requests are answered, and who counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SCORED = "scored"
CANCELLED = "cancelled"
UNKNOWN = "unknown"
"""Stands for the name of a model that does not exist: the names that clients make up are no labels."""


@dataclass(frozen=True)
class RequestSeen:
    """One request that came to an end.

    Attributes:
        model: its name; ``unknown`` if there is none of the name that was asked for.
        outcome: ``scored``, ``cancelled`` (the client went away) or the code of the problem it was refused with.
        events: in it; 0 if it was refused before they were counted.
        size: its bytes, decoded; 0 likewise.
        queue_s: seconds that it waited.
        compute_s: seconds that the model took.
    """

    model: str
    outcome: str
    events: int = 0
    size: int = 0
    queue_s: float = 0.0
    compute_s: float = 0.0


@dataclass(frozen=True)
class BatchSeen:
    """One call of a model.

    Attributes:
        model: its name.
        requests: that were joined.
        events: in all of them.
        compute_s: seconds that it took.
    """

    model: str
    requests: int
    events: int
    compute_s: float


@dataclass(frozen=True)
class EngineStats:
    """An engine at one moment.

    Attributes:
        waiting: requests that wait for each model in memory, by name.
        loaded: models in memory, the one that was not asked for longest first.
        running: requests that a model works on.
        is_draining: new requests are refused.
    """

    waiting: dict[str, int]
    loaded: tuple[str, ...]
    running: int
    is_draining: bool


class Meter(Protocol):
    """Counts; called on the event loop for every request and batch, so it must be quick and may not fail."""

    def observe_request(self, seen: RequestSeen) -> None:
        """Count a request that came to an end."""
        ...

    def observe_batch(self, seen: BatchSeen) -> None:
        """Count a call of a model."""
        ...


class NoMeter:
    """Counts nothing."""

    def observe_request(self, seen: RequestSeen) -> None:
        """Leave the request uncounted."""

    def observe_batch(self, seen: BatchSeen) -> None:
        """Leave the batch uncounted."""
