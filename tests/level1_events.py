"""Small networks in fixed point and made-up crossings: nothing here needs a generator or a training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from darkop_dist.events.level1 import input_ranges
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.fixed_point import FixedPointNetwork, FixedPointSettings, Format, Layer, Patches, score_bits
from darkop_dist.operators.fixed_point_training import Epoch, QuantisationSettings
from darkop_dist.trigger.crossings import Crossings
from darkop_dist.trigger.detector import Seen
from darkop_dist.trigger.distil import student_checkpoint
from darkop_dist.trigger.sample import Level1Sample, SampleAbout


def random_format(rng: np.random.Generator, width: int, *, signed: bool, integer: int = 3) -> Format:
    """Formats that differ from number to number, one of them without bits."""
    fraction = rng.integers(0, 3, width)
    fraction[0] = -integer
    return Format(signed, np.full(width, integer, dtype=np.int64), fraction.astype(np.int64))


def random_network(seed: int = 1, widths: tuple[int, ...] = (6, 3), score: str = "squares") -> FixedPointNetwork:
    """A network of the 57 objects with sparse random weights."""
    rng = np.random.default_rng(seed)
    low, high = input_ranges()
    bits = np.ceil(np.log2(np.maximum(high, -low).astype(float) + 1.0)).astype(np.int64)
    input_format = Format(True, bits, rng.integers(-5, -2, 57))
    layers, inputs = [], 57
    for place, width in enumerate(widths):
        last = place == len(widths) - 1
        weight = (
            rng.integers(-7, 8, (inputs, width)) * (rng.random((inputs, width)) < 0.6) / (64.0 if place == 0 else 4.0)
        )
        relu = not last or score == "value"
        shape = random_format(rng, width, signed=not relu)
        if last:
            shape = Format(shape.signed, shape.integer, np.full(width, 1))
        layers.append(Layer(weight, rng.integers(0, 9, width) / 4.0, relu, shape))
        inputs = width
    settings = FixedPointSettings(input_shape=(57,), widths=widths, score=score, score_integer=8, score_fraction=2)
    compared = np.arange(3, 3 + widths[-1]) if score == "error" else np.zeros(0, dtype=np.int64)
    return FixedPointNetwork(settings, input_format, tuple(layers), compared, np.full(len(compared), 2.0**-5))


def roomy(network: FixedPointNetwork, inputs: Any) -> FixedPointNetwork:
    """The network with integer bits that hold these events."""
    layers = list(network.layers)
    for place, layer in enumerate(layers):
        sums = replace(network, layers=tuple(layers)).sums(inputs)[place].reshape(-1, len(layer.bias))
        bits = np.floor(np.log2(np.maximum(np.abs(sums).max(axis=0), 0.5))).astype(np.int64) + 1
        layers[place] = replace(layer, format=replace(layer.format, integer=bits))
    made = replace(network, layers=tuple(layers))
    return replace(made, settings=score_bits(made, inputs))


def random_inputs(events: int, seed: int = 2) -> Any:
    """Whole numbers over the whole range of the hardware."""
    rng = np.random.default_rng(seed)
    low, high = input_ranges()
    whole = rng.integers(low, high + 1, (events, 57))
    soft = rng.random((events, 57)) < 0.7
    return np.where(soft, whole // 16, whole).astype(np.float32)


def made_up(inputs: Any, collisions: Any = 56, weight: Any = None, kind: str = "zero-bias") -> Level1Sample:
    """A sample of given inputs."""
    size = len(inputs)
    about = SampleAbout.model_validate(
        {
            "kind": kind,
            "process": "made up",
            "mean_collisions": 56.0,
            "energy_tev": 13.0,
            "slices_mb": [77.0, 0.7],
            "slice_collisions": [10, 10],
            "seed": 1,
            "created_with": {},
        }
    )
    seen = Seen(inputs.astype(np.int16), np.ones((size, 14, 18), dtype=np.uint16))
    shares = np.full(size, 1.0 / size) if weight is None else weight
    return Level1Sample(
        about,
        Crossings(
            seen, np.arange(size).astype(np.int8) % 2, np.broadcast_to(collisions, size).astype(np.int16), shares
        ),
    )


def checkpoint_of(network: FixedPointNetwork, name: str = "toy-trigger") -> Checkpoint:
    """A checkpoint of a network, as a training would leave it."""
    sample = made_up(random_inputs(2000, 9))
    epoch = Epoch(0, 0.1, 100.0, network)
    return student_checkpoint(
        network, sample, name=name, teacher="0" * 64, seed=1, training=QuantisationSettings(), epochs=(epoch,), kept=0,
        seconds=1.0,
    )  # fmt: skip


def field_settings(step_columns: int, score_integer: int, score_fraction: int) -> FixedPointSettings:
    """A convolution of a field of 4 x 6 in patches of 2 x 3, and a layer behind it."""
    patches = Patches(rows=2, columns=3, step_rows=2, step_columns=step_columns)
    return FixedPointSettings(
        input_shape=(4, 6), patches=patches, widths=(2, 1), score="value", score_integer=score_integer,
        score_fraction=score_fraction,
    )  # fmt: skip
