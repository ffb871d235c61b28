"""The open flow: da4ml to Verilog, emulator and Verilator for the bits, yosys for the size, nextpnr for the time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, OutputError, RunError
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.trigger.build.model import TriggerModel, model_of, require_events, require_range
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

EMULATOR = "emulator of the circuit (da4ml)"
MOST_STAGES = 8
SEEDS = range(1, 9)
NEAR = 0.92
"""A placement this near to the clock that the budget wants is worth another seed: seeds differ by some 8%."""

NOTE = (
    "Latency from the register of the inputs to the register of the score; capturing the inputs takes one more clock. "
    "Routed on one ECP5 in a frame of shift registers; another chip is faster or slower."
)


@dataclass(frozen=True)
class Goal:
    """What a design is to meet.

    Attributes:
        latency_ns: at most.
        most_luts: of the ECP5 that may be used; None for all.
        stages: just so many; None to search.
    """

    latency_ns: float
    most_luts: int | None = None
    stages: int | None = None

    def clock_mhz(self, stages: int) -> float:
        """The slowest multiple of the LHC's clock at which so many stages are in time."""
        return LHC_MHZ * max(math.ceil(1e3 * stages / self.latency_ns / LHC_MHZ * (1 - 1e-9)), 1)

    def is_met(self, found: Candidate) -> bool:
        """Whether a design is in time, at a clock that it reaches, and small enough."""
        fits = self.most_luts is None or found.routed.resources.luts <= self.most_luts
        return fits and found.clock_mhz >= LHC_MHZ and found.latency_ns <= self.latency_ns * (1 + 1e-9)


@dataclass(frozen=True)
class Candidate:
    """A design of a model, placed and routed, and the events that its scores are compared on."""

    model: TriggerModel
    inputs: npt.NDArray[np.float32]
    design: Design
    routed: Routed

    @property
    def clock_mhz(self) -> float:
        """The clock that it is meant for."""
        return clock_for(self.routed.fmax_mhz)

    @property
    def latency_ns(self) -> float:
        """Stages over the clock."""
        return 1e3 * self.design.stages / self.clock_mhz


def build_open(
    models: Checkpoint | TriggerModel | Iterable[Checkpoint | TriggerModel],
    inputs: npt.NDArray[np.float32] | Callable[[TriggerModel], npt.NDArray[np.float32]],
    folder: str | Path,
    *,
    latency_budget_ns: float = 25.0,
    most_luts: int | None = None,
    stages: int | None = None,
    say: Say = logger.info,
) -> TriggerBuild:
    """Build firmware by the open flow.

    Of each model one stage is tried first, then more; each is placed and routed with further seeds as long as it
    is near to what the budget wants. The first design that meets the budget is taken. If none does, the one of the
    least latency is kept, and the result says so.

    Args:
        models: each with a fixed-point network; several are tried in their order.
        inputs: events to compare scores on, whole numbers of the hardware, shape (events, ...); or what gives them for
            a model.
        folder: of the project; must be new or empty.
        latency_budget_ns: in ns.
        most_luts: LUTs of the ECP5 that may be used.
        stages: use just so many instead of searching.
        say: told what happens.

    Returns:
        What was found, as written to ``build.json`` in the folder.

    Raises:
        InputValueError: a checkpoint holds another model, the budget is not positive, there are no events, or a
            number's integer part overflows for many of them.
        OutputError: the folder exists and is not empty, or cannot be written.
        MissingToolError: a tool is not installed.
        ToolError: a tool failed.
        RunError: a score differs: the build is wrong and must not be used.
    """
    if not latency_budget_ns > 0:
        raise InputValueError("latency budget", f"{latency_budget_ns} ns", "Give a positive number of ns")
    goal = Goal(latency_budget_ns, most_luts, stages)
    given = (models,) if isinstance(models, Checkpoint | TriggerModel) else models
    target: Path | None = None
    best: Candidate | None = None
    for one in given:
        model = model_of(one)
        events = require_events(inputs(model) if callable(inputs) else inputs, model.network)
        for line in require_range(model, events):
            say(line)
        target = target or new_folder(folder)
        found = _fastest(model, events, target / model.name, goal, say)
        best = found if best is None or _rank(found, goal) < _rank(best, goal) else best
        if goal.is_met(best):
            break
        say(f"{model.name} does not meet {latency_budget_ns:g} ns: {found.latency_ns:.2f} ns")
    if best is None or target is None:
        raise InputValueError("models", "there is none", "Give one or more")
    return _proved(best, target, goal, say)


