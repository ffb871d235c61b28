"""An hls4ml project of a network: C++ for Vitis, Vivado or oneAPI, its C simulation compared bit for bit.

hls4ml's own converters take one number format for a whole layer, and its converter from torch leaves the weights of
linear layers untransposed if ``channels_last_conversion`` is off, without a word. So the layers are given to its graph
directly: exact types for weights and sums, and a ``FixedPointQuantizer``, the layer that hls4ml has for HGQ, wherever a
format of ours cuts numbers one by one. The comparison is part of the build: a transposed matrix does not get through.

The C++ is compiled by g++ with the types that hls4ml brings, AMD's for Vitis and Vivado; for oneAPI, Intel's types and
pipes are replaced (``oneapi``). Clock, latency and resources are the vendor's business: nothing is said of them before
its tool has run (``vendor``), which none did where this was written.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import InputValueError, MissingExtraError, OutputError, RunError
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.fixed_point import FixedPointNetwork, Format
from darkop_dist.trigger.build import oneapi
from darkop_dist.trigger.build.flow import Say, compare, new_folder
from darkop_dist.trigger.build.model import TriggerModel, model_of, require_events, require_range
from darkop_dist.trigger.build.result import ParityCheck
from darkop_dist.trigger.build.tools import COMPILER
from darkop_dist.trigger.build.vendor import VendorReport, read_report, require_tool, synthesise
from darkop_dist.trigger.logic import ranges_of

logger = logging.getLogger(__name__)

FILE = "project.json"
PROJECT = "trigger"
PARTS = {"Vitis": "xcvu13p-flga2577-2-e", "Vivado": "xcvu13p-flga2577-2-e", "oneAPI": "Agilex7"}
COMPARED = {
    "Vitis": "C simulation (hls4ml for Vitis, g++)",
    "Vivado": "C simulation (hls4ml for Vivado, g++)",
    "oneAPI": "C++ (hls4ml for oneAPI, g++ with other AC types and pipes than Intel's)",
}
NO_TIMING = "none: no vendor's tool has run"
Floats = npt.NDArray[np.float64]


class HlsProject(BaseModel):
    """An hls4ml project.

    Attributes:
        schema_version: of this layout.
        model: its name.
        fingerprint: of it.
        backend: ``hls``.
        tool: whose tool it is for.
        folder: of the project.
        part: the chip that the tool is asked to take.
        clock_ns: period of the clock that it is asked for; whether the design reaches it only the tool knows.
        parity: what was compared; no project is given whose scores differ.
        timing_source: who says how fast it is, and how large.
        report: what the vendor's tool said; None where it has not run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model: str
    fingerprint: str
    backend: Literal["hls"] = "hls"
    tool: str
    folder: Path
    part: str
    clock_ns: float
    parity: tuple[ParityCheck, ...]
    timing_source: str = NO_TIMING
    report: VendorReport | None = None


@dataclass(frozen=True)
class Span:
    """Numbers in a range, all of them multiples of a step."""

    low: float
    high: float
    step: float

    def type(self) -> str:
        """The type that holds them exactly, as hls4ml writes it: ``fixed<bits, integer bits with the sign>``."""
        fraction = -round(math.log2(self.step))
        signed = self.low < 0
        most = max(abs(self.low), self.high + self.step)
        integer = max(math.ceil(math.log2(most)), 1 - fraction)
        return f"{'' if signed else 'u'}fixed<{integer + fraction + signed},{integer + signed}>"


