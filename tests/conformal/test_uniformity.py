"""The check of the p-values accepts good calibrations and finds bad ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from darkop_dist.conformal import check_uniformity, clopper_pearson, from_scores
from darkop_dist.errors import StatisticsError

EDGES = np.linspace(0.0, 6.0, 61)


def counts_of(scores: np.ndarray) -> np.ndarray:
    return from_scores(scores, edges=EDGES, source="check", fingerprint="abc").counts


def test_fraction_by_hand() -> None:
    calibration = from_scores([0.5, 1.5, 2.5], edges=[0, 1, 2, 3], source="b", fingerprint="f")
    check = check_uniformity(calibration, np.array([1, 0, 2, 0, 1]))
    # levels: overflow 1/4 (0 calibration events), [2,3) 2/4, [1,2) 3/4, [0,1) and underflow 4/4
    assert check.levels == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert check.fraction == pytest.approx([0.25, 0.25, 0.75, 1.0])
    assert check.max_deviation == pytest.approx(0.25)
    assert (check.n_check, check.n_calibration) == (4, 3)
    json.dumps(check.to_dict())


def test_good_calibrations_pass_and_spread_as_the_beta_binomial() -> None:
    """400 pairs of calibration (n = 300) and check (m = 200), seed 11.

    The fraction at one fixed level a = 30/301 spreads by the Beta-Binomial sigma (5% accuracy of a standard deviation
    from 400 trials: a tolerance of 15% is 4 of its own sigma), and Kolmogorov-Smirnov p-values below 0.05 are no more
    frequent than 5% allows with probability 1e-6.
    """
    rng = np.random.default_rng(11)
    fine = np.linspace(0, 1, 20_001)
    at_level, ks = [], []
    for _ in range(400):
        calibration = from_scores(rng.uniform(size=300), edges=fine, source="b", fingerprint="f")
        tested = from_scores(rng.uniform(size=200), edges=fine, source="c", fingerprint="f")
        check = check_uniformity(calibration, tested.counts)
        index = np.searchsorted(check.levels, 30 / 301 + 1e-9) - 1
        at_level.append((check.fraction[index], check.expected_sigma[index]))
        ks.append(check.max_deviation_p_value)
    fractions, sigmas = np.array(at_level).T
    assert np.std(fractions) == pytest.approx(np.mean(sigmas), rel=0.15)
    exact = stats.betabinom(200, 30, 271).std() / 200
    assert np.mean(sigmas) == pytest.approx(exact, rel=0.02)
    assert np.sum(np.array(ks) < 0.05) <= stats.binom.isf(1e-6, 400, 0.05)


def test_wrong_background_is_found() -> None:
    rng = np.random.default_rng(5)
    calibration = from_scores(rng.exponential(size=5000), edges=EDGES, source="b", fingerprint="f")
    check = check_uniformity(calibration, counts_of(rng.exponential(1.2, size=5000)))
    assert check.max_deviation_p_value < 1e-6
    assert np.any(check.low > check.levels)


def test_clopper_pearson_against_scipy() -> None:
    for k, n in [(0, 10), (3, 10), (10, 10), (35, 100_000)]:
        expected = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        low, high = clopper_pearson(k, n, 0.95)
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_empty_or_weighted_checks_are_refused() -> None:
    calibration = from_scores([0.5], edges=EDGES, source="b", fingerprint="f")
    with pytest.raises(StatisticsError, match="no check events"):
        check_uniformity(calibration, np.zeros(62, dtype=int))
    empty = from_scores([], edges=EDGES, source="b", fingerprint="f")
    with pytest.raises(StatisticsError, match="no calibration events"):
        check_uniformity(empty, calibration.counts)
    with pytest.raises(StatisticsError, match="weighted"):
        check_uniformity(calibration, np.full(62, 0.5))
    with pytest.raises(StatisticsError, match="confidence level of 95"):
        check_uniformity(calibration, calibration.counts, confidence_level=95)
