"""Anomaly detection in memory: an operator, background events, and p-values with a guarantee."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.calibration import Calibration, from_scores
from darkop_dist.errors import InputValueError
from darkop_dist.events.representations import columns_read
from darkop_dist.scoring.apply import score_events
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.delayed import delayed_scores, is_delayed
from darkop_dist.scoring.resolve import resolve

EVENTS_PER_BLOCK = 8192
NO_SCORES = np.empty(0, dtype=np.float32)


class Anomaly(NamedTuple):
    """An event that background alone seldom gives.

    Attributes:
        index: position in the events that were searched.
        p_value: probability, under background, of a score at least as large.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs of a pair
    p_value: float


class ConformalDetector:
    """Finds events that are too anomalous for background.

    Assumptions:
        The background events and the searched ones are exchangeable if the latter are background, and the operator was
        trained on neither. Then P(p <= a) <= a for each event and every a, whatever the operator. The guarantee is per
        event: among m background events about m * alpha are found. Event weights are ignored.

    Args:
        operator: name of a packaged checkpoint, directory of a checkpoint, or a scorer.
        background_data: background events that trained nothing, as one array or several, or as a collection of
            dask-awkward, which is computed.
        alpha: significance level of `find_anomalies`.

    Raises:
        StatisticsError: alpha lies below the floor 1/(n + 1) of n background events.
        InputValueError: there are no background events, or their values cannot be used.
        UserError: the operator does not exist or cannot be read.
    """

    def __init__(
        self, operator: str | Path | Scorer, background_data: ak.Array | Sequence[ak.Array], alpha: float
    ) -> None:
        self._scorer = resolve(operator) if isinstance(operator, str | Path) else operator
        self._alpha = alpha
        single = isinstance(background_data, ak.Array) or is_delayed(background_data)
        samples = [background_data] if single else list(background_data)
        scores = np.concatenate([NO_SCORES, *(_computed(self.scores(sample)) for sample in samples)])
        events = len(scores)
        if events == 0:
            raise InputValueError("background_data", "there are no events", "Give background events to calibrate with")
        self._calibration = from_scores(
            scores,
            edges=self._scorer.score_axis.edges,
            source=f"background_data ({events} events)",
            fingerprint=self._scorer.fingerprint,
        )
        self._calibration.require_alpha(alpha)

    @property
    def calibration(self) -> Calibration:
        """The background scores, binned."""
        return self._calibration

    def scores(self, events: ak.Array) -> npt.NDArray[np.float32]:
        """Anomaly scores, shape (events,); of a collection of dask-awkward a collection, computed with it."""
        return score_in_blocks(self._scorer, events)

    def p_values(self, events: ak.Array) -> npt.NDArray[np.float64]:
        """Conformal p-values, shape (events,), each at least 1/(n + 1); a collection as for `scores`."""
        if is_delayed(events):
            found: npt.NDArray[np.float64] = delayed_scores(self.p_values, events, _columns(self._scorer), "float64")
            return found
        return self._calibration.p_values(self.scores(events))

    def find_anomalies(self, events: ak.Array) -> list[Anomaly]:
        """The events with p-value <= alpha, smallest first, equal ones in the order of the events."""
        return anomalies_up_to(self._alpha, _computed(self.p_values(events)))


def score_in_blocks(scorer: Scorer, events: ak.Array) -> npt.NDArray[np.float32]:
    """Anomaly scores of any number of events, shape (events,), with the memory of a block.

    Of a collection of dask-awkward it is a collection; the scorer is called when that is computed, partition by
    partition, and reads the columns of its inputs alone.
    """
    if is_delayed(events):
        found: npt.NDArray[np.float32] = delayed_scores(
            functools.partial(score_in_blocks, scorer), events, _columns(scorer), "float32"
        )
        return found
    blocks = [events[start : start + EVENTS_PER_BLOCK] for start in range(0, len(events), EVENTS_PER_BLOCK)]
    return np.concatenate([NO_SCORES, *(score_events(scorer, block) for block in blocks)])


def _columns(scorer: Scorer) -> tuple[str, ...]:
    read = (name for spec in scorer.inputs for name in columns_read(spec.representation, spec.settings))
    return tuple(dict.fromkeys(read))


def _computed(scores: Any) -> npt.NDArray[Any]:
    return ak.to_numpy(scores.compute()) if is_delayed(scores) else np.asarray(scores)


def anomalies_up_to(alpha: float, p_values: npt.NDArray[np.float64]) -> list[Anomaly]:
    """The events with p-value <= alpha, smallest first, equal ones in the order of the events."""
    order = np.argsort(p_values, kind="stable")
    return [Anomaly(int(index), float(p_values[index])) for index in order if p_values[index] <= alpha]
