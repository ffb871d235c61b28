"""``darkop export`` of a small real search and of workspaces in files; each mistake by name, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from darkop_dist.cli import main
from darkop_dist.limits import LimitsFile, Workspace, cls_values
from darkop_dist.limits.interchange import load_patchset, read_datacard
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.pipeline import Request, run_search

Darkop = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(write_search: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("search")
    document = write_search(folder, operator=None, anomaly_detection=None, description="A peak in mtt.")
    return run_search(Request(document, folder / "result"))


@pytest.fixture
def darkop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Darkop:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["darkop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return call


def test_a_run_for_hepdata(run: RunDirectory, darkop: Darkop, tmp_path: Path) -> None:
    code, out, error = darkop("export", run.path, "--to", "hepdata", "--output", tmp_path / "out")
    assert (code, error) == (0, "")
    assert str(tmp_path / "out" / "submission.yaml") in out
    head, *tables = YAML(typ="safe").load_all((tmp_path / "out" / "submission.yaml").read_text())
    assert head["comment"] == "Small search. A peak in mtt."
    assert [table["name"] for table in tables] == [
        "Limits", "Yields signal before the fit", "Yields signal after the fit", "Background covariance", "Cutflow signal",
    ]  # fmt: skip
    limits = YAML(typ="safe").load((tmp_path / "out" / "limits.yaml").read_text())
    found = limits["dependent_variables"][0]
    assert found["values"][0]["value"] == pytest.approx(LimitsFile.load(run.limits).results[0].limit.observed)
    qualifiers = {q["name"]: q["value"] for q in found["qualifiers"]}
    assert (qualifiers["SQRT(S)"], qualifiers["LUMINOSITY"]) == (13000, 1.0)
    yields = YAML(typ="safe").load((tmp_path / "out" / "yields_signal_before_the_fit.yaml").read_text())
    bins = yields["independent_variables"][0]
    assert bins["header"] == {"name": r"$m_{t\bar{t}}$", "units": "GeV"}
    assert [cell["low"] for cell in bins["values"]] == [400, 800, 1200, 1600]
    cutflow = YAML(typ="safe").load((tmp_path / "out" / "cutflow_signal.yaml").read_text())
    last = {c["header"]["name"]: c["values"][-1]["value"] for c in cutflow["dependent_variables"]}
    assert last["background"] == pytest.approx(sum(c["value"] for c in yields["dependent_variables"][1]["values"]))


def test_a_run_for_combine(run: RunDirectory, darkop: Darkop, tmp_path: Path) -> None:
    assert darkop("export", run.path, "--to", "combine", "--output", tmp_path / "out")[0] == 0
    workspace, back = Workspace.load(run.workspace), read_datacard(tmp_path / "out" / "datacard.txt")
    assert back.edges == {"signal": (400.0, 800.0, 1200.0, 1600.0, 4000.0)}
    limit = LimitsFile.load(run.limits).results[0].limit
    assert cls_values(back, limit.observed).observed == pytest.approx(limit.cls_at_limit, abs=1e-7)
    again = darkop("export", tmp_path / "out" / "datacard.txt", "--to", "pyhf", "--output", tmp_path / "pyhf")
    assert again[0] == 0
    written = Workspace.load(tmp_path / "pyhf" / "signal.json")
    assert cls_values(written, 0.1).observed == pytest.approx(cls_values(workspace, 0.1).observed, abs=1e-9)


def test_a_run_for_pyhf(run: RunDirectory, darkop: Darkop, tmp_path: Path) -> None:
    assert darkop("export", run.path, "--to", "pyhf", "--output", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "signal.json").read_bytes() == run.workspace.read_bytes()


def signals(folder: Path, run: RunDirectory) -> list[Path]:
    """Workspaces of two signals on the run's background; the second has half the events."""
    paths = []
    for name, factor in (("light", 1.0), ("heavy", 0.5)):
        spec = json.loads(run.workspace.read_text())
        sample = next(s for s in spec["channels"][0]["samples"] if s["name"] == "signal")
        sample.update(name=name, data=[factor * value for value in sample["data"]])
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(spec))
    return paths


