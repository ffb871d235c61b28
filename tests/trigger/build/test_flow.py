"""The open flow on a small network: Verilog, emulator, Verilator, yosys and nextpnr, all of them real."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("da4ml")
pytest.importorskip("pyosys")
from level1_events import checkpoint_of, made_up, random_inputs, random_network, roomy

from darkop_dist.errors import InputValueError, MissingToolError, OutputError, RunError, ToolError
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.operators.fixed_point import Format
from darkop_dist.trigger.build import flow
from darkop_dist.trigger.build.compile import compile_for_trigger
from darkop_dist.trigger.build.flow import build_open, compare
from darkop_dist.trigger.build.model import model_of, require_range
from darkop_dist.trigger.build.result import Resources, TriggerBuild
from darkop_dist.trigger.build.synthesis import ECP5, Routed, synthesise
from darkop_dist.trigger.build.tools import COMPILER, Tool, run_tool
from darkop_dist.trigger.build.verilator import simulate
from darkop_dist.trigger.build.verilog import Design, write_design
from darkop_dist.trigger.logic import ranges_of, trace_logic
from darkop_dist.trigger.pareto import ParetoSet, Point

NETWORK = roomy(random_network(2, (3, 2)), random_inputs(2000))
needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="verilator is not installed")


@needs_verilator
@pytest.mark.slow
@pytest.mark.parametrize(("score", "stages"), [("squares", 1), ("squares", 3), ("error", 2)])
def test_verilog_gives_the_scores_of_the_network(tmp_path: Path, score: str, stages: int) -> None:
    network = random_network(2, (6, 3), score)
    if stages == 1:  # squares of few bits come from a table, those of many from a multiplier
        last = network.layers[-1]
        network = replace(
            network,
            layers=(*network.layers[:-1], replace(last, format=Format(True, np.array([3, 4, 4]), np.array([1, 4, 1])))),
        )
    inputs = random_inputs(4000, 11)
    design = write_design(trace_logic(network, *ranges_of(network)), tmp_path / "design", stages)
    assert design.stages <= stages
    assert (design.stages > 1) == (stages > 1)
    np.testing.assert_array_equal(simulate(design, inputs), network.score(inputs))


@needs_verilator
@pytest.mark.slow
def test_a_build_is_routed_and_meets_a_budget(tmp_path: Path) -> None:
    checkpoint, inputs, said = checkpoint_of(NETWORK), random_inputs(500), []
    build = build_open(checkpoint, inputs, tmp_path / "build", latency_budget_ns=50.0, say=said.append)
    assert build.meets_budget
    assert build.latency_ns <= 50.0
    assert build.latency_ns == pytest.approx(1e3 * build.stages / build.clock_mhz)
    assert build.clock_mhz <= build.fmax_mhz
    assert build.timing_source.startswith("routed on ECP5 by nextpnr")
    assert [one.different for one in build.parity] == [0, 0]
    assert {one.family for one in build.resources} == {"ecp5", "xilinx-ultrascale+"}
    assert all(one.luts > 0 for one in build.resources)
    assert TriggerBuild.model_validate(json.loads((tmp_path / "build" / "build.json").read_text())) == build
    assert any("after routing" in line for line in said)
    with pytest.raises(OutputError, match="not empty"):
        build_open(checkpoint, inputs, tmp_path / "build")


RESOURCES = Resources(family="ecp5", luts=100, flip_flops=10, multipliers=0, memories=0, source="made up")


@pytest.fixture(name="clocks")
def clocks_fixture(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the router answers, in MHz. The tools are replaced: what is tested is which of their answers is taken."""
    answers: list[float] = []

    def answer(design: object, *, target_mhz: float, seed: int) -> Routed:
        del design, target_mhz
        return Routed(RESOURCES, answers.pop(0), seed, "made up")

    def simulate(design: Design, inputs: Any) -> Any:
        del design
        return NETWORK.score(inputs)

    monkeypatch.setattr(flow, "synthesise", lambda *_: RESOURCES)
    monkeypatch.setattr(flow, "route", answer)
    monkeypatch.setattr(flow, "simulate", simulate)
    monkeypatch.setattr(flow, "MOST_STAGES", 2)
    return answers


@pytest.mark.parametrize(
    ("reached", "stages", "latency_ns"),
    [
        ((38.0, 41.0), 1, 25.0),  # the second seed reaches 40 MHz
        ((36.0, 85.0), 2, 25.0),  # too far for a second seed; two stages at 80 MHz
        ((39.0,) * 8 + (81.0,), 2, 25.0),  # eight seeds are enough
        ((30.0, 45.0), 1, 1e3 / 30.0),  # none: the nearest is kept
    ],
)
def test_stages_and_seeds_are_tried_until_the_budget_is_met(
    tmp_path: Path, clocks: list[float], reached: tuple[float, ...], stages: int, latency_ns: float
) -> None:
    clocks += reached
    build = build_open(checkpoint_of(NETWORK), random_inputs(50), tmp_path / "b", latency_budget_ns=25.0)
    assert not clocks
    assert (build.stages, build.latency_ns) == (stages, pytest.approx(latency_ns))
    assert build.meets_budget == (latency_ns <= 25.0)
    assert build.bunch_crossings == pytest.approx(latency_ns / 25.0)
    assert (tmp_path / "b" / build.project / "src").is_dir()


