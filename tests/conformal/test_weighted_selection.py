"""The false discovery rate is kept under weights, and unit weights give Benjamini and Hochberg's selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from darkop_dist.conformal import WeightedSelection, weighted_conformal_selection
from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError

PRUNINGS = ["deterministic", "heterogeneous", "homogeneous"]
VALUES = st.floats(-3, 3) | st.integers(-2, 2).map(float)


def sample(low: int, high: int) -> st.SearchStrategy:
    size = st.integers(low, high)
    return size.flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.float64, n, elements=VALUES), hnp.arrays(np.float64, n, elements=st.floats(0.05, 4))
        )
    )


def select(
    tested: Any, background: Any, rate: float, pruning: str = "deterministic", seed: int = 1
) -> WeightedSelection:
    return weighted_conformal_selection(
        *tested,
        calibration_scores=background[0],
        calibration_weights=background[1],
        rate=rate,
        pruning=pruning,  # type: ignore[arg-type]
        rng=np.random.default_rng(seed),
    )


def selected_by_definition(tested: Any, background: Any, rate: float, draws: np.ndarray) -> np.ndarray:
    """Algorithm 1 of arXiv:2307.09291 line by line, with larger scores more anomalous and ties against the event."""
    (s, w), (b, v) = tested, background
    m, first, sizes = len(s), [], {}
    for j in range(m):
        own = (v[b >= s[j]].sum() + w[j]) / (v.sum() + w[j])
        auxiliary = [
            (v[b >= s[i]].sum() + w[j] * (s[j] >= s[i])) / (v.sum() + w[j]) if i != j else 0.0 for i in range(m)
        ]
        size = stats.false_discovery_control(np.array(auxiliary)) <= rate * (1 + 1e-12)
        sizes[j] = int(size.sum())
        if own <= rate * sizes[j] / m * (1 + 1e-12):
            first.append(j)
    r = max(r for r in range(m + 1) if sum(draws[j] * sizes[j] <= r for j in first) >= r)
    return np.array([j in first and draws[j] * sizes[j] <= r for j in range(m)])


def test_by_hand() -> None:
    """Weights 1 1 2 of scores 0 1 2; events at 3 (weight 1), 1.5 (weight 2) at a rate of 0.5.

    p_1 = (0 + 1)/5 = .2, p_2 = (2 + 2)/6 = .67. With event 1 in the calibration, event 2 has (2 + 1)/5 = .6 > .5: R_1 = 1,
    and p_1 = .2 <= .5 * 1/2. With event 2 in it, event 1 has 0/6: R_2 = 2, but p_2 > .5 * 2/2.
    """
    found = select(([3.0, 1.5], [1.0, 2.0]), ([0.0, 1.0, 2.0], [1.0, 1.0, 2.0]), 0.5)
    assert found.p_values == pytest.approx([0.2, 4 / 6])
    assert found.sizes.tolist() == [1, 0]  # the second cannot pass at any size
    assert found.selected.tolist() == [True, False]


@given(tested=sample(1, 12), background=sample(1, 25), rate=st.floats(0.05, 0.9), pruning=st.sampled_from(PRUNINGS))
def test_as_the_algorithm(tested: Any, background: Any, rate: float, pruning: str) -> None:
    found, m = select(tested, background, rate, pruning), len(tested[0])
    rng = np.random.default_rng(1)
    draws = {"deterministic": lambda: np.ones(m), "heterogeneous": lambda: rng.uniform(size=m)}.get(
        pruning, lambda: np.full(m, rng.uniform())
    )()
    assert np.array_equal(found.selected, selected_by_definition(tested, background, rate, draws))


@given(tested=sample(1, 30), background=sample(1, 60), rate=st.floats(0.05, 0.9))
def test_unit_weights_give_benjamini_hochberg(tested: Any, background: Any, rate: float) -> None:
    tested, background = (tested[0], np.ones(len(tested[0]))), (background[0], np.ones(len(background[0])))
    found = select(tested, background, rate)
    assert np.array_equal(found.selected, stats.false_discovery_control(found.p_values) <= rate * (1 + 1e-12))


@given(tested=sample(1, 30), background=sample(1, 60), rate=st.floats(0.05, 0.9))
def test_deterministic_lies_in_benjamini_hochberg_and_in_random_pruning(
    tested: Any, background: Any, rate: float
) -> None:
    """As r events have p <= rate r/m, Benjamini and Hochberg take them; draws below 1 can only raise r."""
    found = select(tested, background, rate)
    by_bh = stats.false_discovery_control(found.p_values) <= rate * (1 + 1e-9)
    assert not np.any(found.selected & ~by_bh)
    for pruning in PRUNINGS[1:]:
        assert not np.any(found.selected & ~select(tested, background, rate, pruning).selected)


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_the_rate_is_kept_under_a_shift(pruning: str) -> None:
    """400 experiments, seed 4: 300 background and 60 anomalous events, 1500 calibrating, weight exp(0.8 x) of x.

    The score rises with x, so that unweighted p-values of the shifted background are too small. The mean false fraction is
    at most 0.2 * 300/360 with deterministic pruning and 0.2 with random, within four of its standard errors, and the
    anomalous events are found; unweighted, the rate breaks.
    """
    rng, false, true, naive = np.random.default_rng(4), [], [], []
    for seed in range(400):
        x, y = rng.normal(size=1500), rng.normal(0.8, 1.0, size=360)  # exp(0.8 x) turns the first law into the second
        noise = rng.normal(size=1860)
        background, scores = x + noise[:1500], y + noise[1500:]
        scores[300:] += 4.0
        found = select((scores, np.exp(0.8 * y)), (background, np.exp(0.8 * x)), 0.2, pruning, seed).selected
        plain = select((scores, np.ones(360)), (background, np.ones(1500)), 0.2).selected
        false.append(found[:300].sum() / max(found.sum(), 1))
        naive.append(plain[:300].sum() / max(plain.sum(), 1))
        true.append(found[300:].mean())
    bound = 0.2 * 300 / 360 if pruning == "deterministic" else 0.2
    assert np.mean(false) <= bound + 4 * np.std(false) / np.sqrt(400)
    assert np.mean(true) > 0.3
    assert np.mean(naive) > 0.3


def test_refusals() -> None:
    good, background = ([1.0, 2.0], [1.0, 1.0]), ([0.0, 1.0], [1.0, 1.0])
    with pytest.raises(StatisticsError, match=r"rate of 1\.5 is not between"):
        select(good, background, 1.5)
    with pytest.raises(StatisticsError, match="2 scores and 1 weights of events under test"):
        select(([1.0, 2.0], [1.0]), background, 0.1)
    with pytest.raises(StatisticsError, match="1 of 2 weights of calibration events are negative"):
        select(good, ([0.0, 1.0], [1.0, -1.0]), 0.1)
    with pytest.raises(StatisticsError, match="the weight of an event under test is 0"):
        select(([1.0], [0.0]), background, 0.1)
    with pytest.raises(StatisticsError, match="calibration events have no weight"):
        select(good, ([], []), 0.1)
    with pytest.raises(InputValueError, match="events under test: 1 of 1 scores are NaN"):
        select(([np.nan], [1.0]), background, 0.1)
    with pytest.raises(UnknownNameError, match="Did you mean homogeneous"):
        select(good, background, 0.1, "homogenous")
    with pytest.raises(StatisticsError, match="heterogeneous pruning draws numbers: give rng"):
        weighted_conformal_selection(
            *good, calibration_scores=[0.0], calibration_weights=[1.0], rate=0.1, pruning="heterogeneous"
        )


def test_no_event_is_selected_from_none() -> None:
    assert select(([], []), ([0.0], [1.0]), 0.1).selected.shape == (0,)
