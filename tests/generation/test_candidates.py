"""Candidates as coffea's PFNano schema reads them, and the links between collections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

from darkop_dist.config import DatasetRecord
from darkop_dist.events.read import open_events
from darkop_dist.events.representations import represent
from darkop_dist.generation import generate
from darkop_dist.generation.plan import Measurement

EVENTS = 120


class Schema(PFNanoAODSchema):
    warn_missing_crossrefs = False  # also where the collection that would point is not in the file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("candidates") / "tt.root"
    generate("ttbar", EVENTS, file, seed=2, settings={"mpi": "off"}, measurement=Measurement("cms", candidates=True))
    return file


@pytest.fixture(scope="module")
def events(file: Path) -> Any:
    return NanoEventsFactory.from_root({str(file): "Events"}, schemaclass=Schema, mode="eager").events()


def test_candidates_are_sorted_and_charged_ones_have_impact_parameters(events: Any) -> None:
    candidates = events.PFCands
    assert ak.mean(ak.num(candidates)) > 60
    assert ak.all(candidates.pt[:, :-1] >= candidates.pt[:, 1:])
    assert set(np.unique(ak.to_numpy(ak.flatten(abs(candidates.pdgId))))) <= {11, 13, 22, 130, 211}
    charged = candidates.charge != 0
    assert ak.all((abs(candidates.pdgId) == 211)[~charged] == False)  # noqa: E712 - an array
    assert ak.all(candidates.d0Err[charged] > 0)
    assert ak.all(candidates.d0[~charged] == 0)
    assert ak.all(candidates.puppiWeight == 1)


def test_jets_have_constituents_when_the_file_is_opened_as_any_other(events: Any, file: Path) -> None:
    opened = open_events(str(file), DatasetRecord(name="tt", kind="simulation", files=("x",)))
    for collection in ("Jet", "FatJet"):
        members = opened[collection].constituents
        assert ak.all(ak.num(members, axis=2) == events[collection].nConstituents)
        assert ak.all(ak.sum(members.pt, axis=-1) >= 0.99 * members.sum(axis=-1).pt)
    field = represent(opened, "cylinder", {
        "eta_min": -2.5, "eta_max": 2.5, "towers_eta": 20, "towers_phi": 32, "scale": "linear", "channels": ["candidates"]
    })  # fmt: skip
    inside = events.PFCands.pt[abs(events.PFCands.eta) <= 2.5]
    assert np.allclose(field.sum(axis=(1, 2, 3)), ak.sum(inside, axis=1), rtol=1e-4)


def test_a_positive_pion_is_211_and_an_electron_11(events: Any) -> None:
    candidates = events.PFCands
    hadrons = candidates[abs(candidates.pdgId) == 211]
    assert ak.all(hadrons.pdgId == 211 * hadrons.charge)
    leptons = candidates[(abs(candidates.pdgId) == 11) | (abs(candidates.pdgId) == 13)]
    assert ak.all(np.sign(leptons.pdgId) == -leptons.charge)


@pytest.mark.parametrize("collection", ["Jet", "FatJet"])
def test_the_candidates_of_a_jet_point_along_it(events: Any, collection: str) -> None:
    links = events[f"{collection}PFCands"]
    jets = events[collection]
    counts = ak.num(jets)
    assert ak.all(ak.num(links) == ak.sum(jets.nConstituents, axis=1))
    assert ak.all(links.jetIdx < ak.broadcast_arrays(counts, links.jetIdx)[0])
    member, jet = links.pf, links.jet
    total = ak.unflatten(ak.flatten(member), ak.flatten(jets.nConstituents)).sum(axis=-1)
    along = ak.flatten(jets)
    assert len(along) > 20
    assert np.max(np.abs(ak.to_numpy(total.eta - along.eta))) < 1e-3
    ratio = ak.to_numpy(along.pt / total.pt)  # the calibration
    assert 0.5 < np.median(ratio) < 1.5
    assert ak.all(ak.flatten(member.delta_r(jet)) < 2)


def test_leptons_link_to_their_generator_particle_and_jet(events: Any) -> None:
    for name, code in (("Muon", 13), ("Electron", 11)):
        leptons = events[name]
        matched = leptons.genPartIdx >= 0
        assert ak.mean(matched) > 0.5
        found = leptons.matched_gen[matched]
        assert ak.all(abs(found.pdgId) == code)
        assert ak.all(leptons[matched].delta_r(found) < 0.1)
        near = leptons.jetIdx >= 0
        assert ak.all(leptons[near].delta_r(leptons.matched_jet[near]) < 0.4)


def test_taus_link_to_taus(events: Any) -> None:
    taus = events.Tau
    matched = taus[taus.genPartIdx >= 0]
    assert ak.sum(ak.num(matched)) > 3
    assert ak.all(abs(matched.matched_gen.pdgId) == 15)


def test_jets_know_the_leptons_that_name_them(events: Any) -> None:
    jets = events.Jet
    for name in ("electron", "muon"):
        first = jets[f"{name}Idx1"]
        chosen = first >= 0
        owners = events[name.capitalize()].jetIdx[first[chosen]]
        assert ak.all(owners == ak.local_index(jets, axis=1)[chosen])
        assert ak.all(jets[f"{name}Idx2"] != ak.where(first >= 0, first, -2))


def test_candidates_are_left_out_unless_they_are_asked_for(z_file: Path) -> None:
    import uproot

    with uproot.open(z_file) as file:
        assert not [name for name in file["Events"].keys() if "PFCands" in name]  # noqa: SIM118 - uproot's keys()
