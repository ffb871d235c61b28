"""Cards with templates: the real Z' card, Combine's interpolation, and templates that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
import uproot

from darkop_dist.errors import InputFileError
from darkop_dist.limits import Workspace, cls_values, upper_limit
from darkop_dist.limits.histfactory import model_of
from darkop_dist.limits.interchange import read_datacard

CARD = """\
shapes * * shapes.root $PROCESS $PROCESS_$SYSTEMATIC
bin sr
observation -1
bin sr sr
process sig bkg
process 0 1
rate -1 -1
"""
TEMPLATES = {
    "sig": [1.0, 4.0, 2.0], "bkg": [50.0, 30.0, 20.0], "data_obs": [52.0, 31.0, 18.0],
    "bkg_jesUp": [54.0, 36.0, 25.0], "bkg_jesDown": [47.0, 26.0, 17.0],
}  # fmt: skip


def write(folder: Path, tail: str, card: str = CARD, **templates: list[float] | None) -> Path:
    """A card with its templates; None leaves one out."""
    with uproot.recreate(folder / "shapes.root") as file:
        for name, values in {**TEMPLATES, **templates}.items():
            if values is not None:
                made = hist.Hist(hist.axis.Regular(len(values), 0, 1), storage=hist.storage.Weight())
                made.view(flow=False).value = values
                made.view(flow=False).variance = np.abs(values)
                file[name] = made
    (folder / "card.txt").write_text(card + tail)
    return folder / "card.txt"


def combine_yields(alpha: float, up: np.ndarray, nominal: np.ndarray, down: np.ndarray) -> tuple[float, np.ndarray]:
    """Factor and fractions of Combine's manual, "Observation Models and Likelihoods", for one shape nuisance."""
    log_up, log_down = np.log(up.sum() / nominal.sum()), np.log(down.sum() / nominal.sum())
    if abs(alpha) >= 0.5:
        log_kappa = log_up if alpha > 0 else -log_down
    else:
        smooth = 48 * alpha**5 - 40 * alpha**3 + 15 * alpha
        log_kappa = 0.5 * ((log_up - log_down) + 0.25 * (log_up + log_down) * smooth)
    fractions = [template / template.sum() for template in (up, nominal, down)]
    plus, minus = fractions[0] - fractions[1], fractions[2] - fractions[1]
    if abs(alpha) >= 1:
        change = plus * alpha if alpha > 0 else -minus * alpha
    else:
        change = 0.5 * ((plus - minus) * alpha + (plus + minus) * (3 * alpha**6 - 10 * alpha**4 + 15 * alpha**2) / 8)
    return float(np.exp(log_kappa * alpha)), fractions[1] + change


@pytest.mark.parametrize("alpha", [-2.0, -1.0, -0.7, -0.2, 0.0, 0.3, 0.6, 1.0, 1.8])
def test_shapes_move_as_in_the_manual(tmp_path: Path, alpha: float) -> None:
    """Fractions to rounding. The factor: to rounding from 1 on; between, smoothed otherwise, here by 2e-3 at most."""
    workspace = read_datacard(write(tmp_path, "jes shape - 1\n"))
    model = model_of(workspace.spec["channels"], workspace.spec["measurements"][0]["config"]["parameters"])
    values = model.parameters.initial.copy()
    values[model.parameters.names.index("jes")] = alpha
    found = model.cells(values)[model.row_of_cell == model.rows.index(("sr", "bkg"))]
    templates = [np.array(TEMPLATES[name]) for name in ("bkg_jesUp", "bkg", "bkg_jesDown")]
    factor, fractions = combine_yields(alpha, *templates)
    np.testing.assert_allclose(found / found.sum(), fractions, rtol=1e-12)
    assert found.sum() == pytest.approx(100.0 * factor, rel=1e-12 if abs(alpha) >= 1 or alpha == 0 else 2e-3)


def test_scaled_effects_stop_between_the_templates(tmp_path: Path) -> None:
    workspace = read_datacard(write(tmp_path, "jes shape - 0.5\n"))
    modifiers = {m["type"]: m["data"] for m in workspace.spec["channels"][0]["samples"][1]["modifiers"]}
    assert modifiers["normsys"] == {"hi": pytest.approx(1.15**0.5), "lo": pytest.approx(0.9**0.5)}
    factor, fractions = combine_yields(0.5, *(np.array(TEMPLATES[n]) for n in ("bkg_jesUp", "bkg", "bkg_jesDown")))
    assert factor == pytest.approx(1.15**0.5)
    np.testing.assert_allclose(modifiers["histosys"]["hi_data"], 100 * fractions, rtol=1e-12)
    assert any("scaled by 0.5" in note for note in workspace.notes)


