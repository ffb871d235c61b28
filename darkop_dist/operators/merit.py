"""Figures of merit of an anomaly score: significance improvement where little background is left."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.bounds import clopper_pearson
from darkop_dist.errors import InputValueError

EFFICIENCIES = (1e-2, 1e-3, 1e-4)
CONFIDENCE_LEVEL = 0.68


@dataclass(frozen=True)
class WorkingPoint:
    """A cut on a score.

    Attributes:
        background_efficiency: share of background events that was asked for.
        background_left: background events above the cut; what the number rests on.
        threshold: lowest score above the cut.
        signal_efficiency: share of signal events above the cut.
        sic: significance improvement, signal efficiency over the square root of the background efficiency.
        sic_low: lower end of its interval.
        sic_high: upper end of its interval.
    """

    background_efficiency: float
    background_left: int
    threshold: float
    signal_efficiency: float
    sic: float
    sic_low: float
    sic_high: float


def working_point(
    background_scores: npt.ArrayLike, signal_scores: npt.ArrayLike, background_efficiency: float
) -> WorkingPoint | None:
    """The cut that leaves a share of the background, and what it does to the signal.

    As many background events pass as the share of all, rounded down; the efficiency that enters is theirs. Both
    efficiencies have exact binomial intervals (Clopper and Pearson) of 68% each; the interval of the ratio takes their
    outer ends, so it covers more than that.

    Args:
        background_scores: shape (events,).
        signal_scores: shape (events,).
        background_efficiency: share of the background, above 0 and below 1.

    Returns:
        The cut; None where less than one background event would be left, so that nothing can be said.

    Raises:
        InputValueError: scores are not finite, there are none, or the efficiency is none.
    """
    background, signal = (np.asarray(scores, dtype=np.float64).ravel() for scores in (background_scores, signal_scores))
    if not (len(background) and len(signal) and np.isfinite(background).all() and np.isfinite(signal).all()):
        raise InputValueError("scores", "none, or some that are not finite", "Give finite scores of both samples")
    if not 0.0 < background_efficiency < 1.0:
        raise InputValueError("background efficiency", f"{background_efficiency:g}", "Give one between 0 and 1")
    left = math.floor(background_efficiency * len(background) * (1.0 + 1e-12))
    if left < 1:
        return None
    threshold = float(np.partition(background, len(background) - left)[len(background) - left])
    kept, passed = int((background >= threshold).sum()), int((signal >= threshold).sum())
    low_b, high_b = clopper_pearson([kept], len(background), CONFIDENCE_LEVEL)
    low_s, high_s = clopper_pearson([passed], len(signal), CONFIDENCE_LEVEL)
    share = passed / len(signal)
    return WorkingPoint(
        background_efficiency=background_efficiency,
        background_left=kept,
        threshold=threshold,
        signal_efficiency=share,
        sic=share / math.sqrt(kept / len(background)),
        sic_low=float(low_s[0] / math.sqrt(high_b[0])),
        sic_high=float(high_s[0] / math.sqrt(low_b[0])),
    )
