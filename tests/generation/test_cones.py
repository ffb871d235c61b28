"""Neighbours in (eta, phi) against a plain double loop."""

from __future__ import annotations

import math

import awkward as ak
import numpy as np
import pytest

from darkop_dist.generation.cones import largest_in_cone, nearest, sum_in_cone


def _objects(seed: int, most: int) -> ak.Array:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most, 120)
    size = int(counts.sum())
    columns = {"eta": rng.normal(0, 1, size), "phi": rng.uniform(-np.pi, np.pi, size), "pt": rng.exponential(5, size)}
    return ak.unflatten(ak.zip(columns), counts)


def _distance(one: ak.Record, other: ak.Record) -> float:
    d_phi = abs(one.phi - other.phi)
    return math.hypot(one.eta - other.eta, min(d_phi, 2 * math.pi - d_phi))


def test_nearest_sum_and_maximum_are_those_of_a_plain_loop() -> None:
    objects, others = _objects(1, 4), _objects(2, 12)
    index = nearest(objects, others, cone=0.7)
    sums = sum_in_cone(objects, others, others.pt, cone=0.7)
    largest = largest_in_cone(objects, others, others.pt, cone=0.7)
    compared = 0
    for event in range(len(objects)):
        for place, one in enumerate(objects[event]):
            distances = [_distance(one, other) for other in others[event]]
            inside = [k for k, distance in enumerate(distances) if distance < 0.7]
            compared += len(inside)
            assert index[event][place] == (min(inside, key=distances.__getitem__) if inside else -1)
            assert sums[event][place] == pytest.approx(sum(others.pt[event][k] for k in inside))
            assert largest[event][place] == pytest.approx(max((others.pt[event][k] for k in inside), default=0))
    assert compared > 50


def test_what_lies_on_the_axis_is_not_in_the_sum_but_may_be_the_largest() -> None:
    one = ak.Array([[{"eta": 0.5, "phi": 3.0}]])
    others = ak.Array([[{"eta": 0.5, "phi": 3.0}, {"eta": 0.5, "phi": -3.2 + 2 * math.pi}]])
    assert sum_in_cone(one, others, ak.Array([[7.0, 2.0]]), cone=0.4).to_list() == [[2.0]]
    assert largest_in_cone(one, others, ak.Array([[7.0, 2.0]]), cone=0.4).to_list() == [[7.0]]
