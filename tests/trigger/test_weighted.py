"""Rates from weighted crossings: equal weights give the exact Poisson interval, strata are covered, refusals are said."""

from __future__ import annotations

import numpy as np
import pytest
from level1_events import made_up, random_inputs
from scipy.stats import chi2

from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError
from darkop_dist.trigger.conditions import find_conditions
from darkop_dist.trigger.weighted import sampled_rate, threshold_for, weights_at


def test_equal_weights_give_the_interval_of_garwood() -> None:
    passed = np.arange(10_000) < 7
    found = sampled_rate(passed, np.full(10_000, 1e-4), 1e6, 0.68)
    assert found.rate_hz == pytest.approx(700.0)
    assert found.low_hz == pytest.approx(0.5 * chi2.ppf(0.16, 14) * 100.0)
    assert found.high_hz == pytest.approx(0.5 * chi2.ppf(0.84, 16) * 100.0)
    assert found.passed == 7
    assert found.effective == pytest.approx(7.0)


def test_nothing_accepted_still_has_an_upper_end() -> None:
    found = sampled_rate(np.zeros(100, dtype=bool), np.full(100, 0.01), 1e6, 0.9)
    assert found.rate_hz == found.low_hz == 0.0
    assert found.high_hz == pytest.approx(0.5 * chi2.ppf(0.95, 2) * 1e4)


def test_a_crossing_may_count_with_a_probability() -> None:
    weight, chance = np.full(1000, 1e-3), np.r_[np.full(40, 0.25), np.zeros(960)]
    found, whole = sampled_rate(chance, weight, 1e6), sampled_rate(chance > 0, weight, 1e6)
    assert found.rate_hz == pytest.approx(whole.rate_hz / 4)
    assert (found.passed, found.effective) == (40, pytest.approx(40.0))
    assert found.low_hz == pytest.approx(whole.low_hz / 4)
    assert found.high_hz > whole.high_hz / 4, "what might be hidden has a whole crossing's weight"


def test_the_interval_covers_the_rate_of_strata() -> None:
    """600 experiments with two strata; the bound is five binomial deviations below 68%."""
    rng, sizes, shares, chances = np.random.default_rng(4), (2000, 500), (0.95, 0.05), (2e-3, 0.1)
    truth = sum(share * chance for share, chance in zip(shares, chances, strict=True))
    weight = np.concatenate([np.full(size, share / size) for size, share in zip(sizes, shares, strict=True)])
    covered = 0
    for _ in range(600):
        passed = np.concatenate([rng.random(size) < chance for size, chance in zip(sizes, chances, strict=True)])
        found = sampled_rate(passed, weight, 1.0, 0.68)
        covered += found.low_hz <= truth <= found.high_hz
    assert covered / 600 > 0.68 - 5 * np.sqrt(0.68 * 0.32 / 600)


def test_a_threshold_keeps_within_its_rate() -> None:
    scores, weight = np.arange(1000, dtype=np.float32) // 2, np.full(1000, 1e-3)
    cut = threshold_for(scores, weight, 1e6, 50_500.0)
    assert cut == 475.0, "two crossings share each score: 50 are within, 52 are not"
    assert sampled_rate(scores >= cut, weight, 1e6).rate_hz == pytest.approx(50_000.0)
    with pytest.raises(StatisticsError, match=r"lowest rate it resolves is 1e\+04 Hz"):
        threshold_for(scores, weight, 1e6, 5_000.0)
    with pytest.raises(StatisticsError, match="cannot say which score"):
        threshold_for(np.ones(1000, dtype=np.float32), weight, 1e6, 50_000.0)


def test_another_pile_up_is_weighted_exactly_or_refused() -> None:
    collisions = np.random.default_rng(5).poisson(56.0, 20_000)
    sample = made_up(random_inputs(20_000), collisions)
    near = find_conditions("run2-2018", 2.1e34)
    weight = weights_at(sample, near)
    assert weight.sum() == pytest.approx(1.0, abs=0.02)
    assert (weight * collisions).sum() == pytest.approx(near.mean_collisions, rel=0.02)
    with pytest.raises(StatisticsError, match=r"not extrapolated; make a sample with .*--mean-collisions 1\d\d"):
        weights_at(sample, find_conditions("hl-lhc", 5e34))


def test_conditions_are_named() -> None:
    assert find_conditions("run3-high-pileup", 2e34).mean_collisions == pytest.approx(60.8, abs=0.1)
    with pytest.raises(UnknownNameError, match="run3-high-pileup"):
        find_conditions("run3-high-pile-up", 2e34)
    with pytest.raises(InputValueError, match="2e34"):
        find_conditions("run2-2018", 2.0)
    with pytest.raises(InputValueError, match=r"0\.68"):
        sampled_rate(np.zeros(1, dtype=bool), np.ones(1), 1.0, 1.5)
