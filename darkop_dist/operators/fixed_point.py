"""Networks of fixed-point numbers: exactly what a trigger's hardware computes, in numpy.

Every number is a whole multiple of a power of two. Sums and products are exact; only a format cuts numbers: downwards
to its step (two's complement truncation) and to its range (saturation). So torch, this module, an emulator of the
firmware, C++ and Verilog must agree bit for bit, and they are compared that way.

Words:
    format: sign, integer bits and fraction bits of a number; ``fraction`` may be negative where low bits are dropped.
    layer: x -> format(relu(x W + b)), the last one without relu. A convolution is a layer on patches.
    score: ``squares``, the sum of the squared outputs (of a latent mean, as AXOL1TL's); ``error``, the sum over chosen
        inputs of |input - output| (of an autoencoder); or ``value``, the only output.

Weights are float64 arrays of exact values, so that a checkpoint holds them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

ARCHITECTURE = "fixed-point-network"
SCORES = {
    "squares": "sum of the squared latent means, in fixed point",
    "error": "sum of the absolute reconstruction errors, in fixed point",
    "value": "the network's output, in fixed point",
}
MOST_SCORE_BITS = 24  # a float32 holds such whole numbers exactly

Floats = npt.NDArray[np.float64]
Width = Annotated[int, Field(gt=0, le=4096)]


class Patches(BaseModel):
    """How a convolution cuts a field into patches; azimuth wraps around.

    Attributes:
        rows: of a patch, in pseudorapidity.
        columns: of a patch, in azimuth.
        step_rows: between patches.
        step_columns: between patches; must divide the columns of the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Annotated[int, Field(gt=0)]
    columns: Annotated[int, Field(gt=0)]
    step_rows: Annotated[int, Field(gt=0)]
    step_columns: Annotated[int, Field(gt=0)]


class FixedPointSettings(BaseModel):
    """The shape of a network; its numbers are in the weights.

    Attributes:
        input_shape: shape of one event, (inputs,) or (rows, columns).
        patches: of the first layer, if that is a convolution.
        widths: outputs of each layer; of a convolution those of one patch.
        score: what becomes of the last layer's outputs.
        score_integer: integer bits of the score.
        score_fraction: its fraction bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_shape: Annotated[tuple[Width, ...], Field(min_length=1, max_length=2)]
    patches: Patches | None = None
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
    score: Literal["squares", "error", "value"]
    score_integer: Annotated[int, Field(ge=-8, le=MOST_SCORE_BITS)]
    score_fraction: Annotated[int, Field(ge=-16, le=MOST_SCORE_BITS)]

    @property
    def inputs(self) -> int:
        """Numbers of one event."""
        return int(np.prod(self.input_shape))


@dataclass(frozen=True)
class Format:
    """Formats of numbers side by side.

    Attributes:
        signed: whether they may be negative.
        integer: bits above the point without the sign, shape (numbers,).
        fraction: bits below the point, may be negative, shape (numbers,); a number without bits is 0.
    """

    signed: bool
    integer: npt.NDArray[np.int64]
    fraction: npt.NDArray[np.int64]

    @property
    def step(self) -> Floats:
        """The smallest difference of two numbers."""
        return np.exp2(-self.fraction.astype(np.float64))

    @property
    def bits(self) -> npt.NDArray[np.int64]:
        """Bits of each number, with the sign."""
        found = self.integer + self.fraction
        return np.where(found > 0, found + int(self.signed), 0)

    @property
    def highest(self) -> Floats:
        """The largest number."""
        return np.where(self.bits > 0, np.exp2(self.integer.astype(np.float64)) - self.step, 0.0)

    @property
    def lowest(self) -> Floats:
        """The smallest number."""
        return np.where(self.bits > 0, -np.exp2(self.integer.astype(np.float64)) * self.signed, 0.0)

    def cut(self, numbers: Floats) -> Floats:
        """Numbers of shape (..., numbers) in this format: cut down to the step, saturated at the ends."""
        return np.clip(np.floor(numbers / self.step) * self.step, self.lowest, self.highest)


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        weight: shape (inputs, outputs).
        bias: shape (outputs,).
        relu: whether negative sums become 0.
        format: of the outputs.
    """

    weight: Floats
    bias: Floats
    relu: bool
    format: Format


