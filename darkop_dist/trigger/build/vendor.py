"""What a vendor's tool says of a project: its report, read after a user has run the tool.

The files are read by hls4ml's own functions: Vitis HLS and Vivado HLS write ``*_csynth.xml`` after synthesis,
``vivado_synth.rpt`` after logic synthesis; oneAPI writes JSON below ``*.prj``. No vendor's tool was run where this was
written: the reader was tested on files in their layout.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.errors import InputFileError, InputValueError, MissingExtraError, OutputError
from darkop_dist.trigger.build.result import BUNCH_CROSSING_NS, Resources, clock_for
from darkop_dist.trigger.build.tools import Tool, run_tool

FILE = "report.json"
CMAKE = Tool("cmake", "apt-get install cmake")
TOOLS = {
    "Vitis": Tool("vitis-run", "source settings64.sh of your installation of AMD Vitis, which needs AMD's licence"),
    "Vivado": Tool("vivado_hls", "source settings64.sh of your installation of Vivado HLS 2020.1 or older"),
    "oneAPI": Tool("icpx", "source setvars.sh of your installation of Intel oneAPI with its FPGA support"),
}
"""Whose tool a project is for, and its program."""

HLS = {"Vitis": "Vitis HLS", "Vivado": "Vivado HLS", "oneAPI": "oneAPI"}
SCRIPT = "build_prj.tcl"
STEPS = {
    "reset": 0, "csim": 0, "synth": 1, "cosim": 0, "validation": 0, "export": 0, "vsynth": 0, "fifo_opt": 0,
}  # fmt: skip
AGAIN = "Run the vendor's tool on the project again, to its end"
NOTE = (
    "The vendor's latency counts the clocks between input and score; one more brings the score into a register, and is "
    "in the latency in ns. Estimates before placing may be far from what a placed design reaches."
)


class VendorReport(BaseModel):
    """What a vendor's tool found out about a project.

    Attributes:
        schema_version: of this layout.
        tool: ``Vitis``, ``Vivado`` or ``oneAPI``.
        part: the chip, as the report or the project names it.
        latency_clocks: worst latency as the vendor states it.
        stages: clocks from the register of the inputs to that of the score, one more than that.
        initiation_interval: clocks between two events.
        clock_mhz: the clock that was asked for, or a slower one (``result.clock_for``) if the design does not reach it.
        fmax_mhz: the highest clock that the tool expects.
        latency_ns: stages over the clock.
        bunch_crossings: the latency in units of 25 ns.
        latency_budget_ns: what was asked for.
        meets_budget: whether the latency is within it at this clock, with an event every 25 ns.
        timing_source: who says so.
        resources: by each tool that counted; memories of AMD's chips in blocks of 18 kbit.
        note: what a reader must know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    tool: str
    part: str
    latency_clocks: Annotated[int, Field(ge=0)]
    stages: Annotated[int, Field(gt=0)]
    initiation_interval: Annotated[int, Field(gt=0)]
    clock_mhz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    fmax_mhz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    latency_ns: float
    bunch_crossings: float
    latency_budget_ns: float
    meets_budget: bool
    timing_source: str
    resources: tuple[Resources, ...]
    note: str = NOTE


def require_tool(name: str, *, installed: bool = False) -> Tool:
    """The program of a vendor.

    Args:
        name: ``Vitis``, ``Vivado`` or ``oneAPI``.
        installed: it must be on the path.

    Raises:
        InputValueError: the name is not known.
        MissingToolError: the program is not installed.
    """
    if name not in TOOLS:
        raise InputValueError("tool", f"{name!r} is not known", f"Use one of {', '.join(TOOLS)}")
    if installed:
        TOOLS[name].command()
    return TOOLS[name]


def synthesise(folder: Path, tool: str) -> None:
    """Run a vendor's tool on a project as far as its estimates; C and RTL simulation and placing are left out.

    Raises:
        InputValueError: the tool is not known.
        MissingToolError: it is not installed.
        ToolError: it failed.
    """
    program = require_tool(tool).command()
    advice = f"{HLS[tool]} failed on {folder}. Read what it says below."
    if tool == "Vitis":
        steps = "".join(f"    {name} {value}\n" for name, value in STEPS.items())
        (folder / "build_opt.tcl").write_text(f"array set opt {{\n{steps}}}\n", encoding="utf-8")
        run_tool([*program, "--tcl", SCRIPT, "--mode", "hls"], folder, advice=advice)
    elif tool == "Vivado":
        steps = " ".join(f"{name}={value}" for name, value in STEPS.items())
        run_tool([*program, "-f", SCRIPT, steps], folder, advice=advice)
    else:
        cmake = CMAKE.command()
        run_tool([*cmake, "-S", ".", "-B", "build"], folder, advice=advice)
        run_tool([*cmake, "--build", "build", "--target", "report"], folder, advice=advice)


