"""HEPData submissions: HEPData's own validator takes them, and their numbers are those of the results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from darkop_dist.errors import OutputError, StatisticsError, UserError
from darkop_dist.limits import SignalResult, Workspace, fit, upper_limit
from darkop_dist.limits.interchange import Cutflow, Facts, hepdata_submission
from darkop_dist.limits.interchange.hepdata import quiet_validator
from darkop_dist.limits.interchange.tables import background_covariance
from darkop_dist.limits.likelihood import likelihood_of


def signal_at(mass: int, events: list[float], observed: str = "data") -> tuple[SignalResult, Workspace]:
    """Limit and fits of a signal on the same backgrounds."""
    mc = {"name": "mc", "type": "staterror", "data": [2.0, 1.0]}
    mu, eff = {"name": "mu", "type": "normfactor", "data": None}, {"hi": 1.1, "lo": 0.9}
    modifiers = [{"name": "eff", "type": "normsys", "data": eff}, mc]
    spec = {
        "channels": [
            {
                "name": "sr",
                "samples": [
                    {"name": "top", "data": [50.0, 20.0], "modifiers": modifiers},
                    {"name": f"z{mass}", "data": events, "modifiers": [mu]},
                ],
            }
        ],
        "observations": [{"name": "sr", "data": [53.0, 22.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    workspace = Workspace(f"z{mass}", spec, observed, {"sr": (400.0, 800.0, 4000.0)})  # type: ignore[arg-type]
    result = SignalResult(
        signal=f"z{mass}",
        label=f"Z' {mass}",
        workspace_sha256=workspace.sha256,
        observed=observed,
        limit=upper_limit(workspace, signal=f"z{mass}", xsec_pb=0.5),
        background_fit=fit(workspace, hypothesis="background-only"),
        signal_fit=None,
        notes=(),
    )
    return result, workspace


@pytest.fixture(scope="module")
def grid() -> tuple[list[SignalResult], dict[str, Workspace]]:
    pairs = [signal_at(2000, [1.0, 5.0]), signal_at(1000, [12.0, 3.0])]
    return [result for result, _ in pairs], {result.signal: workspace for result, workspace in pairs}


FACTS = Facts(
    description="Search for Z' bosons.",
    sqrt_s_tev=13.0,
    lumi_ifb=16.39,
    observable="$m_{tt}$",
    unit="GeV",
    reactions=("P P --> Z0 PRIME --> TOP TOPBAR",),
    phrases=("boosted",),
    point_label="m_zprime",
    point_unit="GeV",
    points={"z1000": 1000.0, "z2000": 2000.0},
    cutflows=(
        Cutflow("sr", "data", ("read", "muon", "b-tag"), (1000.0, 120.0, 75.0)),
        Cutflow("sr", "top", ("read", "b-tag"), (800.5, 70.25)),
    ),
)


def documents(folder: Path) -> dict[str, Any]:
    """The parts of submission.yaml and of each table's file, by name."""
    head, *tables = YAML(typ="safe").load_all((folder / "submission.yaml").read_text())
    files = {t["name"]: YAML(typ="safe").load((folder / t["data_file"]).read_text()) for t in tables}
    return {"head": head, "about": {t["name"]: t for t in tables}, **files}


def column(table: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for kind in table.values() for c in kind if c["header"]["name"] == name)


def values(table: dict[str, Any], name: str) -> list[Any]:
    return [cell["value"] for cell in column(table, name)["values"]]


