"""Shapes of students: their texts, and that each kind is learned, judged and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("da4ml")
from level1_events import checkpoint_of, made_up, random_inputs, random_network

from darkop_dist.errors import InputValueError
from darkop_dist.operators.checkpoint import load_checkpoint
from darkop_dist.operators.evaluation import fixed_point_network
from darkop_dist.operators.fixed_point_training import QuantisationSettings
from darkop_dist.trigger.conditions import find_conditions
from darkop_dist.trigger.distil import Yardstick, score_sample
from darkop_dist.trigger.logic import emulate, ranges_of, trace_logic
from darkop_dist.trigger.pareto import make_pareto
from darkop_dist.trigger.shapes import MOMENTA, Shape, shape_of

CONDITIONS = find_conditions("run2-2018", 2.0033e34)


@pytest.mark.parametrize(
    ("text", "kind", "widths", "name"),
    [
        ("16-8-3", "encoder", (16, 8, 3), "16-8-3"),
        ("3", "encoder", (3,), "3"),
        ("autoencoder:8-4-8", "autoencoder", (8, 4, 8), "autoencoder-8-4-8"),
        ("regions:2-8-3", "regions", (2, 8, 3), "regions-2-8-3"),
    ],
)
def test_texts(text: str, kind: str, widths: tuple[int, ...], name: str) -> None:
    found = shape_of(text)
    assert (found.kind, found.widths, found.name) == (kind, widths, name)
    assert found.settings.widths[: len(widths)] == widths


@pytest.mark.parametrize("text", ["", "16-", "8x3", "gan:8-3", ":8-3", "0-3", "1-2-3-4-5-6-7-8", "99999"])
def test_texts_that_are_none(text: str) -> None:
    with pytest.raises(InputValueError, match=r"is none\. Write widths as 16-8-3, autoencoder:8-4-8 or regions:2-8-3"):
        shape_of(text)


def test_what_each_sees() -> None:
    sample = made_up(random_inputs(5))
    assert shape_of("regions:2-3").inputs(sample).shape == (5, 14, 18)
    assert shape_of("autoencoder:2").inputs(sample).shape == (5, 57)
    assert Shape("autoencoder", (8, 4, 8)).settings.widths[-1] == len(MOMENTA) == 19


@pytest.mark.parametrize("text", ["autoencoder:3-2", "regions:1-3-2"])
def test_each_kind_is_learned_and_its_circuit_is_exact(text: str, tmp_path: Path) -> None:
    sample, signal = made_up(random_inputs(3000, 3)), made_up(random_inputs(300, 4), kind="signal")
    rng = np.random.default_rng(5)
    for one in (sample, signal):  # regions that say something
        one.crossings.seen.regions[:] = rng.poisson(one.inputs[:, [27]][:, :, None] / 60 + 1, (len(one), 14, 18))
    yardstick = Yardstick(sample, {"one": signal}, CONDITIONS, 2e6)
    training = QuantisationSettings(epochs=6, float_epochs=2, batch=128, beta_first=1e-8, beta_last=1e-6)
    shape = shape_of(text)
    found = make_pareto(
        sample, yardstick, tmp_path / "set", teacher=checkpoint_of(random_network(6, (8, 4))), shapes=(shape,),
        training=training, say=lambda _: None,
    )  # fmt: skip
    assert found.floats.keys() == {shape.name}
    assert {(one.kind, one.widths) for one in found.points} == {(shape.kind, shape.widths)}
    checkpoint = load_checkpoint(tmp_path / "set" / found.points[0].name)
    network = fixed_point_network(checkpoint)
    scores = score_sample(checkpoint, sample)
    np.testing.assert_array_equal(scores, network.score(shape.inputs(sample)))
    assert len(np.unique(scores)) > 20
    logic = trace_logic(network, *ranges_of(network), depth=0)
    np.testing.assert_array_equal(emulate(logic, shape.inputs(sample)), scores)