def _rank(found: Candidate, goal: Goal) -> tuple[bool, float]:
    return not goal.is_met(found), found.latency_ns


def _proved(found: Candidate, folder: Path, goal: Goal, say: Say) -> TriggerBuild:
    design, routed, inputs = found.design, found.routed, found.inputs
    expected = found.model.network.score(inputs)
    parity = (
        ParityCheck(against=EMULATOR, events=len(inputs), different=0),  # compared before it was routed
        compare("Verilog (Verilator)", expected, simulate(design, inputs)),
    )
    say(f"Verilator: {len(expected)} of {len(expected)} scores equal")
    build = TriggerBuild(
        model=found.model.name,
        fingerprint=found.model.fingerprint,
        project=str(design.folder.relative_to(folder)),
        stages=design.stages,
        clock_mhz=found.clock_mhz,
        fmax_mhz=routed.fmax_mhz,
        latency_ns=found.latency_ns,
        bunch_crossings=found.latency_ns / BUNCH_CROSSING_NS,
        latency_budget_ns=goal.latency_ns,
        meets_budget=goal.is_met(found),
        timing_source=f"routed on ECP5 by nextpnr ({routed.part}, seed {routed.seed})",
        resources=(routed.resources, synthesise(design, ULTRASCALE)),
        parity=parity,
        adders=design.adders,
        depth=design.depth,
        note=NOTE,
    )
    write_build(build, folder)
    return build


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


def _fastest(model: TriggerModel, inputs: npt.NDArray[np.float32], folder: Path, goal: Goal, say: Say) -> Candidate:
    """The first design of a model that meets the goal, or the one with the least latency."""
    network = model.network
    logic = trace_logic(network, *ranges_of(network), depth=0)
    compare(EMULATOR, network.score(inputs), emulate(logic, inputs))
    say(f"emulator: {len(inputs)} of {len(inputs)} scores equal")
    best: Candidate | None = None
    shares: list[float] = []
    for design in _designs(logic, folder, goal.stages):
        if len(shares) >= 3 and shares[-3] > shares[-2] > shares[-1]:  # more stages lead away from the goal
            break
        shares.append(0.0)
        synthesise(design, ECP5)
        for seed in SEEDS:
            routed = route(design, target_mhz=LHC_MHZ * design.stages * 1.5, seed=seed)
            found = Candidate(model, inputs, design, routed)
            say(
                f"{design.stages} stage{'s' if design.stages > 1 else ''}: {routed.fmax_mhz:.2f} MHz after routing, "
                f"{found.latency_ns:.2f} ns at {found.clock_mhz:.2f} MHz, {routed.resources.luts} LUTs"
            )
            best = found if best is None or _rank(found, goal) < _rank(best, goal) else best
            if goal.is_met(found):
                return found
            share = routed.fmax_mhz / goal.clock_mhz(design.stages)
            shares[-1] = max(shares[-1], share)
            if share < NEAR:
                break
    if best is None:
        raise RunError("no design was made. This is a bug: report it")
    return best


def _designs(logic: Any, folder: Path, stages: int | None) -> Iterator[Design]:
    wanted: Sequence[int] = range(1, MOST_STAGES + 1) if stages is None else (stages,)
    seen: set[int] = set()
    for count in wanted:
        design = write_design(logic, folder / f"stages-{count}", count)
        if design.stages not in seen:
            seen.add(design.stages)
            yield design