@pytest.mark.parametrize(
    ("reached", "taken", "latency_ns"),
    [
        ((30.0, 45.0, 40.5), "second", 25.0),  # steps down
        ((41.0,), "first", 25.0),  # the most efficient is enough
        ((30.0, 45.0, 28.0, 39.0), "first", 1e3 / 30.0),  # none: the nearest is kept
    ],
)
def test_the_next_student_is_tried_where_one_misses_the_budget(
    tmp_path: Path, clocks: list[float], reached: tuple[float, ...], taken: str, latency_ns: float
) -> None:
    def point(name: str, mean: float) -> Point:
        return Point(
            name=name, widths=(3, 2), epoch=1, loss=0.1, ebops=10.0, luts=100, depth=10,
            efficiency={"one": mean}, mean_efficiency=mean,
        )  # fmt: skip

    students = tmp_path / "students"
    for name in ("first", "second"):
        save_checkpoint(checkpoint_of(NETWORK, name), students / name)
    made = ParetoSet(
        rate_hz=1e3, conditions="run2-2018", luminosity=2e34, events={"one": 9}, teacher={"one": 0.6},
        points=(point("second", 0.3), point("first", 0.5)),
    )  # fmt: skip
    (students / "pareto.json").write_text(made.model_dump_json())
    clocks += reached
    said: list[str] = []
    sample, output = made_up(random_inputs(50)), tmp_path / "b"
    build = compile_for_trigger(students, sample=sample, output=output, latency_budget=25.0, say=said.append)
    assert not clocks
    assert isinstance(build, TriggerBuild)
    assert (build.model, build.latency_ns) == (taken, pytest.approx(latency_ns))
    assert build.efficiency == {"one": 0.5 if taken == "first" else 0.3}
    assert (build.reference, build.rate_hz) == ({"one": 0.6}, 1e3)
    assert TriggerBuild.model_validate_json((output / "build.json").read_text()) == build
    assert ("first does not meet 25 ns: 33.33 ns" in said) == (reached[0] < 40)


def test_integer_parts_that_overflow_are_refused_with_the_bits_that_they_need(
    tmp_path: Path, clocks: list[float]
) -> None:
    inputs = random_inputs(2000)
    last = NETWORK.layers[-1]
    bits = last.format.integer

    def with_bits(missing: int) -> Any:
        form = replace(last.format, integer=bits - np.array([missing, 0]))
        return checkpoint_of(replace(NETWORK, layers=(*NETWORK.layers[:-1], replace(last, format=form))))

    said: list[str] = []
    message = rf"layer 1, output 0 saturates in 0\.\d+ of the events: {bits[0] - 3} integer bits, {bits[0]} hold them"
    with pytest.raises(InputValueError, match=message):
        build_open(with_bits(3), inputs, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    clocks += [41.0]
    build_open(checkpoint_of(NETWORK), inputs, tmp_path / "b", say=said.append)
    assert not any("saturates" in line for line in said)
    sums = np.abs(NETWORK.sums(inputs)[-1])[:, 0]
    rare = np.flatnonzero(sums < 2.0 ** (bits[0] - 1))[:400]
    rare = np.append(rare, np.argmax(sums))
    (line,) = require_range(model_of(with_bits(1)), inputs[rare])
    assert line.startswith(f"layer 1, output 0 saturates in 0.00249 of the events: {bits[0] - 1} integer bits")


def test_a_score_that_differs_stops_the_build() -> None:
    expected = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    with pytest.raises(RunError, match=r"emulator: 1 of 3 scores differ.*event 1: 9 instead of 2\. Do not use"):
        compare("emulator", expected, np.array([1.0, 9.0, 3.0], dtype=np.float32))


def test_a_missing_tool_names_its_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"program g\+\+, which is not installed. Run: apt-get install g\+\+"):
        COMPILER.command()
    absent = Tool("no_such_module", "pip install no-such-module", call="pass")
    with pytest.raises(MissingToolError, match="Run: pip install no-such-module"):
        absent.command()


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    program = "import sys; print('half way'); sys.exit('too hot')"
    with pytest.raises(
        ToolError, match=r"(?s)exit status 1\. Cool it.*stdout:\n  half way\nstderr:\n  too hot"
    ) as caught:
        run_tool([sys.executable, "-c", program], tmp_path, advice="Cool it.")
    assert caught.value.status == 1
    assert caught.value.command[0] == sys.executable
    with pytest.raises(ToolError, match="ran out of time"):
        run_tool([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, timeout_s=0.5)


def test_bad_input(tmp_path: Path) -> None:
    network = random_network(2, (3, 2))
    checkpoint = checkpoint_of(network)
    with pytest.raises(InputValueError, match="positive number of ns"):
        build_open(checkpoint, random_inputs(5), tmp_path / "a", latency_budget_ns=0.0)
    with pytest.raises(InputValueError, match="the network takes"):
        build_open(checkpoint, random_inputs(5)[:, :9], tmp_path / "b")
    design = write_design(trace_logic(network, *ranges_of(network)), tmp_path / "c", 1)
    with pytest.raises(InputValueError, match=f"Use one of {ECP5}"):
        synthesise(design, "asic")