@dataclass(frozen=True)
class FixedPointNetwork:
    """A network with its numbers.

    Attributes:
        settings: its shape.
        input_format: of the inputs, which come as whole numbers of the hardware.
        layers: one after the other.
        error_inputs: the inputs that an autoencoder is compared with, and
        error_scale: by which power of two they are multiplied before; empty unless ``score`` is ``error``.
    """

    settings: FixedPointSettings
    input_format: Format
    layers: tuple[Layer, ...]
    error_inputs: npt.NDArray[np.int64]
    error_scale: Floats

    @property
    def score_format(self) -> Format:
        """Of the score."""
        settings = self.settings
        return Format(False, np.array([settings.score_integer]), np.array([settings.score_fraction]))

    def outputs(self, inputs: npt.NDArray[np.float32]) -> Floats:
        """Outputs of the last layer.

        Args:
            inputs: whole numbers of the hardware, shape (events, *input_shape).

        Returns:
            Shape (events, outputs).
        """
        found = self._cut(inputs)
        return self._through(found)

    def sums(self, inputs: npt.NDArray[np.float32]) -> tuple[Floats, ...]:
        """What each layer adds up before its format cuts it, shape (events, outputs) or (events, patches, outputs)."""
        found: list[Floats] = []
        self._through(self._cut(inputs), found)
        return tuple(found)

    def score(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores of shape (events,); float32 holds them exactly."""
        seen = self._cut(inputs)
        last = self._through(seen)
        if self.settings.score == "squares":
            total = (last * last).sum(axis=1)
        elif self.settings.score == "error":
            total = np.abs(seen[:, self.error_inputs] * self.error_scale - last).sum(axis=1)
        else:
            total = last[:, 0]
        return self.score_format.cut(total[:, None])[:, 0].astype(np.float32)

    def _cut(self, inputs: npt.NDArray[np.float32]) -> Floats:
        return self.input_format.cut(inputs.reshape(len(inputs), self.settings.inputs).astype(np.float64))

    def _through(self, found: Floats, sums: list[Floats] | None = None) -> Floats:
        for place, layer in enumerate(self.layers):
            if place == 0 and self.settings.patches is not None:
                found = found[:, patch_index(self.settings)]
            found = found @ layer.weight + layer.bias
            if sums is not None:
                sums.append(found)
            found = layer.format.cut(np.maximum(found, 0.0) if layer.relu else found)
            found = found.reshape(len(found), -1)
        return found


@dataclass(frozen=True)
class Overflow:
    """A number whose integer part is too small for some events; it saturates there.

    Attributes:
        place: ``layer 1, output 3``, or ``score``.
        share: of the events.
        bits: integer bits that it has.
        needed: integer bits that would hold all of the events.
    """

    place: str
    share: float
    bits: int
    needed: int


def overflows(network: FixedPointNetwork, inputs: npt.NDArray[np.float32]) -> tuple[Overflow, ...]:
    """The numbers that saturate for some of these events, those of the most events first.

    Args:
        network: in fixed point.
        inputs: whole numbers of the hardware, shape (events, *input_shape).
    """
    wide = replace(
        network, settings=network.settings.model_copy(update={"score_integer": MOST_SCORE_BITS, "score_fraction": 0})
    )
    found: list[Overflow] = []
    for place, (sums, layer) in enumerate(zip(network.sums(inputs), network.layers, strict=True)):
        columns = sums.reshape(-1, sums.shape[-1])
        found += _saturating(f"layer {place}, output", columns, layer.format, layer.relu)
    score = _saturating("score", wide.score(inputs)[:, None].astype(np.float64), network.score_format, cut_below=True)
    found += [replace(one, place="score") for one in score]
    return tuple(sorted(found, key=lambda one: -one.share))


def _saturating(name: str, sums: Floats, form: Format, cut_below: bool) -> list[Overflow]:  # noqa: FBT001
    above = sums >= form.highest + form.step
    below = np.zeros_like(above) if cut_below else sums < form.lowest
    found = []
    for column in np.flatnonzero((above | below).any(axis=0) & (form.bits > 0)):
        most = float(np.abs(sums[:, column]).max())
        needed = math.floor(math.log2(most)) + 1
        share = float((above | below)[:, column].mean())
        found.append(Overflow(f"{name} {column}", share, int(form.integer[column]), needed))
    return found


def score_bits(network: FixedPointNetwork, inputs: npt.NDArray[np.float32]) -> FixedPointSettings:
    """Settings with a format of the score that these events do not saturate, with one bit to spare."""
    wide = network.settings.model_copy(update={"score_integer": MOST_SCORE_BITS, "score_fraction": MOST_SCORE_BITS})
    largest = float(replace(network, settings=wide).score(inputs).max())
    integer = int(np.ceil(np.log2(max(largest, 2.0**-8)))) + 1
    fraction = int(network.layers[-1].format.fraction.max())
    if wide.score == "squares":
        fraction *= 2
    elif wide.score == "error":
        scaled = network.input_format.fraction[network.error_inputs] - np.log2(network.error_scale).astype(np.int64)
        fraction = max(fraction, int(scaled.max()))
    return wide.model_copy(
        update={"score_integer": integer, "score_fraction": max(min(fraction, MOST_SCORE_BITS - integer), 1 - integer)}
    )


def patch_index(settings: FixedPointSettings) -> npt.NDArray[np.int64]:
    """Which inputs each patch holds, shape (patches, inputs of a patch).

    Raises:
        ValueError: the patches do not fit the field.
    """
    patches = settings.patches
    if patches is None or len(settings.input_shape) != 2:
        raise ValueError("patches need an input of rows and columns")
    rows, columns = settings.input_shape
    if patches.rows > rows or columns % patches.step_columns or patches.columns > columns:
        raise ValueError(f"patches of {patches.rows} x {patches.columns} do not fit {rows} x {columns}")
    tops = np.arange(0, rows - patches.rows + 1, patches.step_rows)
    lefts = np.arange(0, columns, patches.step_columns)
    row = tops[:, None, None, None] + np.arange(patches.rows)[None, None, :, None]
    column = (lefts[None, :, None, None] + np.arange(patches.columns)[None, None, None, :]) % columns
    return np.asarray((row * columns + column).reshape(len(tops) * len(lefts), -1), dtype=np.int64)


def weights_of(network: FixedPointNetwork) -> dict[str, Floats]:
    """The numbers of a network, by name, for a checkpoint."""
    found = _format_weights("input", network.input_format)
    for place, layer in enumerate(network.layers):
        found |= {f"{place}.weight": layer.weight, f"{place}.bias": layer.bias}
        found |= _format_weights(str(place), layer.format)
    if network.settings.score == "error":
        found |= {"error.inputs": network.error_inputs.astype(np.float64), "error.scale": network.error_scale}
    return found


def network_of(
    settings: FixedPointSettings, weights: Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.float64]]
) -> FixedPointNetwork:
    """The network of a checkpoint.

    Raises:
        ValueError: a weight is absent, of another shape, or no fixed-point number; or sums may be inexact.
    """
    numbers = {name: np.asarray(array, dtype=np.float64) for name, array in weights.items()}
    absent = sorted(_expected(settings) - numbers.keys())
    if absent or numbers.keys() - _expected(settings):
        raise ValueError(f"weights {', '.join(absent) or 'beyond those of the settings'}")
    layers: list[Layer] = []
    inputs = settings.inputs
    for place, width in enumerate(settings.widths):
        fan_in, outputs = inputs, width
        if place == 0 and settings.patches is not None:
            index = patch_index(settings)
            fan_in, outputs = index.shape[1], width * len(index)
        if numbers[f"{place}.weight"].shape != (fan_in, width) or numbers[f"{place}.bias"].shape != (width,):
            raise ValueError(f"layer {place} has other shapes than {(fan_in, width)}")
        relu = place < len(settings.widths) - 1 or settings.score == "value"
        layer_format = _format_of(numbers, str(place), width, signed=not relu)
        layers.append(Layer(numbers[f"{place}.weight"], numbers[f"{place}.bias"], relu, layer_format))
        inputs = outputs
    error = settings.score == "error"
    network = FixedPointNetwork(
        settings,
        _format_of(numbers, "input", settings.inputs, signed=True),
        tuple(layers),
        numbers["error.inputs"].astype(np.int64) if error else np.zeros(0, dtype=np.int64),
        numbers["error.scale"] if error else np.zeros(0),
    )
    _require_exact(network)
    return network


def _expected(settings: FixedPointSettings) -> set[str]:
    names = {"input.integer", "input.fraction"}
    for place in range(len(settings.widths)):
        names |= {f"{place}.{part}" for part in ("weight", "bias", "integer", "fraction")}
    return names | ({"error.inputs", "error.scale"} if settings.score == "error" else set())


def _format_weights(name: str, found: Format) -> dict[str, Floats]:
    return {f"{name}.integer": found.integer.astype(np.float64), f"{name}.fraction": found.fraction.astype(np.float64)}


def _format_of(numbers: Mapping[str, Floats], name: str, width: int, *, signed: bool) -> Format:
    integer, fraction = numbers[f"{name}.integer"], numbers[f"{name}.fraction"]
    if integer.shape != (width,) or fraction.shape != (width,):
        raise ValueError(f"the format of {name} has other shapes than {(width,)}")
    if (integer != np.rint(integer)).any() or (fraction != np.rint(fraction)).any():
        raise ValueError(f"the format of {name} has bits that are no whole numbers")
    return Format(signed, integer.astype(np.int64), fraction.astype(np.int64))


def _require_exact(network: FixedPointNetwork) -> None:
    """No sum may need more bits than a float64 has: then the order of additions does not matter."""
    step, most = network.input_format.step, np.maximum(network.input_format.highest, -network.input_format.lowest)
    for place, layer in enumerate(network.layers):
        if place == 0 and network.settings.patches is not None:
            index = patch_index(network.settings)
            step, most = step[index].min(axis=0), most[index].max(axis=0)
        elif len(step) != len(layer.weight):  # the patches of a convolution, one after the other
            step, most = np.tile(step, len(layer.weight) // len(step)), np.tile(most, len(layer.weight) // len(most))
        least = step.min() * _step_of(layer.weight)
        least = min(least, _step_of(layer.bias))
        largest = (np.abs(layer.weight) * most[:, None]).sum(axis=0).max() + np.abs(layer.bias).max(initial=0.0)
        if largest / least >= 2.0**52:
            raise ValueError(f"the sums of layer {place} need more than 52 bits")
        step, most = layer.format.step, np.maximum(layer.format.highest, -layer.format.lowest)


def _step_of(numbers: Floats) -> float:
    """The largest power of two that divides all numbers."""
    least = np.inf
    for number in np.unique(np.abs(numbers[numbers != 0])):
        mantissa, exponent = np.frexp(number)
        whole = int(mantissa * 2.0**53)
        least = min(least, 2.0 ** (int(exponent) - 53) * (whole & -whole))
    return float(least)
