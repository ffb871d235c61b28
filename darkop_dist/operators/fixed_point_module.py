"""A user's own torch module as a network in fixed point: rounded after its training, with formats from real events.

Batch normalisations go into the linear layers beside them. What is not a chain of known layers is refused by name; a
network whose precision is learned (``darkop trigger train``) keeps more of its efficiency than one rounded afterwards.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, MissingExtraError
from darkop_dist.operators.fixed_point import FixedPointNetwork, FixedPointSettings, Format, Layer, score_bits

TorchModule = Any  # torch.nn.Module; torch has no types here
Floats = npt.NDArray[np.float64]
SUPPORTED = "Linear, ReLU, BatchNorm1d, Flatten, Dropout and Identity, one after the other, on an input of fixed shape"
SILENT = ("Identity", "Dropout", "Flatten")


@dataclass(frozen=True)
class Precision:
    """How finely a module is rounded.

    Attributes:
        weight_bits: of the weight with which an input reaches furthest in a layer, with its sign.
        output_bits: of each output, with its sign.
        spare_bits: integer bits beyond the largest sum of the events.
    """

    weight_bits: int = 8
    output_bits: int = 10
    spare_bits: int = 0


@dataclass
class _Affine:
    """x -> x @ weight + bias, still in float."""

    weight: Floats
    bias: Floats

    def then(self, weight: Floats, bias: Floats) -> _Affine:
        return _Affine(self.weight @ weight, self.bias @ weight + bias)


def network_of_module(
    module: TorchModule,
    inputs: npt.NDArray[np.float32],
    *,
    score: Literal["squares", "value"] = "squares",
    precision: Precision | None = None,
) -> FixedPointNetwork:
    """Round a trained module to fixed point.

    Args:
        module: takes whole numbers of the hardware, shape (events, inputs); its own scaling of them is part of it.
        inputs: events that fix the integer bits, shape (events, inputs).
        score: ``squares`` for the sum of the squared outputs, ``value`` for the only output, which is cut at 0.
        precision: how finely.

    Raises:
        MissingExtraError: torch is not installed.
        InputValueError: a layer is not supported, the module's way depends on the data, its input has another shape,
            or a number is not finite.
    """
    wanted = precision or Precision()
    if inputs.ndim != 2 or len(inputs) == 0:
        raise InputValueError("events", f"their shape is {inputs.shape}", "Give events of shape (events, inputs)")
    chain = _chain(module, inputs.shape[1])
    if score == "value" and len(chain[-1][0].bias) != 1:
        raise InputValueError(
            "score", f"the module has {len(chain[-1][0].bias)} outputs, value takes one", "Use squares"
        )
    events = inputs.astype(np.float64)
    low, high = events.min(axis=0), events.max(axis=0)
    most = np.maximum(np.maximum(np.abs(low), np.abs(high)), 1.0)
    integer = np.floor(np.log2(most)).astype(np.int64) + 1
    input_format = Format(True, integer, np.zeros(len(integer), dtype=np.int64))
    layers: list[Layer] = []
    now = events
    for place, (affine, has_relu) in enumerate(chain):
        layer = _rounded(affine, now, has_relu or (score == "value" and place == len(chain) - 1), wanted)
        layers.append(layer)
        now = now @ layer.weight + layer.bias
        now = layer.format.cut(np.maximum(now, 0.0) if layer.relu else now)
    settings = FixedPointSettings(
        input_shape=(inputs.shape[1],),
        widths=tuple(len(affine.bias) for affine, _ in chain),
        score=score,
        score_integer=1,
        score_fraction=0,
    )
    network = FixedPointNetwork(settings, input_format, tuple(layers), np.zeros(0, dtype=np.int64), np.zeros(0))
    return replace(network, settings=score_bits(network, inputs))


def _rounded(affine: _Affine, events: Floats, relu: bool, wanted: Precision) -> Layer:  # noqa: FBT001
    if not (np.isfinite(affine.weight).all() and np.isfinite(affine.bias).all()):
        raise InputValueError("module", "a weight is not finite", "Train it again")
    sums = events @ affine.weight + affine.bias
    most = np.maximum(sums.max(axis=0), 0.0) if relu else np.abs(sums).max(axis=0)
    integer = np.ceil(np.log2(np.maximum(most, 2.0**-8) * (1 + 1e-9))).astype(np.int64) + wanted.spare_bits
    fraction = wanted.output_bits - int(not relu) - integer
    reach = np.exp2(np.ceil(np.log2(np.maximum(np.abs(events).max(axis=0), 2.0**-8))))[:, None]
    largest = float((np.abs(affine.weight) * reach).max(initial=2.0**-16))
    step = 2.0 ** (np.ceil(np.log2(largest)) - (wanted.weight_bits - 1)) / reach
    fine = 2.0 ** -(float(fraction.max()) + 2.0)
    return Layer(
        np.rint(affine.weight / step) * step,
        np.rint(affine.bias / fine) * fine,
        relu,
        Format(not relu, integer, fraction),
    )


def _chain(module: TorchModule, inputs: int) -> list[tuple[_Affine, bool]]:
    """Affine maps, each with whether a relu follows."""
    pending, found, width = None, [], inputs
    for name, kind, layer in _steps(module):
        if kind == "ReLU":
            found.append((pending or _Affine(np.eye(width), np.zeros(width)), True))
            pending = None
            continue
        if kind in SILENT:
            continue
        weight, bias = _numbers(layer, kind)
        if len(weight) != width:
            raise InputValueError(
                "module", f"{name} ({kind}) takes {len(weight)} numbers, {width} come", "Give a module for the sample"
            )
        pending, width = (_Affine(weight, bias) if pending is None else pending.then(weight, bias)), len(bias)
    if pending is not None or not found:
        found.append((pending or _Affine(np.eye(width), np.zeros(width)), False))
    return found


def _steps(module: TorchModule) -> list[tuple[str, str, Any]]:
    """Name, kind and layer of each step of a module, in their order."""
    try:
        import torch
        from torch import fx
    except ImportError as error:
        raise MissingExtraError("torch", "operators") from error
    if not isinstance(module, torch.nn.Module):
        raise InputValueError(
            "model", f"{type(module).__name__} is no checkpoint and no torch module", "Give one of the two"
        )
    known: dict[Callable[..., Any] | str, str] = {
        torch.relu: "ReLU", torch.nn.functional.relu: "ReLU", "relu": "ReLU", torch.flatten: "Flatten",
        "flatten": "Flatten",
    }  # fmt: skip
    try:
        graph = fx.symbolic_trace(module.eval()).graph
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise InputValueError(
            "module",
            f"its shapes or its way depend on the data, hardware has one way for every event ({error})",
            f"Supported: {SUPPORTED}",
        ) from error
    steps: list[tuple[str, str, Any]] = []
    last = None
    for node in graph.nodes:
        if node.op == "placeholder" and last is None:
            last = node
            continue
        inputs = [argument for argument in node.args if isinstance(argument, fx.Node)]
        kind = _kind(node, module, known)
        if inputs != [last] or (kind is None and node.op != "output"):
            raise InputValueError(
                "module", f"{_shown(node, module)} is no layer that firmware can be made of", f"Supported: {SUPPORTED}"
            )
        if node.op != "output":
            layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
            steps.append((str(node.target) if layer is not None else node.name, str(kind), layer))
        last = node
    return steps


def _kind(node: Any, module: TorchModule, known: dict[Callable[..., Any] | str, str]) -> str | None:
    if node.op == "call_module":
        name = type(module.get_submodule(str(node.target))).__name__
        return name if name in {"Linear", "ReLU", "BatchNorm1d", *SILENT} else None
    if node.op in {"call_function", "call_method"}:
        return known.get(node.target)
    return None


def _shown(node: Any, module: TorchModule) -> str:
    if node.op == "call_module":
        return f"{node.target} ({type(module.get_submodule(str(node.target))).__name__})"
    function = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    symbol = {operator.add.__name__: "an addition", operator.mul.__name__: "a product"}.get(function)
    return f"{node.name} ({symbol or function})"


def _numbers(layer: Any, kind: str) -> tuple[Floats, Floats]:
    """Weight (inputs, outputs) and bias of a layer; torch holds a linear layer's weight the other way round."""

    def array(tensor: Any) -> Floats:
        return np.asarray(tensor.detach().double().cpu().numpy(), dtype=np.float64)

    if kind == "Linear":
        weight = array(layer.weight).T
        return weight, array(layer.bias) if layer.bias is not None else np.zeros(weight.shape[1])
    scale = 1.0 / np.sqrt(array(layer.running_var) + layer.eps)
    shift = -array(layer.running_mean) * scale
    if layer.affine:
        scale, shift = scale * array(layer.weight), shift * array(layer.weight) + array(layer.bias)
    return np.diag(scale), shift
