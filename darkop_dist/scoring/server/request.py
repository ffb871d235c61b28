"""What an engine is asked, what it answers, and what it allows itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import UserError
from darkop_dist.scoring.contract import Batch


@dataclass(frozen=True)
class EngineSettings:
    """What an engine allows itself.

    Attributes:
        best_events: events of a batch at which the model is at its best; requests are joined up to it.
        most_events: most events of one request.
        most_bytes: most bytes of one request, decoded, and of a batch of joined ones.
        most_waiting: requests that may wait for one model; beyond it the server is busy.
        wait_s: longest time that a request waits for others to join it, while the model has nothing to do.
        most_models: models held in memory; the one that was not asked for longest makes room for another.
    """

    best_events: int = 8192
    most_events: int = 262_144
    most_bytes: int = 64 * 1024 * 1024
    most_waiting: int = 64
    wait_s: float = 0.002
    most_models: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            UserError: a limit below one, a negative wait, or a best batch above the largest request.
        """
        for name in ("best_events", "most_events", "most_bytes", "most_waiting", "most_models"):
            if getattr(self, name) < 1:
                raise UserError(f"engine: {name} is {getattr(self, name)}. Give at least 1")
        if not 0 <= self.wait_s < float("inf"):
            raise UserError(f"engine: wait_s is {self.wait_s}. Give seconds, 0 to join only what waits already")
        if self.best_events > self.most_events:
            raise UserError(f"engine: best_events {self.best_events} is above most_events {self.most_events}. Lower it")


@dataclass(frozen=True)
class ScoreRequest:
    """One request.

    Attributes:
        model: name of the model.
        batch: arrays by name.
        fingerprint: what the client's run began with; None if it does not mind.
        timeout_s: how long the client waits from now; None for ever.
    """

    model: str
    batch: Batch
    fingerprint: str | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Scored:
    """The answer to a request.

    Attributes:
        scores: shape (events,).
        fingerprint: of the model that gave them.
        queue_s: seconds that the request waited.
        compute_s: seconds that the model took, with all requests that were joined.
    """

    scores: npt.NDArray[np.float32]
    fingerprint: str
    queue_s: float
    compute_s: float
