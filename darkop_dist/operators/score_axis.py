"""The binning of a score, fixed on events that neither train nor calibrate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.card import ModelScoreAxis

FEWEST_EVENTS = 50
BULK_BINS = 150
TAIL_BINS = 50
_TAIL_REACH = 100.0


def fix_score_axis(scores: npt.NDArray[np.float32], *, label: str, sample: str) -> ModelScoreAxis:
    """Fix the score axis: quantiles in the bulk, logarithmic bins in the tail.

    With q50, q95 and max the median, the 95% quantile and the largest score:

    - 150 bins between the quantiles 0, ..., 95%, so that the background fills them evenly (fewer where scores coincide
      or the sample is small);
    - 50 bins above q95 that grow logarithmically in the distance to the median, up to 100 times the distance of the
      largest score, so that anomalies far beyond the sample still differ from each other. A logarithm of the distance
      and not of the score itself: a score may be negative.
    - scores below the first edge are the least anomalous and go to the underflow.

    Args:
        scores: scores of shape (events,).
        label: the score's name for plots.
        sample: the sample, for the record.

    Raises:
        InputValueError: there are fewer than 50 events, a score is not finite, or the scores hardly differ.
    """
    values = np.asarray(scores, dtype=np.float64)
    what_to_do = "Train with more events"
    if values.size < FEWEST_EVENTS:
        raise InputValueError("score axis", f"{values.size} events are too few, it takes {FEWEST_EVENTS}", what_to_do)
    if not np.isfinite(values).all():
        raise InputValueError("score axis", "scores are not finite", "Check the training: did the loss diverge?")
    bulk_bins = min(BULK_BINS, values.size // 2)
    bulk = np.quantile(values, np.linspace(0.0, 0.95, bulk_bins + 1))
    median, largest = float(np.median(values)), float(values.max())
    start = float(bulk[-1]) - median
    if start <= 0.0:
        raise InputValueError("score axis", "more than 45% of the scores are the same number", what_to_do)
    tail = median + np.geomspace(start, _TAIL_REACH * (largest - median), TAIL_BINS + 1)[1:]
    # edges that float32 scores can hold, so that writing and reading them changes no bin
    edges = np.unique(np.concatenate([bulk, tail]).astype(np.float32))
    rule = (
        f"{values.size} events of {sample}, used neither for gradient steps nor for stopping; "
        "quantiles up to 95%, then logarithmic bins in the distance to the median"
    )
    return ModelScoreAxis(edges=tuple(map(float, edges)), label=label, fixed_on=rule)
