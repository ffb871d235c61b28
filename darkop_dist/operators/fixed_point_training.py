"""Training of fixed-point networks: the precision of every weight and of every output is learned with the weights.

Forward, the numbers are those of the hardware; backward, rounding is passed over (straight-through), and the bits get
the gradient of the rounding error, as in HGQ (arXiv:2405.00645, eqs. 7 to 9). The loss is

    fidelity to a teacher's score + beta * EBOPs,

EBOPs being the products of the bits of each weight and of what it multiplies (eq. 5 there), which da4ml's adders and
LUTs follow closely. A weight that has lost all of its bits is pruned. beta grows through the training, so one training
visits a whole curve between resources and fidelity; the epochs on its front are kept.

The student learns the order of the teacher's scores: the target is a monotone transform of them (`Target`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from darkop_dist.errors import FitError, InputValueError
from darkop_dist.operators.fixed_point import (
    FixedPointNetwork,
    FixedPointSettings,
    Format,
    Layer,
    patch_index,
)

LN2 = float(np.log(2.0))
FEWEST_BITS, MOST_BITS = -4.0, 12.0
HELD = 10
"""One event of so many makes no gradient step: the loss that is shown is theirs."""

Floats = npt.NDArray[np.float64]


class QuantisationSettings(BaseModel):
    """How a fixed-point network is trained.

    Attributes:
        epochs: passes over the events, all of them.
        float_epochs: of those, passes without any rounding before it begins.
        batch: events per step.
        learning_rate: of the weights; falls to a twentieth along half a cosine.
        beta_first: weight of the EBOPs when rounding begins.
        beta_last: at the end; it grows by a constant factor per epoch.
        weight_bits: fraction bits of the weights when rounding begins.
        output_bits: bits of the outputs of a layer when rounding begins.
        input_bits: bits of an input when rounding begins.
        quantised: False for a float model of the same shape, to compare with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(gt=0, le=2000)] = 60
    float_epochs: Annotated[int, Field(ge=0)] = 10
    batch: Annotated[int, Field(gt=0, le=65536)] = 1024
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    beta_first: Annotated[float, Field(ge=0)] = 1e-7
    beta_last: Annotated[float, Field(ge=0)] = 1e-4
    weight_bits: Annotated[float, Field(gt=0, le=12)] = 6.0
    output_bits: Annotated[float, Field(gt=0, le=12)] = 6.0
    input_bits: Annotated[float, Field(gt=0, le=12)] = 8.0
    quantised: bool = True


@dataclass(frozen=True)
class Distillation:
    """What a student learns from.

    Attributes:
        inputs: whole numbers of the hardware, shape (events, inputs).
        target: what the square root of the student's score (for ``squares``) or the score is compared with, 0 or
            more, shape (events,).
        weight: of each event in the loss, mean about 1, shape (events,).
        scale: power of two by which each input is divided, shape (inputs,).
        most: largest absolute value of each input that the hardware can give, shape (inputs,).
        error_inputs: the inputs that an autoencoder gives back; empty for other scores.
    """

    inputs: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    scale: Floats
    most: Floats
    error_inputs: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Epoch:
    """A network on the way.

    Attributes:
        number: the epoch, from 0.
        loss: fidelity on the validation events.
        ebops: products of bits.
        network: in fixed point; before rounding begins its formats are so wide that they cut nothing.
        rounded: whether rounding has begun.
    """

    number: int
    loss: float
    ebops: float
    network: FixedPointNetwork
    rounded: bool = True