def test_mode_2_keeps_normalisation_in_the_shape(tmp_path: Path) -> None:
    workspace = read_datacard(write(tmp_path, "jes shape - 1\nsr autoMCStats -1 0 2\n"))
    modifiers = workspace.spec["channels"][0]["samples"][1]["modifiers"]
    assert [(m["type"], m["data"]["hi_data"]) for m in modifiers] == [("histosys", TEMPLATES["bkg_jesUp"])]


def test_a_question_mark_takes_what_is_there(tmp_path: Path) -> None:
    workspace = read_datacard(write(tmp_path, "jes shape? 0.9/1.2 1\n"))
    signal, background = workspace.spec["channels"][0]["samples"]
    assert signal["modifiers"][1] == {"name": "jes", "type": "normsys", "data": {"lo": 0.9, "hi": 1.2}}
    assert {m["type"] for m in background["modifiers"]} == {"normsys", "histosys"}


def test_the_rate_scales_a_template_within_one_percent(tmp_path: Path) -> None:
    workspace = read_datacard(write(tmp_path, "", CARD.replace("rate -1 -1", "rate 7.007 100.5")))
    assert workspace.spec["channels"][0]["samples"][0]["data"] == pytest.approx([1.001, 4.004, 2.002])


def test_negative_bins_and_empty_templates_are_noted(tmp_path: Path) -> None:
    card = CARD.replace("sr sr", "sr sr sr").replace("sig bkg", "sig bkg none").replace("0 1", "0 1 2")
    path = write(tmp_path, "", card.replace("-1 -1", "-1 -1 -1"), bkg=[50.0, 30.0, -2.0], none=[0.0, 0.0, 0.0])
    workspace = read_datacard(path)
    assert workspace.spec["channels"][0]["samples"][1]["data"] == [50.0, 30.0, 0.0]
    assert workspace.notes == (
        "process bkg in channel sr: 1 bins are negative; set to 0, as Combine does",
        "process none in channel sr: its template has no events; left out",
    )


@pytest.mark.parametrize(
    ("tail", "card", "templates", "message"),
    [
        ("", CARD, {"bkg": None}, r"shapes.root: lacks the histogram bkg \(process bkg in channel sr\)"),
        ("", CARD, {"data_obs": None}, r"lacks the histogram data_obs \(data in sr\)"),
        ("jes shape - 1", CARD, {"bkg_jesDown": None}, r"lacks the histogram bkg_jesDown \(jes of process bkg .*Did you mean bkg_jesUp"),
        ("jes shape - 1", CARD.replace(" $PROCESS_$SYSTEMATIC", ""), {}, "jes of process bkg in channel sr is a shape, but no rule"),
        ("jes shape - 1", CARD, {"bkg_jesUp": [0.0, 0.0, 0.0]}, "a template of jes of process bkg in channel sr has no events"),
        ("", CARD, {"bkg": [1.0, 2.0]}, "the templates of sr have 3 and 2 bins"),
        ("", CARD, {"bkg": [1.0, np.nan, 2.0]}, "bkg holds values that are not finite"),
        ("", CARD, {"data_obs": [1.0, -1.0, 2.0]}, "the data in sr have negative counts"),
        ("", CARD.replace("shapes.root", "absent.root"), {}, "absent.root: no such file"),
        ("", CARD.replace("shapes.root", "card.txt"), {}, "card.txt: cannot be read as a ROOT file"),
        ("", CARD.replace("rate -1 -1", "rate -1 90"), {}, "the rate is 90, the template has 100 events"),
        ("", CARD.replace("observation -1", "observation 90"), {}, "the observation is 90, the histogram has 101"),
        ("", CARD.replace("shapes * * shapes.root $PROCESS $PROCESS_$SYSTEMATIC", ""), {}, "process sig in channel sr has neither rate nor template"),
        ("", CARD.replace("rate -1 -1", "rate 0 0"), {}, "no process has events in sr"),
        ("g gmN 4 - 25", CARD, {}, "line 8: the gmN g acts on several bins"),
    ],
)  # fmt: skip
def test_templates_that_do_not_fit(
    tmp_path: Path, tail: str, card: str, templates: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputFileError, match=message):
        read_datacard(write(tmp_path, tail, card, **templates))


