"""The mono-jet selection against a plain loop over events, and on the real files."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
from ruamel.yaml import YAML

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.read import open_events
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.generation.sample import generate
from darkop_dist.histograms import slice_of
from darkop_dist.scoring.resolve import resolve
from darkop_dist.stages.search import load_module

MC = DatasetRecord(name="mc", kind="simulation", files=("x",))
NO_SPLIT = SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5)


@pytest.fixture(scope="module")
def monojet(repository: Path) -> ModuleType:
    return load_module(repository / "processors" / "monojet.py")


@pytest.fixture(scope="module")
def parameters(repository: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(repository / "jobs" / "quickstart.yml")["parameters"]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> ak.Array:
    path = tmp_path_factory.mktemp("generated") / "z.root"
    generate("z-nunu-jets", 300, path, seed=3, settings={"pthat_min": 200.0, "mpi": "off"})
    return open_events(str(path), MC)


def process(monojet: ModuleType, parameters: dict[str, Any], events: ak.Array, *systematics: str) -> dict[str, Any]:
    model = monojet.MonoJetParameters.model_validate(parameters)
    return monojet.MonoJet(SearchSettings(model, systematics, None, NO_SPLIT, 10)).process(events)


def near(first: Any, second: Any) -> float:
    dphi = (first["phi"] - second["phi"] + math.pi) % (2 * math.pi) - math.pi
    return math.hypot(first["eta"] - second["eta"], dphi)


def signal_region_by_hand(events: ak.Array, cuts: dict[str, Any]) -> Iterator[bool]:
    """The signal region of arXiv:2107.13021, event by event, in plain Python."""
    for event in range(len(events)):

        def objects(name: str, fields: list[str], event: int = event) -> list[dict[str, float]]:
            return events[name][["pt", "eta", "phi", *fields]][event].to_list()

        muons = [
            m for m in objects("Muon", ["looseId", "pfRelIso04_all"])
            if m["pt"] > 10 and abs(m["eta"]) < 2.4 and m["looseId"] and m["pfRelIso04_all"] <= 0.25
        ]  # fmt: skip
        electrons = [
            e for e in objects("Electron", ["cutBased"]) if e["pt"] > 10 and abs(e["eta"]) < 2.5 and e["cutBased"] >= 1
        ]
        photons = [
            p for p in objects("Photon", ["cutBased"])
            if p["pt"] > 15 and abs(p["eta"]) < 2.5 and p["cutBased"] >= 1 and all(near(p, e) > 0.4 for e in electrons)
        ]  # fmt: skip
        taus = [
            t for t in objects("Tau", ["idDeepTau2017v2p1VSjet"])
            if t["pt"] > 18 and abs(t["eta"]) < 2.3 and t["idDeepTau2017v2p1VSjet"] >= 15
            and all(near(t, other) > 0.4 for other in electrons + muons)
        ]  # fmt: skip
        jets = objects("Jet", ["chHEF", "neHEF", "btagDeepFlavB"])
        jets = [j for j in jets if all(near(j, o) > 0.4 for o in muons + electrons + photons)]
        jets.sort(key=lambda jet: -jet["pt"])
        met, phi = events.MET.pt[event], events.MET.phi[event]
        recoil = {"phi": phi, "eta": 0.0}
        hard = [jet for jet in jets if jet["pt"] > 30][:4]
        bottom = [j for j in jets if j["pt"] > 20 and abs(j["eta"]) < 2.4 and j["btagDeepFlavB"] > 0.2783]
        yield bool(
            jets
            and not (muons or electrons or photons or taus or bottom)
            and met > cuts["recoil_min"]
            and jets[0]["pt"] > 100
            and abs(jets[0]["eta"]) < 2.4
            and jets[0]["chHEF"] > 0.1
            and jets[0]["neHEF"] < 0.8
            and all(near(jet | {"eta": 0.0}, recoil) > 0.5 for jet in hard)
        )


def test_signal_region_agrees_with_a_plain_loop(
    monojet: ModuleType, parameters: dict[str, Any], events: ak.Array
) -> None:
    output = process(monojet, parameters, events)
    by_hand = sum(signal_region_by_hand(events, parameters))
    assert 50 < by_hand < 250
    steps = output["cutflow"]["mc"]["signal"]
    assert list(steps.values())[-1][0] == by_hand
    values, _ = slice_of(output["histograms"]["recoil"], "mc", "signal")
    assert values.sum() == by_hand
    assert list(steps)[:3] == ["events read", "leading jet pT", "leading jet |eta|"]
    numbers = [step[0] for step in steps.values()]
    assert numbers == sorted(numbers, reverse=True)


def test_all_cuts_but_one_holds_the_region_and_more(
    monojet: ModuleType, parameters: dict[str, Any], events: ak.Array
) -> None:
    output = process(monojet, parameters, events)
    selected = list(output["cutflow"]["mc"]["signal"].values())[-1][0]
    for name in ("recoil", "jet_pt", "charged_fraction", "min_dphi", "b_jets"):
        values, _ = slice_of(output["histograms"][name], "mc", "signal without its cut")
        assert values.sum() >= selected
    outside, _ = slice_of(output["histograms"]["recoil"], "mc", "signal without its cut")
    assert outside.sum() > selected


def test_jet_variations_move_the_recoil(monojet: ModuleType, parameters: dict[str, Any], events: ak.Array) -> None:
    output = process(monojet, parameters, events, "jet_energy_scale", "jet_energy_resolution")
    recoil = output["histograms"]["recoil"]
    assert set(recoil.axes["variation"]) == {
        "nominal", "jet_energy_scale_up", "jet_energy_scale_down", "jet_energy_resolution_up",
        "jet_energy_resolution_down",
    }  # fmt: skip
    up, nominal, down = (
        slice_of(recoil, "mc", "signal", f"{name}")[0].sum()
        for name in ("jet_energy_scale_up", "nominal", "jet_energy_scale_down")
    )
    assert up > nominal > down


def test_control_regions_count_real_muons(
    monojet: ModuleType, parameters: dict[str, Any], tmp_path: Path, shared_data: Path
) -> None:
    loose = parameters | {"recoil_min": 0.0, "jet_pt_min": 0.0, "dphi_min": 0.0, "missing_columns": "skip"}
    record = DatasetRecord(name="data", kind="data", files=("x",))
    real = open_events(str(shared_data / "cms" / "Run2012B_SingleMu_1000.root"), record)
    ids = {"muon": {"pt_min": 10.0, "abs_eta_max": 2.4, "ids": [{"column": "softId", "minimum": 1}]}}
    output = process(monojet, loose | ids, real)
    steps = {region: list(flow.values())[-1][0] for region, flow in output["cutflow"]["data"].items()}
    assert steps["single_muon"] > 30
    assert steps["dimuon"] >= 3
    notes = " ".join(output["notes"]["data"])
    assert "no branch Jet_chHEF: the cut at 0.1 was not applied" in notes
    assert "no b-tagging branch: the b-jet veto was not applied" in notes
    masses = output["histograms"]["dimuon_mass"]
    values, _ = slice_of(masses, "data", "dimuon")
    centres = masses.axes[-1].centers
    mean = np.average(centres, weights=values[1:-1])
    assert mean == pytest.approx(91.0, abs=5.0)  # Z bosons


def test_missing_columns_fail_unless_told_to_skip(
    monojet: ModuleType, parameters: dict[str, Any], shared_data: Path
) -> None:
    record = DatasetRecord(name="data", kind="data", files=("x",))
    real = open_events(str(shared_data / "cms" / "Run2012B_SingleMu_1000.root"), record)
    with pytest.raises(InputFileError, match=r"Run2012B_SingleMu_1000\.root: has no branch Jet_chHEF"):
        process(monojet, parameters, real)
    flat = open_events(str(shared_data / "cms" / "dimuon_100k_flat.root"), record, 0, 10)
    with pytest.raises(InputFileError, match=r"has no branches Jet_pt, Jet_eta"):
        process(monojet, parameters, flat)


ATLAS_CHOICE = {
    "electron": "DFCommonElectronsLHLoose",
    "muon": "DFCommonMuonPassPreselection",
    "photon": "DFCommonPhotonsIsEMTight",
    "tight_muon": "DFCommonMuonPassIDCuts",
}


@pytest.mark.parametrize("name", ["PHYSLITE_example.root", "uproot-physlite-rntuple_v1-0-0-0.root"])
def test_atlas_files_pass_the_same_processor(
    monojet: ModuleType, parameters: dict[str, Any], shared_data: Path, name: str
) -> None:
    """ATLAS' decisions stand as alternatives beside those of CMS; jets and recoil are in GeV."""
    record = DatasetRecord(name="atlas", kind="simulation", format="physlite", files=("x",))
    events = open_events(str(shared_data / "atlas" / name), record)
    with pytest.raises(InputFileError, match=rf"{name}: has no Jet\.chHEF \(ATLAS PHYSLITE; .*energy fractions"):
        process(monojet, parameters, events)
    both = {
        key: parameters[key] | {"ids": [*parameters[key]["ids"], {"column": column, "minimum": 1}]}
        for key, column in ATLAS_CHOICE.items()
    }
    ours = parameters | both | {"missing_columns": "skip", "recoil_min": 50.0, "jet_pt_min": 30.0, "dphi_min": 0.0}
    output = process(monojet, ours, events)
    flow = output["cutflow"]["atlas"]["signal"]
    assert flow["events read"].tolist() == pytest.approx([100.0, float(ak.sum(events.genWeight))])
    assert 50 < flow["leading jet pT"][0] <= ak.sum(ak.any(events.Jet.pt > 30.0, axis=1))
    assert flow["recoil"][0] > 0