class _Floor(torch.autograd.Function):
    """floor(x 2^f) / 2^f; passes the gradient of x, and for f that of the error (HGQ, eq. 8)."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, numbers: Tensor, bits: Tensor) -> Tensor:
        step = torch.exp2(-bits)
        cut = torch.floor(numbers / step) * step
        context.save_for_backward(numbers - cut - 0.5 * step, bits)
        return cut

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        error, bits = context.saved_tensors
        slope = gradient * error * LN2
        extra = slope.dim() - bits.dim()
        return gradient, slope.sum(dim=tuple(range(extra))) if extra else slope


def _floor(numbers: Tensor, bits: Tensor) -> Tensor:
    return _Floor.apply(numbers, bits)


def _whole(bits: Tensor) -> Tensor:
    """Bits as whole numbers, straight through."""
    return bits + (torch.round(bits) - bits).detach()


class Student(nn.Module):
    """A network whose precision is learned.

    Args:
        settings: its shape.
        training: how it starts.
        data: scales and ranges of the inputs.
        rng: source of the first weights.
    """

    def __init__(
        self, settings: FixedPointSettings, training: QuantisationSettings, data: Distillation, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.settings = settings
        self.rounding = False
        self.register_buffer("scale", torch.tensor(data.scale, dtype=torch.float32))
        self.register_buffer("most", torch.tensor(data.most / data.scale, dtype=torch.float32))
        most_bits = np.ceil(np.log2(np.maximum(data.most, 1.0) / data.scale + 1e-9))
        self.register_buffer("input_integer", torch.tensor(most_bits, dtype=torch.float32))
        self.input_bits = nn.Parameter(torch.tensor(training.input_bits - most_bits, dtype=torch.float32))
        self.error_inputs = torch.tensor(data.error_inputs)
        self.input_most = torch.tensor(np.log2(data.scale), dtype=torch.float32)  # no bits below the hardware's
        self.patches = torch.tensor(patch_index(settings)) if settings.patches is not None else None
        fan_in = settings.inputs if self.patches is None else self.patches.shape[1]
        weights, biases, weight_bits, output_bits = [], [], [], []
        for place, width in enumerate(settings.widths):
            first = rng.normal(size=(fan_in, width)) * np.sqrt(2.0 / fan_in)
            weights.append(nn.Parameter(torch.tensor(first, dtype=torch.float32)))
            biases.append(nn.Parameter(torch.zeros(width)))
            weight_bits.append(nn.Parameter(torch.full((fan_in, width), training.weight_bits)))
            output_bits.append(nn.Parameter(torch.full((width,), training.output_bits - 3.0)))
            self.register_buffer(f"integer{place}", torch.full((width,), 3.0))
            fan_in = width * (len(self.patches) if place == 0 and self.patches is not None else 1)
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)
        self.weight_bits, self.output_bits = nn.ParameterList(weight_bits), nn.ParameterList(output_bits)

    def forward(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs of the last layer, and the sums of each layer before their format cuts them."""
        return self._through(self._input(inputs))

    def score(self, inputs: Tensor) -> Tensor:
        """What is compared with the target."""
        seen = self._input(inputs)
        outputs, _ = self._through(seen)
        if self.settings.score == "squares":
            return torch.sqrt((outputs * outputs).sum(dim=1) + 1e-6)
        if self.settings.score == "error":
            return (seen[:, self.error_inputs] - outputs).abs().sum(dim=1)
        return outputs[:, 0]

    def _through(self, found: Tensor) -> tuple[Tensor, list[Tensor]]:
        sums: list[Tensor] = []
        for place in range(len(self.weights)):
            if place == 0 and self.patches is not None:
                found = found[:, self.patches]
            found = found @ self._weight(place) + self._bias(place)
            sums.append(found)
            found = self._cut(place, torch.relu(found) if self._has_relu(place) else found)
            found = found.reshape(len(found), -1)
        return found, sums

    def ebops(self) -> Tensor:
        """Products of the bits of weights and of what they multiply."""
        bits = torch.relu(_whole(self.input_bits) + self.input_integer)
        total = torch.zeros(())
        for place, weight in enumerate(self.weights):
            if place == 0 and self.patches is not None:
                bits = bits[self.patches].mean(dim=0)
            fraction = _whole(self.weight_bits[place])
            rounded = weight.detach().abs() + 0.5 * torch.exp2(-fraction.detach())  # half a step up: it has one bit
            weight_bits = torch.relu(fraction + torch.floor(torch.log2(rounded)) + 1.0)
            repeats = len(self.patches) if place == 0 and self.patches is not None else 1
            total = total + repeats * (bits[:, None] * weight_bits).sum()
            bits = torch.relu(_whole(self.output_bits[place]) + self.get_buffer(f"integer{place}")).repeat(repeats)
        if self.settings.score == "squares":
            total = total + (bits * bits).sum()
        return total

    def calibrate(self, inputs: Tensor) -> None:
        """Set the integer bits of every layer to the largest sums of these events."""
        with torch.no_grad():
            _, sums = self(inputs)
        for place, found in enumerate(sums):
            most = found.abs().amax(dim=tuple(range(found.dim() - 1))) + 1e-6
            self.get_buffer(f"integer{place}").copy_(torch.ceil(torch.log2(most)).clamp(-6.0, 10.0))

    def network(self) -> FixedPointNetwork:
        """The network in fixed point, with the scale of the inputs in its formats and first weights.

        Before rounding begins its formats cut nothing: it is the float model, to some 1e-9.
        """
        with torch.no_grad():
            scale = self.scale.double().numpy()
            shift = np.log2(scale)
            fraction = np.minimum(np.rint(self.input_bits.double().numpy()), self.input_most.double().numpy())
            fraction = fraction if self.rounding else shift
            input_format = Format(
                True,
                np.asarray(self.input_integer.double().numpy() + shift, dtype=np.int64),
                np.asarray(fraction - shift, dtype=np.int64),
            )
            layers = []
            for place in range(len(self.weights)):
                weight = self._weight(place).double().numpy().copy()
                if place == 0:
                    divisor = scale if self.patches is None else scale[self.patches.numpy()[0]]
                    weight = weight / divisor[:, None]
                layers.append(
                    Layer(
                        weight,
                        self._bias(place).double().numpy().copy(),
                        self._has_relu(place),
                        self._format(place),
                    )
                )
        compared = self.error_inputs.numpy()
        return FixedPointNetwork(self.settings, input_format, tuple(layers), compared, 1.0 / scale[compared])

    def _format(self, place: int) -> Format:
        integer = self.get_buffer(f"integer{place}").double().numpy().astype(np.int64)
        fraction = np.rint(self.output_bits[place].double().numpy()).astype(np.int64)
        if not self.rounding:
            integer, fraction = np.full_like(integer, 20), np.full_like(fraction, 30)
        return Format(not self._has_relu(place), integer, fraction)

    def _has_relu(self, place: int) -> bool:
        return place < len(self.weights) - 1 or self.settings.score == "value"

    def _input(self, inputs: Tensor) -> Tensor:
        found = inputs / self.scale
        if not self.rounding:
            return found
        bits = torch.minimum(_whole(self.input_bits), self.input_most)
        kept = _floor(found, bits)
        top = torch.exp2(self.input_integer)
        return torch.minimum(torch.maximum(kept, -top), top - torch.exp2(-bits)) * (bits + self.input_integer > 0)

    def _weight(self, place: int) -> Tensor:
        weight = self.weights[place]
        if not self.rounding:
            return weight
        bits = _whole(self.weight_bits[place])
        return _floor(weight + 0.5 * torch.exp2(-bits).detach(), bits)

    def _bias(self, place: int) -> Tensor:
        if not self.rounding:
            return self.biases[place]
        bits = torch.round(self.output_bits[place]).detach() + 2.0
        return _floor(self.biases[place], bits)

    def _cut(self, place: int, numbers: Tensor) -> Tensor:
        if not self.rounding:
            return numbers
        bits = _whole(self.output_bits[place])
        integer = self.get_buffer(f"integer{place}")
        top = torch.exp2(integer)
        low = torch.zeros_like(top) if self._has_relu(place) else -top
        cut = torch.minimum(torch.maximum(_floor(numbers, bits), low), top - torch.exp2(-bits))
        return cut * (bits + integer > 0)


