"""The open flow: da4ml to Verilog, emulator and Verilator for the bits, yosys for the size, nextpnr for the time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, OutputError, RunError
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.evaluation import fixed_point_network
from darkop_dist.operators.fixed_point import FixedPointNetwork
from darkop_dist.trigger.build.result import (
    BUNCH_CROSSING_NS,
    LHC_MHZ,
    ParityCheck,
    TriggerBuild,
    clock_for,
    write_build,
)
from darkop_dist.trigger.build.synthesis import ECP5, ULTRASCALE, Routed, route, synthesise
from darkop_dist.trigger.build.verilator import simulate
from darkop_dist.trigger.build.verilog import Design, write_design
from darkop_dist.trigger.logic import emulate, ranges_of, trace_logic

logger = logging.getLogger(__name__)

Say = Callable[[str], None]

MOST_STAGES = 8
SEEDS = (1, 2, 3)
NOTE = (
    "Latency from the register of the inputs to the register of the score; capturing the inputs takes one more clock. "
    "Routed on one ECP5 in a frame of shift registers; another chip is faster or slower."
)


def build_open(
    checkpoint: Checkpoint,
    inputs: npt.NDArray[np.float32],
    folder: str | Path,
    *,
    latency_budget_ns: float = 25.0,
    most_luts: int | None = None,
    stages: int | None = None,
    say: Say = logger.info,
) -> TriggerBuild:
    """Build firmware by the open flow.

    One stage is tried first, then more, each placed and routed with up to three seeds, until the budget is met; if it
    never is, the nearest is kept, and the result says so.

    Args:
        checkpoint: with a fixed-point network.
        inputs: events to compare scores on, whole numbers of the hardware, shape (events, ...).
        folder: of the project; must be new or empty.
        latency_budget_ns: in ns.
        most_luts: LUTs of the ECP5 that may be used.
        stages: use just so many instead of searching.
        say: told what happens.

    Returns:
        What was found, as written to ``build.json`` in the folder.

    Raises:
        InputValueError: the checkpoint holds another model, the budget is not positive, or there are no events.
        OutputError: the folder exists and is not empty, or cannot be written.
        MissingToolError: a tool is not installed.
        ToolError: a tool failed.
        RunError: a score differs: the build is wrong and must not be used.
    """
    network = network_of_checkpoint(checkpoint)
    if not latency_budget_ns > 0:
        raise InputValueError("latency budget", f"{latency_budget_ns} ns", "Give a positive number of ns")
    target = new_folder(folder)
    low, high = ranges_of(network)
    logic = trace_logic(network, low, high, depth=0)
    expected = network.score(require_events(inputs, network))
    parity = [compare("emulator of the circuit (da4ml)", expected, emulate(logic, inputs))]
    say(f"emulator: {len(expected)} of {len(expected)} scores equal")
    design, routed = _fastest(logic, target, latency_budget_ns, most_luts, stages, say)
    parity.append(compare("Verilog (Verilator)", expected, simulate(design, inputs)))
    say(f"Verilator: {len(expected)} of {len(expected)} scores equal")
    other = synthesise(design, ULTRASCALE)
    clock = clock_for(routed.fmax_mhz)
    latency = 1e3 * design.stages / clock
    fits = most_luts is None or routed.resources.luts <= most_luts
    build = TriggerBuild(
        model=checkpoint.card.name,
        fingerprint=checkpoint.card.fingerprint,
        stages=design.stages,
        clock_mhz=clock,
        fmax_mhz=routed.fmax_mhz,
        latency_ns=latency,
        bunch_crossings=latency / BUNCH_CROSSING_NS,
        latency_budget_ns=latency_budget_ns,
        meets_budget=clock >= LHC_MHZ and latency <= latency_budget_ns * (1 + 1e-9) and fits,
        timing_source=f"routed on ECP5 by nextpnr ({routed.part}, seed {routed.seed})",
        resources=(routed.resources, other),
        parity=tuple(parity),
        adders=design.adders,
        depth=design.depth,
        note=NOTE,
    )
    write_build(build, target)
    return build


def network_of_checkpoint(checkpoint: Checkpoint) -> FixedPointNetwork:
    """The fixed-point network of a checkpoint.

    Raises:
        InputValueError: the checkpoint holds a model that has no fixed-point numbers.
    """
    try:
        return fixed_point_network(checkpoint)
    except ValueError as error:
        raise InputValueError(
            f"checkpoint {checkpoint.card.name}",
            f"firmware cannot be made of it: {error}",
            "Supported: networks of dense layers or patches with relu in fixed point, as darkop trigger train makes "
            "them of any operator",
        ) from error


def require_events(inputs: npt.NDArray[np.float32], network: FixedPointNetwork) -> npt.NDArray[np.float32]:
    """The events, if they fit the network.

    Raises:
        InputValueError: there are none, or they have another shape.
    """
    if len(inputs) == 0 or inputs.shape[1:] != network.settings.input_shape:
        raise InputValueError(
            "events for the comparison",
            f"their shape is {inputs.shape}, the network takes {('events', *network.settings.input_shape)}",
            "Give a sample of darkop trigger sample",
        )
    return inputs


def new_folder(folder: str | Path) -> Path:
    """A folder for a project.

    Raises:
        OutputError: it exists and is not empty, or cannot be made.
    """
    target = Path(folder).resolve()
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise OutputError(f"{target}: exists and is not empty. Choose another folder")
    except OSError as error:
        raise OutputError(f"{target}: cannot be made ({error}). Choose another folder") from error
    return target


def compare(against: str, expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> ParityCheck:
    """A comparison that must hold.

    Raises:
        RunError: a score differs.
    """
    different = np.flatnonzero(expected != found)
    if different.size:
        first = different[0]
        raise RunError(
            f"{against}: {different.size} of {len(expected)} scores differ from the network's, first that of event "
            f"{first}: {found[first]:g} instead of {expected[first]:g}. Do not use this build; "
            "report it with the checkpoint"
        )
    return ParityCheck(against=against, events=len(expected), different=0)


def _fastest(
    logic: Any, folder: Path, budget_ns: float, most_luts: int | None, stages: int | None, say: Say
) -> tuple[Design, Routed]:
    """The first design that meets the budget, or the one with the least latency."""
    best: tuple[float, Design, Routed] | None = None
    for design in _designs(logic, folder, stages):
        synthesise(design, ECP5)
        for routed in _routed(design):
            clock = clock_for(routed.fmax_mhz)
            latency = 1e3 * design.stages / clock
            say(
                f"{design.stages} stage{'s' if design.stages > 1 else ''}: {routed.fmax_mhz:.1f} MHz after routing, "
                f"{latency:.1f} ns at {clock:.0f} MHz, {routed.resources.luts} LUTs"
            )
            if best is None or latency < best[0]:
                best = (latency, design, routed)
            fits = most_luts is None or routed.resources.luts <= most_luts
            if clock >= LHC_MHZ and latency <= budget_ns * (1 + 1e-9) and fits:
                return design, routed
    if best is None:
        raise RunError("no design was made. This is a bug: report it")
    return best[1], best[2]


def _designs(logic: Any, folder: Path, stages: int | None) -> Iterator[Design]:
    wanted: Sequence[int] = range(1, MOST_STAGES + 1) if stages is None else (stages,)
    seen: set[int] = set()
    for count in wanted:
        design = write_design(logic, folder / f"stages-{count}", count)
        if design.stages not in seen:
            seen.add(design.stages)
            yield design


def _routed(design: Design) -> Iterator[Routed]:
    for seed in SEEDS:
        yield route(design, target_mhz=LHC_MHZ * design.stages * 1.5, seed=seed)