def test_scores_are_counted_by_the_number_of_jets(
    monojet: ModuleType, parameters: dict[str, Any], events: ak.Array
) -> None:
    """The category counts all scored events of a region once, and agrees with the histogram of jets; 4 is more too."""
    model = monojet.MonoJet.Parameters.model_validate(parameters)
    scorer = resolve("cylinder-fno-v1")
    settings = SearchSettings(model, (), None, NO_SPLIT, 10, category="jets")
    output = monojet.MonoJet(settings, scorer).process(events)
    found = output["category_counts"][{"dataset": sum, "split": sum, "score": sum}]
    jets = output["histograms"]["jets"][{"dataset": sum, "variation": "nominal"}]
    assert found.sum() > 20
    assert set(found.axes["jets"]) <= {f"jets = {n}" for n in (1, 2, 3, 4)}
    for region in found.axes["region"]:
        booked = jets[{"region": region}].counts(flow=True)[1:]  # the first bin holds no jets
        for n in (1, 2, 3, 4):
            name = f"jets = {n}"
            counted = found[{"region": region, "jets": name}] if name in list(found.axes["jets"]) else 0
            assert counted == (booked[n] if n < 4 else booked[4:].sum())
    assert set(output["candidates"].table["jets"].to_pylist()) <= {1.0, 2.0, 3.0, 4.0}
