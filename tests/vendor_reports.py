"""Reports of vendors' tools, in the layout that hls4ml reads; written by hand, no vendor's tool was run for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

LOOPS = ({"af": "480.00", "ii": "1", "lt": "11.0"}, {"name": "no loop"})
SYNTHESIS = """<profile>
<ReportVersion>
<Version>2023.1</Version>
</ReportVersion>
<UserAssignments>
<unit>ns</unit>
<ProductFamily>virtexuplus</ProductFamily>
<Part>xcvu13p-flga2577-2-e</Part>
<TopModelName>trigger</TopModelName>
<TargetClockPeriod>{target}</TargetClockPeriod>
<ClockUncertainty>1.69</ClockUncertainty>
</UserAssignments>
<PerformanceEstimates>
<PipelineType>yes</PipelineType>
<SummaryOfTimingAnalysis>
<unit>ns</unit>
<EstimatedClockPeriod>{estimated}</EstimatedClockPeriod>
</SummaryOfTimingAnalysis>
<SummaryOfOverallLatency>
<unit>clock cycles</unit>
<Best-caseLatency>{latency}</Best-caseLatency>
<Average-caseLatency>{latency}</Average-caseLatency>
<Worst-caseLatency>{latency}</Worst-caseLatency>
<Interval-min>{interval}</Interval-min>
<Interval-max>{interval}</Interval-max>
</SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates>
<Resources>
<BRAM_18K>2</BRAM_18K>
<{dsp}>7</{dsp}>
<FF>650</FF>
<LUT>3210</LUT>
<URAM>0</URAM>
</Resources>
<AvailableResources>
<BRAM_18K>5376</BRAM_18K>
<{dsp}>12288</{dsp}>
<FF>3456000</FF>
<LUT>1728000</LUT>
<URAM>1280</URAM>
</AvailableResources>
</AreaEstimates>
</profile>
"""
UTILISATION = """| Tool Version : Vivado v.2022.2
1. CLB Logic
------------
| CLB LUTs*                  |   1234 |     0 |          0 |   1728000 |  0.07 |
| CLB Registers              |    432 |     0 |          0 |   3456000 |  0.01 |
2. BLOCKRAM
-----------
| Block RAM Tile    |  0.5 |     0 |          0 |      2688 |  0.02 |
| URAM              |    0 |     0 |          0 |      1280 |  0.00 |
3. ARITHMETIC
-------------
| DSPs           |    5 |     0 |          0 |     12288 |  0.04 |
"""


def amd_project(folder: Path, tool: str = "Vitis", **values: object) -> Path:
    """A project of hls4ml with the report that Vitis HLS or Vivado HLS leaves in it; returns the report."""
    solution = folder / "trigger_prj" / "solution1"
    (solution / "syn" / "report").mkdir(parents=True)
    (folder / "project.tcl").write_text(
        f'variable project_name\nset project_name "trigger"\nvariable backend\nset backend "{tool.lower()}"\n'
    )
    app = "hls.app" if tool == "Vitis" else "vivado_hls.app"
    (folder / "trigger_prj" / app).write_text(
        '<project xmlns="com.autoesl.autopilot.project" name="trigger_prj"><solutions>'
        '<solution name="solution1" status=""/></solutions></project>'
    )
    numbers = {"target": "6.25", "estimated": "4.527", "latency": 2, "interval": 1}
    report = solution / "syn" / "report" / "trigger_csynth.xml"
    report.write_text(SYNTHESIS.format(**(numbers | values), dsp="DSP" if tool == "Vitis" else "DSP48E"))
    return report


def intel_project(folder: Path, loops: Sequence[Mapping[str, str]] = LOOPS, kind: str = "report") -> None:
    """A project of hls4ml with the report that oneAPI leaves in it."""
    (folder / "src" / "firmware").mkdir(parents=True)
    (folder / "build").mkdir()
    (folder / "CMakeLists.txt").write_text(
        'set(FPGA_DEVICE "Agilex7")\nset(USER_FPGA_FLAGS -Xsclock=5.0ns; ${USER_FPGA_FLAGS})\n'
    )
    intel_report(folder / "build", loops, kind)


def intel_report(build: Path, loops: Sequence[Mapping[str, str]] = LOOPS, kind: str = "report") -> None:
    """The report alone."""
    made = build / f"trigger.{kind}.prj" / "reports" / "resources" / "json"
    made.mkdir(parents=True)
    rows = [{"name": "Total", "data": [2100, 900, 3, 4, 5]}, {"name": "Available", "data": [9, 9, 9, 9, 9]}]
    (made / "summary.ndjson").write_text("\n".join(map(json.dumps, rows)))
    (made / "loop_attr.ndjson").write_text("\n".join(map(json.dumps, loops)))
    used = {"name": "Trigger", "alm": 800, "alut": 1500, "reg": 700, "dsp": 2, "ram": 1, "mlab": 0}
    (made / "quartus.ndjson").write_text(
        json.dumps(
            {
                "quartusFitResourceUsageSummary": {"nodes": [used]},
                "quartusFitClockSummary": {"nodes": [{"clock fmax": 410.5}]},
            }
        )
    )
