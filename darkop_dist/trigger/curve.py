"""Rate against threshold as numbers: what figures of rates draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import StatisticsError
from darkop_dist.trigger.weighted import LEAST_PASSED, sampled_rate

POINTS = 120
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RateCurve:
    """Rates of all crossings with at least a score.

    Attributes:
        thresholds: lowest accepted scores, rising, shape (points,); each is a score of the sample.
        rate_hz: rate of each, shape (points,); NaN where the sample cannot say.
        low_hz: lower end of its interval, NaN at the same places.
        high_hz: upper end.
        effective: effective crossings above each threshold, shape (points,).
        confidence_level: of the intervals.
    """

    thresholds: Floats
    rate_hz: Floats
    low_hz: Floats
    high_hz: Floats
    effective: Floats
    confidence_level: float


def rate_curve(
    scores: npt.NDArray[np.float32],
    weight: Floats,
    crossings_hz: float,
    *,
    among: Mask | None = None,
    confidence_level: float = 0.68,
    points: int = POINTS,
) -> RateCurve:
    """Rate and interval against threshold, from the bulk of the crossings to the highest score.

    Thresholds are even in the logarithm of the rate. Where fewer than ten effective crossings lie above a threshold the
    sample cannot say, as in `weighted.threshold_for`: the rate is NaN there, nothing is extrapolated.

    Args:
        scores: of the crossings, shape (crossings,).
        weight: probability that a crossing stands for, shape (crossings,).
        crossings_hz: crossings per second.
        among: crossings that count, such as those without a seed; all without.
        confidence_level: of the intervals of Fay and Feuer, see `weighted`.
        points: thresholds at most; equal ones are taken once.

    Raises:
        StatisticsError: no crossing has a weight.
        InputValueError: the confidence level is not between 0 and 1.
    """
    counted = np.ones(len(scores), dtype=bool) if among is None else among
    if not weight.sum() > 0:
        raise StatisticsError("the crossings of the sample have no weight. Make it again")
    cuts = _cuts(scores[counted], weight[counted], points)
    rates = [sampled_rate((scores >= cut) & counted, weight, crossings_hz, confidence_level) for cut in cuts]
    effective = np.array([one.effective for one in rates])
    found = np.array([(one.rate_hz, one.low_hz, one.high_hz) for one in rates]).reshape(-1, 3)
    found[effective < LEAST_PASSED] = np.nan
    return RateCurve(cuts, found[:, 0], found[:, 1], found[:, 2], effective, confidence_level)


def _cuts(scores: npt.NDArray[np.float32], weight: Floats, points: int) -> Floats:
    """Scores from the bulk to the tail, even in the logarithm of the rate; none without a crossing of weight."""
    order = np.argsort(-scores, kind="stable")
    order = order[weight[order] > 0]
    if not order.size:
        return np.empty(0)
    share = np.cumsum(weight[order])
    places = np.searchsorted(share, np.geomspace(share[0], share[-1], points))
    return np.unique(scores[order][np.minimum(places, len(order) - 1)].astype(np.float64))
