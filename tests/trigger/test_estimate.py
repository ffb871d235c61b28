"""Rates of a score: against a count by hand, pure against a menu, and what a sample cannot say."""

from __future__ import annotations

import numpy as np
import pytest
from level1_events import checkpoint_of, made_up, random_inputs, random_network

import darkop_dist as do
from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.trigger.estimate import estimate_trigger_rates
from darkop_dist.trigger.seeds import accepted, load_menu


def test_a_rate_counts_crossings() -> None:
    checkpoint, inputs = checkpoint_of(random_network(2)), random_inputs(4000)
    scores = random_network(2).score(inputs)
    cut = float(np.sort(scores)[-200])
    sample = made_up(inputs, np.random.default_rng(1).poisson(55.9, 4000))
    found = estimate_trigger_rates(checkpoint, sample=sample, conditions="run2-2018", threshold=cut)
    share = float(np.mean(scores >= cut))
    assert found.total.rate_hz == pytest.approx(share * 2544 * 11245.6, rel=0.05), "weighted from 56 to 55.9 collisions"
    assert found.total.low_hz < found.total.rate_hz < found.total.high_hz
    seeds = accepted(sample, load_menu())
    none = ~np.logical_or.reduce(list(seeds.values()))
    assert found.pure.passed == np.count_nonzero((scores >= cut) & none)
    assert found.menu.keys() == seeds.keys()
    assert found.asked_hz is None
    curve, pure = found.curve, found.pure_curve
    assert pure.effective.max() == pytest.approx(np.count_nonzero(none), rel=0.02), "nearly equal weights"
    assert found.curve.rate_hz[curve.thresholds <= cut].min() >= found.total.rate_hz
    assert do.estimate_trigger_rates is estimate_trigger_rates


def test_seeds_take_the_hardest_objects_in_order() -> None:
    inputs = np.zeros((3, 57), dtype=np.float32)
    inputs[0, 27], inputs[0, 30] = 300, 299
    inputs[1, 27], inputs[1, 30] = 300, 300
    inputs[2, 15] = 44
    found = accepted(made_up(inputs), load_menu())
    assert found["DoubleJet150"].tolist() == [False, True, False]
    assert found["SingleMu22"].tolist() == [False, False, True]


def test_refusals() -> None:
    checkpoint, sample = checkpoint_of(random_network(2)), made_up(random_inputs(400))
    with pytest.raises(StatisticsError, match="cannot say which score gives 1000 Hz"):
        estimate_trigger_rates(checkpoint, sample=sample, conditions="run2-2018")
    with pytest.raises(InputValueError, match="a rate needs zero bias"):
        estimate_trigger_rates(checkpoint, sample=made_up(random_inputs(10), kind="signal"))
    with pytest.raises(InputValueError, match="neither a rate nor a threshold"):
        estimate_trigger_rates(checkpoint, sample=sample, conditions="run2-2018", rate_hz=None)
    with pytest.raises(InputValueError, match="threshold: nan is no score"):
        estimate_trigger_rates(checkpoint, sample=sample, conditions="run2-2018", threshold=float("nan"))