def read_report(folder: str | Path, *, latency_budget_ns: float = 25.0) -> VendorReport:
    """Read the report of a project on which a vendor's tool was run.

    Args:
        folder: of an hls4ml project.
        latency_budget_ns: in ns.

    Returns:
        What it says, as written to ``report.json`` in the folder.

    Raises:
        InputValueError: the budget is not positive.
        InputFileError: the folder holds no project or no report, or the report cannot be read.
        MissingExtraError: hls4ml is not installed.
        OutputError: the folder cannot be written.
    """
    if not latency_budget_ns > 0:
        raise InputValueError("latency budget", f"{latency_budget_ns} ns", "Give a positive number of ns")
    path = Path(folder).resolve()
    tool = _tool_of(path)
    try:
        report = (_intel if tool == "oneAPI" else _amd)(path, tool, latency_budget_ns)
    except (ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError) as error:
        raise InputFileError(str(path), f"the report of {HLS[tool]} cannot be read ({error})", AGAIN) from error
    target = path / FILE
    try:
        target.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Make the folder writable") from error
    return report


def _tool_of(folder: Path) -> str:
    script = folder / "project.tcl"
    if script.is_file():
        found = re.search(r'set backend "(\w+)"', script.read_text(encoding="utf-8", errors="replace"))
        for tool in ("Vitis", "Vivado"):
            if found and found[1].casefold() == tool.casefold():
                return tool
    if (folder / "CMakeLists.txt").is_file() and (folder / "src" / "firmware").is_dir():
        return "oneAPI"
    raise InputFileError(
        str(folder), f"holds no project of hls4ml for {', '.join(TOOLS)}", "Give a folder of --backend hls"
    )


def _no_report(folder: Path, tool: str, looked_for: str) -> InputFileError:
    return InputFileError(
        str(folder), f"there is no report of {HLS[tool]} ({looked_for})", f"Run {TOOLS[tool].name} on the project first"
    )


def _amd(folder: Path, tool: str, budget_ns: float) -> VendorReport:
    looked_for = "*_prj/*/syn/report/*_csynth.xml"
    files = sorted(folder.glob(looked_for))
    if not files:
        raise _no_report(folder, tool, looked_for)
    try:
        from hls4ml.report import parse_vivado_report
    except ImportError as error:
        raise MissingExtraError("hls4ml", "trigger") from error
    with contextlib.redirect_stdout(io.StringIO()):
        found = parse_vivado_report(str(folder))
    if not found or "CSynthesisReport" not in found:
        raise _no_report(folder, tool, looked_for)
    synthesis = found["CSynthesisReport"]
    text = files[0].read_text(encoding="utf-8", errors="replace")
    part, version = _tag(text, "Part"), _tag(text, "Version")
    return _report(
        tool,
        part,
        budget_ns,
        latency=_whole(synthesis, "WorstLatency"),
        interval=max(_whole(synthesis, "IntervalMax"), 1),
        asked_mhz=1e3 / float(synthesis["TargetClockPeriod"]),
        fmax_mhz=1e3 / float(synthesis["EstimatedClockPeriod"]),
        source=f"vendor report ({HLS[tool]} {version}, estimated before placing)",
        resources=_amd_resources(found, part, f"{HLS[tool]}, estimated"),
    )