def build_hls(
    model: Checkpoint | TriggerModel,
    inputs: npt.NDArray[np.float32],
    folder: str | Path,
    *,
    tool: str = "Vitis",
    part: str | None = None,
    clock_ns: float = 25.0,
    run_vendor: bool = False,
    latency_budget_ns: float = 25.0,
    say: Say = logger.info,
) -> HlsProject:
    """Write an hls4ml project and compare its C++ with the network.

    Args:
        model: with a fixed-point network of dense layers.
        inputs: events to compare scores on, shape (events, inputs).
        folder: of the project; must be new or empty.
        tool: ``Vitis``, ``Vivado`` or ``oneAPI``.
        part: the chip, or for oneAPI its family; hls4ml's choice without.
        clock_ns: period of the clock in ns that the tool is asked for.
        run_vendor: run the vendor's tool and read its report.
        latency_budget_ns: of that report, in ns.
        say: told what happens.

    Returns:
        What was found, as written to ``project.json`` in the folder.

    Raises:
        InputValueError: the tool or the network is not supported, its numbers overflow, a period or budget is not
            positive, or there are no events.
        OutputError: the folder is not empty, or cannot be written.
        MissingExtraError, MissingToolError: hls4ml, g++ or the vendor's tool is not installed.
        InputFileError: the vendor's tool left no report that can be read.
        ToolError: it failed.
        RunError: hls4ml fails, or a score differs.
    """
    require_tool(tool, installed=run_vendor)
    for name, value in (("clock period", clock_ns), ("latency budget", latency_budget_ns)):
        if not value > 0:
            raise InputValueError(name, f"{value} ns", "Give a positive number of ns")
    made = _supported(model)
    events = require_events(inputs, made.network)
    for line in require_range(made, events):
        say(line)
    COMPILER.command()
    chip = PARTS[tool] if part is None else part
    target = new_folder(folder)
    graph = graph_of(made.network, target, tool=tool, part=chip, clock_ns=clock_ns)
    parity = compare(COMPARED[tool], made.network.score(events), _simulated(graph, events, tool))
    say(f"{parity.against}: {parity.events} of {parity.events} scores equal")
    project = HlsProject(
        model=made.name, fingerprint=made.fingerprint, tool=tool, folder=target, part=chip,
        clock_ns=clock_ns, parity=(parity,),
    )  # fmt: skip
    _write(project)
    if run_vendor:
        synthesise(target, tool)
        report = read_report(target, latency_budget_ns=latency_budget_ns)
        project = project.model_copy(update={"report": report, "timing_source": report.timing_source})
        _write(project)
    return project


def is_supported(network: FixedPointNetwork) -> bool:
    """Whether hls4ml gets the layers of a network from here: not those of a convolution or a reconstruction error."""
    return network.settings.patches is None and network.settings.score != "error"


def simulate_project(
    network: FixedPointNetwork, events: npt.NDArray[np.float32], folder: Path, tool: str = "Vitis"
) -> npt.NDArray[np.float32]:
    """Scores of the C++ of a new project in a folder, by g++, shape (events,).

    Args:
        network: one that `is_supported`.
        events: whole numbers of the hardware, shape (events, inputs).
        folder: to write.
        tool: ``Vitis``, ``Vivado`` or ``oneAPI``.

    Raises:
        MissingExtraError, MissingToolError: hls4ml or g++ is not installed.
        RunError: hls4ml fails.
    """
    COMPILER.command()
    return _simulated(graph_of(network, folder, tool=tool, part=PARTS[tool], clock_ns=25.0), events, tool)


def _supported(given: Checkpoint | TriggerModel) -> TriggerModel:
    made = model_of(given)
    if not is_supported(made.network):
        raise InputValueError(
            made.name,
            "a convolution or a reconstruction error is not supported for a vendor's tool",
            "Give a student of dense layers with the score squares or value, or use the backend fpga",
        )
    return made


def _simulated(graph: Any, events: npt.NDArray[np.float32], tool: str) -> npt.NDArray[np.float32]:
    """Scores of the project's C++, shape (events,)."""
    if tool == "oneAPI":
        graph.write()
        return oneapi.simulate(graph, events)
    try:
        graph.compile()
        found = graph.predict(np.ascontiguousarray(events))
    except Exception as error:
        raise RunError(f"hls4ml could not simulate the project in {graph.config.get_output_dir()}: {error}") from error
    return np.asarray(found, dtype=np.float32).reshape(len(events))


