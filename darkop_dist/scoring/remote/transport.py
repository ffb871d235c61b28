"""What every way to a server has in common: one attempt, and what can become of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Problem


class OutageError(Exception):
    """Nobody answered, the answer broke off, or did not come in time; another try may help."""


class FailedError(OutageError):
    """The model of one replica failed; another replica may do better, but it will not be tried often."""


class BusyError(Exception):
    """The server asks to be left alone for a while.

    Attributes:
        retry_after_s: how long.
    """

    def __init__(self, detail: str, retry_after_s: float) -> None:
        """Say why, and for how long."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class RejectedError(Exception):
    """The server refuses the request, and would again.

    Attributes:
        problem: why.
    """

    def __init__(self, problem: Problem) -> None:
        """Say why."""
        super().__init__(problem.detail)
        self.problem = problem


@dataclass(frozen=True)
class Answer:
    """What the server gave for one request.

    Attributes:
        scores: shape (events,).
        fingerprint: of the model that gave them.
        queue_s: seconds that the request waited in the server.
        compute_s: seconds that the model took.
    """

    scores: npt.NDArray[np.float32]
    fingerprint: str
    queue_s: float
    compute_s: float


class Transport(Protocol):
    """One way to reach a server; safe to use from several threads.

    Every method makes one attempt and raises OutageError, BusyError or RejectedError.
    """

    @property
    def address(self) -> str:
        """The server, for messages."""
        ...

    def models(self, timeout_s: float) -> tuple[ModelDescription, ...]:
        """The models that are served."""
        ...

    def describe(self, model: str, timeout_s: float) -> ModelDescription:
        """One model."""
        ...

    def score(self, model: str, batch: Batch, fingerprint: str, timeout_s: float) -> Answer:
        """Score a batch that was checked before."""
        ...

    def metrics(self, timeout_s: float) -> str:
        """What one replica says of itself, as Prometheus reads it; empty where this way does not lead to it."""
        ...

    def close(self) -> None:
        """Give back what is held; a closed transport may not be used."""
        ...
