"""The circuit of a network: the same scores, bit for bit, for every kind of score and any input of the hardware."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("da4ml")
from level1_events import field_settings, random_inputs, random_network

from darkop_dist.errors import InputValueError
from darkop_dist.operators.fixed_point import FixedPointNetwork, Format, Layer
from darkop_dist.trigger.logic import emulate, ranges_of, trace_logic


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("score", ["squares", "error", "value"])
def test_the_emulator_gives_the_scores_of_the_network(seed: int, score: str) -> None:
    network = random_network(seed, (6, 1) if score == "value" else (6, 3), score)
    inputs = random_inputs(3000, seed)
    logic = trace_logic(network, *ranges_of(network))
    np.testing.assert_array_equal(emulate(logic, inputs), network.score(inputs))


def test_numbers_with_many_bits_are_multiplied() -> None:
    network = random_network(7, (6, 2))
    last = network.layers[-1]
    wide = replace(last, format=Format(True, np.array([4, 4]), np.array([5, 5])), weight=last.weight / 8.0)
    network = replace(network, layers=(*network.layers[:-1], wide))
    inputs = random_inputs(3000)
    logic = trace_logic(network, *ranges_of(network), depth=-1)
    np.testing.assert_array_equal(emulate(logic, inputs), network.score(inputs))


def test_a_convolution_of_regions() -> None:
    rng = np.random.default_rng(8)
    settings = field_settings(3, 9, 1)
    first = Layer(
        rng.integers(-3, 4, (6, 2)) / 8.0,
        np.array([0.5, -1.0]),
        True,
        Format(False, np.array([4, 5]), np.array([1, 0])),
    )
    second = Layer(
        rng.integers(-3, 4, (8, 1)) / 2.0, np.array([2.0]), True, Format(False, np.array([7]), np.array([1]))
    )
    field = Format(True, np.full(24, 8), np.full(24, -1))
    network = FixedPointNetwork(settings, field, (first, second), np.zeros(0, dtype=np.int64), np.zeros(0))
    inputs = rng.integers(0, 1024, (2000, 4, 6)).astype(np.float32)
    np.testing.assert_array_equal(emulate(trace_logic(network, *ranges_of(network)), inputs), network.score(inputs))


def test_a_network_that_sees_nothing() -> None:
    network = random_network(9)
    blind = replace(network.layers[0], weight=np.zeros_like(network.layers[0].weight))
    with pytest.raises(InputValueError, match="does not depend on any input"):
        trace_logic(replace(network, layers=(blind, *network.layers[1:])), *ranges_of(network))
