"""Drift in a run from its document to its page: a shifted run is named, files without drift are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from darkop_dist.errors import InputFileError
from darkop_dist.histograms import load_groups, load_histograms
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.calibrate import calibrate_run
from darkop_dist.stages.context import load_context
from darkop_dist.stages.drift import load_drift
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.report import write_report

RUNS = (281001, 281002, 281003, 281004, 281005)
SHIFTED = 281003


def write_runs(folder: Path, write_search: Callable[..., Path], factor: float) -> Path:
    """Data in four files, each with a fifth of five runs; in one run the masses are wrong by a factor."""
    document = write_search(folder, limits=None, systematics=[], execution={"workers": 1})
    body = json.loads(document.read_text())
    data = pd.read_csv(folder / "data.csv")
    data["run"] = np.arange(len(data)) % len(RUNS) + RUNS[0]
    data["luminosityBlock"], data["event"] = 1, np.arange(len(data))
    data.loc[data.run == SHIFTED, "mtt"] = np.clip(data.mtt * factor, 450, 3900)
    files = [f"data-{part}.csv" for part in range(4)]
    for part, name in enumerate(files):
        data.iloc[part * 200 : (part + 1) * 200].to_csv(folder / name, index=False)
    body["datasets"][0]["files"] = files
    document.write_text(json.dumps(body))
    return document


@pytest.fixture(scope="module")
def shifted(write_search: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("shifted")
    return run_search(Request(write_runs(folder, write_search, 2.5), folder / "result"))


def test_the_shifted_run_is_found_and_named(shifted: RunDirectory) -> None:
    by_run, by_file = load_drift(load_context(shifted))
    assert (by_run.by, by_file.by) == ("run", "file")
    assert by_run.among.p_value <= 0.001
    assert by_run.among.largest.name == str(SHIFTED)
    assert [group.name for group in by_run.among.groups] == [str(run) for run in RUNS]
    assert by_file.among.p_value > 0.01  # every file holds as much of the wrong run
    assert by_file.against_calibration is None  # it is the same test as that by run
    page = (shifted.report / "index.html").read_text()
    assert f"run {SHIFTED} scores " in page
    assert "Compared by run, the scores of data in region signal differ from those of " in page
    assert "-drift-run.svg" in page
    assert "-drift-file.svg" in page


def test_every_event_is_in_one_group(shifted: RunDirectory) -> None:
    groups, counts = load_groups(shifted.groups), load_histograms(shifted.histograms).score_counts
    for by in ("run", "file"):
        found = sum(n.sum() for n in groups.counts(by, "data", "signal", ["calibrate", "check"]).values())
        assert found == counts[{"dataset": "data", "region": "signal", "split": sum}].sum(flow=True)
    check = sum(n.sum() for n in groups.counts("file", "background", "signal", ["check"]).values())
    assert check == counts[{"dataset": "background", "region": "signal", "split": "check"}].sum(flow=True)
    assert groups.counts("file", "background", "signal", ["train"]) == {}


def test_without_drift_no_warning(write_search: Callable[..., Path], tmp_path: Path) -> None:
    made = run_search(Request(write_runs(tmp_path, write_search, 1.0), tmp_path / "result"))
    by_run, by_file = load_drift(load_context(made))
    # fixed seed; each of the three is below .01 in one of a hundred seeds
    assert min(by_run.against_calibration.p_value, by_run.among.p_value, by_file.among.p_value) > 0.01
    page = (made.report / "index.html").read_text()
    assert "those that calibrate, tested for exchangeability: p = " in page
    assert "Compared by" not in page


def test_stages_run_again_and_old_runs_go_without(shifted: RunDirectory) -> None:
    before = shifted.drift.read_text()
    context = load_context(shifted)
    calibrate_run(context)
    assert shifted.drift.read_text() == before
    kept = shifted.groups.read_bytes()
    shifted.groups.unlink()
    calibrate_run(context)
    assert "Drift" not in write_report(context).read_text()
    shifted.groups.write_bytes(kept)
    shifted.drift.write_text(json.dumps({"schema": "darkop.drift/1", "tests": [{"by": "run"}]}))
    with pytest.raises(InputFileError, match=r"drift\.json: is no test of drift"):
        load_drift(context)