def zprime_by_hand(file: Path) -> Workspace:
    """The published card's model, written out from its histograms."""
    with uproot.open(file) as found:

        def events(name: str) -> np.ndarray:
            return np.maximum(found[f"mtt__{name}"].values().astype(float), 0.0)

        names = ["signal", "tt_semilep", "tt_had", "tt_lep", "wjets"]
        values = {name: events(name) for name in names}
        errors = {name: np.sqrt(found[f"mtt__{name}"].variances().astype(float)) for name in names}
        total, error = (sum(part[name] ** power for name in names[1:]) for part, power in ((values, 1), (errors, 2)))
        with np.errstate(divide="ignore", invalid="ignore"):
            many = np.rint(np.nan_to_num(total**2 / error)) > 10
            own = {name: np.rint(np.nan_to_num(values[name] ** 2 / errors[name] ** 2)) for name in names}
        samples = []
        for name in names:
            modifiers: list[dict[str, Any]] = [
                {"name": "lumi", "type": "normsys", "data": {"lo": 1 / 1.025, "hi": 1.025}}
            ]
            for systematic in ("pu", "muId"):
                ways = {way: events(f"{name}__{systematic}{way}") for way in ("Up", "Down")}
                ratios = {way: float(ways[way].sum() / values[name].sum()) for way in ways}
                shapes = {
                    "hi_data": (ways["Up"] / ratios["Up"]).tolist(),
                    "lo_data": (ways["Down"] / ratios["Down"]).tolist(),
                }
                norm = {"hi": ratios["Up"], "lo": ratios["Down"]}
                modifiers.append({"name": systematic, "type": "normsys", "data": norm})
                modifiers.append({"name": systematic, "type": "histosys", "data": shapes})
            if name == "signal":
                modifiers.append({"name": "r", "type": "normfactor", "data": None})
            filled = values[name] > 0
            gaussian = filled & (many | (own[name] >= 10)) if name == "signal" else many
            stat_name = "stat_signal" if name == "signal" else "stat"
            modifiers.append(
                {"name": stat_name, "type": "staterror", "data": np.where(gaussian, errors[name], 0.0).tolist()}
            )
            poisson = np.where(
                ~many & filled & (own[name] < 10), values[name] / np.sqrt(np.maximum(own[name], 1.0)), 0.0
            )
            modifiers.append({"name": f"few_{name}", "type": "shapesys", "data": poisson.tolist()})
            samples.append({"name": name, "data": values[name].tolist(), "modifiers": modifiers})
        data = events("data_obs").tolist()
    config = {"poi": "r", "parameters": [{"name": "r", "inits": [1.0], "bounds": [[0.0, 20.0]]}]}
    spec = {
        "channels": [{"name": "ch1", "samples": samples}],
        "observations": [{"name": "ch1", "data": data}],
        "measurements": [{"name": "m", "config": config}],
        "version": "1.0.0",
    }
    return Workspace("signal", spec, "data")


def test_the_real_zprime_card(shared_data: Path) -> None:
    """The CMS Open Data Workshop's card: its limit is that of the model written out by hand.

    Tolerance: 1e-6 of CLs, a tenth of what the root finder leaves.
    """
    workspace = read_datacard(shared_data / "zprime" / "datacard_shape.txt")
    assert workspace.signal == "signal"
    assert workspace.notes == ("process tt_had in channel ch1: 1 bins are negative; set to 0, as Combine does",)
    assert workspace.edges["ch1"][-1] == 3000.0
    by_hand = zprime_by_hand(shared_data / "zprime" / "Zprime_hists_FULL.root")
    limit = upper_limit(workspace, signal="signal")
    for mu in (0.05, limit.observed):
        ours, theirs = cls_values(workspace, mu), cls_values(by_hand, mu)
        assert ours.observed == pytest.approx(theirs.observed, abs=1e-6)
        assert ours.expected == pytest.approx(theirs.expected, abs=1e-6)
    assert cls_values(by_hand, limit.observed).observed == pytest.approx(0.05, abs=2e-5)
