"""ARGOS: with a perfect template it is f (SIC - sqrt(eps_B)), and it ranks models as labels would."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.conformal import argos, choose_model, from_scores
from darkop_dist.errors import StatisticsError, UnknownNameError

EDGES = np.linspace(-4, 8, 241)


def counts_of(scores: np.ndarray) -> np.ndarray:
    return from_scores(scores, edges=EDGES.tolist(), source="s", fingerprint="f").counts


def test_by_hand() -> None:
    """Above 0, 1, 2: data 10/10, 5/10, 1/10; template 100/100, 25/100, 4/100: 0, 1 - .5, .5 - .2."""
    data, template = [0, 5, 4, 1, 0], [0, 75, 21, 4, 0]
    found = argos(data, template, [0, 1, 2, 3], fewest_template_events=4)
    assert (found.value, found.threshold) == (pytest.approx(0.5), 1.0)
    assert (found.data_fraction, found.template_fraction) == (0.5, 0.25)
    # d/dp = 1/sqrt(q) = 2, d/dq = -(p/q + 1)/(2 sqrt(q)) = -3
    assert found.uncertainty == pytest.approx(np.sqrt(4 * 0.25 / 10 + 9 * 0.1875 / 100))


def test_a_perfect_template_gives_the_labelled_improvement() -> None:
    """Counts without fluctuation: f = 4% signal on top of exactly the template's background, at every threshold that wins."""
    rng = np.random.default_rng(1)
    background, signal = counts_of(rng.normal(size=960_000)), counts_of(rng.normal(3, 1, size=40_000))
    for fewest in (100, 3000, 50_000):
        found = argos(background + signal, background, EDGES, fewest_template_events=fewest)
        place = 1 + int(np.searchsorted(EDGES, found.threshold - 1e-9))
        eps_s, eps_b = signal[place:].sum() / 40_000, background[place:].sum() / 960_000
        assert found.value == pytest.approx(0.04 * (eps_s / np.sqrt(eps_b) - np.sqrt(eps_b)), rel=1e-12)


def test_the_better_model_is_chosen_and_all_are_on_record() -> None:
    rng = np.random.default_rng(2)

    def sample(shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        data = np.concatenate([rng.normal(size=50_000), rng.normal(shift, 1, size=500)])
        return counts_of(data), counts_of(rng.normal(size=100_000)), EDGES

    choice = choose_model({"poor": sample(1.0), "good": sample(3.0), "none": sample(0.0)})
    assert choice.best == "good"
    assert list(choice.tried) == ["poor", "good", "none"]
    assert choice.tried["good"].value > choice.tried["poor"].value > 0


def test_without_signal_it_is_zero_within_its_uncertainty() -> None:
    """At one fixed threshold, 500 times: pulls of mean 0 and width 1, within four standard errors of a normal law."""
    rng, pulls = np.random.default_rng(3), []
    for _ in range(500):
        data, template = (
            np.array([0, size - passed, passed, 0])
            for size, passed in ((20_000, rng.binomial(20_000, 0.02)), (40_000, rng.binomial(40_000, 0.02)))
        )
        # below the higher edge all pass: the value there is 0, so that the maximum is taken at the higher edge if positive
        found = argos(data, template, [0.0, 1.0, 2.0], fewest_template_events=1)
        pulls.append(found.value / found.uncertainty if found.threshold == 1.0 else 0.0)
    positive = np.array(pulls)[np.array(pulls) > 0]
    assert abs(len(positive) - 250) < 4 * np.sqrt(125)
    assert np.mean(positive**2) == pytest.approx(1.0, abs=4 * np.sqrt(2 / len(positive)))


def test_bad_input_is_named() -> None:
    with pytest.raises(StatisticsError, match="0 data events and 100 template"):
        argos([0, 0, 0], [0, 100, 0], [0.0, 1.0])
    with pytest.raises(StatisticsError, match="at least 100 template events"):
        argos([0, 1, 0], [0, 99, 0], [0.0, 1.0])
    with pytest.raises(StatisticsError, match="no edge has 100 template events"):
        argos([0, 1, 0], [100, 0, 0], [0.0, 1.0])
    with pytest.raises(StatisticsError, match="model a: the score counts of the template are weighted"):
        choose_model({"a": ([0, 1, 0], [0, 99.5, 0], [0.0, 1.0])})
    with pytest.raises(StatisticsError, match="at least one template event"):
        argos([0, 1, 0], [0, 99, 0], [0.0, 1.0], fewest_template_events=0)
    with pytest.raises(UnknownNameError):
        choose_model({})
