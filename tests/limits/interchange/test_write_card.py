"""Workspaces to cards and back: the same CLs, and by name what is not the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hist
import pytest
import uproot

from darkop_dist.errors import OutputError, StatisticsError
from darkop_dist.limits import FitSample, Workspace, build_workspace, cls_values
from darkop_dist.limits.interchange import datacard, load_patchset, read_datacard

MU = {"name": "mu", "type": "normfactor", "data": None}
ROUNDING = 1e-9
"""Templates are written in double precision; the minimiser stops far below."""


def workspace_of(
    background: list[dict[str, Any]], settings: list[dict[str, Any]] | None = None, bins: int = 3, **signal: Any
) -> Workspace:
    """One channel with a signal and a background that has the given modifiers."""
    signal_sample = {"name": "sig", "data": [2.0, 6.0, 3.0][:bins], "modifiers": [MU, *signal.get("modifiers", [])]}
    top = {"name": "top", "data": [50.0, 30.0, 20.0][:bins], "modifiers": background}
    config = {"poi": "mu", "parameters": settings or []}
    spec = {
        "channels": [{"name": "sr", "samples": [top, signal_sample]}],
        "observations": [{"name": "sr", "data": [52.0, 27.0, 24.0][:bins]}],
        "measurements": [{"name": "m", "config": config}],
        "version": "1.0.0",
    }
    return Workspace("sig", spec, "data")


def with_control_bin(background: list[dict[str, Any]]) -> Workspace:
    """The same in one bin, and a control bin of the background alone."""
    spec = copy.deepcopy(workspace_of(background, bins=1).spec)
    spec["channels"].append({"name": "cr", "samples": [{"name": "top", "data": [200.0], "modifiers": background}]})
    spec["observations"].append({"name": "cr", "data": [210.0]})
    return Workspace("sig", spec, "data")


def there_and_back(workspace: Workspace, folder: Path) -> tuple[str, Workspace]:
    datacard(workspace).save(folder / "card")
    return (folder / "card" / "datacard.txt").read_text(), read_datacard(folder / "card" / "datacard.txt")


def agree(
    first: Workspace, second: Workspace, tolerance: float, strengths: tuple[float, ...] = (0.5, 1.0, 2.5)
) -> None:
    for mu in strengths:
        ours, theirs = cls_values(first, mu), cls_values(second, mu)
        assert ours.observed == pytest.approx(theirs.observed, rel=tolerance)
        assert ours.expected == pytest.approx(theirs.expected, rel=tolerance)


def test_a_search_comes_back_the_same(
    booked: Callable[..., hist.Hist], filled: dict, samples: list[FitSample], tmp_path: Path
) -> None:
    workspace = build_workspace(
        booked(filled), samples, signal="zprime", regions=["signal"], lumi_uncertainty=0.012, systematics=["jes"],
        normalisation={"multijet": (0.3, 0.2)},
    )  # fmt: skip
    text, back = there_and_back(workspace, tmp_path)
    assert "signal autoMCStats 0 0 1" in text
    assert f"{0.7!r}/{1.2!r}" in text
    assert back.edges == workspace.edges
    agree(workspace, back, ROUNDING)
    with uproot.open(tmp_path / "card" / "shapes.root") as file:
        background = file["signal/top"]
        assert background.classname.startswith("TH1D")
        assert background.values().tolist() == workspace.spec["channels"][0]["samples"][1]["data"]
        statistics = workspace.spec["channels"][0]["samples"][1]["modifiers"][-1]
        assert statistics["type"] == "staterror"
        assert background.errors() == pytest.approx(statistics["data"])
        assert file["signal/data_obs"].values().tolist() == [98, 52, 21, 13]


JES = {"name": "jes", "type": "histosys", "data": {"hi_data": [53.0, 34.0, 24.0], "lo_data": [48.0, 27.0, 17.0]}}
EFF = {"name": "eff", "type": "normsys", "data": {"hi": 1.1, "lo": 0.8}}


@pytest.mark.parametrize(
    ("workspace", "line"),
    [
        (workspace_of([JES]), "sr autoMCStats -1 0 2"),
        (workspace_of([JES, EFF], modifiers=[{**EFF, "name": "jes"}]), "shape?"),
        (workspace_of([{"name": "few", "type": "shapesys", "data": [10.0]}], bins=1), "gmN 25"),
        (workspace_of([{"name": "k", "type": "normfactor", "data": None}, EFF]), "k rateParam sr top 1 [0,10]"),
        (with_control_bin([{"name": "k", "type": "shapefactor", "data": None}, EFF]), "k rateParam cr top 1 [0,10]"),
        (
            workspace_of(
                [{"name": "k", "type": "normfactor", "data": None}, EFF],
                [{"name": "k", "inits": [1.5], "bounds": [[0.5, 4.0]]}],
            ),
            "k rateParam sr top 1.5 [0.5,4]",
        ),
        (workspace_of([EFF, {"name": "stat", "type": "staterror", "data": [3.0, 0.0, 2.0]}]), "sr autoMCStats 0 0 1"),
    ],
)  # fmt: skip
def test_exact_translations(workspace: Workspace, line: str, tmp_path: Path) -> None:
    text, back = there_and_back(workspace, tmp_path)
    assert line in " ".join(text.split())
    strengths = (0.5, 1.0) if len(workspace.spec["observations"][0]["data"]) > 1 else (2.0, 8.0)
    agree(workspace, back, 1e-6, strengths)


@pytest.mark.parametrize(
    ("workspace", "note", "tolerance"),
    [
        # Poisson constraints of 25, 9 and 16 events as Gaussian ones: their skewness is a third of a deviation at most.
        (workspace_of([{"name": "few", "type": "shapesys", "data": [10.0, 10.0, 5.0]}]), "one Poisson factor per bin, here one Gaussian shape", 0.08),
        # exp(x) for 1 + x at two deviations of 3%
        (workspace_of([{"name": "lumi", "type": "lumi", "data": None}], [{"name": "lumi", "auxdata": [1.0], "sigmas": [0.03], "inits": [1.0], "bounds": [[0.5, 1.5]]}]), "lumi: a Gaussian factor of width 0.03, here log-normal", 0.005),
        (workspace_of([EFF, JES], modifiers=[{**EFF, "name": "own"}, {"name": "own", "type": "histosys", "data": {"hi_data": [1.5, 6.5, 3.0], "lo_data": [2.0, 6.0, 3.0]}}]), "channel sr: the yield changes of own go linearly, not exponentially", 0.02),
        (workspace_of([{"name": "stat", "type": "staterror", "data": [3.0, 3.0, 2.0]}], modifiers=[{"name": "stat", "type": "staterror", "data": [0.5, 0.5, 0.5]}]), "its statistical errors scale with r", 0.05),
    ],
)  # fmt: skip
def test_what_is_not_exact_stands_in_the_card(
    workspace: Workspace, note: str, tolerance: float, tmp_path: Path
) -> None:
    text, back = there_and_back(workspace, tmp_path)
    assert any(note in line for line in text.splitlines() if line.startswith("# not exact: "))
    agree(workspace, back, tolerance, (0.5, 1.0))
    first, second = (cls_values(one, 1.0).observed for one in (workspace, back))
    assert first != pytest.approx(second, rel=1e-6), "an exact translation must not be called inexact"


def test_the_published_likelihood_of_atlas(shared_data: Path, tmp_path: Path) -> None:
    """SUSY-2018-31, region A: 700 modifiers. CLs moves by 0.003: its signal's statistics enter otherwise in Combine."""
    archive = shared_data / "likelihoods" / "pyhf-ins1748602-probability-models.tar.gz"
    name = "sbottom_1300_205_60"
    workspace = load_patchset(archive, region="RegionA", names=[name])[name]
    text, back = there_and_back(workspace, tmp_path)
    assert "CRtt_meff autoMCStats 0 0" in text
    before, after = cls_values(workspace, 1.0), cls_values(back, 1.0)
    assert before.observed == pytest.approx(0.24443628, abs=2e-5)  # published with the likelihood; pyhf
    assert after.observed == pytest.approx(before.observed, abs=0.005)
    assert after.expected == pytest.approx(before.expected, abs=0.01)


