"""Candidates of PFNano as constituents of jets."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.constituents import group_members
from darkop_dist.events.read import open_events
from darkop_dist.events.representations import represent

PFNANO = DatasetRecord(name="pf", kind="simulation", format="pfnano", files=("x",))
NANOAOD = DatasetRecord(name="nano", kind="simulation", files=("x",))
GRID = {"eta_min": -2.5, "eta_max": 2.5, "towers_eta": 20, "towers_phi": 32, "scale": "linear"}


@pytest.fixture(scope="module")
def path(shared_data: Path) -> str:
    return str(shared_data / "cms" / "pfnano.root")


@pytest.mark.parametrize("record", [PFNANO, NANOAOD], ids=["pfnano", "detected"])
def test_constituents_are_the_candidates_that_the_file_names(path: str, record: DatasetRecord) -> None:
    events = open_events(path, record, 2, 5)
    wanted = ["PFCands_pt", *(f"{jets}PFCands_{of}Idx" for jets in ("Jet", "FatJet") for of in ("jet", "pFCands"))]
    branches = uproot.open(path)["Events"].arrays(wanted, entry_start=2, entry_stop=5)
    for jets in ("Jet", "FatJet"):
        found = events[jets].constituents
        assert {"pt", "eta", "phi", "mass", "pdgId"} <= set(found.fields)
        assert ak.to_list(ak.num(found)) == ak.to_list(ak.num(events[jets].pt))
        pairs = branches[[f"{jets}PFCands_jetIdx", f"{jets}PFCands_pFCandsIdx"]]
        for event in range(3):
            for jet in range(len(events[jets].pt[event])):
                mine = pairs[event][f"{jets}PFCands_jetIdx"] == jet
                places = pairs[event][f"{jets}PFCands_pFCandsIdx"][mine]
                assert ak.to_list(found.pt[event][jet]) == ak.to_list(branches["PFCands_pt"][event][places])
    assert ak.all(found.pf.pt == found.pt)  # as those of coffea's PFNano are asked


def test_constituents_sum_to_the_raw_jet(path: str) -> None:
    """AK4 jets of charged-hadron subtraction: their raw pt is that of their candidates' sum.

    Candidates and the correction factor are rounded to 10 bits or so, which is 0.1%; jets above 30 GeV have at least
    five candidates. 0.5% is asked of the median, 2% of nine in ten.
    """
    events = open_events(path, PFNANO)
    hard = events.Jet[events.Jet.pt > 30]
    raw, total = hard.pt * (1 - hard.rawFactor), hard.constituents.sum(axis=-1).pt
    off = np.abs(ak.to_numpy(ak.flatten(total / raw)) - 1)
    assert len(off) > 30
    assert np.median(off) < 0.005
    assert np.quantile(off, 0.9) < 0.02
    assert np.allclose(ak.flatten(hard.constituents.sum(axis=-1).delta_r(hard)), 0.0, atol=0.02)


def test_candidates_fill_a_channel_of_the_cylinder(path: str) -> None:
    events = open_events(path, PFNANO)
    field = represent(events, "cylinder", {**GRID, "channels": ["candidates"], "pt_min_gev": {"candidates": 1.0}})
    inside = events.PFCands[(events.PFCands.pt >= 1.0) & (abs(events.PFCands.eta) <= 2.5)]
    assert np.allclose(field.sum(axis=(1, 2, 3)), ak.sum(inside.pt, axis=1), rtol=1e-5)


def test_pairs_in_any_order_and_pairs_that_lead_nowhere() -> None:
    offsets, found = group_members(
        np.array([0, 2, 2, 3]), np.array([0, 3, 3, 5]),
        np.array([1, 0, 1, -1, 0, 7, 0]), np.array([2, 0, 0, 1, 5, 0, 1]), np.array([0, 5, 5, 7]),
    )  # fmt: skip
    assert offsets.tolist() == [0, 1, 3, 4]
    assert found.tolist() == [0, 2, 0, 4]


def test_files_without_candidates_say_so(shared_data: Path) -> None:
    nano = str(shared_data / "cms" / "nano_dy.root")
    with pytest.raises(InputFileError, match=r"nano_dy\.root: is not PFNano of CMS: it has no branch PFCands_pt"):
        open_events(nano, PFNANO)
    with pytest.raises(InputFileError, match=r"does not say what the constituents of these jets are \(CMS\)"):
        _ = open_events(nano, NANOAOD).Jet.constituents
    with pytest.raises(InputFileError, match=r"lacks PFCands\.pt.*no PFCands in this NanoAOD of CMS"):
        represent(open_events(nano, NANOAOD), "cylinder", {**GRID, "channels": ["candidates"]})
