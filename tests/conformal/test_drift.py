"""Exchangeability of groups: exact p-values, the moments of the rank sum, and a shifted run that is found by name."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from darkop_dist.conformal.drift import CALIBRATION, Exchangeability, exchangeability
from darkop_dist.errors import InputFileError, StatisticsError

EDGES = np.linspace(0.0, 1.0, 11)


def counts_of(scores: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(EDGES, scores, side="right"), minlength=12)


def drawn(rng: np.random.Generator, sizes: dict[str, int], shift: dict[str, float] | None = None) -> dict:
    return {name: counts_of(rng.beta(2, 3, size) + (shift or {}).get(name, 0.0)) for name, size in sizes.items()}


def test_two_small_groups_by_enumeration() -> None:
    """All ways to deal 3 of 7 events: the share of them that deviates as much is the p-value."""
    one, two = np.array([0, 0, 1, 2]), np.array([1, 2, 1, 0])
    scores = np.repeat(np.arange(4), one + two)
    found_mean = np.repeat(np.arange(4), one).mean()
    ranks = stats.rankdata(-scores)
    mine = stats.rankdata(-scores)[[list(scores).index(s) for s in np.repeat(np.arange(4), one)]].mean()
    sums = [ranks[list(chosen)].mean() for chosen in combinations(range(7), 3)]
    exact = np.mean(np.abs(np.array(sums) - 4) >= abs(mine - 4) - 1e-9)
    tested = exchangeability({"one": one, "two": two}, np.random.default_rng(1), permutations=20_000)
    # one binomial standard deviation is 0.002 at 20 000 permutations: four of them
    assert tested.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    assert found_mean > scores.mean()
    assert tested.groups[0].mean < 0.5


def test_deviation_is_the_wilcoxon_statistic_of_scipy() -> None:
    """Mann-Whitney's normal approximation, with its correction for ties, has the same two moments."""
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 12, 300), rng.integers(2, 12, 500)
    table = {"a": np.bincount(first, minlength=12), "b": np.bincount(second, minlength=12)}
    tested = exchangeability(table, rng, permutations=99)
    reference = stats.mannwhitneyu(first, second, method="asymptotic", use_continuity=False).pvalue
    assert 2 * stats.norm.sf(abs(tested.groups[0].deviation)) == pytest.approx(reference, rel=1e-9)
    assert abs(tested.groups[0].deviation) == pytest.approx(abs(tested.groups[1].deviation), rel=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.1, 0.02])
def test_p_values_are_valid_and_not_wasteful_without_drift(level: float) -> None:
    """500 experiments with coarse, tied scores: the count below a level stays within its 1e-4 binomial bounds."""
    rng, sizes = np.random.default_rng(3), {CALIBRATION: 400, "1": 60, "2": 5, "3": 1, "4": 120}
    trials = 500
    p_values = [exchangeability(drawn(rng, sizes), rng, permutations=99).p_value for _ in range(trials)]
    below = int(np.sum(np.array(p_values) <= level))
    assert stats.binom.ppf(1e-4, trials, 0.8 * level) <= below <= stats.binom.isf(1e-4, trials, level)


def test_a_shifted_run_is_found_and_named() -> None:
    rng = np.random.default_rng(4)
    sizes = {CALIBRATION: 5000} | {f"run {n}": 400 for n in range(40)}
    tested = exchangeability(drawn(rng, sizes, {"run 17": 0.07}), rng)
    assert tested.p_value == pytest.approx(1 / 2000)
    assert tested.largest.name == "run 17"
    assert tested.largest.mean < 0.5  # it scores higher than the rest
    assert [group.name for group in tested.groups if group.p_value < 0.05] == ["run 17"]


def test_a_calibration_that_differs_from_every_run_is_named() -> None:
    """Each run alone is within its errors; all together they are not."""
    rng = np.random.default_rng(5)
    sizes = {CALIBRATION: 20_000} | {f"run {n}": 100 for n in range(100)}
    tested = exchangeability(drawn(rng, sizes, {CALIBRATION: -0.02}), rng, permutations=999)
    assert tested.largest.name == CALIBRATION
    assert tested.p_value == pytest.approx(1 / 1000)


def test_more_events_than_numpy_deals_from() -> None:
    rng = np.random.default_rng(6)
    many = {CALIBRATION: np.full(12, 10**9), "run": np.full(12, 10**6)}
    assert exchangeability(many, rng, permutations=99).p_value > 0.01
    many["run"] = many["run"] + np.arange(12) * 10**5
    assert exchangeability(many, rng, permutations=99).p_value == pytest.approx(0.01)


def test_scores_that_are_all_the_same_show_no_drift() -> None:
    tested = exchangeability({"a": np.array([0, 5, 0]), "b": np.array([0, 9, 0]), "c": np.array([0, 0, 0])},
                             np.random.default_rng(7), permutations=99)  # fmt: skip
    assert tested.p_value == 1.0
    assert [group.name for group in tested.groups] == ["a", "b"]


def test_written_and_read() -> None:
    tested = exchangeability(drawn(np.random.default_rng(8), {"a": 50, "b": 60}), np.random.default_rng(9))
    assert Exchangeability.from_dict(tested.to_dict()) == tested
    with pytest.raises(InputFileError, match=r"drift.json: is no test of drift .*groups"):
        Exchangeability.from_dict({"p_value": 1.0}, origin="drift.json")


def test_bad_input_is_named() -> None:
    rng = np.random.default_rng(10)
    for groups, message in (
        ({"a": [1, 2], "b": [1, 2, 3]}, "different shapes"),
        ({"a": [1, 2], "b": [0, 0]}, "1 of 2 groups hold events"),
        ({"a": [1, 2], "b": [0.5, 1.0]}, "score counts of b are no numbers of unweighted"),
        ({"a": [1, 2], "b": [-1, 2]}, "score counts of b are no numbers of unweighted"),
        ({}, "0 of 0 groups"),
    ):
        with pytest.raises(StatisticsError, match=message):
            exchangeability(groups, rng)
    with pytest.raises(StatisticsError, match="0 permutations"):
        exchangeability({"a": [1, 2], "b": [2, 3]}, rng, permutations=0)
