"""Strata of zero bias: their probabilities are exact, what is drawn follows them."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.events.level1 import input_ranges
from darkop_dist.generation.collisions import MUON, PHOTON_OR_ELECTRON, Particles, Slice
from darkop_dist.trigger.crossings import draw_crossings, lay_over, strata


def particles(collisions: int, pt: float, kind: int = PHOTON_OR_ELECTRON, each: int = 3) -> Particles:
    rng = np.random.default_rng(collisions)
    size = collisions * each
    return Particles(
        pt=np.full(size, pt, dtype=np.float32),
        eta=rng.uniform(-2.0, 2.0, size).astype(np.float32),
        phi=rng.uniform(-3.0, 3.0, size).astype(np.float32),
        charge=np.zeros(size, dtype=np.int8),
        kind=np.full(size, kind, dtype=np.int8),
        offsets=np.arange(collisions + 1) * each,
    )


SLICES = (
    Slice(0.0, 20.0, 70.0, particles(50, 0.6)),
    Slice(20.0, 50.0, 7.0, particles(20, 30.0)),
    Slice(50.0, float("inf"), 0.7, particles(10, 90.0)),
)


def test_strata_are_all_of_zero_bias() -> None:
    found = strata(SLICES, 10.0)
    assert found.probabilities.sum() == pytest.approx(1.0 - np.exp(-10.0), rel=1e-12)
    means = 10.0 * np.array([70.0, 7.0, 0.7]) / 77.7
    np.testing.assert_allclose(found.means, means)
    assert found.probabilities[2] == pytest.approx(1 - np.exp(-means[2]))
    with pytest.raises(InputValueError, match="0 to 300"):
        strata(SLICES, 0.0)


def test_weights_bring_the_mean_number_of_collisions_back() -> None:
    made = draw_crossings(SLICES, 10.0, 4000, 3000, np.random.default_rng(1))
    assert made.weight.sum() == pytest.approx(1.0 - np.exp(-10.0))
    mean = float((made.weight * made.collisions).sum())
    spread = np.sqrt(10.0 / 4000)
    assert abs(mean - 10.0) < 5 * spread
    assert (np.bincount(made.stratum) >= 3000).all()
    assert (made.collisions >= 1).all()


def test_a_stratum_holds_its_hard_objects_and_no_harder_ones() -> None:
    made = draw_crossings(SLICES, 3.0, 200, 200, np.random.default_rng(2))
    low, high = input_ranges()
    inputs = made.seen.inputs
    assert ((inputs >= low) & (inputs <= high)).all()
    cluster = inputs[:, 3] * 0.5
    assert cluster[made.stratum == 2].min() >= 85.0, "a cluster of 90 GeV, less its steps and resolution"
    assert cluster[made.stratum == 1].max() < 85.0
    assert cluster[made.stratum == 0].max() < 30.0


def test_a_signal_is_seen_in_each_of_its_crossings() -> None:
    muons = particles(30, 50.0, MUON, each=1)
    made = lay_over(muons, SLICES, 5.0, np.random.default_rng(3))
    assert len(made.weight) == 30
    seen = made.seen.inputs[:, 15] > 0
    assert 0.7 < seen.mean() <= 1.0, "an efficiency of 95%"
    again = lay_over(muons, SLICES, 5.0, np.random.default_rng(3))
    np.testing.assert_array_equal(made.seen.inputs, again.seen.inputs)


def test_bad_numbers() -> None:
    with pytest.raises(InputValueError, match="one or more"):
        draw_crossings(SLICES, 3.0, 0, 1, np.random.default_rng(1))
