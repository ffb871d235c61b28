"""What Triton's clients ask for as statistics: requests, events and times of each model since the start."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from darkop_dist.scoring.server.request import Scored
from darkop_dist.scoring.server.v2_tensors import VERSION

_NS = 1e9


@dataclass(frozen=True)
class Counted:
    """What became of the requests for one model, through this protocol and in this process.

    Attributes:
        scored: requests that were answered.
        scored_s: seconds from their arrival to their scores.
        refused: requests that were not.
        refused_s: likewise.
        events: that were scored.
        queue_s: seconds that they waited.
        compute_s: seconds that the model took.
        last_ms: when the last one was scored, in milliseconds since 1970.
    """

    scored: int = 0
    scored_s: float = 0.0
    refused: int = 0
    refused_s: float = 0.0
    events: int = 0
    queue_s: float = 0.0
    compute_s: float = 0.0
    last_ms: int = 0


class Statistics:
    """Counts requests of the models that exist."""

    def __init__(self) -> None:
        self._counted: dict[str, Counted] = {}

    def count(self, model: str, scored: Scored | None, seconds: float) -> None:
        """Count a request.

        Args:
            model: a name that exists.
            scored: its answer; None if it was refused.
            seconds: from its arrival to its answer.
        """
        old = self._counted.get(model, Counted())
        self._counted[model] = (
            replace(old, refused=old.refused + 1, refused_s=old.refused_s + seconds)
            if scored is None
            else replace(
                old,
                scored=old.scored + 1,
                scored_s=old.scored_s + seconds,
                events=old.events + len(scored.scores),
                queue_s=old.queue_s + scored.queue_s,
                compute_s=old.compute_s + scored.compute_s,
                last_ms=time.time_ns() // 1_000_000,
            )
        )

    def as_json(self, models: Iterable[str]) -> dict[str, Any]:
        """The statistics of models as Triton writes them; ``execution_count`` counts requests, not joined calls."""
        return {"model_stats": [_as_json(model, self._counted.get(model, Counted())) for model in models]}


def _as_json(model: str, counted: Counted) -> dict[str, Any]:
    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": round(seconds * _NS)}

    return {
        "name": model,
        "version": VERSION,
        "last_inference": counted.last_ms,
        "inference_count": counted.events,
        "execution_count": counted.scored,
        "inference_stats": {
            "success": duration(counted.scored, counted.scored_s),
            "fail": duration(counted.refused, counted.refused_s),
            "queue": duration(counted.scored, counted.queue_s),
            "compute_infer": duration(counted.scored, counted.compute_s),
        },
    }
