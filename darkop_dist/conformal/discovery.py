"""Are there more anomalous events than background alone would give? Exact counts, at one threshold and over many.

Under background alone the n calibration events and the m events under test are exchangeable: every order of their
scores is equally likely. The number of events under test beyond the r-th largest calibration score is then
Beta-Binomial(m, r, n + 1 - r), whatever the distribution of the scores: a Polya urn. It is wider than a Poisson count
of the same mean, since the calibration fluctuates too. Bins, and ties in them, can only lower the count: p-values stay
valid and become larger. Rows that share an event, such as several candidates of one, are not exchangeable one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from darkop_dist.conformal.calibration import Calibration
from darkop_dist.errors import StatisticsError

Floats = npt.NDArray[np.float64]

LARGEST_SHARE = 0.05  # of the background that a default scan looks at
MOST_STATES = 3000  # up to which the scan is summed and not sampled
SAMPLES = 100_000
ROUNDING = 1e-9


@dataclass(frozen=True)
class Excess:
    """How many events have p-values up to a level, and how likely background alone gives so many.

    Attributes:
        alpha: level of the p-values.
        rank: r, the largest number with r/(n + 1) at most alpha.
        observed: events with p-values at most alpha.
        total: m, all events under test.
        expected: mean of the number under background alone, m r/(n + 1); bins can only lower it.
        p_value: P(K >= observed) for K ~ Beta-Binomial(m, r, n + 1 - r).
    """

    alpha: float
    rank: int
    observed: int
    total: int
    expected: float
    p_value: float

    @property
    def significance(self) -> float:
        """Local, in standard deviations; minus infinity without any event."""
        return float(stats.norm.isf(self.p_value))


@dataclass(frozen=True)
class ThresholdScan:
    """The largest excess over several thresholds, with the chance that any of them shows one as large.

    Attributes:
        excesses: one for each threshold, by rising level; each p-value is local.
        best: the one with the smallest local p-value.
        p_value: global: P(any threshold has a local p-value as small) under background alone.
        samples: 0 if the global p-value is summed over all outcomes; else how many pseudo-experiments gave it, as (1 +
            those at least as extreme)/(1 + all), which is valid at any number.
    """

    excesses: tuple[Excess, ...]
    best: Excess
    p_value: float
    samples: int

    @property
    def significance(self) -> float:
        """Global, in standard deviations of a normal distribution."""
        return float(stats.norm.isf(self.p_value))


def excess(calibration: Calibration, counts: npt.ArrayLike, alpha: float) -> Excess:
    """Number of events with p-values up to a level that was fixed beforehand, and its exact p-value.

    Args:
        calibration: of n background events.
        counts: scores of the m events under test, integers with the calibration's bins, shape (bins + 2,).
        alpha: level, at least 1/(n + 1).

    Raises:
        StatisticsError: alpha lies below the floor, or the counts are weighted or binned otherwise.
    """
    calibration.require_alpha(alpha)
    tested = _tested(calibration, counts)
    rank = math.floor(Fraction(repr(float(alpha))) * (calibration.n + 1))
    return _excess(calibration, tested, alpha, rank)


def scan_thresholds(
    calibration: Calibration, counts: npt.ArrayLike, alphas: Sequence[float] | None = None, *, seed: int = 1
) -> ThresholdScan:
    """The most significant of several levels, and its significance after the search for it.

    The counts at several thresholds are steps of one urn, so that the chance that any is as extreme is summed step by
    step without approximation. Above `MOST_STATES` events the urn is sampled instead.

    Args:
        calibration: of n background events.
        counts: scores of the m events under test, shape (bins + 2,).
        alphas: levels, fixed beforehand; None for r/(n + 1) with r = 1, 2, 4, ... up to 5% of the background.
        seed: of the sampling, where it is needed.

    Raises:
        StatisticsError: as `excess`, or there is no level.
    """
    tested, n = _tested(calibration, counts), calibration.n
    if alphas is None:
        ranks = 2 ** np.arange(1 + math.floor(math.log2(max(LARGEST_SHARE * (n + 1), 1))))
        alphas = [int(rank) / (n + 1) for rank in ranks]
        excesses = tuple(
            _excess(calibration, tested, alpha, int(rank)) for alpha, rank in zip(alphas, ranks, strict=True)
        )
    else:
        excesses = tuple(excess(calibration, tested, alpha) for alpha in sorted(set(alphas)))
    if not excesses:
        raise StatisticsError("a scan needs at least one level alpha; name some, such as [1e-4, 1e-3]")
    best = min(excesses, key=lambda found: found.p_value)
    if best.p_value == 1.0:
        return ThresholdScan(excesses, best, 1.0, 0)
    ranks_of = sorted({found.rank for found in excesses})
    total = int(tested.sum())
    limits = [_limit(total, n, rank, best.p_value) for rank in ranks_of]
    if max(limits) <= MOST_STATES:
        return ThresholdScan(excesses, best, min(_summed(total, n, ranks_of, limits), 1.0), 0)
    return ThresholdScan(excesses, best, _sampled(total, n, ranks_of, limits, seed), SAMPLES)


def count_p_value(observed: int, total: int, n: int, rank: int) -> float:
    """P(K >= observed) for K ~ Beta-Binomial(total, rank, n + 1 - rank).

    At least k of the tested lie beyond the r-th calibration event if among the k + r - 1 first of all are at least k
    tested ones: the tail of a hypergeometric distribution, which keeps its digits where it is small.

    Args:
        observed: number of events beyond the threshold.
        total: m, events under test.
        n: calibration events.
        rank: r, from 1 to n.
    """
    if observed <= 0:
        return 1.0
    return float(stats.hypergeom.sf(observed - 1, n + total, total, observed + rank - 1))


def _excess(calibration: Calibration, tested: npt.NDArray[np.int64], alpha: float, rank: int) -> Excess:
    n, total = calibration.n, int(tested.sum())
    observed = int(tested[calibration.reached < rank].sum())
    return Excess(alpha, rank, observed, total, total * rank / (n + 1), count_p_value(observed, total, n, rank))


def _tested(calibration: Calibration, counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    checked = Calibration(calibration.edges, np.asarray(counts), "events under test", calibration.fingerprint)
    return np.asarray(checked.counts, dtype=np.int64)


def _limit(total: int, n: int, rank: int, p_value: float) -> int:
    """The smallest count whose p-value is at most this one; total + 1 if there is none."""
    low, high = 0, total + 1
    while high - low > 1:
        middle = (low + high) // 2
        if count_p_value(middle, total, n, rank) <= p_value * (1 + ROUNDING):
            high = middle
        else:
            low = middle
    return high


def _summed(total: int, n: int, ranks: Sequence[int], limits: Sequence[int]) -> float:
    """P(any count reaches its limit): what leaves at each step, added up, so that small numbers keep their digits."""
    left, state, before = 0.0, np.array([1.0]), 0
    for rank, limit in zip(ranks, limits, strict=True):
        after = np.zeros(limit)
        for count, probability in enumerate(state):
            if probability == 0.0:
                continue
            steps = _step(total - count, rank - before, n - before, max(limit - count, 0))
            after[count : count + len(steps)] += probability * steps
            left += probability * count_p_value(limit - count, total - count, n - before, rank - before)
        state, before = after, rank
    return left


def _step(total: int, rank: int, n: int, size: int) -> Floats:
    """Beta-Binomial(total, rank, n + 1 - rank) at 0 ... size - 1, at most total."""
    k = np.arange(min(size, total + 1), dtype=np.float64)
    choose = -special.betaln(k + 1, total - k + 1) - np.log(total + 1)
    return np.asarray(
        np.exp(choose + special.betaln(k + rank, total - k + n + 1 - rank) - special.betaln(rank, n + 1 - rank))
    )


def _sampled(total: int, n: int, ranks: Sequence[int], limits: Sequence[int], seed: int) -> float:
    rng = np.random.default_rng(seed)
    counts, reached, before = np.zeros(SAMPLES, dtype=np.int64), np.zeros(SAMPLES, dtype=bool), 0
    for rank, limit in zip(ranks, limits, strict=True):
        shares = rng.beta(rank - before, n + 1 - rank, SAMPLES)
        counts = counts + rng.binomial(total - counts, shares)
        reached |= counts >= limit
        before = rank
    return float((1 + reached.sum()) / (1 + SAMPLES))
