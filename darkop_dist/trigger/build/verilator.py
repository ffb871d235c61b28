"""The design in Verilator: compiled, clocked with real inputs, its scores compared bit for bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import RunError
from darkop_dist.trigger.build.tools import COMPILER, MAKE, VERILATOR, run_tool
from darkop_dist.trigger.build.verilog import NAME, Design

WORD = 32


def simulate(design: Design, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scores of the design for events that enter one per clock.

    Args:
        design: Verilog on disk.
        inputs: whole numbers of the hardware, shape (events, ...).

    Returns:
        Shape (events,).

    Raises:
        MissingToolError: Verilator, make or a C++ compiler is not installed.
        ToolError: the design does not compile, or its program fails.
        RunError: it gave another number of scores than events.
    """
    for tool in (COMPILER, MAKE):
        tool.command()
    folder = design.folder / "verilator"
    folder.mkdir(exist_ok=True)
    words = -(-int(design.input_bits.sum()) // WORD)
    bench = folder / "bench.cpp"
    bench.write_text(_bench(design, words), encoding="utf-8")
    run_tool(
        [
            *VERILATOR.command(),
            *(
                "--cc",
                "--exe",
                "--build",
                "-O3",
                "--top-module",
                NAME,
                "-Wno-fatal",
                "-Wno-lint",
                "-Wfuture-WIDTHTRUNC",
            ),
            *("--Mdir", str(folder / "build"), "-o", "bench", str(bench), *map(str, design.sources)),
        ],
        design.tables,
        advice="The Verilog of the design does not compile.",
    )
    given, found = folder / "inputs.bin", folder / "scores.bin"
    given.write_bytes(_packed(design, inputs, words).tobytes())
    run_tool([str(folder / "build" / "bench"), str(given), str(found)], design.tables)
    numbers = np.frombuffer(found.read_bytes(), dtype=np.uint32)
    if len(numbers) != len(inputs):
        raise RunError(f"Verilator gave {len(numbers)} scores for {len(inputs)} events. Look at {folder}")
    return (numbers * design.score_step).astype(np.float32)


def _packed(design: Design, inputs: npt.NDArray[np.float32], words: int) -> npt.NDArray[np.uint32]:
    """The bits of each event, lowest input first, in words of 32 bits, shape (events, words)."""
    whole = inputs.reshape(len(inputs), -1).astype(np.int64)
    total = int(design.input_bits.sum())
    bits = np.zeros((len(inputs), words * WORD), dtype=np.uint8)
    start = 0
    for column, width in enumerate(design.input_bits):
        places = np.arange(width)
        bits[:, start : start + width] = (whole[:, column, None] >> places) & 1
        start += int(width)
    if start != total:
        raise RunError(f"{start} bits were packed, the design takes {total}. This is a bug: report it")
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")


def _bench(design: Design, words: int) -> str:
    port = "top.model_inp = in[0];" if words == 1 else f"for (int w = 0; w < {words}; ++w) top.model_inp[w] = in[w];"
    if int(design.input_bits.sum()) > WORD and words == 2:  # Verilator has a plain 64-bit port then
        port = "top.model_inp = (uint64_t(in[1]) << 32) | in[0];"
    clocked = design.stages > 1
    tick = "top.clk = 0; top.eval(); top.clk = 1; top.eval();" if clocked else "top.eval();"
    return f"""// clocks events through the design, one a clock, and keeps the score of each
#include <cstdint>
#include <cstdio>
#include <vector>
#include "V{NAME}.h"
#include "verilated.h"
int main(int argc, char** argv) {{
  if (argc != 3) return 2;
  FILE* given = fopen(argv[1], "rb");
  FILE* found = fopen(argv[2], "wb");
  if (!given || !found) return 3;
  V{NAME} top;
  std::vector<uint32_t> in({words}, 0);
  const long latency = {design.stages if clocked else 0};
  long events = 0, clocks = 0;
  bool more = true;
  while (true) {{
    if (more) {{
      more = fread(in.data(), 4, {words}, given) == {words};
      if (more) ++events;
    }}
    if (clocks - latency >= events && !more) break;
    {port}
    {tick}
    if (clocks >= latency && clocks - latency < events) {{
      const uint32_t score = top.model_out;
      fwrite(&score, 4, 1, found);
    }}
    ++clocks;
  }}
  return (fclose(found) == 0 && fclose(given) == 0) ? 0 : 4;
}}
"""