def _amd_resources(found: Mapping[str, Any], part: str, estimated: str) -> tuple[Resources, ...]:
    one = found["CSynthesisReport"]
    counted = [
        Resources(
            family=part, luts=_whole(one, "LUT"), flip_flops=_whole(one, "FF"), multipliers=_whole(one, "DSP"),
            memories=_whole(one, "BRAM_18K"), source=estimated,
        )
    ]  # fmt: skip
    if one := found.get("VivadoSynthReport"):
        counted.append(
            Resources(
                family=part, luts=_whole(one, "LUT"), flip_flops=_whole(one, "FF"), multipliers=_whole(one, "DSP48E"),
                memories=round(2 * float(one["BRAM_18K"])),  # the file counts tiles of 36 kbit, halves allowed
                source="Vivado, after logic synthesis",
            )
        )  # fmt: skip
    if one := found.get("ImplementationReport"):
        counted.append(
            Resources(
                family=part, luts=_whole(one, "TotLUTs"), flip_flops=_whole(one, "FFs"),
                multipliers=_whole(one, "DSPs"), memories=2 * _whole(one, "RAMB36s") + _whole(one, "RAMB18s"),
                source="Vivado, implemented",
            )
        )  # fmt: skip
    return tuple(counted)


def _intel(folder: Path, tool: str, budget_ns: float) -> VendorReport:
    try:
        from hls4ml.report import parse_oneapi_report
    except ImportError as error:
        raise MissingExtraError("hls4ml", "trigger") from error
    with contextlib.redirect_stdout(io.StringIO()):
        projects = parse_oneapi_report(str(folder)) or {}
    found = next((one for one in projects.values() if one), None)
    if found is None:
        raise _no_report(folder, tool, "*/*.prj/reports/resources/json")
    settings = (folder / "CMakeLists.txt").read_text(encoding="utf-8", errors="replace")
    asked = re.search(r"-Xsclock=([\d.]+)ns", settings)
    chip = re.search(r'set\(FPGA_DEVICE "([^"]+)"', settings)
    if asked is None or chip is None:
        raise ValueError("CMakeLists.txt names no clock or no chip")
    loop, total, fitted = found["Loop"], found["HLS"]["total"], found.get("Quartus")
    if _whole(loop, "worstII") == 0:
        raise ValueError("it says no initiation interval and no latency")
    resources = [_intel_resources(total, chip[1], "oneAPI, estimated")]
    fmax, source = float(loop["worstFrequency"]), "estimated before placing"
    if fitted:
        resources.append(_intel_resources(fitted, chip[1], "Quartus, fitted"))
        fmax, source = float(fitted["fmax"]), "clock of the fitted design, latency estimated"
    return _report(
        tool,
        chip[1],
        budget_ns,
        latency=math.ceil(float(loop["worstLatency"])),
        interval=_whole(loop, "worstII"),
        asked_mhz=1e3 / float(asked[1]),
        fmax_mhz=fmax,
        source=f"vendor report (oneAPI, {source}; latency of the longest block)",
        resources=tuple(resources),
    )


def _intel_resources(one: Mapping[str, Any], part: str, source: str) -> Resources:
    return Resources(
        family=part, luts=_whole(one, "alut"), flip_flops=_whole(one, "reg"), multipliers=_whole(one, "dsp"),
        memories=_whole(one, "ram"), source=source,
    )  # fmt: skip


def _report(
    tool: str,
    part: str,
    budget_ns: float,
    *,
    latency: int,
    interval: int,
    asked_mhz: float,
    fmax_mhz: float,
    source: str,
    resources: tuple[Resources, ...],
) -> VendorReport:
    clock = asked_mhz if fmax_mhz >= asked_mhz else clock_for(fmax_mhz)
    latency_ns = 1e3 * (latency + 1) / clock
    in_time = latency_ns <= budget_ns * (1 + 1e-9) and 1e3 * interval / clock <= BUNCH_CROSSING_NS * (1 + 1e-9)
    return VendorReport(
        tool=tool,
        part=part,
        latency_clocks=latency,
        stages=latency + 1,
        initiation_interval=interval,
        clock_mhz=clock,
        fmax_mhz=fmax_mhz,
        latency_ns=latency_ns,
        bunch_crossings=latency_ns / BUNCH_CROSSING_NS,
        latency_budget_ns=budget_ns,
        meets_budget=in_time,
        timing_source=source,
        resources=resources,
    )


def _tag(text: str, name: str) -> str:
    found = re.search(rf"<{name}>\s*([^<]+?)\s*</{name}>", text)
    if found is None:
        raise ValueError(f"it has no element {name}")
    return found[1]


def _whole(numbers: Mapping[str, Any], name: str) -> int:
    try:
        value = float(numbers[name])
    except ValueError as error:
        raise ValueError(f"{name} is {numbers[name]!r}, not a number") from error
    return math.ceil(value)
