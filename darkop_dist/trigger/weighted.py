"""Rates from crossings with weights: strata of zero bias, or another pile-up than that of the sample.

A rate is the sum of the weights of the accepted crossings times the crossings per second. Its interval is the gamma
interval of Fay and Feuer (Statistics in Medicine 16 (1997) 791), made for weighted sums of Poisson counts: with equal
weights it is Garwood's exact Poisson interval; with others it is known to be conservative, not proved to be. One count
more, at the largest weight of any crossing that could have passed, enters the upper end: what a stratum might still
hide is in the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.trigger.conditions import Conditions
from darkop_dist.trigger.sample import Level1Sample

LEAST_EFFECTIVE = 0.2
LEAST_PASSED = 10.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SampledRate:
    """A rate from simulated crossings.

    Attributes:
        rate_hz: accepted crossings per second.
        low_hz: lower end of the interval.
        high_hz: its upper end.
        confidence_level: of the interval.
        passed: crossings of the sample that are accepted, or may be.
        effective: (sum of weights)^2 / (sum of squared weights) of those.
    """

    rate_hz: float
    low_hz: float
    high_hz: float
    confidence_level: float
    passed: int
    effective: float


def weights_at(sample: Level1Sample, conditions: Conditions) -> Floats:
    """Weights of the sample's crossings at the pile-up of other conditions.

    A crossing with n collisions is (mu'/mu)^n exp(mu - mu') times as likely at mu' as at mu, whatever the collisions
    are: exact for Poisson numbers.

    Raises:
        StatisticsError: the sample cannot say: too few of its crossings would count.
    """
    weight = sample.crossings.weight
    mu, wanted = sample.about.mean_collisions, conditions.mean_collisions
    if abs(wanted / mu - 1.0) < 1e-3:
        return weight
    ratio = np.exp(sample.crossings.collisions * np.log(wanted / mu) + mu - wanted)
    found = weight * ratio
    share = float(found.sum() ** 2 / (found**2).sum() / (weight.sum() ** 2 / (weight**2).sum()))
    if share < LEAST_EFFECTIVE or found.sum() < 0.9:
        raise StatisticsError(
            f"the sample has {mu:.3g} collisions a crossing, {conditions.name} at {conditions.luminosity:g}/(cm2 s) "
            f"has {wanted:.3g}: after weighting {share:.1%} of its crossings would count, {LEAST_EFFECTIVE:.0%} must. "
            "A rate is not extrapolated; make a sample with darkop trigger sample --mean-collisions "
            f"{wanted:.3g}"
        )
    return np.asarray(found)


def sampled_rate(
    passed: npt.NDArray[np.bool_] | Floats, weight: Floats, crossings_hz: float, confidence_level: float = 0.68
) -> SampledRate:
    """The rate of a selection; see the module.

    Args:
        passed: whether a crossing is accepted, or the probability that it is, shape (crossings,).
        weight: probability that a crossing stands for, shape (crossings,).
        crossings_hz: crossings per second.
        confidence_level: of the central interval.

    Raises:
        InputValueError: the confidence level is not between 0 and 1, or there are no crossings.
    """
    if not 0.0 < confidence_level < 1.0 or len(weight) == 0:
        raise InputValueError("confidence level", f"{confidence_level} for {len(weight)} crossings", "Choose 0.68")
    chosen = (weight * passed)[passed > 0]
    total, squares, most = float(chosen.sum()), float((chosen**2).sum()), float(weight.max())
    tail = (1.0 - confidence_level) / 2.0
    low = squares / (2 * total) * chi2.ppf(tail, 2 * total**2 / squares) if total > 0 else 0.0
    up, spread = total + most, squares + most**2
    high = min(spread / (2 * up) * chi2.ppf(1.0 - tail, 2 * up**2 / spread), 1.0)
    return SampledRate(
        rate_hz=total * crossings_hz,
        low_hz=float(low) * crossings_hz,
        high_hz=float(high) * crossings_hz,
        confidence_level=confidence_level,
        passed=int(np.count_nonzero(passed)),
        effective=total**2 / squares if squares else 0.0,
    )


def threshold_for(scores: npt.NDArray[np.float32], weight: Floats, crossings_hz: float, rate_hz: float) -> float:
    """The lowest score whose rate, of all crossings with at least that score, stays within a rate.

    Raises:
        StatisticsError: the sample cannot say: too few crossings lie above, or too many share the highest score.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, cumulated = scores[order], np.cumsum(weight[order])
    last = np.append(ordered[1:] != ordered[:-1], True)  # of those with the same score
    within = np.flatnonzero(last & (cumulated * crossings_hz <= rate_hz))
    if within.size:
        place = int(within[-1])
        chosen = weight[order[: place + 1]]
        effective = float(chosen.sum() ** 2 / (chosen**2).sum())
        if effective >= LEAST_PASSED:
            return float(ordered[place])
    squares = np.cumsum(weight[order] ** 2)
    enough = np.flatnonzero(last & (cumulated**2 >= LEAST_PASSED * squares))
    least = f"{cumulated[enough[0]] * crossings_hz:.3g} Hz" if enough.size else "none"
    raise StatisticsError(
        f"the sample cannot say which score gives {rate_hz:g} Hz: fewer than {LEAST_PASSED:g} effective crossings lie "
        f"above it; the lowest rate it resolves is {least}. Make a larger sample, or ask for a higher rate"
    )
