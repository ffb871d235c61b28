"""CLs from pseudo-experiments.

Counts are drawn from Poisson laws and auxiliary measurements from their constraints, with the nuisance parameters at
the values that the data prefer for the strength under test and for no signal. pyhf 0.7.6 has a toy calculator, but
its expected bands fail with NumPy 2.4 (``percentile`` lost a keyword), and it draws from NumPy's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from darkop_dist.errors import FitError, StatisticsError
from darkop_dist.limits.likelihood import Floats, Likelihood, Minimum, Profile

POINTS = 7


@dataclass(frozen=True)
class ToyScan:
    """A scan of CLs by toys and the limits interpolated in it.

    Attributes:
        mu: signal strengths, shape (points,).
        cls_obs: observed CLs, shape (points,).
        cls_exp: expected CLs, shape (points, 5), in the order of the bands that were asked for.
        observed: the limit.
        expected: expected limits, in the same order.
    """

    mu: tuple[float, ...]
    cls_obs: tuple[float, ...]
    cls_exp: tuple[tuple[float, ...], ...]
    observed: float
    expected: tuple[float, ...]


def scan_with_toys(
    observed: Profile,
    around: Sequence[float],
    *,
    alpha: float,
    toys: int,
    sigmas: Sequence[float],
    rng: np.random.Generator,
) -> ToyScan:
    """Scan CLs with toys from below the smallest to above the largest of the asymptotic limits.

    Args:
        observed: the profile likelihood of the data.
        around: asymptotic limits, in the workspace's units.
        alpha: 1 - confidence level.
        toys: pseudo-experiments per hypothesis and point.
        sigmas: fluctuations of the background for the expected bands; 2 is an unusually background-like one.
        rng: random numbers.

    Raises:
        FitError: the fit of a toy failed.
        StatisticsError: the scan does not cross the level: more toys are needed.
    """
    strengths = np.geomspace(0.5 * min(around), 1.6 * max(around), POINTS)
    background = _toys(observed.likelihood, observed.at(0.0), toys, rng)
    cls_obs, cls_exp = [], []
    for strength in strengths.tolist():
        q_background = np.array([toy.q(strength) for toy in background])
        q_signal = np.array([toy.q(strength) for toy in _toys(observed.likelihood, observed.at(strength), toys, rng)])
        bands = np.quantile(q_background, special.ndtr(np.asarray(sigmas)), method="inverted_cdf")
        cls_obs.append(_cls(observed.q(strength), q_signal, q_background))
        cls_exp.append(tuple(_cls(float(band), q_signal, q_background) for band in bands))
    expected = np.array(cls_exp)
    return ToyScan(
        mu=tuple(strengths.tolist()),
        cls_obs=tuple(cls_obs),
        cls_exp=tuple(cls_exp),
        observed=_crossing(strengths, np.array(cls_obs), alpha, toys),
        expected=tuple(_crossing(strengths, expected[:, band], alpha, toys) for band in range(len(sigmas))),
    )


def _toys(likelihood: Likelihood, truth: Minimum, toys: int, rng: np.random.Generator) -> list[Profile]:
    try:
        data = (draw(likelihood, truth, rng) for _ in range(toys))
        return [Profile(likelihood, toy, likelihood.fit(toy, None, truth.parameters)) for toy in data]
    except FitError as error:
        raise FitError(f"the fit of a toy failed: use toys: 0 or change the model. {error}") from error


def draw(likelihood: Likelihood, truth: Minimum, rng: np.random.Generator) -> Floats:
    """One pseudo-experiment: counts and auxiliary data.

    Args:
        likelihood: the model.
        truth: the parameters to draw at.
        rng: random numbers.
    """
    config = likelihood.model.config
    data = likelihood.expected(truth)
    bins = sum(config.channel_nbins.values())
    data[:bins] = rng.poisson(data[:bins])
    position = bins
    for name in config.auxdata_order:
        constraint = config.param_set(name)
        span = slice(position, position + constraint.n_parameters)
        if constraint.pdf_type == "poisson":
            data[span] = rng.poisson(data[span])
        else:
            data[span] = rng.normal(data[span], np.asarray(constraint.width(), dtype=np.float64))
        position = span.stop
    return data


def _cls(q: float, q_signal: Floats, q_background: Floats) -> float:
    """P(q or larger | s + b) / P(q or larger | b); a denominator without toys counts as one toy."""
    return float(np.sum(q_signal >= q) / max(int(np.sum(q_background >= q)), 1))


def _crossing(strengths: Floats, cls: Floats, alpha: float, toys: int) -> float:
    """Where CLs first falls below alpha, interpolated in its logarithm; no toys count as half a toy."""
    below = np.flatnonzero(cls < alpha)
    if len(below) == 0 or below[0] == 0:
        raise StatisticsError(f"CLs from {toys} toys does not cross {alpha:g} in the scan; use more toys")
    pair = [below[0], below[0] - 1]
    return float(np.interp(np.log(alpha), np.log(np.maximum(cls[pair], 0.5 / toys)), strengths[pair]))
