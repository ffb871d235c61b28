"""Verilog of a circuit, by da4ml, and the frame of registers in which it is placed and routed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import OutputError

NAME, FRAME = "trigger", "trigger_frame"
ROM_STYLE = "(* rom_style"


@dataclass(frozen=True)
class Design:
    """Verilog on disk.

    Attributes:
        folder: of the project.
        stages: registers from the inputs to the score, the score's own included and that of the inputs left out.
        input_bits: bits of the hardware's inputs, shape (inputs,).
        score_bits: bits of the score.
        score_step: what its lowest bit stands for.
        adders: da4ml's estimate of LUTs.
        depth: its estimate of the longest chain of adders.
    """

    folder: Path
    stages: int
    input_bits: npt.NDArray[np.int64]
    score_bits: int
    score_step: float
    adders: float
    depth: float

    @property
    def sources(self) -> tuple[Path, ...]:
        """All Verilog but the frame."""
        found = sorted((self.folder / "src").rglob("*.v"))
        return tuple(path for path in found if path.stem not in {FRAME, f"{NAME}_wrapper"})

    @property
    def frame(self) -> Path:
        """The frame of registers."""
        return self.folder / "src" / f"{FRAME}.v"

    @property
    def tables(self) -> Path:
        """Where the contents of tables lie; tools that read them run here."""
        return self.folder / "src" / "memfiles"


def write_design(logic: Any, folder: Path, stages: int) -> Design:
    """Write the Verilog of a circuit, cut into pipeline stages.

    Args:
        logic: of `logic.trace_logic`.
        folder: where to write.
        stages: how many stages; the cut is where adders end, so it may come out with fewer.

    Raises:
        OutputError: the folder cannot be written.
    """
    from da4ml.codegen import VerilogModel
    from da4ml.trace import to_pipeline

    depth = float(logic.latency[1])
    circuit = logic if stages == 1 else _cut(logic, depth, stages, to_pipeline)
    try:
        VerilogModel(circuit, NAME, folder, print_latency=False).write()
        table = folder / "src" / "static" / "lookup_table.v"
        # yosys refuses a table that it is told to keep in a memory for which the chip has none so small
        kept = [line for line in table.read_text(encoding="utf-8").splitlines() if ROM_STYLE not in line]
        table.write_text("\n".join(kept) + "\n", encoding="utf-8")
        for memory in (folder / "src" / "memfiles").iterdir():
            # Verilator 5.006 does not read a last line without an end, and the last number of a table would be 0
            memory.write_text(memory.read_text(encoding="utf-8").rstrip("\n") + "\n", encoding="utf-8")
        signed, integer, fraction = (np.asarray(row, dtype=np.int64) for row in logic.inp_kifs)
        sign, whole, part = (int(row[0]) for row in logic.out_kifs)
        design = Design(
            folder=folder,
            stages=stages if stages == 1 else len(circuit.solutions),
            input_bits=signed + integer + fraction,
            score_bits=sign + whole + part,
            score_step=2.0**-part,
            adders=float(logic.cost),
            depth=depth,
        )
        design.frame.write_text(_frame(design), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error}). Choose another folder") from error
    return design


def _cut(logic: Any, depth: float, stages: int, to_pipeline: Any) -> Any:
    """The circuit in at most so many stages, as even as its adders allow."""
    for limit in np.arange(np.ceil(depth / stages), depth + 1.0):
        found = to_pipeline(logic, float(limit), verbose=False)
        if len(found.solutions) <= stages:
            return found
    return to_pipeline(logic, depth + 1.0, verbose=False)


def _frame(design: Design) -> str:
    """Registers before and after the circuit, fed and read bit by bit: more inputs than a chip has pins.

    The capture of the inputs is a stage of the system around the trigger, and not counted.
    """
    inputs, outputs = int(design.input_bits.sum()), design.score_bits
    clock = "" if design.stages == 1 else ".clk(clk), "
    return f"""// serial frame: everything between `captured` and `score` is the trigger
module {FRAME} (input clk, input serial_in, output reg serial_out);
  reg [{inputs - 1}:0] shifted, captured;
  wire [{outputs - 1}:0] found;
  reg [{outputs - 1}:0] score, leaving;
  {NAME} circuit ({clock}.model_inp(captured), .model_out(found));
  always @(posedge clk) begin
    shifted <= {{shifted[{inputs - 2}:0], serial_in}};
    if (serial_in) captured <= shifted;
    score <= found;
    leaving <= serial_in ? score : {{leaving[{max(outputs - 2, 0)}:0], 1'b0}};
    serial_out <= leaving[{outputs - 1}];
  end
endmodule
"""
