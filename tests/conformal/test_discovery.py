"""An excess of anomalous events: the urn's exact law, its size under background alone, and what a scan costs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from darkop_dist.conformal import Calibration, excess, from_scores, scan_thresholds
from darkop_dist.conformal.discovery import SAMPLES, count_p_value
from darkop_dist.errors import StatisticsError

FINE = np.linspace(0.0, 1.0, 20_001)
COARSE = np.linspace(0.0, 1.0, 11)


def calibration_of(scores: np.ndarray, edges: np.ndarray) -> Calibration:
    return from_scores(scores, edges=edges.tolist(), source="background", fingerprint="f")


def test_the_count_is_beta_binomial() -> None:
    for total, n, rank in ((20, 50, 1), (200, 1000, 7), (5000, 300, 40)):
        law = stats.betabinom(total, rank, n + 1 - rank)
        counts = [1, 2, 5, int(law.mean()) + 1, total // 2, total]
        assert [count_p_value(k, total, n, rank) for k in counts] == pytest.approx(
            law.sf(np.array(counts) - 1), rel=1e-8
        )
    assert count_p_value(0, 20, 50, 1) == 1.0


def test_far_tails_keep_their_digits() -> None:
    """All of m = 30 beyond the largest of n = 10**6: m! n!/(n + m)! by hand, 1e-148."""
    exact = np.prod([(i + 1) / (10**6 + i + 1) for i in range(30)])
    assert count_p_value(30, 30, 10**6, 1) == pytest.approx(exact, rel=1e-6)


def test_events_up_to_a_level_are_those_with_its_p_values() -> None:
    rng = np.random.default_rng(2)
    calibration, scores = calibration_of(rng.uniform(size=999), COARSE), rng.uniform(size=500) ** 0.8
    tested = calibration_of(scores, COARSE).counts
    for alpha in (0.1, 0.105, 0.2, 0.5):
        found = excess(calibration, tested, alpha)
        assert found.observed == np.sum(calibration.p_values(scores) <= alpha)
        assert found.expected == pytest.approx(500 * found.rank / 1000)


def test_a_poisson_count_would_claim_too_much() -> None:
    """100 events where 50 are expected beyond the 10th of 1999: over 6 sigma by Poisson, under 3 with both spreads."""
    p_value = count_p_value(100, 10_000, 1999, 10)
    assert stats.norm.isf(stats.poisson.sf(99, 50)) > 6
    assert 2 < stats.norm.isf(p_value) < 3


@pytest.mark.parametrize("edges", [FINE, COARSE], ids=["continuous", "ten levels"])
def test_background_alone_is_rarely_an_excess(edges: np.ndarray) -> None:
    """1000 pairs of n = 400 and m = 300: local at one level and global over eight, no level more often than it allows."""
    rng = np.random.default_rng(31)
    local, overall, trials = [], [], 1000
    for _ in range(trials):
        calibration = calibration_of(rng.uniform(size=400), edges)
        tested = calibration_of(rng.uniform(size=300), edges).counts
        local.append(excess(calibration, tested, 0.03).p_value)
        overall.append(scan_thresholds(calibration, tested, [0.005, 0.01, 0.03, 0.1, 0.2]).p_value)
    for p_values in (np.array(local), np.array(overall)):
        for level in (0.1, 0.05, 0.01):
            assert np.sum(p_values <= level) <= stats.binom.isf(1e-6, trials, level)
    if edges is FINE:  # and the global one is not wasteful: it is exact but for the steps of its law
        assert np.mean(np.array(overall) <= 0.1) > 0.07


def test_the_global_p_value_is_that_of_all_orders() -> None:
    """All 210 orders of six calibration events and four others, one by one, at ranks 1, 2 and 4."""
    ranks, n, total = (1, 2, 4), 6, 4

    def smallest(places: tuple[int, ...]) -> float:
        is_tested = np.isin(np.arange(n + total), places)
        calibrating = np.flatnonzero(~is_tested)
        return min(count_p_value(int(is_tested[: calibrating[r - 1]].sum()), total, n, r) for r in ranks)

    orders = list(combinations(range(n + total), total))
    of_orders = np.array([smallest(places) for places in orders])
    for places in orders[::7]:
        scores = np.linspace(1, 0, n + total, endpoint=False)
        is_tested = np.isin(np.arange(n + total), places)
        calibration = calibration_of(scores[~is_tested], FINE)
        scan = scan_thresholds(
            calibration, calibration_of(scores[is_tested], FINE).counts, [(r + 0.01) / (n + 1) for r in ranks]
        )
        assert scan.samples == 0
        assert scan.best.p_value == pytest.approx(smallest(places))
        assert scan.p_value == pytest.approx(np.mean(of_orders <= smallest(places) * (1 + 1e-9)))


def test_large_samples_are_sampled_and_say_so() -> None:
    rng = np.random.default_rng(7)
    calibration = calibration_of(rng.uniform(size=200_000), FINE)
    tested = calibration_of(np.append(rng.uniform(size=200_000), np.full(60, 0.9999)), FINE).counts
    scan = scan_thresholds(calibration, tested)
    assert [found.rank for found in scan.excesses] == [2**i for i in range(14)]
    assert scan.samples == SAMPLES
    assert scan.best.p_value < scan.p_value < 1e-3
    assert scan.p_value >= 1 / (1 + SAMPLES)
    assert scan == scan_thresholds(calibration, tested)


def test_summed_and_sampled_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 000 pseudo-experiments of a p-value near .05: four standard errors are .0028."""
    rng = np.random.default_rng(9)
    calibration = calibration_of(rng.uniform(size=3000), FINE)
    tested = calibration_of(np.append(rng.uniform(size=1000), np.full(7, 0.999)), FINE).counts
    summed = scan_thresholds(calibration, tested)
    monkeypatch.setattr("darkop_dist.conformal.discovery.MOST_STATES", 0)
    sampled = scan_thresholds(calibration, tested)
    assert (summed.samples, sampled.samples) == (0, SAMPLES)
    spread = np.sqrt(summed.p_value * (1 - summed.p_value) / SAMPLES)
    assert 1e-3 < summed.p_value < 0.3
    assert abs(summed.p_value - sampled.p_value) < 4 * spread


def test_bad_input_is_named() -> None:
    calibration = calibration_of(np.linspace(0.01, 0.99, 99), COARSE)
    with pytest.raises(StatisticsError, match=r"alpha = 0.001 lies below 0.01.*at least 999 events"):
        excess(calibration, calibration.counts, 1e-3)
    with pytest.raises(StatisticsError, match=r"shape \(3,\)"):
        excess(calibration, [1, 2, 3], 0.1)
    with pytest.raises(StatisticsError, match="weighted"):
        scan_thresholds(calibration, calibration.counts.astype(float))
    with pytest.raises(StatisticsError, match="at least one level"):
        scan_thresholds(calibration, calibration.counts, [])
