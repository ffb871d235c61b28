"""Fixed-point networks in torch against the exact ones in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from level1_events import field_settings, random_inputs, random_network

from darkop_dist.operators.fixed_point import FixedPointNetwork, Format, Layer
from darkop_dist.operators.fixed_point_torch import TorchNetwork


def field_network() -> FixedPointNetwork:
    rng = np.random.default_rng(3)
    settings = field_settings(3, 6, 2)
    shape = Format(False, np.full(2, 6), np.full(2, 1))
    last = Format(False, np.array([6]), np.array([2]))
    layers = (
        Layer(rng.integers(-3, 4, (6, 2)) / 4.0, np.ones(2), True, shape),
        Layer(rng.integers(-3, 4, (8, 1)) / 4.0, np.ones(1), True, last),
    )
    return FixedPointNetwork(
        settings, Format(True, np.full(24, 5), np.zeros(24, dtype=np.int64)), layers, np.zeros(0, np.int64), np.zeros(0)
    )


@pytest.mark.parametrize("score", ["squares", "error", "value"])
def test_the_same_bits(score: str) -> None:
    network, inputs = random_network(4, (6, 3), score), random_inputs(1000)
    expected = network.score(inputs)
    assert len(np.unique(expected)) > 5
    np.testing.assert_array_equal(TorchNetwork(network).scores(inputs), expected)


def test_the_same_bits_of_a_convolution() -> None:
    network = field_network()
    inputs = np.random.default_rng(1).integers(0, 32, (500, 4, 6)).astype(np.float32)
    expected = network.score(inputs)
    assert len(np.unique(expected)) > 5
    np.testing.assert_array_equal(TorchNetwork(network).scores(inputs), expected)


def test_without_cuts_it_is_the_float_model() -> None:
    network, inputs = random_network(4), random_inputs(300)
    first, second = (layer.weight for layer in network.layers)
    hidden = np.maximum(inputs @ first + network.layers[0].bias, 0.0)
    expected = ((hidden @ second + network.layers[1].bias) ** 2).sum(axis=1)
    found = TorchNetwork(network, cuts=False).scores(inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (found != network.score(inputs)).mean() > 0.5
    coarse = replace(network, settings=network.settings.model_copy(update={"score_integer": 1}))
    np.testing.assert_array_equal(TorchNetwork(coarse, cuts=False).scores(inputs), found)
    assert TorchNetwork(network).scores(inputs[:0]).shape == (0,)
