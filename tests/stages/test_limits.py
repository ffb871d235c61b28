"""Limits of a run with several masses: one that fails does not lose the others; toys are kept and taken up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.limits import LimitsFile
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.context import RunContext, load_context
from darkop_dist.stages.limit_file import LimitRequest, analyse, workspaces_of
from darkop_dist.stages.limits import headlines, write_limits
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.report import write_report

MASSES = {"signal": 1500.0, "lighter": 1000.0, "heavier": 2000.0}


@pytest.fixture(scope="module")
def run(write_search: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A search for three masses, and for a signal without any event in the regions of the fit."""
    folder = tmp_path_factory.mktemp("masses")
    document = write_search(folder)
    content, rng = json.loads(document.read_text()), np.random.default_rng(4)
    for name, mass in (("lighter", 1000.0), ("heavier", 2000.0), ("empty", 1200.0)):
        table = pd.read_csv(folder / "signal.csv")
        table["mtt"] = 300.0 if name == "empty" else rng.normal(mass, 100.0, len(table))  # below the cut of 400
        table.to_csv(folder / f"{name}.csv", index=False)
        content["datasets"].append({**content["datasets"][2], "name": name, "files": [f"{name}.csv"]})
    content["limits"] |= {"signal": [*MASSES, "empty"], "masses": {**MASSES, "empty": 1200.0}}
    document.write_text(json.dumps(content))
    return run_search(Request(document, folder / "result"))


def changed(run: RunDirectory, **limits: object) -> RunContext:
    body = json.loads(run.document.read_text())
    body.get("document", body)["limits"] |= limits
    run.document.write_text(json.dumps(body))
    return load_context(run)


def test_a_signal_without_limit_is_reported_and_the_others_stand(run: RunDirectory) -> None:
    found = LimitsFile.load(run.limits)
    assert [result.signal for result in found.results] == list(MASSES)
    assert len(found.problems) == 1
    assert found.problems[0].startswith("empty has no limit: the signal empty has no selected events")
    assert found.problems[0] in headlines(run)


def test_limits_against_mass(run: RunDirectory) -> None:
    """Cross sections are known, so limits are in pb: heavier peaks lie on less background and are excluded more."""
    scan = LimitsFile.load(run.limits).mass_scan()
    assert scan is not None
    assert scan.masses == (1000.0, 1500.0, 2000.0)
    medians = [row[2] for row in scan.expected]
    assert medians == sorted(medians, reverse=True)
    by_mass = {result.mass_gev: result.limit for result in LimitsFile.load(run.limits).results}
    assert scan.observed == tuple(by_mass[mass].xsec_limit_pb for mass in scan.masses)


def test_darkop_limit_takes_all_workspaces_of_a_run(run: RunDirectory) -> None:
    paths = workspaces_of(run.path)
    assert [path.name for path in paths] == [f"workspace-{name}.json" for name in sorted(MASSES)]
    results = analyse(paths, LimitRequest(impacts=False))
    stored = {result.signal: result.limit for result in LimitsFile.load(run.limits).results}
    for result in results:
        assert result.limit.observed == pytest.approx(stored[result.limit.signal].observed, rel=1e-9)
        assert abs(result.pyhf_difference) < 1e-9


def test_impacts_are_kept(run: RunDirectory) -> None:
    ranking = LimitsFile.load(run.limits).results[0].ranking
    assert ranking is not None
    assert "luminosity" in {impact.name for impact in ranking.impacts}


def test_the_page_shows_mass_impacts_and_what_has_no_limit(run: RunDirectory) -> None:
    page = write_report(load_context(run))
    text = page.read_text()
    assert "Upper limits against the mass" in text
    assert "Change of the fitted signal strength when a parameter is held" in text
    assert "empty has no limit: the signal empty has no selected events" in text
    names = {path.name.split("-", 1)[1] for path in page.parent.rglob("*.png")}
    assert {"mass.png", "impacts.png"} <= names


def test_toys_are_kept_beside_the_run_and_taken_up(run: RunDirectory) -> None:
    context = changed(run, signal=["signal"], masses={}, toys=80)
    first = write_limits(context)
    assert first is not None
    assert first.results[0].limit.method == "toys"
    files = {path: path.stat().st_mtime_ns for path in run.toys.iterdir()}
    assert len(files) == 9
    assert write_limits(context) == first
    assert {path: path.stat().st_mtime_ns for path in run.toys.iterdir()} == files


def test_bad_requests(run: RunDirectory) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown signal 'signl'.*limits\.masses"):
        write_limits(changed(run, signal=["signal"], masses={"signl": 1.0}, toys=0))
    with pytest.raises(StatisticsError, match="the signal empty has no selected events"):
        write_limits(changed(run, signal=["empty"], masses={}))
