"""PHYSLITE's objects under NanoAOD's names against what uproot reads, in both layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import DamagedFileError, InputFileError
from darkop_dist.events.event_columns import EventColumns
from darkop_dist.events.physlite.tree import PhysliteTree
from darkop_dist.events.read import inspect_file, open_events, require_columns
from darkop_dist.events.weights import event_numbers, generator_weights

RECORD = DatasetRecord(name="mc", kind="simulation", format="physlite", files=("x",))
DATA = DatasetRecord(name="data", kind="data", format="physlite", files=("x",))
GEV = np.float32(1e-3)
CONTAINERS = {
    "Jet": "AnalysisJets",
    "FatJet": "AnalysisLargeRJets",
    "Electron": "AnalysisElectrons",
    "Muon": "AnalysisMuons",
    "Photon": "AnalysisPhotons",
    "Tau": "AnalysisTauJets",
}


def same(ours: Any, theirs: Any) -> bool:
    """Whether two columns hold the same numbers."""
    return bool(np.array_equal(ak.to_numpy(ours), ak.to_numpy(theirs)))


def ranked(values: ak.Array, pt: ak.Array) -> ak.Array:
    """As NanoAOD has them, by falling pt; ATLAS calibrates without sorting again."""
    return values[ak.argsort(pt, ascending=False, stable=True)]


@pytest.mark.parametrize("collection", CONTAINERS)
def test_objects_are_the_raw_columns_in_gev(atlas: Any, collection: str) -> None:
    """Exactly: the same single-precision product as numpy gives."""
    objects, container = open_events(atlas.path, RECORD)[collection], CONTAINERS[collection]
    pt = atlas.raw(container, "pt")
    fields = {"pt": ("pt", GEV), "eta": ("eta", None), "phi": ("phi", None)}
    if collection in ("Jet", "FatJet", "Electron", "Tau"):
        fields["mass"] = ("m", GEV)
    for field, (variable, factor) in fields.items():
        raw = ranked(atlas.raw(container, variable), pt)
        expected = raw if factor is None else raw * factor
        assert ak.to_list(objects[field]) == ak.to_list(expected)
        assert objects[field].type.content.content.primitive == "float32"
    assert ak.all(objects.pt[:, 1:] <= objects.pt[:, :-1])
    assert 1.0 < ak.min(objects.pt) < ak.max(objects.pt) < 1000.0
    if collection in ("Electron", "Muon", "Tau"):
        assert ak.to_list(objects.charge) == ak.to_list(ranked(atlas.raw(container, "charge"), pt))


def test_masses_that_physlite_does_not_keep(atlas: Any) -> None:
    events = open_events(atlas.path, RECORD)
    assert ak.all(events.Muon.mass == np.float32(0.1056583755))
    assert ak.all(events.Photon.mass == 0)


def test_missing_momentum(atlas: Any) -> None:
    """Soft terms are the entries of their names; MET is minus the hard objects plus the soft term of tracks."""
    events = open_events(atlas.path, RECORD)
    parts = {}
    for collection, name in {"SoftTrkMET": "PVSoftTrkCore", "SoftClusMET": "SoftClusCore"}.items():
        chosen = atlas.raw("MET_Core_AnalysisMET", "name") == name
        x, y, total = (
            ak.to_numpy(atlas.raw("MET_Core_AnalysisMET", v)[chosen][:, 0]) * GEV for v in ("mpx", "mpy", "sumet")
        )
        assert same(events[collection].pt, np.hypot(x, y))
        assert same(events[collection].phi, np.arctan2(y, x))
        assert same(events[collection].sumEt, total)
        parts[collection] = x.astype(float), y.astype(float)
    x, y = parts["SoftTrkMET"]
    for px, py in hard_objects(events):
        x, y = x - px, y - py
    assert np.allclose(events.MET.pt, np.hypot(x, y), rtol=1e-5, atol=1e-4)
    assert np.allclose(events.MET.pt * np.cos(events.MET.phi), x, rtol=1e-4, atol=1e-3)


def hard_objects(events: ak.Array) -> list[tuple[Any, Any]]:
    """Their sums by awkward alone."""

    def apart(objects: ak.Array, others: ak.Array) -> ak.Array:
        return objects[ak.all(objects.metric_table(others) > 0.2, axis=-1)]

    electrons = events.Electron[(events.Electron.DFCommonElectronsLHLoose == 1) & (events.Electron.pt > 10)]
    photons = events.Photon[(events.Photon.DFCommonPhotonsIsEMTight == 1) & (events.Photon.pt > 25)]
    photons = apart(photons, electrons)
    muons = events.Muon[(events.Muon.DFCommonMuonPassPreselection == 1) & (events.Muon.pt > 10)]
    jets = events.Jet[(events.Jet.NNJvtPass == 1) & (events.Jet.pt > 20)]
    jets = apart(apart(jets, electrons), photons)
    return [
        (ak.to_numpy(ak.sum(o.pt * np.cos(o.phi), axis=1)), ak.to_numpy(ak.sum(o.pt * np.sin(o.phi), axis=1)))
        for o in (electrons, photons, muons, jets)
    ]


def test_rebuilt_missing_momentum_is_near_the_truth(shared_data: Path) -> None:
    """100 events of tt with neutrinos of 66 GeV on average: 24 GeV in each component, where nothing gives 50.

    The spread is 1.48 times the median distance from the truth; 35 leaves five standard errors of 200 numbers.
    """
    events = open_events(str(shared_data / "atlas" / "uproot-physlite-rntuple_v1-0-0-0.root"), RECORD)

    def spread(met: ak.Array) -> float:
        x, y = met.pt * np.cos(met.phi), met.pt * np.sin(met.phi)
        true_x, true_y = (events.GenMET.pt * f(events.GenMET.phi) for f in (np.cos, np.sin))
        return float(1.4826 * np.median(np.abs(np.concatenate([x - true_x, y - true_y]))))

    assert spread(events.MET) < 35.0
    assert spread(events.SoftTrkMET) > 45.0


def test_a_final_term_is_taken_as_it_is(tmp_path: Path, write_physlite: Callable[..., str]) -> None:
    names = [["SoftClusCore", "FinalTrk"], ["FinalTrk"], ["PVSoftTrkCore", "FinalClus", "FinalTrk"]]
    x = [[1e3, 30e3], [60e3], [1.0, 2.0, 5e3]]
    made = {
        "AnalysisJetsAuxDyn:pt": ak.Array([[1e5], [2e5], []]),
        "MET_Core_AnalysisMETAuxDyn:name": ak.Array(names),
        **{f"MET_Core_AnalysisMETAuxDyn:{v}": ak.values_astype(ak.Array(x), np.float32) for v in ("mpx", "sumet")},
        "MET_Core_AnalysisMETAuxDyn:mpy": ak.values_astype(ak.Array(x), np.float32) * 0,
    }
    for container, decision in {
        "Electrons": "DFCommonElectronsLHLoose",
        "Photons": "DFCommonPhotonsIsEMTight",
        "Muons": "DFCommonMuonPassPreselection",
        "Jets": "NNJvtPass",
    }.items():
        for variable in ("pt", "eta", "phi", decision):
            made.setdefault(f"Analysis{container}AuxDyn:{variable}", ak.Array([[1.0], [1.0], []]))
    events = open_events(write_physlite(tmp_path / "a.root", (), **made), RECORD)
    assert events.MET.pt.to_list() == pytest.approx([30.0, 60.0, 5.0])


def test_event_numbers_weights_and_vertices(atlas: Any) -> None:
    events = open_events(atlas.path, RECORD, 10, 60)
    numbers = event_numbers(events)
    for name, variable in {"run": "runNumber", "luminosity_block": "lumiBlock", "event": "eventNumber"}.items():
        assert same(numbers[name], atlas.raw("EventInfo", variable)[10:60])
    assert same(generator_weights(events), atlas.raw("EventInfo", "mcEventWeights")[10:60, 0])
    assert same(events.Pileup.nTrueInt, atlas.raw("EventInfo", "actualInteractionsPerCrossing")[10:60])
    kinds = atlas.raw("PrimaryVertices", "vertexType")[10:60]
    assert ak.all(events.PV.npvs == ak.sum((kinds == 1) | (kinds == 3), axis=1))
    z = atlas.raw("PrimaryVertices", "z")[10:60]
    assert same(events.PV.z, ak.to_numpy(ak.firsts(z[kinds == 1])) * np.float32(0.1))  # mm to cm


def test_tags_come_through_links(atlas: Any) -> None:
    events = open_events(atlas.path, RECORD)
    tagger, c, tau = ("GN2v01", 0.2, 0.01) if "btagGN2v01" in events.Jet.fields else ("GN2v00", 0.1, 0.0)
    link = atlas.raw("AnalysisJets", "btaggingLink")
    index = ak.values_astype(link[next(name for name in link.fields if name.endswith("Index"))], np.int64)
    kinds = ("b", "c", "u", "tau") if tau else ("b", "c", "u")
    p = {kind: atlas.raw("BTagging_AntiKt4EMPFlow", f"{tagger}_p{kind}")[index] for kind in kinds}
    background = c * p["c"] + (1 - c - tau) * p["u"] + (tau * p["tau"] if tau else 0.0)
    expected = ranked(np.log(p["b"] / background), atlas.raw("AnalysisJets", "pt"))
    ours, theirs = (ak.to_numpy(ak.flatten(tags)) for tags in (events.Jet[f"btag{tagger}"], expected))
    assert np.isfinite(ours).mean() > 0.9
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_truth_is_one_list_with_momenta_from_components(atlas: Any) -> None:
    events = open_events(atlas.path, RECORD)
    electrons = events.GenPart[(abs(events.GenPart.pdgId) == 11) & (events.GenPart.status == 1)]
    x, y, z, e = (atlas.raw("TruthElectrons", v) * GEV for v in ("px", "py", "pz", "e"))
    assert ak.to_list(ak.num(electrons)) == ak.to_list(ak.num(x))
    for ours, theirs in ((electrons.px, x), (electrons.py, y), (electrons.pz, z), (electrons.energy, e)):
        assert np.allclose(ak.flatten(ours), ak.flatten(theirs), rtol=2e-3, atol=1e-4)
    jets = atlas.raw("AntiKt4TruthDressedWZJets", "pt", aux="Aux")
    assert ak.to_list(events.GenJet.pt) == ak.to_list(ranked(jets * GEV, jets))


def test_constituents_are_the_tracks_of_a_jet(atlas: Any) -> None:
    events = open_events(atlas.path, RECORD)
    tracks = events.Jet.constituents
    links = ranked(atlas.raw("AnalysisJets", "GhostTrack"), atlas.raw("AnalysisJets", "pt"))
    assert ak.to_list(ak.num(tracks, axis=2)) == ak.to_list(ak.sum(links.m_persKey != 0, axis=2))
    apart = ak.flatten(tracks.delta_r(events.Jet[:, :, np.newaxis]), axis=None)
    assert len(apart) > 1000
    assert np.mean(np.asarray(apart) < 0.6) > 0.98  # ghost association of R = 0.4, a little wider than the cone
    with pytest.raises(InputFileError, match=r"does not say what the constituents of these jets are \(ATLAS\)"):
        _ = events.FatJet.constituents


def test_vectors_behave_as_in_coffea(atlas: Any) -> None:
    events = open_events(atlas.path, RECORD)
    assert events[0].Jet[0].mass == events.Jet.mass[0, 0]
    pairs = events.Jet[ak.num(events.Jet) >= 2][:, :2]
    one, two = pairs[:, 0], pairs[:, 1]
    products = 2 * one.pt * two.pt * (np.cosh(one.eta - two.eta) - np.cos(one.phi - two.phi))
    assert np.allclose((one + two).mass, np.sqrt(products), rtol=0.2)  # but for the jets' own masses
    assert np.allclose(one.delta_r(two), np.hypot(one.eta - two.eta, (one.phi - two.phi + np.pi) % (2 * np.pi) - np.pi))
    assert ak.all(events.Jet.sum(axis=-1).pt >= 0)


def test_chunks_are_parts_of_the_whole(atlas: Any) -> None:
    whole = open_events(atlas.path, RECORD)
    parts = [open_events(atlas.path, RECORD, start, stop) for start, stop in ((0, 33), (33, 70), (70, 200))]
    assert [len(part) for part in parts] == [33, 37, 30]
    for collection, fields in {"Jet": ["pt", "btagDL1dv01"], "MET": ["pt", "phi", "sumEt"], "GenPart": ["pt"]}.items():
        for field in fields:
            flat = [ak.to_numpy(ak.flatten(part[collection][field], axis=None)) for part in parts]
            together = ak.to_numpy(ak.flatten(whole[collection][field], axis=None))
            assert np.concatenate(flat).tobytes() == together.tobytes()


def test_columns_are_read_when_they_are_touched(atlas: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = PhysliteTree.read

    def recorded(self: PhysliteTree, variables: Any, start: int, stop: int) -> Any:
        asked.extend(v.branch for v in variables)
        return read(self, variables, start, stop)

    monkeypatch.setattr(PhysliteTree, "read", recorded)
    events = open_events(atlas.path, RECORD, 20, 50)
    assert asked == []
    assert np.isfinite(ak.max(events.Muon.eta))
    assert {name.replace(":", ".") for name in asked} == {"AnalysisMuonsAuxDyn.pt", "AnalysisMuonsAuxDyn.eta"}
    asked.clear()
    columns = EventColumns(events)
    columns.load(["Jet.pt", "Jet.eta", "Jet.absent", "MET.phi"])
    assert len(set(asked)) == len(asked)
    asked.clear()
    assert columns.per_object("Jet.pt").tolist() == ak.to_list(ak.flatten(events.Jet.pt))
    assert columns.offsets("Jet")[-1] == len(columns.per_object("Jet.eta"))
    assert len(columns.per_event("MET.phi")) == 30
    assert asked == []


def test_over_the_network(atlas: Any, tmp_path: Path, serve_flaky: Callable[[Path], Any]) -> None:
    name = Path(atlas.path).name
    (tmp_path / name).symlink_to(atlas.path)
    with serve_flaky(tmp_path) as server:
        address = server.url(name)
        events, local = open_events(address, RECORD, 5, 25), open_events(atlas.path, RECORD, 5, 25)
        EventColumns(events).load(["Jet.pt", "MET.pt", "GenJet.pt"])
        for collection in ("Jet", "MET", "GenJet"):
            assert ak.to_list(events[collection].pt) == ak.to_list(local[collection].pt)


def test_collision_data_have_no_truth_and_no_weights(tmp_path: Path, write_physlite: Callable[..., str]) -> None:
    """There is no file of collisions here: the simulation's columns that data lack are dropped."""
    simulated = ("mcEventWeights", "mcChannelNumber", "mcEventNumber")
    path = write_physlite(
        tmp_path / "DAOD_PHYSLITE.1.pool.root.1",
        ["AnalysisJets", "AnalysisElectrons", "AnalysisMuons", "AnalysisPhotons", "MET_Core_AnalysisMET", "EventInfo"],
        without=[f"EventInfoAuxDyn:{variable}" for variable in simulated],
    )
    assert inspect_file(path, DATA).sum_weights is None
    events = open_events(path, DATA)
    assert events.metadata["experiment"] == "ATLAS"
    assert generator_weights(events).tolist() == [1.0] * 100
    assert ak.max(events.MET.pt) > 50.0
    with pytest.raises(
        InputFileError, match=r"root\.1: has no genWeight \(ATLAS PHYSLITE; genWeight: the file keeps no"
    ):
        require_columns(events, ("genWeight",))
    with pytest.raises(InputFileError, match=r"has no FatJet, GenJet \(ATLAS PHYSLITE; FatJet: .* AnalysisLargeRJets;"):
        require_columns(events, ("Jet.pt", "FatJet.pt", "GenJet.pt"))
    with pytest.raises(InputFileError, match=r"has no Jet\.chHEF, PuppiMET .*energy fractions.*one missing momentum"):
        require_columns(events, ("Jet.chHEF", "PuppiMET.pt"))


