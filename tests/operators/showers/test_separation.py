"""Separation powers against closed forms, and the binning against that of the challenge's code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.operators.showers.features import shower_features
from darkop_dist.operators.showers.sample import READOUT_MEV, Showers
from darkop_dist.operators.showers.separation import (
    layer_separations,
    log_edges,
    separation_power,
    total_separation,
    voxel_separation,
)

Counts = st.lists(st.integers(1, 1000), min_size=4, max_size=4)


@given(Counts, Counts, st.integers(1, 50))
def test_separation_is_symmetric_bounded_and_blind_to_the_number(a: list[int], b: list[int], factor: int) -> None:
    found = separation_power(a, b)
    assert 0.0 <= found <= 1.0
    assert separation_power(b, a) == pytest.approx(found, abs=1e-12)
    assert separation_power(a, [factor * one for one in b]) == pytest.approx(found, abs=1e-12)


def test_separation_by_hand() -> None:
    """For p = (3/4, 1/4), q = (1/2, 1/2): (1/16 / (5/4) + 1/16 / (3/4)) / 2 = 1/15."""
    assert separation_power([3, 1], [1, 1]) == pytest.approx(1 / 15)
    assert separation_power([0, 0], [1, 1]) == pytest.approx(0.5)
    assert separation_power([0, 0], [0, 0]) == 0.0


def test_bins_in_energy_are_even_in_the_logarithm() -> None:
    edges = log_edges(150.0, 40)
    assert len(edges) == 40
    assert (edges[0], edges[-1]) == pytest.approx((READOUT_MEV, 150.0))
    assert np.diff(np.log10(edges)) == pytest.approx(np.log10(150.0 / READOUT_MEV) / 39)
    assert log_edges(0.0, 40)[-1] == pytest.approx(10 * READOUT_MEV)


def test_the_same_showers_have_none_and_other_showers_have_some(make_showers: Callable[..., Showers]) -> None:
    first, second, other = make_showers(400, 1), make_showers(400, 2), make_showers(400, 3, slope=1.3)
    one, two, three = (shower_features(showers) for showers in (first, second, other))
    assert total_separation(one, one) == voxel_separation(first, first) == 0.0
    assert all(set(layers) == {0.0} for layers in layer_separations(one, one).values())
    floor, found = layer_separations(two, one), layer_separations(three, one)
    assert set(found) == {"layer_mev", "centre_eta_mm", "centre_phi_mm", "width_eta_mm", "width_phi_mm", "sparsity"}
    assert all(len(layers) == 45 for layers in found.values())
    assert sum(found["layer_mev"]) > 1.5 * sum(floor["layer_mev"])
    assert 0.0 < total_separation(two, one) < 0.2
