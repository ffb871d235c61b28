"""One call from a model to firmware."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from darkop_dist.operators.fixed_point_module import TorchModule, network_of_module
from darkop_dist.trigger.build.export import Export, export_gpu
from darkop_dist.trigger.build.flow import build_open
from darkop_dist.trigger.build.hls import HlsProject, build_hls
from darkop_dist.trigger.build.model import TriggerModel, model_of, model_of_network
from darkop_dist.trigger.build.result import TriggerBuild, write_build
from darkop_dist.trigger.build.vendor import require_tool
from darkop_dist.trigger.pareto import FILE, candidates_within, read_pareto
from darkop_dist.trigger.sample import Level1Sample, read_sample
from darkop_dist.trigger.standard import few_crossings

logger = logging.getLogger(__name__)

NS_PER_ADDER = 1.15
"""Of the open flow on ECP5, routed: 1.15 ns for each adder in a row at best (1.15 to 1.8 were seen), so that no student
is passed over that could meet a budget."""


def compile_for_trigger(
    model: str | Path | Checkpoint | TorchModule,
    *,
    sample: str | Path | Level1Sample | None = None,
    output: str | Path = "firmware",
    backend: str = "fpga",
    latency_budget: float = 25.0,
    most_luts: int | None = None,
    events: int = 20_000,
    tool: str = "Vitis",
    part: str | None = None,
    clock_ns: float = 25.0,
    synthesise: bool = False,
    say: Callable[[str], None] = logger.info,
) -> TriggerBuild | HlsProject | Export:
    """Build firmware, or an export for the high-level trigger, and compare its scores with the model's.

    Args:
        model: a checkpoint, its name or directory; or a folder of ``darkop trigger train``, whose students are
            tried, the most efficient first, until one meets the budget; or a torch module of
            linear layers and relus on the 57 numbers, which is rounded to fixed point here and whose score is the sum
            of its squared outputs.
        sample: events to compare scores on; 512 crossings of zero bias by default.
        output: folder of the project; must be new or empty.
        backend: ``fpga`` for the open flow, ``hls`` for a vendor's tool, ``gpu`` for ONNX.
        latency_budget: in ns.
        most_luts: LUTs of the chip that may be used.
        events: of the comparison.
        tool: of ``hls``: ``Vitis``, ``Vivado`` or ``oneAPI``.
        part: of ``hls``: the chip, or for oneAPI its family; hls4ml's choice without.
        clock_ns: of ``hls``: period of the clock in ns that the tool is asked for.
        synthesise: of ``hls``: run the tool, which must be installed, and read its report.
        say: told what happens.

    Raises:
        InputValueError: the backend or the tool is not known, the model is none for firmware, or no student promises
            the budget.
        UnknownNameError, InputFileError: model or sample cannot be read.
        OutputError: the folder exists and is not empty.
        MissingToolError, MissingExtraError: a tool is not installed.
        ToolError: a tool failed.
        RunError: a score differs.
    """
    if backend not in {"fpga", "hls", "gpu"}:
        raise InputValueError("backend", f"{backend!r} is not known", "Use fpga, hls or gpu")
    if backend == "hls":
        require_tool(tool, installed=synthesise)
    given = sample if isinstance(sample, Level1Sample) else read_sample(sample) if sample else few_crossings()

    def direct(chosen: TriggerModel) -> HlsProject | Export:
        inputs = _inputs(given, chosen, events)
        if backend == "gpu":
            return export_gpu(chosen, inputs, output)
        return build_hls(
            chosen, inputs, output, tool=tool, part=part, clock_ns=clock_ns,
            run_vendor=synthesise, latency_budget_ns=latency_budget, say=say,
        )  # fmt: skip

    if isinstance(model, str | Path) and (Path(model) / FILE).is_file():
        made_directly = None if backend == "fpga" else direct
        return _compile_best(Path(model), given, output, made_directly, latency_budget, most_luts, events, say)
    chosen = _model(model, given)
    if backend != "fpga":
        return direct(chosen)
    inputs = _inputs(given, chosen, events)
    return build_open(chosen, inputs, output, latency_budget_ns=latency_budget, most_luts=most_luts, say=say)


def _compile_best(
    folder: Path,
    sample: Level1Sample,
    output: str | Path,
    direct: Callable[[TriggerModel], HlsProject | Export] | None,
    latency_budget: float,
    most_luts: int | None,
    events: int,
    say: Callable[[str], None],
) -> TriggerBuild | HlsProject | Export:
    """Build the students of a Pareto set, the most efficient one first, until one meets the budget.

    What is not routed here, and so cannot be tried (``direct``), is made of the first that promises the budget.
    """
    found = read_pareto(folder)
    luts = float("inf") if most_luts is None else float(most_luts)
    points = candidates_within(found, most_depth=latency_budget / NS_PER_ADDER, most_luts=luts)

    def tried() -> Iterator[Checkpoint]:
        for point in points:
            say(
                f"{point.name}: mean efficiency {point.mean_efficiency:.3f}; "
                f"{point.luts:.0f} LUTs and depth {point.depth:g} expected"
            )
            yield load_checkpoint(folder / point.name)

    if direct is not None:
        return direct(model_of(next(tried())))
    made = build_open(
        tried(),
        lambda chosen: _inputs(sample, chosen, events),
        output,
        latency_budget_ns=latency_budget,
        most_luts=most_luts,
        say=say,
    )
    point = next(point for point in points if point.name == made.model)
    made = made.model_copy(
        update={"efficiency": point.efficiency, "reference": found.teacher, "rate_hz": found.rate_hz}
    )
    write_build(made, Path(output))
    return made


def _model(model: str | Path | Checkpoint | TorchModule, sample: Level1Sample) -> TriggerModel:
    if isinstance(model, str | Path):
        return model_of(load_checkpoint(find_checkpoint(model)))
    if isinstance(model, Checkpoint):
        return model_of(model)
    return model_of_network(network_of_module(model, sample.inputs), type(model).__name__.lower())


def _inputs(sample: Level1Sample, model: TriggerModel, events: int) -> npt.NDArray[np.float32]:
    regions = len(model.network.settings.input_shape) > 1
    return (sample.regions if regions else sample.inputs)[:events]