def test_names_are_made_safe(tmp_path: Path) -> None:
    workspace = workspace_of([{**EFF, "name": "eff (b-jets)"}])
    spec = copy.deepcopy(workspace.spec)
    spec["channels"][0]["samples"][0]["name"] = "t tbar"
    spec["channels"][0]["samples"][1]["name"] = "2000 GeV"
    text, back = there_and_back(Workspace("s", spec, "data"), tmp_path)
    assert {s["name"] for s in back.spec["channels"][0]["samples"]} == {"t_tbar", "n2000_GeV"}
    assert "eff__b_jets_" in text


def test_held_parameters_and_empty_samples_are_left_out(tmp_path: Path) -> None:
    workspace = workspace_of([EFF, {"name": "k", "type": "normfactor", "data": None}],
                             [{"name": "eff", "fixed": True}, {"name": "k", "fixed": True}])  # fmt: skip
    spec = copy.deepcopy(workspace.spec)
    spec["channels"][0]["samples"].append({"name": "none", "data": [0.0, 0.0, 0.0], "modifiers": []})
    text, back = there_and_back(Workspace("sig", spec, "data"), tmp_path)
    for note in ("eff, which is held", "k, which is held at 1", "sample none in channel sr has no events"):
        assert f"# left out: {note}" in text
    agree(workspace, back, ROUNDING)


