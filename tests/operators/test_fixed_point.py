"""Fixed-point networks: formats, exactness, checkpoints, and what cannot be one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from level1_events import field_settings, random_inputs, random_network

from darkop_dist.operators.fixed_point import Format, network_of, patch_index, weights_of


def test_a_format_cuts_downwards_and_saturates() -> None:
    made = Format(True, np.array([2, 2, 2, 1]), np.array([1, 0, -2, -1]))
    assert made.bits.tolist() == [4, 3, 0, 0]
    found = made.cut(np.array([[1.74, 1.74, 3.0, 1.0], [-0.1, -0.1, -3.0, -1.0], [9.0, -9.0, 9.0, 9.0]]))
    assert found.tolist() == [[1.5, 1.0, 0.0, 0.0], [-0.5, -1.0, 0.0, 0.0], [3.5, -4.0, 0.0, 0.0]]
    unsigned = Format(False, np.array([2]), np.array([1]))
    assert unsigned.cut(np.array([[-1.0], [7.0]])).tolist() == [[0.0], [3.5]]


@pytest.mark.parametrize("score", ["squares", "error", "value"])
def test_whole_number_arithmetic_finds_the_same_scores(score: str) -> None:
    """The same network in Python's own integers, which have no rounding at all."""
    network = random_network(3, (5, 1) if score == "value" else (5, 3), score)
    inputs = random_inputs(60)
    expected = network.score(inputs)
    for row, wanted in zip(inputs, expected, strict=True):
        assert _by_integers(network, row) == wanted


def test_a_checkpoint_holds_it_exactly() -> None:
    network = random_network(4)
    again = network_of(network.settings, weights_of(network))
    inputs = random_inputs(100)
    np.testing.assert_array_equal(again.score(inputs), network.score(inputs))
    weights = weights_of(network)
    with pytest.raises(ValueError, match=r"weights 0\.bias"):
        network_of(network.settings, {name: array for name, array in weights.items() if name != "0.bias"})
    with pytest.raises(ValueError, match="layer 0 has other shapes"):
        network_of(network.settings, {**weights, "0.weight": weights["0.weight"][:-1]})
    with pytest.raises(ValueError, match="no whole numbers"):
        network_of(network.settings, {**weights, "0.integer": weights["0.integer"] + 0.5})
    with pytest.raises(ValueError, match="more than 52 bits"):
        network_of(network.settings, {**weights, "0.bias": weights["0.bias"] + 2.0**-50})


def test_patches_wrap_around_in_azimuth() -> None:
    settings = field_settings(2, 4, 0)
    index = patch_index(settings)
    assert index.shape == (6, 6)
    assert index[2].tolist() == [4, 5, 0, 10, 11, 6]
    with pytest.raises(ValueError, match="do not fit"):
        patch_index(settings.model_copy(update={"input_shape": (4, 5)}))


def _by_integers(network: Any, row: Any) -> float:
    from fractions import Fraction

    def cut(numbers: list[Fraction], form: Format) -> list[Fraction]:
        found = []
        for number, i, f in zip(numbers, form.integer.tolist(), form.fraction.tolist(), strict=True):
            if i + f <= 0:
                found.append(Fraction(0))
                continue
            step = Fraction(2) ** -f
            top, low = Fraction(2) ** i - step, -(Fraction(2) ** i) if form.signed else Fraction(0)
            found.append(max(min((number / step).__floor__() * step, top), low))
        return found

    seen = now = cut([Fraction(float(x)) for x in row], network.input_format)
    for layer in network.layers:
        sums = [
            sum((x * Fraction(float(w)) for x, w in zip(now, column, strict=True)), Fraction(float(bias)))
            for column, bias in zip(layer.weight.T, layer.bias, strict=True)
        ]
        now = cut([max(one, Fraction(0)) for one in sums] if layer.relu else sums, layer.format)
    if network.settings.score == "squares":
        total = sum((one * one for one in now), Fraction(0))
    elif network.settings.score == "error":
        pairs = zip(network.error_inputs, network.error_scale, now, strict=True)
        total = sum((abs(seen[place] * Fraction(float(scale)) - one) for place, scale, one in pairs), Fraction(0))
    else:
        total = now[0]
    return float(cut([total], network.score_format)[0])
