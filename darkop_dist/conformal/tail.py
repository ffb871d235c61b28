"""Below the floor: an upper bound on the background's tail from a generalised Pareto law. It depends on that model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from darkop_dist.conformal.calibration import Calibration
from darkop_dist.errors import StatisticsError

Floats = npt.NDArray[np.float64]

FEWEST, FEWEST_BINS = 50, 5
SHAPES = (0.0, 1.0)  # below, scores would end; above, their mean is infinite
SMALLEST = 1e-300
PRECISION = 1e-3  # of the logarithm of the bound


@dataclass(frozen=True)
class TailBound:
    """How probable a background event above a score may be at most, if the tail is generalised Pareto.

    Attributes:
        score: the score.
        upper: upper bound on P(score or above) for background; never an estimate of it.
        confidence_level: asymptotic (one-sided profile likelihood ratio).
        threshold: score above which the tail was fitted, a bin edge.
        exceedances: calibration events above it.
        model: what the bound depends on, in words, to stand wherever the number does.
    """

    score: float
    upper: float
    confidence_level: float
    threshold: float
    exceedances: int
    model: str


def tail_upper_bound(
    calibration: Calibration, score: float, *, exceedances: int = 200, confidence_level: float = 0.95
) -> TailBound:
    """Upper bound on the probability that background reaches a score, also where no calibration event does.

    The calibration gives no p-value below 1/(n + 1). What lies above a threshold is fitted with the generalised Pareto
    law that tails of most distributions tend to (Pickands, Ann. Stat. 3 (1975) 119), in the bins as they are, with the
    number above the threshold as a binomial; the probability at the score is profiled (Coles, An Introduction to
    Statistical Modeling of Extreme Values, 2001, section 4.3). How soon the law holds is not known: the bound is
    model-dependent, and asymptotic in the number of exceedances. Shapes are taken from 0 (exponential) to 1: a tail
    that ends is bounded by an exponential one, since an end seen in a few hundred events is too often seen too early
    (with shapes down to -0.5, 90% bounds for a true shape of -0.15 failed in 41 of 150 samples of 200 exceedances).

    Args:
        calibration: of n background events.
        score: above the threshold.
        exceedances: the threshold is the highest bin edge with at least so many calibration events above it.
        confidence_level: of the one-sided bound, above 0.5.

    Raises:
        StatisticsError: there are too few events or bins above a threshold, the score lies below it, or the confidence
            level is none.
    """
    if not 0.5 < confidence_level < 1.0:
        raise StatisticsError(f"a confidence level of {confidence_level} is not between 0.5 and 1; choose 0.95")
    if exceedances < FEWEST:
        raise StatisticsError(f"{exceedances} exceedances fit no tail; take at least {FEWEST}, better 200")
    above = calibration.reached[1:]  # of each edge
    enough = np.flatnonzero(above >= exceedances)
    if not enough.size:
        raise StatisticsError(
            f"the n = {calibration.n} events of {calibration.source} have no edge with {exceedances} of them above it; "
            "calibrate with more"
        )
    first = int(enough[-1])
    counts, start = calibration.counts[1 + first :], float(calibration.edges[first])
    filled = np.count_nonzero(counts)
    if filled < FEWEST_BINS:
        raise StatisticsError(
            f"the {int(above[first])} events of {calibration.source} above {start:.6g} lie in {filled} bins, which "
            "show no shape; take finer bins at high scores, or more exceedances"
        )
    if not score > start:
        raise StatisticsError(f"a score of {score:.6g} is not above the threshold {start:.6g}: use the p-value there")
    tail = _Tail(counts.astype(np.float64), calibration.edges[first:] - start, calibration.n, float(score) - start)
    return TailBound(
        score=float(score),
        upper=tail.upper(stats.chi2.isf(2 * (1 - confidence_level), 1) / 2),
        confidence_level=confidence_level,
        threshold=start,
        exceedances=int(above[first]),
        model=f"model-dependent: generalised Pareto tail above {start:.6g}, profile likelihood, asymptotic",
    )


@dataclass(frozen=True, eq=False)
class _Tail:
    """Exceedances in bins; edges begin at 0 and the last count lies above the last."""

    counts: Floats
    edges: Floats
    n: int
    score: float

    def upper(self, drop: float) -> float:
        """Where the log likelihood has fallen by this from its maximum, above it."""
        mean = max(float(self.counts[:-1] @ (self.edges[1:] + self.edges[:-1]) / 2 / self.counts.sum()), 1e-12)
        free = self._fit(self._shape, np.array([0.1, math.log(mean)]))
        share = self.counts.sum() / self.n
        most = self._shape(free) + self._number(share)
        low = math.log(max(share * self._survival(free), SMALLEST))
        last = free

        def fallen(log_p: float) -> float:
            nonlocal last
            last = self._fit(lambda p: self._shape(p) + self._constrained(p, math.exp(log_p)), last, free)
            return most - self._shape(last) - self._constrained(last, math.exp(log_p)) - drop

        high = low + 1.0
        while high < 0.0 and fallen(high) < 0.0:
            low, high = high, high + 1.0
        high = min(high, 0.0)
        while high - low > PRECISION:
            middle = (low + high) / 2
            low, high = (middle, high) if fallen(middle) < 0.0 else (low, middle)
        return math.exp(high)

    def _fit(self, value: Callable[[Floats], float], *starts: Floats) -> Floats:
        found = [
            optimize.minimize(
                lambda p: -value(p),
                begin,
                method="Nelder-Mead",
                options={"xatol": 1e-4, "fatol": 1e-5, "maxiter": 2000},
            )
            for begin in starts
        ]
        return np.asarray(min(found, key=lambda result: result.fun).x)

    def _shape(self, parameters: Floats) -> float:
        """Log likelihood of where the exceedances lie."""
        shape, scale = parameters[0], math.exp(min(parameters[1], 500.0))
        if not SHAPES[0] <= shape <= SHAPES[1]:
            return -1e18
        survival = _survival(self.edges, shape, scale)
        inside = np.append(survival[:-1] - survival[1:], survival[-1])
        filled = self.counts > 0
        return float(self.counts[filled] @ np.log(np.maximum(inside[filled], SMALLEST)))

    def _survival(self, parameters: Floats) -> float:
        return float(_survival(np.array([self.score]), parameters[0], math.exp(min(parameters[1], 500.0)))[0])

    def _number(self, share: float) -> float:
        """Log likelihood of how many exceed the threshold."""
        k = float(self.counts.sum())
        return k * math.log(share) + ((self.n - k) * math.log1p(-share) if self.n > k else 0.0)

    def _constrained(self, parameters: Floats, probability: float) -> float:
        """The same with the share that gives the score this probability."""
        survival = self._survival(parameters)
        if not probability < survival:
            return -1e18
        return self._number(probability / survival)


def _survival(excess: Floats, shape: float, scale: float) -> Floats:
    """Generalised Pareto probability to lie above."""
    if abs(shape) < 1e-9:
        return np.exp(-excess / scale)
    return np.asarray(np.maximum(1.0 + shape * excess / scale, 0.0) ** (-1.0 / shape))
