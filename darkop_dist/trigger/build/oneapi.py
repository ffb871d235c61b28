"""hls4ml's C++ for oneAPI without Intel's compiler: by g++, with the AC types that hls4ml brings and pipes as queues.

What is compared is the arithmetic, the project's own layers, weights and types. Intel's compiler, its own AC types and
its pipes were not run by us.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import RunError
from darkop_dist.trigger.build.tools import COMPILER, run_tool

HEADERS = {
    "sycl.hpp": "pipes.hpp",
    "ext/intel/fpga_extensions.hpp": "pipes.hpp",
    "ext/intel/experimental/task_sequence.hpp": "pipes.hpp",
    "ext/intel/ac_types/ac_fixed.hpp": "ac_fixed.h",
    "ext/intel/ac_types/ac_fixed_math.hpp": "ac_fixed.h",
    "ext/intel/ac_types/ac_int.hpp": "ac_int.h",
}
"""What stands in for each header of SYCL."""


def keep_single_bits(graph: Any) -> None:
    """Cut numbers of one bit as they are meant.

    hls4ml 1.3 writes them with two bits, because Intel's types have no fewer, and so halves the step of a cut. That is
    put right here number by number. Where all numbers of a layer have one format, hls4ml has folded the cut into a type
    of two bits, which saturates elsewhere: the comparison of scores stops the build if an event shows it.

    Args:
        graph: hls4ml's, for oneAPI, not yet written; its code is changed.
    """
    for layer in graph.get_layers():
        source = layer.get_attr("mask_fn_codegen")
        if source is None:
            continue
        shape = tuple(layer.get_input_variable().shape)
        signs, bits, wholes = (np.ravel(np.broadcast_to(one[0], shape)) for one in layer.mask_kbi)
        for place in np.flatnonzero(bits == 1):
            step = 2.0 ** (int(wholes[place]) - 1)
            cut = f"inp[{place}] < 0 ? {-step!r} : 0.0" if signs[place] else f"inp[{place}] < {step!r} ? 0.0 : {step!r}"
            source.code = re.sub(rf"out\[{place}\] = .*;", f"out[{place}] = {cut};", source.code)


def simulate(graph: Any, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scores by the C++ of a project.

    Args:
        graph: hls4ml's, whose project is written.
        inputs: shape (events, inputs).

    Returns:
        Shape (events,).

    Raises:
        MissingToolError: g++ is not installed.
        ToolError: the C++ does not compile or its program fails.
        RunError: it gave another number of scores than events.
    """
    import hls4ml

    project, name = Path(graph.config.get_output_dir()), graph.config.get_project_name()
    types = Path(hls4ml.__file__).parent / "templates" / "quartus" / "ac_types"
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        source = folder / "src"
        shutil.copytree(project / "src", source)
        for weights in (source / "firmware" / "weights").glob("*.h"):  # these AC types have no constexpr numbers
            weights.write_text(weights.read_text(encoding="utf-8").replace("static constexpr", "static const"), "utf-8")
        for header, instead in HEADERS.items():
            target = folder / "sycl" / header
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f'#include "{instead}"\n', encoding="utf-8")
        (folder / "bench.cpp").write_text(_bench(graph, name), encoding="utf-8")
        places = (folder, Path(__file__).parent, types, source, source / "firmware")
        sources = (str(source / "firmware" / f"{name}.cpp"), "bench.cpp")
        run_tool(
            [
                *COMPILER.command(),
                "-std=c++17",
                "-O1",
                "-w",
                *(f"-I{place}" for place in places),
                *sources,
                "-o",
                "bench",
            ],
            folder,
            advice="hls4ml's C++ for oneAPI does not compile with g++.",
        )
        (folder / "inputs.bin").write_bytes(np.ascontiguousarray(inputs, dtype=np.float32).tobytes())
        run_tool([str(folder / "bench"), "inputs.bin", "scores.bin"], folder)
        scores = np.fromfile(folder / "scores.bin", dtype=np.float64)
    if len(scores) != len(inputs):
        raise RunError(f"the C++ gave {len(scores)} scores for {len(inputs)} events. This is a bug: report it")
    return scores.astype(np.float32)


def _bench(graph: Any, name: str) -> str:
    given, found = graph.get_input_variables()[0].pipe_name, graph.get_output_variables()[0].pipe_name
    return f"""#include <cstdio>
#include "firmware/{name}.h"
int main(int argc, char** argv) {{
  if (argc != 3) return 2;
  FILE* given = fopen(argv[1], "rb");
  FILE* found = fopen(argv[2], "wb");
  if (!given || !found) return 3;
  constexpr size_t size = std::tuple_size<inputs_t>{{}};
  float in[size];
  while (fread(in, sizeof(float), size, given) == size) {{
    inputs_t event;
    for (size_t place = 0; place < size; ++place) event[place] = in[place];
    {given}::write(event);
    {name.capitalize()}{{}}();
    const double score = {found}::read()[0].to_double();
    fwrite(&score, sizeof score, 1, found);
  }}
  return fclose(found) == 0 ? 0 : 4;
}}
"""
