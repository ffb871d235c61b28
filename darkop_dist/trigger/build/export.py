"""A model for the high-level trigger: ONNX, with measured throughput and latency by batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import MissingExtraError, OutputError, RunError
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.fixed_point import FixedPointNetwork
from darkop_dist.trigger.build.flow import new_folder
from darkop_dist.trigger.build.model import TriggerModel, model_of, require_events

BATCHES = (1, 16, 256, 4096)
MEASURED_S = 0.5
ELSEWHERE = ("AzureExecutionProvider",)  # for calls over a network: listed first, it computes nothing here


@dataclass(frozen=True)
class Measured:
    """Speed of an exported model.

    Attributes:
        batch: events of a call.
        events_per_s: throughput.
        latency_us: median duration of a call in microseconds.
        provider: where it ran, as ONNX Runtime names it.
    """

    batch: int
    events_per_s: float
    latency_us: float
    provider: str


@dataclass(frozen=True)
class Export:
    """An exported model.

    Attributes:
        onnx: the file; its input ``inputs`` is float32 (events, ...), its output ``score`` float32 (events,).
        measured: speed by batch.
        events: compared with the network, all equal bit for bit.
    """

    onnx: Path
    measured: tuple[Measured, ...]
    events: int


def export_gpu(
    model: Checkpoint | TriggerModel,
    inputs: npt.NDArray[np.float32],
    folder: str | Path,
    *,
    batches: Sequence[int] = BATCHES,
) -> Export:
    """Write a model as ONNX, compare its scores, and measure it on the best provider that ONNX Runtime has here.

    Args:
        model: with a fixed-point network.
        inputs: events for the comparison and the measurement, shape (events, ...).
        folder: of the project; must be new or empty.
        batches: events of a call.

    Raises:
        MissingExtraError: onnx or ONNX Runtime is not installed.
        InputValueError: the checkpoint holds another model, or there are no events.
        OutputError: the folder is not empty.
        RunError: a score differs.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "trigger") from error
    network = model_of(model).network
    events = require_events(inputs, network)
    target = new_folder(folder) / "model.onnx"
    try:
        onnx.save(graph_of(network), target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Choose another folder") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    here = [name for name in onnxruntime.get_available_providers() if name not in ELSEWHERE]
    session = onnxruntime.InferenceSession(str(target), options, providers=here)
    found = session.run(None, {"inputs": events})[0]
    different = int(np.count_nonzero(found != network.score(events)))
    if different:
        raise RunError(f"{target}: {different} of {len(events)} scores differ from the network's. Do not use it")
    measured = tuple(_measure(session, events, batch) for batch in batches)
    return Export(target, measured, len(events))


def graph_of(network: FixedPointNetwork) -> Any:
    """The ONNX graph of a network, in float64: exact, for all sums have fewer than 52 bits."""
    from onnx import TensorProto, helper, numpy_helper

    from darkop_dist.operators.fixed_point import patch_index

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, values: npt.NDArray[np.generic] | Sequence[int]) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def cut(now: str, name: str, step: object, low: object, high: object) -> str:
        steps = constant(f"{name}.step", np.asarray(step, dtype=np.float64))
        scaled = node("Floor", [node("Div", [now, steps], f"{name}.divided")], f"{name}.floored")
        whole = node("Mul", [scaled, steps], f"{name}.whole")
        above = node("Max", [whole, constant(f"{name}.low", np.asarray(low, dtype=np.float64))], f"{name}.above")
        return node("Min", [above, constant(f"{name}.high", np.asarray(high, dtype=np.float64))], f"{name}.cut")

    settings = network.settings
    flat = node("Flatten", ["inputs"], "flat", axis=1)
    now = node("Cast", [flat], "wide", to=TensorProto.DOUBLE)
    form = network.input_format
    now = seen = cut(now, "input", form.step, form.lowest, form.highest)
    for place, layer in enumerate(network.layers):
        name = f"layer{place}"
        if place == 0 and settings.patches is not None:
            now = node("Gather", [now, constant("patches", patch_index(settings))], "patched", axis=1)
        now = node("MatMul", [now, constant(f"{name}.weight", layer.weight)], f"{name}.product")
        now = node("Add", [now, constant(f"{name}.bias", layer.bias)], f"{name}.sum")
        if layer.relu:
            now = node("Relu", [now], f"{name}.relu")
        now = cut(now, name, layer.format.step, layer.format.lowest, layer.format.highest)
        if place == 0 and settings.patches is not None:
            now = node("Flatten", [now], f"{name}.flat", axis=1)
    axes = constant("axes", np.array([1], dtype=np.int64))
    if settings.score == "squares":
        now = node("ReduceSum", [node("Mul", [now, now], "squared"), axes], "total", keepdims=0)
    elif settings.score == "error":
        chosen = node("Gather", [seen, constant("compared", network.error_inputs)], "chosen", axis=1)
        scaled = node("Mul", [chosen, constant("scale", network.error_scale)], "scaled")
        away = node("Abs", [node("Sub", [scaled, now], "away")], "distance")
        now = node("ReduceSum", [away, axes], "total", keepdims=0)
    else:
        now = node("Squeeze", [now, axes], "total")
    form = network.score_format
    now = cut(now, "score", form.step[0], form.lowest[0], form.highest[0])
    node("Cast", [now], "score", to=TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "trigger",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["events", *settings.input_shape])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["events"])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _measure(session: Any, events: npt.NDArray[np.float32], batch: int) -> Measured:
    rows = np.resize(np.arange(len(events)), batch)
    given = {"inputs": np.ascontiguousarray(events[rows])}
    run = session.run
    run(None, given)
    taken: list[float] = []
    while not taken or sum(taken) < MEASURED_S:
        began = time.perf_counter()
        run(None, given)
        taken.append(time.perf_counter() - began)
    median = float(np.median(taken))
    provider = str(session.get_providers()[0])
    return Measured(batch, batch / median, 1e6 * median, provider)