@pytest.mark.parametrize(
    ("workspace", "message"),
    [
        (workspace_of([{"name": "k", "type": "shapefactor", "data": None}]), "sample top in channel sr, shapefactor k: Combine has no free factor for each bin"),
        (workspace_of([EFF], [{"name": "eff", "auxdata": [0.5]}]), "normsys eff: the measurement sets its auxdata, which a card cannot"),
        (workspace_of([EFF], [{"name": "eff", "sigmas": [0.5]}]), "normsys eff: the measurement sets its sigmas"),
        (workspace_of([EFF, {"name": "k", "type": "normfactor", "data": None}], [{"name": "k", "inits": [2.0], "fixed": True}]), "normfactor k is held at 2"),
        (workspace_of([EFF, {**EFF, "name": "e f"}, {**EFF, "name": "e-f"}]), "two parameters would have the name e_f in the card; rename 'e-f'"),
        (workspace_of([{**JES, "data": {"hi_data": [50.0, 30.0, 20.0], "lo_data": [0.0, 0.0, 0.0]}}]), "sample top in channel sr: a template of jes has no events"),
    ],
)  # fmt: skip
def test_what_combine_cannot_express_is_refused_by_name(workspace: Workspace, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        datacard(workspace)


def changed(change: Callable[[dict[str, Any]], Any]) -> Workspace:
    spec = copy.deepcopy(workspace_of([EFF]).spec)
    change(spec)
    return Workspace("sig", spec, "data")


def test_signals_that_are_none() -> None:
    without = changed(lambda spec: spec["channels"][0]["samples"].pop(1))
    with pytest.raises(StatisticsError, match=r"the workspace has no signal: no sample carries .* 'mu'"):
        datacard(without)
    shape = changed(lambda spec: spec["channels"][0]["samples"][1]["modifiers"].append({**EFF, "name": "mu"}))
    shape.spec["channels"][0]["samples"][1]["modifiers"].pop(0)
    with pytest.raises(StatisticsError, match="only a normfactor can be the signal's"):
        datacard(shape)

    def second_channel(spec: dict[str, Any]) -> None:
        plain = [{**sample, "modifiers": []} for sample in spec["channels"][0]["samples"]]
        spec["channels"].append({"name": "cr", "samples": plain})
        spec["observations"].append({"name": "cr", "data": [1.0, 2.0, 3.0]})

    with pytest.raises(StatisticsError, match="sample sig is a signal in one channel and none in another"):
        datacard(changed(second_channel))
    negative = changed(lambda spec: spec["channels"][0]["samples"][0].update(data=[50.0, -1.0, 20.0]))
    with pytest.raises(StatisticsError, match="sample top in channel sr has negative bins"):
        datacard(negative)


def test_nothing_is_replaced_and_nothing_left_behind(tmp_path: Path) -> None:
    made = datacard(workspace_of([EFF]))
    made.save(tmp_path / "card")
    with pytest.raises(OutputError, match="card: exists already"):
        made.save(tmp_path / "card")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        made.save(tmp_path / "file" / "card")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card", "file"]
