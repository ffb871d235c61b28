"""Reports of vendors' tools: files in their layout, written here, since no vendor's tool can be installed for tests."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("hls4ml")
from level1_events import checkpoint_of, random_inputs, random_network, roomy
from vendor_reports import UTILISATION, amd_project, intel_project

from darkop_dist.errors import InputFileError, InputValueError, MissingToolError, ToolError
from darkop_dist.trigger.build import hls
from darkop_dist.trigger.build.hls import build_hls
from darkop_dist.trigger.build.vendor import VendorReport, read_report, synthesise


@pytest.mark.parametrize("tool", ["Vitis", "Vivado"])
def test_a_report_of_amd(tmp_path: Path, tool: str) -> None:
    amd_project(tmp_path, tool)
    found = read_report(tmp_path)
    assert (found.tool, found.part) == (tool, "xcvu13p-flga2577-2-e")
    assert (found.latency_clocks, found.stages, found.initiation_interval) == (2, 3, 1)
    assert found.clock_mhz == pytest.approx(160.0)
    assert found.fmax_mhz == pytest.approx(1e3 / 4.527)
    assert found.latency_ns == pytest.approx(18.75)
    assert found.bunch_crossings == pytest.approx(0.75)
    assert found.meets_budget
    assert found.timing_source == f"vendor report ({tool} HLS 2023.1, estimated before placing)"
    (estimated,) = found.resources
    assert (estimated.luts, estimated.flip_flops, estimated.multipliers, estimated.memories) == (3210, 650, 7, 2)
    assert estimated.source == f"{tool} HLS, estimated"
    assert VendorReport.model_validate_json((tmp_path / "report.json").read_text()) == found


def test_sizes_after_logic_synthesis(tmp_path: Path) -> None:
    amd_project(tmp_path)
    (tmp_path / "vivado_synth.rpt").write_text(UTILISATION)
    counted = read_report(tmp_path).resources[1]
    assert (counted.luts, counted.flip_flops, counted.multipliers, counted.memories) == (1234, 432, 5, 1)
    assert counted.source == "Vivado, after logic synthesis"


@pytest.mark.parametrize(
    ("values", "latency_ns", "why"),
    [
        ({"latency": 3}, 25.0, None),
        ({"latency": 4}, 31.25, "longer than 25 ns"),
        ({"interval": 5}, 18.75, "an event every 31.25 ns"),
        ({"estimated": "7.9"}, 25.0, None),  # 127 MHz are possible: three clocks at 120 MHz
        ({"estimated": "9.9"}, 37.5, "three clocks at 80 MHz"),
        ({"target": "30.0", "latency": 0}, 30.0, "slower than the LHC"),
    ],
)
def test_a_budget(tmp_path: Path, values: dict[str, object], latency_ns: float, why: str | None) -> None:
    amd_project(tmp_path, **values)
    found = read_report(tmp_path, latency_budget_ns=25.0)
    assert found.latency_ns == pytest.approx(latency_ns)
    assert found.meets_budget == (why is None)


def test_a_report_of_intel(tmp_path: Path) -> None:
    intel_project(tmp_path / "a")
    found = read_report(tmp_path / "a", latency_budget_ns=60.0)
    assert (found.tool, found.part, found.latency_clocks, found.initiation_interval) == ("oneAPI", "Agilex7", 11, 1)
    assert (found.clock_mhz, found.fmax_mhz) == (200.0, 480.0)
    assert found.latency_ns == pytest.approx(60.0)
    assert found.meets_budget
    (estimated,) = found.resources
    assert (estimated.luts, estimated.flip_flops, estimated.memories, estimated.multipliers) == (2100, 900, 3, 4)
    assert "estimated before placing" in found.timing_source
    intel_project(tmp_path / "b", kind="fpga")
    fitted = read_report(tmp_path / "b")
    assert fitted.fmax_mhz == 410.5
    assert fitted.resources[1].luts == 1500
    assert "clock of the fitted design" in fitted.timing_source


def test_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"holds no project of hls4ml for Vitis, Vivado, oneAPI\. Give a folder"):
        read_report(tmp_path)
    amd_project(tmp_path / "a").unlink()
    with pytest.raises(InputFileError, match=r"no report of Vitis HLS .*Run vitis-run on the project first"):
        read_report(tmp_path / "a")
    intel_project(tmp_path / "b", [])
    next((tmp_path / "b" / "build").iterdir()).rename(tmp_path / "elsewhere")
    with pytest.raises(InputFileError, match=r"no report of oneAPI .*Run icpx on the project first"):
        read_report(tmp_path / "b")
    with pytest.raises(InputValueError, match="positive number of ns"):
        read_report(tmp_path, latency_budget_ns=0.0)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda text: text[: len(text) // 2], "no element found"),
        (lambda text: text.replace("<LUT>3210</LUT>", ""), "'LUT'"),
        (lambda text: text.replace("<Worst-caseLatency>2<", "<Worst-caseLatency>undef<"), "WorstLatency is 'undef'"),
        (lambda text: text.replace(">4.527<", ">0<"), "division by zero"),
        (lambda text: re.sub("<Version>.*</Version>", "", text), "no element Version"),
    ],
)
def test_a_broken_report(tmp_path: Path, broken: object, says: str) -> None:
    report = amd_project(tmp_path)
    report.write_text(broken(report.read_text()))  # type: ignore[operator]
    with pytest.raises(InputFileError, match=rf"report of Vitis HLS cannot be read \(.*{says}.*again, to its end"):
        read_report(tmp_path)
    assert not (tmp_path / "report.json").exists()


def test_a_broken_report_of_intel(tmp_path: Path) -> None:
    intel_project(tmp_path / "a", [])
    with pytest.raises(InputFileError, match="no initiation interval and no latency"):
        read_report(tmp_path / "a")
    intel_project(tmp_path / "b")
    next((tmp_path / "b").rglob("summary.ndjson")).write_text('{"name": "Tot')
    with pytest.raises(InputFileError, match="report of oneAPI cannot be read"):
        read_report(tmp_path / "b")


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, program: str) -> None:
    """A program in place of a vendor's, which no test can have."""
    folder.mkdir()
    (folder / name).write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{program}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_tool_is_run_and_its_report_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's tool and the C simulation are replaced: what is tested is that a report enters the result."""
    amd_project(tmp_path / "elsewhere")
    program = (
        "import shutil\n"
        'assert sys.argv[1:] == ["--tcl", "build_prj.tcl", "--mode", "hls"]\n'
        'assert "csim 0" in Path("build_opt.tcl").read_text() and "synth 1" in Path("build_opt.tcl").read_text()\n'
        f'shutil.copytree("{tmp_path}/elsewhere/trigger_prj", "trigger_prj")'
    )
    stand_in(tmp_path / "bin", monkeypatch, "vitis-run", program)
    (tmp_path / "bin" / "g++").symlink_to(tmp_path / "bin" / "vitis-run")
    inputs = random_inputs(200)
    network = roomy(random_network(4), inputs)

    def written(graph: object, events: object, tool: str) -> object:
        graph.write()  # type: ignore[attr-defined]
        return network.score(events)  # type: ignore[arg-type]

    monkeypatch.setattr(hls, "_simulated", written)
    made = build_hls(checkpoint_of(network), inputs, tmp_path / "project", run_vendor=True)
    assert made.report == read_report(tmp_path / "project")
    assert made.timing_source == "vendor report (Vitis HLS 2023.1, estimated before placing)"
    assert json.loads((tmp_path / "project" / "project.json").read_text())["report"]["latency_clocks"] == 2


def test_a_tool_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    stand_in(tmp_path / "bin", monkeypatch, "vivado_hls", 'sys.exit("no licence: " + sys.argv[3])')
    with pytest.raises(ToolError, match=r"(?s)Vivado HLS failed.*no licence: reset=0 csim=0 synth=1"):
        synthesise(project, "Vivado")
    with pytest.raises(MissingToolError, match=r"icpx, .*Run: source setvars\.sh of your installation of Intel oneAPI"):
        synthesise(project, "oneAPI")