@pytest.fixture(scope="module")
def submitted(grid: tuple[list[SignalResult], dict[str, Workspace]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hepdata") / "submission"
    hepdata_submission(*grid, FACTS).save(folder)
    return folder


def test_the_archive_is_valid(submitted: Path) -> None:
    with quiet_validator():
        from hepdata_validator.full_submission_validator import FullSubmissionValidator

        validator = FullSubmissionValidator()
        assert validator.validate(archive=str(submitted / "submission.tar.gz")), validator.get_messages()
    assert set(documents(submitted)) == {
        "head", "about", "Limits", "Yields sr before the fit", "Yields sr after the fit", "Background covariance", "Cutflow sr",
    }  # fmt: skip


def test_limits_are_those_of_the_results(
    submitted: Path, grid: tuple[list[SignalResult], dict[str, Workspace]]
) -> None:
    table = documents(submitted)["Limits"]
    heavy, light = (result.limit for result in grid[0])
    assert values(table, "m_zprime") == [1000, 2000]
    assert values(table, "Observed limit on the signal strength") == pytest.approx([light.observed, heavy.observed])
    expected = column(table, "Expected limit on the cross section")
    assert expected["header"]["units"] == "pb"
    assert expected["values"][1]["value"] == pytest.approx(0.5 * heavy.expected[2])
    bands = {e["label"]: e["asymerror"] for e in expected["values"][1]["errors"]}
    for label, low, high in (("1 s.d.", 1, 3), ("2 s.d.", 0, 4)):
        assert bands[label]["minus"] == pytest.approx(0.5 * (heavy.expected[low] - heavy.expected[2]))
        assert bands[label]["plus"] == pytest.approx(0.5 * (heavy.expected[high] - heavy.expected[2]))
    qualifiers = {q["name"]: (q["value"], q.get("units")) for q in expected["qualifiers"]}
    assert qualifiers == {
        "LIMIT": ("95% CL upper limit on the cross section", None), "SQRT(S)": (13000, "GeV"),
        "LUMINOSITY": (16.39, "fb$^{-1}$"), "RE": ("P P --> Z0 PRIME --> TOP TOPBAR", None),
    }  # fmt: skip
    keywords = {k["name"]: k["values"] for k in documents(submitted)["about"]["Limits"]["keywords"]}
    assert keywords == {
        "cmenergies": [13000], "observables": ["CLS"], "reactions": ["P P --> Z0 PRIME --> TOP TOPBAR"],
        "phrases": ["boosted"],
    }  # fmt: skip


def test_yields_covariance_and_cutflow(submitted: Path, grid: tuple[list[SignalResult], dict[str, Workspace]]) -> None:
    tables, fitted = documents(submitted), grid[0][0].background_fit
    assert fitted is not None
    before, after = tables["Yields sr before the fit"], tables["Yields sr after the fit"]
    bins = column(before, "$m_{tt}$")
    assert (bins["header"]["units"], bins["values"][1]) == ("GeV", {"low": 800, "high": 4000})
    assert values(before, "Data") == [53, 22]
    assert values(before, "z1000 at signal strength 1") == [12, 3]
    total = column(after, "Background")["values"]
    assert [cell["value"] for cell in total] == pytest.approx(fitted.postfit[0].total)
    errors = [cell["errors"][0]["symerror"] for cell in total]
    assert errors == pytest.approx(fitted.postfit[0].total_uncertainty)
    covariance = np.reshape(values(tables["Background covariance"], "Covariance"), (2, 2))
    assert np.sqrt(np.diag(covariance)) == pytest.approx(errors)
    assert covariance == pytest.approx(covariance.T)
    # eff moves both bins together: positive; the variances of the counts bound it.
    assert 0 < covariance[0, 1] < errors[0] * errors[1]
    assert values(tables["Cutflow sr"], "top") == [800.5, "-", 70.25]
    assert values(tables["Cutflow sr"], "data") == [1000, 120, 75]


def test_likelihoods_go_along(submitted: Path, grid: tuple[list[SignalResult], dict[str, Workspace]]) -> None:
    resources = documents(submitted)["head"]["additional_resources"]
    places = {r["location"]: r.get("type") for r in resources if not r["location"].startswith("http")}
    assert places == {"workspace-z1000.json": "HistFactory", "workspace-z2000.json": "HistFactory"}
    assert json.loads((submitted / "workspace-z1000.json").read_text()) == grid[1]["z1000"].spec


def test_covariance_against_finite_differences(grid: tuple[list[SignalResult], dict[str, Workspace]]) -> None:
    """Of a model that is linear but for eff: 1e-3 leaves room for its curvature over half a deviation."""
    workspace, fitted = grid[1]["z2000"], grid[0][0].background_fit
    assert fitted is not None
    model, best = likelihood_of(workspace).model, np.array([p.bestfit for p in fitted.parameters])
    widths, correlation = np.array([p.uncertainty for p in fitted.parameters]), np.array(fitted.correlation)
    steps = 1e-4 * np.eye(len(best))
    slopes = np.array([(model.expected(best + step) - model.expected(best - step)) / 2e-4 for step in steps]).T
    wanted = slopes @ (correlation * np.outer(widths, widths)) @ slopes.T
    np.testing.assert_allclose(background_covariance(workspace, fitted), wanted, rtol=1e-6)


def test_what_is_not_known_is_left_out(grid: tuple[list[SignalResult], dict[str, Workspace]], tmp_path: Path) -> None:
    hepdata_submission(*grid).save(tmp_path / "bare")
    tables = documents(tmp_path / "bare")
    assert {name: [k["name"] for k in about["keywords"]] for name, about in tables["about"].items()} == {
        "Limits": ["observables"], "Yields sr before the fit": ["observables"],
        "Yields sr after the fit": ["observables"], "Background covariance": ["observables"],
    }  # fmt: skip
    assert values(tables["Limits"], "signal") == ["z2000", "z1000"]
    assert "qualifiers" not in column(tables["Yields sr after the fit"], "top")


def test_asimov_data_are_no_observation(tmp_path: Path) -> None:
    result, workspace = signal_at(1000, [12.0, 3.0], "asimov")
    hepdata_submission([result], {"z1000": workspace}).save(tmp_path / "asimov")
    tables = documents(tmp_path / "asimov")
    names = [c["header"]["name"] for c in tables["Limits"]["dependent_variables"]]
    assert names == ["Expected limit on the signal strength", "Expected limit on the cross section"]
    assert "nothing is observed" in tables["about"]["Limits"]["description"]
    assert tables["Yields sr before the fit"]["dependent_variables"][0]["header"]["name"] == "top"


def test_without_a_fit_there_are_limits_only(
    grid: tuple[list[SignalResult], dict[str, Workspace]], tmp_path: Path
) -> None:
    results = [dataclasses.replace(result, background_fit=None) for result in grid[0]]
    made = hepdata_submission(results, grid[1])
    assert made.notes == ("there is no background-only fit: no yields and no covariance",)
    assert "limits.yaml" in made.files


def test_bad_input(grid: tuple[list[SignalResult], dict[str, Workspace]]) -> None:
    results, workspaces = grid
    with pytest.raises(StatisticsError, match="needs the result of one signal"):
        hepdata_submission([], {})
    with pytest.raises(StatisticsError, match="results on z2000 were not made from the workspace beside them"):
        hepdata_submission(results, {**workspaces, "z2000": workspaces["z1000"]})
    with pytest.raises(UserError, match="the signal z2000 has no point on the axis m"):
        hepdata_submission(results, workspaces, Facts(point_label="m", points={"z1000": 1000.0}))
    same = tuple(Cutflow(region, "data", ("read",), (1.0,)) for region in ("a/b", "a b"))
    with pytest.raises(UserError, match="the tables Cutflow a/b and Cutflow a b would have one file"):
        hepdata_submission(results, workspaces, Facts(cutflows=same))
    with pytest.raises(OutputError, match=r"HEPData's validator refuses the submission: .*is too long"):
        hepdata_submission(results, workspaces, Facts(phrases=("long " * 40,)))
