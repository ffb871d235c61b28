"""Bounds on probabilities from counts, and on p-values given the calibration that was drawn."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from darkop_dist.conformal.calibration import Calibration
from darkop_dist.errors import StatisticsError

Floats = npt.NDArray[np.float64]
Band = Literal["pointwise", "simes", "dkw"]


def clopper_pearson(passed: npt.ArrayLike, total: float, confidence_level: float) -> tuple[Floats, Floats]:
    """The exact central confidence interval of a binomial probability.

    Args:
        passed: number of successes, shape (values,).
        total: number of trials; of weighted events, the effective number of both.
        confidence_level: coverage, which is guaranteed at least.

    Returns:
        Lower and upper ends, shape (values,) each (Clopper and Pearson, Biometrika 26 (1934) 404).
    """
    k = np.asarray(passed, dtype=np.float64)
    tail = (1.0 - confidence_level) / 2.0
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1), total - k + 1, tail), 0.0)
    high = np.where(k < total, special.betaincinv(k + 1, np.maximum(total - k, 1), 1.0 - tail), 1.0)
    return low, high


def conditional_p_values(calibration: Calibration, *, band: Band = "simes", confidence_level: float = 0.95) -> Floats:
    """p-values that hold for the calibration that was drawn, not only on average over calibrations.

    A conformal p-value p keeps P(p <= a) <= a over calibration and test event together; one calibration may be unlucky.
    Here, with probability `confidence_level` over calibrations, P(p <= a | calibration) <= a: for one bin that was
    fixed beforehand ("pointwise"), or for all a at once, so that also a threshold chosen afterwards is covered.
    Exact in finite samples; ties and bins can only make the p-values larger.

    Args:
        calibration: n background events, at least one.
        band: "pointwise" (Clopper and Pearson, Biometrika 26 (1934) 404), "simes" (the generalised Simes inequality
            with k = n/2, tight for small p-values) or "dkw" (Dvoretzky, Kiefer, Wolfowitz and Massart, tight for
            large ones); the last two as in Bates et al., arXiv:2104.08279, section 3.
        confidence_level: probability that the calibration is one for which they hold.

    Returns:
        One p-value for each bin, shape (bins + 2,): underflow, bins, overflow. Never below `bin_p_values` of the
        calibration for usual confidence levels, and never 0.

    Raises:
        StatisticsError: there are no calibration events, or the confidence level or the band is none.
    """
    if not 0.0 < confidence_level < 1.0:
        raise StatisticsError(f"a confidence level of {confidence_level} is not between 0 and 1; choose 0.95")
    if calibration.n == 0:
        raise StatisticsError("a calibration without events bounds nothing; give it background events")
    n, delta = calibration.n, 1.0 - confidence_level
    rank = 1 + calibration.reached  # of the largest calibration event below the bin
    inside = np.minimum(rank, n)
    if band == "pointwise":
        bound = special.betaincinv(inside, n + 1 - inside, confidence_level)
    elif band == "simes":
        bound = _simes(inside, n, delta)
    elif band == "dkw":
        bound = np.minimum(inside / n + math.sqrt(math.log(2.0 / delta) / (2.0 * n)), 1.0)
    else:
        raise StatisticsError(f"there is no band {band!r}; choose pointwise, simes or dkw")
    return np.where(rank > n, 1.0, bound)


def _simes(rank: npt.NDArray[np.int64], n: int, delta: float) -> Floats:
    """Bounds on the uniform order statistics of these ranks that hold together with probability 1 - delta."""
    k = max(n // 2, 1)
    i = np.maximum(n + 1 - rank, k).astype(np.float64)
    lower = _sum_of_logs(i, k) - _sum_of_logs(np.float64(n), k)
    return np.where(n + 1 - rank >= k, -np.expm1((math.log(delta) + lower) / k), 1.0)


def _sum_of_logs(last: npt.ArrayLike, terms: int) -> Floats:
    """log(last) + log(last - 1) + ..., so many terms."""
    top = np.asarray(last, dtype=np.float64)
    return np.asarray(special.gammaln(top + 1) - special.gammaln(top - terms + 1), dtype=np.float64)