def _write(project: HlsProject) -> None:
    target = project.folder / FILE
    try:
        target.write_text(project.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Choose another folder") from error


def graph_of(network: FixedPointNetwork, folder: Path, *, tool: str, part: str, clock_ns: float) -> Any:
    """hls4ml's graph of a network."""
    try:
        from hls4ml.model import ModelGraph
        from hls4ml.utils.config import create_config
    except ImportError as error:
        raise MissingExtraError("hls4ml", "trigger") from error
    layers, types = _layers(network)
    config = create_config(
        output_dir=str(folder), project_name=PROJECT, backend=tool, part=part, clock_period=clock_ns,
        io_type="io_parallel",
    )  # fmt: skip
    config["HLSConfig"] = {
        "Model": {"Precision": "fixed<48,24>", "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": {name: {"Precision": found} for name, found in types.items()},
    }
    graph = ModelGraph.from_layer_list(config, layers)
    if tool == "oneAPI":
        oneapi.keep_single_bits(graph)
    return graph


def _layers(network: FixedPointNetwork) -> tuple[list[dict[str, Any]], dict[str, dict[str, str]]]:
    low, high = ranges_of(network)
    raw = Span(min(float(low.min()), 0.0), float(high.max()), 1.0)
    layers: list[dict[str, Any]] = [
        {"name": "inputs", "class_name": "InputLayer", "input_shape": [network.settings.inputs]}
    ]
    types: dict[str, dict[str, str]] = {"inputs": {"result": raw.type()}}
    now = _cut(layers, types, "cut_inputs", network.input_format)
    for place, layer in enumerate(network.layers):
        name = f"dense{place}"
        sums = _sums(now, layer.weight, layer.bias)
        weight, bias = _held(layer.weight), _held(layer.bias)
        layers.append(_dense(name, layer.weight, layer.bias))
        types[name] = {"weight": weight.type(), "bias": bias.type(), "accum": sums.type(), "result": sums.type()}
        if layer.relu:
            width = layer.weight.shape[1]
            layers.append({"name": f"relu{place}", "class_name": "Activation", "activation": "relu", "n_in": width})
            types[f"relu{place}"] = {"result": Span(0.0, max(sums.high, sums.step), sums.step).type()}
        now = _cut(layers, types, f"cut{place}", layer.format)
    width, most = network.settings.widths[-1], max(abs(now.low), now.high)
    if network.settings.score == "squares":
        last = f"cut{len(network.layers) - 1}"
        now = Span(0.0, most**2, now.step**2)
        square = {"name": "square", "class_name": "Merge", "op": "multiply", "inputs": [last, last], "n_in": width}
        layers.append(square)
        types["square"] = {"result": now.type()}
    total = Span(0.0, width * now.high, now.step)  # also of one output: two quantisers in a row are one to hls4ml
    one = Span(0.0, 1.0, 1.0).type()
    layers.append(_dense("total", np.ones((width, 1)), np.zeros(1)))
    types["total"] = {"weight": one, "bias": one, "accum": total.type(), "result": total.type()}
    _cut(layers, types, "score", network.score_format)
    return layers, types


def _dense(name: str, weight: Floats, bias: Floats) -> dict[str, Any]:
    return {
        "name": name, "class_name": "Dense", "n_in": weight.shape[0], "n_out": weight.shape[1], "weight_data": weight,
        "bias_data": bias,
    }  # fmt: skip


def _cut(layers: list[dict[str, Any]], types: dict[str, dict[str, str]], name: str, form: Format) -> Span:
    """A layer that cuts every number to its format, and the span of what comes out."""
    sign = np.full(len(form.bits), int(form.signed), dtype=np.int16)
    whole = np.where(form.bits > 0, form.integer + sign, 0).astype(np.int16)
    layers.append(
        {
            "name": name,
            "class_name": "FixedPointQuantizer",
            "mask_kbi": (sign[None], form.bits.astype(np.int16)[None], whole[None]),
            "SAT": "SAT",
            "RND": "TRN",
            "fusible": None,
            "overrides": {},
        }
    )
    kept = form.bits > 0
    step = float(form.step[kept].min()) if kept.any() else 1.0
    span = Span(float(form.lowest.min()), max(float(form.highest.max()), step), step)
    types[name] = {"result": span.type()}
    return span


def _sums(now: Span, weight: Floats, bias: Floats) -> Span:
    most = max(abs(now.low), now.high)
    reach = float((np.abs(weight) * most).sum(axis=0).max() + np.abs(bias).max(initial=0.0))
    step = min(now.step * _held(weight).step, _held(bias).step)
    return Span(-reach, reach, step)


def _held(numbers: Floats) -> Span:
    """The span of some constants."""
    step = 1.0
    for number in np.unique(np.abs(numbers[numbers != 0])):
        mantissa, exponent = np.frexp(number)
        whole = int(mantissa * 2.0**53)
        step = min(step, 2.0 ** (int(exponent) - 53) * (whole & -whole))
    return Span(min(float(numbers.min()), -step), max(float(numbers.max()), step), step)