def test_a_grid_of_workspaces(run: RunDirectory, darkop: Darkop, tmp_path: Path) -> None:
    files = signals(tmp_path, run)
    grid = ("--label", "m_zprime", "--point", "light=1000", "--point", "heavy=2000")
    code, out, _ = darkop("export", *files, "--to", "patchset", *grid, "--output", tmp_path / "grid")
    assert code == 0
    assert "note: the reference ins0000000 stands for none" in out
    for file in files:
        found = load_patchset(tmp_path / "grid")[file.stem]
        assert found.spec == json.loads(file.read_text())
    assert darkop("export", *files, "--to", "hepdata", *grid, "--output", tmp_path / "hepdata")[0] == 0
    table = YAML(typ="safe").load((tmp_path / "hepdata" / "limits.yaml").read_text())
    light, heavy = (cell["value"] for cell in table["dependent_variables"][0]["values"])
    assert heavy == pytest.approx(2 * light, rel=1e-4)  # half the events: twice the limit
    assert [cell["value"] for cell in table["independent_variables"][0]["values"]] == [1000, 2000]
    assert darkop("export", *files, "--to", "combine", "--output", tmp_path / "cards")[0] == 0
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == ["heavy", "light"]


def test_pyhf_on_the_command_line_takes_the_patchset(run: RunDirectory, darkop: Darkop, tmp_path: Path) -> None:
    darkop("export", run.path, "--to", "patchset", "--output", tmp_path / "out")
    program = Path(sys.executable).with_name("pyhf")
    command = [program, "patchset", "verify", tmp_path / "out" / "BkgOnly.json", tmp_path / "out" / "patchset.json"]
    assert "All good" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "--to", "combin", "--output", "{tmp}/new"], "unknown format 'combin'. Did you mean combine?"),
        (["{run}", "--to", "pyhf", "--output", "{tmp}"], "exists already. Choose another directory"),
        (["{tmp}/absent.json", "--to", "pyhf", "--output", "{tmp}/new"], "absent.json: cannot be read"),
        (["{tmp}/absent.txt", "--to", "pyhf", "--output", "{tmp}/new"], "absent.txt: cannot be read"),
        (["{tmp}", "--to", "pyhf", "--output", "{tmp}/new"], "this run directory does not hold it"),
        (["{tmp}/bkg.json", "--to", "combine", "--output", "{tmp}/new"], "the workspace has no signal"),
        (["{tmp}/bkg.json", "--to", "patchset", "--output", "{tmp}/new"], "the workspace bkg has no signal"),
        (["{tmp}/bkg.json", "--to", "hepdata", "--output", "{tmp}/new"], "the workspace bkg has no signal"),
        (["{run}/workspace.json", "{run}/workspace.json", "--to", "pyhf", "--output", "{tmp}/new"], "two files are named workspace"),
        (["{run}", "--to", "patchset", "--point", "signal=high", "--output", "{tmp}/new"], "the point 'signal=high' cannot be read"),
        (["{run}", "--to", "hepdata", "--point", "signal=1", "--output", "{tmp}/new"], "a table of limits has one axis, not 0"),
    ],
)  # fmt: skip
def test_mistakes(run: RunDirectory, darkop: Darkop, tmp_path: Path, arguments: list[str], message: str) -> None:
    spec = json.loads(run.workspace.read_text())
    samples = spec["channels"][0]["samples"]
    spec["channels"][0]["samples"] = [sample for sample in samples if sample["name"] != "signal"]
    (tmp_path / "bkg.json").write_text(json.dumps(spec))
    code, _, error = darkop("export", *(a.format(run=run.path, tmp=tmp_path) for a in arguments))
    assert code == 2
    assert message in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["bkg.json"]


def test_a_run_whose_workspace_has_changed(run: RunDirectory, darkop: Darkop, tmp_path: Path) -> None:
    before = run.workspace.read_text()
    try:
        spec = json.loads(before)
        spec["measurements"][0]["name"] = "other"
        run.workspace.write_text(json.dumps(spec))
        code, _, error = darkop("export", run.path, "--to", "pyhf", "--output", tmp_path / "new")
    finally:
        run.workspace.write_text(before)
    assert code == 2
    assert "workspace.json: is not the workspace that limits.json was made from. Run darkop limits again." in error
    assert not (tmp_path / "new").exists()
