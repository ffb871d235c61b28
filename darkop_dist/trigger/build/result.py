"""What a build found out, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.errors import OutputError

FILE = "build.json"
BUNCH_CROSSING_NS = 25.0
LHC_MHZ = 40.0


class Resources(BaseModel):
    """What a design takes on a chip.

    Attributes:
        family: of the chip.
        luts: look-up tables (4 inputs on ECP5, 6 on UltraScale+; on ECP5 two of them carry two bits of an adder).
        flip_flops: registers, those of the score and of the captured inputs included.
        multipliers: DSP blocks.
        memories: block memories.
        source: the tool that counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    luts: int
    flip_flops: int
    multipliers: int
    memories: int
    source: str


class ParityCheck(BaseModel):
    """A comparison of scores with those of the network.

    Attributes:
        against: what was compared.
        events: how many.
        different: how many had another score; 0 for a build that is right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    against: str
    events: int
    different: int


class TriggerBuild(BaseModel):
    """A build.

    Attributes:
        schema_version: of this layout.
        model: name of the checkpoint.
        fingerprint: of the checkpoint.
        project: the folder of the design, below that of the build.
        backend: ``fpga``.
        stages: stages of the pipeline.
        initiation_interval: clocks between two events.
        clock_mhz: the clock it is meant for, a multiple of the LHC's 40 MHz where it is fast enough for one.
        fmax_mhz: the highest clock that the timing source finds.
        latency_ns: stages over the clock.
        bunch_crossings: the latency in units of 25 ns.
        latency_budget_ns: what was asked for.
        meets_budget: whether the latency is within it, at a clock that the design reaches.
        timing_source: who says so.
        resources: by each tool that counted.
        parity: what was compared.
        adders: da4ml's estimate of LUTs.
        depth: its estimate of the longest chain of adders.
        note: what a reader must know.
        efficiency: of each signal at ``rate_hz``, where a Pareto set says it; empty otherwise.
        reference: the same of the full operator.
        rate_hz: at which efficiencies are compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model: str
    fingerprint: str
    project: str
    backend: Literal["fpga"] = "fpga"
    stages: Annotated[int, Field(gt=0)]
    initiation_interval: int = 1
    clock_mhz: float
    fmax_mhz: float
    latency_ns: float
    bunch_crossings: float
    latency_budget_ns: float
    meets_budget: bool
    timing_source: str
    resources: tuple[Resources, ...]
    parity: tuple[ParityCheck, ...]
    adders: float
    depth: float
    note: str
    efficiency: dict[str, float] = {}
    reference: dict[str, float] = {}
    rate_hz: float | None = None


def clock_for(fmax_mhz: float) -> float:
    """The fastest multiple of 40 MHz that a design reaches, or what it reaches if that is less than 40 MHz.

    >>> clock_for(130.0), clock_for(33.0)
    (120.0, 33.0)
    """
    return LHC_MHZ * (fmax_mhz // LHC_MHZ) if fmax_mhz >= LHC_MHZ else fmax_mhz


def write_build(build: TriggerBuild, folder: Path) -> Path:
    """Write the result of a build into its folder.

    Raises:
        OutputError: it cannot be written.
    """
    target = folder / FILE
    try:
        target.write_text(build.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Choose another folder") from error
    return target
