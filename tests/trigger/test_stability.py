"""A score against pile-up and faults: every row against a count by hand, and rows that the sample refuses."""

from __future__ import annotations

import numpy as np
import pytest
from level1_events import checkpoint_of, made_up, random_inputs, random_network

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.trigger.conditions import find_conditions
from darkop_dist.trigger.faults import NOISY_SHARE, dead_sector, noisy_tower
from darkop_dist.trigger.stability import Stability, estimate_stability
from darkop_dist.trigger.weighted import weights_at

CONDITIONS = find_conditions("run2-2018", 2e34)
NETWORK = random_network(2)
SAMPLE = made_up(random_inputs(3000), np.random.default_rng(2).poisson(56.0, 3000))
CUT = float(np.quantile(NETWORK.score(SAMPLE.inputs), 0.8))


@pytest.fixture(scope="module")
def found() -> Stability:
    return estimate_stability(
        checkpoint_of(NETWORK), sample=SAMPLE, conditions="run2-2018", threshold=CUT, mean_collisions=(54.0, 30.0, 58.0)
    )


def test_rows_stand_in_order(found: Stability) -> None:
    assert [one.change for one in found.changes] == [
        "54 collisions", "30 collisions", "58 collisions", "60 degrees of azimuth dead", "no electrons and photons",
        "a tower fires 50 GeV in 0.1%",
    ]  # fmt: skip
    assert [one.is_fault for one in found.changes] == [False] * 3 + [True] * 3
    assert [one.mean_collisions for one in found.changes[:3]] == [54.0, 30.0, 58.0]
    assert found.threshold == CUT
    assert found.ratio(found.nothing) == 1.0


def test_pile_up_weights_what_is_there(found: Stability) -> None:
    there = find_conditions("run2-2018", 2e34 * 58.0 / CONDITIONS.mean_collisions)
    weight, scores = weights_at(SAMPLE, there), NETWORK.score(SAMPLE.inputs)
    row = found.changes[2]
    assert row.rate is not None
    assert row.rate.rate_hz == pytest.approx(weight[scores >= CUT].sum() * CONDITIONS.crossings_hz)
    assert row.mean_score == pytest.approx((weight * scores).sum() / weight.sum())


def test_a_row_is_refused_and_says_what_would_do(found: Stability) -> None:
    row = found.changes[1]
    assert (row.rate, row.mean_score, found.ratio(row)) == (None, None, None)
    assert "of its crossings would count, 20% must" in row.refused
    assert "make a sample with darkop trigger sample --mean-collisions 30" in row.refused


def test_faults_are_scored_again(found: Stability) -> None:
    seen, weight = SAMPLE.crossings.seen, weights_at(SAMPLE, CONDITIONS)
    dead = NETWORK.score(dead_sector(seen).inputs.astype(np.float32))
    assert found.changes[3].rate is not None
    assert found.changes[3].rate.passed == np.count_nonzero(dead >= CUT)
    blind = seen.inputs.copy()
    blind[:, 3:15] = 0
    assert found.changes[4].rate is not None
    assert found.changes[4].rate.passed == np.count_nonzero(NETWORK.score(blind.astype(np.float32)) >= CUT)
    fired = NETWORK.score(noisy_tower(seen).inputs.astype(np.float32))
    quiet, row = NETWORK.score(SAMPLE.inputs), found.changes[5]
    chance = (1 - NOISY_SHARE) * (quiet >= CUT) + NOISY_SHARE * (fired >= CUT)
    assert row.rate is not None
    assert row.rate.rate_hz == pytest.approx((weight * chance).sum() * CONDITIONS.crossings_hz)
    mean = (1 - NOISY_SHARE) * np.average(quiet, weights=weight) + NOISY_SHARE * np.average(fired, weights=weight)
    assert row.mean_score == pytest.approx(mean)


def test_what_is_refused() -> None:
    checkpoint = checkpoint_of(NETWORK)
    with pytest.raises(InputValueError, match="collisions: -3 is no mean number of collisions"):
        estimate_stability(checkpoint, sample=SAMPLE, conditions="run2-2018", mean_collisions=(-3.0,))
    with pytest.raises(StatisticsError, match="cannot say which score gives 1 Hz"):
        estimate_stability(checkpoint, sample=SAMPLE, conditions="run2-2018", rate_hz=1.0)
    with pytest.raises(StatisticsError, match="not extrapolated"):
        estimate_stability(checkpoint, sample=SAMPLE, conditions="hl-lhc", luminosity=5e34, threshold=CUT)
    far = estimate_stability(
        checkpoint, sample=SAMPLE, conditions="run2-2018", threshold=1e9, mean_collisions=(1e9,)
    )  # fmt: skip
    assert "is none of the LHC's" in far.changes[0].refused
    assert far.ratio(far.changes[3]) is None, "nothing passes, unchanged or not"
