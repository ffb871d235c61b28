"""One call from a model to firmware."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from darkop_dist.errors import InputValueError
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from darkop_dist.trigger.build.export import Export, export_gpu
from darkop_dist.trigger.build.flow import build_open
from darkop_dist.trigger.build.result import TriggerBuild
from darkop_dist.trigger.pareto import FILE, best_within
from darkop_dist.trigger.sample import Level1Sample, read_sample

logger = logging.getLogger(__name__)

NS_PER_ADDER = 1.15
"""Of the open flow on ECP5, routed: 41.4 MHz for a depth of 21; a first guess which student is worth a routing."""


def compile_for_trigger(
    model: str | Path | Checkpoint,
    *,
    sample: str | Path | Level1Sample,
    output: str | Path,
    backend: str = "fpga",
    latency_budget: float = 25.0,
    most_luts: int | None = None,
    events: int = 20_000,
    say: Callable[[str], None] = logger.info,
) -> TriggerBuild | Export:
    """Build firmware, or an export for the high-level trigger, and compare its scores with the model's.

    Args:
        model: a checkpoint, its name or directory; or a folder of ``darkop trigger train``, of which the best student
            that promises to meet the budget is built.
        sample: events to compare scores on.
        output: folder of the project; must be new or empty.
        backend: ``fpga`` for the open flow, ``gpu`` for ONNX.
        latency_budget: in ns.
        most_luts: LUTs of the chip that may be used.
        events: of the comparison.
        say: told what happens.

    Raises:
        InputValueError: the backend is not known, the model is none for firmware, or no student promises the budget.
        UnknownNameError, InputFileError: model or sample cannot be read.
        OutputError: the folder exists and is not empty.
        MissingToolError, MissingExtraError: a tool is not installed.
        ToolError: a tool failed.
        RunError: a score differs.
    """
    if backend not in {"fpga", "gpu"}:
        raise InputValueError("backend", f"{backend!r} is not known", "Use fpga or gpu")
    checkpoint = _chosen(model, latency_budget, most_luts, say)
    given = sample if isinstance(sample, Level1Sample) else read_sample(sample)
    inputs = (given.regions if len(checkpoint.card.inputs[0].shape) > 1 else given.inputs)[:events]
    if backend == "gpu":
        return export_gpu(checkpoint, inputs, output)
    return build_open(checkpoint, inputs, output, latency_budget_ns=latency_budget, most_luts=most_luts, say=say)


def _chosen(
    model: str | Path | Checkpoint, latency_budget: float, most_luts: int | None, say: Callable[[str], None]
) -> Checkpoint:
    if isinstance(model, Checkpoint):
        return model
    if (Path(model) / FILE).is_file():
        luts = float("inf") if most_luts is None else float(most_luts)
        point, checkpoint = best_within(model, most_depth=latency_budget / NS_PER_ADDER, most_luts=luts)
        say(
            f"{point.name}: mean efficiency {point.mean_efficiency:.3f}; "
            f"{point.luts:.0f} LUTs and depth {point.depth:g} expected"
        )
        return checkpoint
    return load_checkpoint(find_checkpoint(model))
