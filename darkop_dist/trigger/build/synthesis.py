"""Open synthesis: yosys counts what a design takes, nextpnr places and routes it on a real ECP5 and times it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from darkop_dist.errors import InputValueError, RunError
from darkop_dist.trigger.build.result import Resources
from darkop_dist.trigger.build.tools import NEXTPNR, YOSYS, run_tool
from darkop_dist.trigger.build.verilog import FRAME, Design

ECP5, ULTRASCALE = "ecp5", "xilinx-ultrascale+"
PART = "LFE5U-85F, speed grade 8"


@dataclass(frozen=True)
class Routed:
    """A design placed and routed.

    Attributes:
        resources: of the chip.
        fmax_mhz: highest clock at which every path from register to register is in time.
        seed: of the placer.
        part: the chip.
    """

    resources: Resources
    fmax_mhz: float
    seed: int
    part: str


def synthesise(design: Design, family: str) -> Resources:
    """Resources of a design by yosys.

    Args:
        design: Verilog on disk.
        family: ``ecp5``, whose netlist `route` takes, or ``xilinx-ultrascale+``.

    Raises:
        MissingToolError: yosys is not installed.
        ToolError: it fails.
        InputValueError: the family is not known.
    """
    folder = design.folder / "synthesis"
    folder.mkdir(exist_ok=True)
    stem = folder / family.replace("+", "-plus")
    recipes = {
        ECP5: f"synth_ecp5 -abc9 -top {FRAME} -json {stem}.json",
        ULTRASCALE: f"synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top {FRAME}",
    }
    if family not in recipes:
        raise InputValueError("family", f"{family!r} is not known", f"Use one of {', '.join(recipes)}")
    static = [path for path in design.sources if path.parent.name == "static"]
    own = [path for path in (*design.sources, design.frame) if path.parent.name != "static"]
    script = folder / f"{stem.name}.ys"
    script.write_text(
        "\n".join(
            [
                f"read_verilog -defer {' '.join(map(str, static))}",
                f"read_verilog {' '.join(map(str, own))}",
                recipes[family],
                f"tee -o {stem}.stat stat -json",
            ]
        ),
        encoding="utf-8",
    )
    run_tool([*YOSYS.command(), str(script)], design.tables, advice="yosys cannot synthesise the design.")
    text = Path(f"{stem}.stat").read_text(encoding="utf-8")
    cells = {name: int(count) for name, count in _cells(text, FRAME).items()}
    return Resources(
        family=family,
        luts=sum(count for name, count in cells.items() if re.fullmatch(r"LUT[1-6]", name)) + 2 * cells.get("CCU2C", 0),
        flip_flops=sum(count for name, count in cells.items() if re.fullmatch(r"FD[RSCP]E(_1)?|TRELLIS_FF", name)),
        multipliers=sum(count for name, count in cells.items() if name.startswith(("DSP48", "MULT18"))),
        memories=sum(count for name, count in cells.items() if name.startswith(("RAMB", "DP16KD"))),
        source="yosys, before placing",
    )


def route(design: Design, *, target_mhz: float, seed: int = 1, timeout_s: float = 1800.0) -> Routed:
    """Place and route a design that `synthesise` has mapped to ECP5.

    Args:
        design: Verilog on disk.
        target_mhz: the clock that the placer works towards.
        seed: of the placer.
        timeout_s: it is ended after so many seconds.

    Raises:
        MissingToolError: nextpnr is not installed.
        ToolError: it fails, as for a design that does not fit the chip.
    """
    folder = design.folder / "synthesis"
    report = folder / f"routed-{seed}.json"
    options = ("--85k", "--package", "CABGA756", "--speed", "8", "--timing-allow-fail", "--quiet")
    run_tool(
        [
            *NEXTPNR.command(),
            *options,
            # relative: this nextpnr runs in a sandbox that sees the folder it is called in
            *("--json", f"{ECP5}.json", "--report", report.name, "--freq", f"{target_mhz:g}"),
            *("--seed", str(seed)),
        ],
        folder,
        timeout_s=timeout_s,
        advice="nextpnr cannot place or route the design; it may be larger than the chip.",
    )
    found = json.loads(report.read_text(encoding="utf-8"))
    clocks = [float(clock["achieved"]) for clock in found["fmax"].values()]
    if not clocks:
        raise RunError(f"nextpnr timed no clock. Look at {report}")
    used = {name: int(entry["used"]) for name, entry in found["utilization"].items()}
    resources = Resources(
        family=ECP5,
        luts=used.get("TRELLIS_COMB", 0),
        flip_flops=used.get("TRELLIS_FF", 0),
        multipliers=used.get("MULT18X18D", 0),
        memories=used.get("DP16KD", 0),
        source="nextpnr-ecp5, routed",
    )
    return Routed(resources, min(clocks), seed, PART)


def _cells(text: str, top: str) -> dict[str, float]:
    start = text.index("{")
    found = json.loads(text[start:])
    modules = found.get("modules", {})
    chosen = next((part for name, part in modules.items() if top in name), found.get("design", {}))
    return dict(chosen.get("num_cells_by_type", {}))