def train_student(
    data: Distillation,
    settings: FixedPointSettings,
    training: QuantisationSettings,
    *,
    seed: int,
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Epoch, ...]:
    """Train a network along the curve between resources and fidelity.

    Args:
        data: what it learns; one event of `HELD` is for validation.
        settings: its shape.
        training: how.
        seed: of the first weights and the order of the events.
        progress: called after each epoch.

    Returns:
        The epochs, in their order.

    Raises:
        InputValueError: the arrays do not fit each other.
        FitError: the loss is not finite.
    """
    if data.inputs.shape != (len(data.target), settings.inputs) or len(data.target) < 20:
        raise InputValueError("distillation", f"inputs of shape {data.inputs.shape}", "Give 20 events or more")
    if settings.score == "error" and len(data.error_inputs) != settings.widths[-1]:
        raise InputValueError(
            "distillation",
            f"{len(data.error_inputs)} inputs are compared with {settings.widths[-1]} outputs",
            "Give an input for each output of the last layer",
        )
    rng = np.random.default_rng(seed)
    student = Student(settings, training, data, rng)
    inputs, target, weight = (torch.tensor(array) for array in (data.inputs, data.target, data.weight))
    held = torch.arange(len(target)) % HELD == 0
    bits = [parameter for name, parameter in student.named_parameters() if "bits" in name]
    rest = [parameter for name, parameter in student.named_parameters() if "bits" not in name]
    optimiser = torch.optim.Adam([{"params": rest}, {"params": bits}], lr=training.learning_rate)
    growth = (training.beta_last / max(training.beta_first, 1e-30)) ** (
        1.0 / max(training.epochs - training.float_epochs - 1, 1)
    )
    places = np.flatnonzero(~held.numpy())
    found: list[Epoch] = []
    for number in range(training.epochs):
        if training.quantised and number == training.float_epochs:
            student.calibrate(inputs[~held])
            student.rounding = True
        lift = 0.05 + 0.95 * 0.5 * (1.0 + np.cos(np.pi * number / training.epochs))
        optimiser.param_groups[0]["lr"] = training.learning_rate * lift
        optimiser.param_groups[1]["lr"] = 5e-3 if student.rounding else 0.0
        beta = training.beta_first * growth ** (number - training.float_epochs) if student.rounding else 0.0
        order = rng.permutation(places)
        for start in range(0, len(order), training.batch):
            rows = torch.from_numpy(order[start : start + training.batch])
            loss = _fidelity(student.score(inputs[rows]), target[rows], weight[rows])
            if beta:
                loss = loss + beta * student.ebops()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                for parameter in bits:
                    parameter.clamp_(FEWEST_BITS, MOST_BITS)
        if student.rounding:
            student.calibrate(inputs[~held])
        with torch.no_grad():
            value = float(_fidelity(student.score(inputs[held]), target[held], weight[held]))
            ebops = float(student.ebops())
        if not np.isfinite(value):
            raise FitError(f"the loss is not finite after epoch {number}. Use a smaller learning rate")
        found.append(Epoch(number, value, ebops, copy.deepcopy(student).network(), student.rounding))
        if progress is not None:
            progress(found[-1])
    return tuple(found)


def _fidelity(found: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared relative distance."""
    return (weight * ((found - target) / (target + 1.0)) ** 2).mean()