def test_own_columns(atlas: Any) -> None:
    more = RECORD.model_copy(
        update={
            "columns": DatasetRecord.model_validate(
                RECORD.model_dump()
                | {
                    "columns": {
                        "Jet.area": {"variable": "ActiveArea4vec_pt", "factor": 1e-3},
                        "Cluster.energy": {"variable": "calE", "container": "egammaClusters", "factor": 1e-3},
                        "bunch": {"variable": "bcid", "type": "int64"},
                    }
                }
            ).columns
        }
    )
    events = open_events(atlas.path, more)
    area = ranked(atlas.raw("AnalysisJets", "ActiveArea4vec_pt"), atlas.raw("AnalysisJets", "pt"))
    assert ak.to_list(events.Jet.area) == ak.to_list(area * GEV)
    assert same(events.bunch, atlas.raw("EventInfo", "bcid"))
    assert "area" not in open_events(atlas.path, RECORD).Jet.fields


def test_files_that_are_not_what_the_record_says(atlas: Any, shared_data: Path, tmp_path: Path) -> None:
    cms = str(shared_data / "cms" / "nano_dy.root")
    with pytest.raises(InputFileError, match=r"nano_dy\.root: is not PHYSLITE of ATLAS: it has neither CollectionTree"):
        open_events(cms, RECORD)
    unknown = DatasetRecord(name="file", kind="data", files=("x",))
    found = open_events(atlas.path, unknown, 0, 5)  # named directly: what it holds decides
    assert (found.metadata["format"], found.metadata["experiment"]) == ("physlite", "ATLAS")
    assert inspect_file(atlas.path, unknown).entries == 100
    cut = tmp_path / "cut.root"
    content = bytearray(Path(atlas.path).read_bytes())
    content[1_000_000:1_400_000] = bytes(400_000)
    cut.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"cut\.root: is truncated or corrupt"):
        events = open_events(str(cut), RECORD)
        for name in ("Jet", "Electron", "Photon", "Muon", "Tau", "FatJet", "GenPart"):
            ak.materialize(events[name].pt)
