"""Jet sets from PFNano and from generated events: the arrays of AspenOpenJets, and what they add up to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError
from darkop_dist.events.jet_sets import ASPEN, JetSetRules
from darkop_dist.generation.plan import Measurement, plan_parts
from darkop_dist.generation.sample import write_sample
from darkop_dist.stages.skim.run import Skim

Skimmer = Callable[..., Skim]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of two jets with candidates, without pile-up."""
    path = tmp_path_factory.mktemp("generated") / "z.root"
    plans = plan_parts(
        "z-nunu-jets", 30, seed=3, settings={"pthat_min": 400.0, "mpi": "off"}, measurement=Measurement(candidates=True)
    )
    write_sample(plans, path, seed=3)
    return path


def raw_momentum(path: Path, collection: str, jets: Any) -> np.ndarray:
    """(px, py, pz) of the uncorrected jets of a set, shape (jets, 3)."""
    with uproot.open(path) as file:
        names = [f"{collection}_{name}" for name in ("pt", "eta", "phi", "rawFactor")] + ["event"]
        found = file["Events"].arrays([n for n in names if n in file["Events"]], library="ak", how=dict)
    place = {event: at for at, event in enumerate(found["event"].to_list())}
    momenta = []
    for event, index in zip(jets["event_info"][:, 2].tolist(), jets["jet_index"][:].tolist(), strict=True):
        pt, eta, phi = (found[f"{collection}_{n}"][place[event]][index] for n in ("pt", "eta", "phi"))
        if f"{collection}_rawFactor" in found:
            pt *= 1 - found[f"{collection}_rawFactor"][place[event]][index]
        momenta.append((pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)))
    return np.array(momenta)


@pytest.mark.parametrize("collection", ["FatJet", "Jet"])
def test_constituents_of_pfnano_add_up_to_the_raw_jet(collection: Any, shared_data: Path, skim: Skimmer) -> None:
    source = shared_data / "cms/pfnano.root"
    made = skim(source, jets=JetSetRules(collection, 30.0, 200), layout="hdf5")
    with h5py.File(made.directory / made.outputs[0].file) as jets:
        assert jets["PFCands"].shape == (made.outputs[0].rows, 200, 11)
        assert jets["PFCands"].attrs["columns"].tolist() == list(ASPEN)
        assert jets["PFCands"].attrs["units"].tolist()[:4] == ["GeV"] * 4
        candidates = jets["PFCands"][:].astype(np.float64)
        weights = candidates[:, :, 10:11] if collection == "FatJet" else 1.0
        total = (candidates[:, :, :3] * weights).sum(axis=1)
        expected = raw_momentum(source, collection, jets)
        # PFNano rounds momenta of candidates, PUPPI weights and rawFactor to some 10 bits each
        assert (np.linalg.norm(total - expected, axis=1) / np.linalg.norm(expected, axis=1)).max() < 0.005
        assert len(total) > 20
        assert jets["mask"][:].sum(axis=1).tolist() == jets["jet_nparticles"][:].tolist()
        assert not candidates[~jets["mask"][:]].any()
        assert jets.attrs["sum_weights"] == made.outputs[0].sum_weights
        assert jets.attrs["schema"] == "darkop.jet-set/1"
        assert json.loads(jets.attrs["inputs"])[0]["entries"] == 10


@pytest.mark.slow
def test_generated_jets_are_kept_with_weights_and_numbers(generated: Path, skim: Skimmer, tmp_path: Path) -> None:
    rules = JetSetRules("FatJet", 200.0, 60, ("pt", "deta", "dphi", "pdgId", "energy"))
    made = skim(generated, select="MET.pt > 300", jets=rules, layout="hdf5", chunk_events=15)
    table_made = skim(generated, select="MET.pt > 300", jets=rules, layout="parquet", output=tmp_path / "p")
    table = pq.read_table(table_made.directory / table_made.outputs[0].file)
    with uproot.open(generated) as file:
        whole = file["Events"].arrays(["MET_pt", "FatJet_pt", "FatJet_msoftdrop", "event", "genWeight"], library="ak")
        sum_weights = float(file["Runs"]["genEventSumw"].array()[0])
    kept = whole[whole.MET_pt > 300]
    high = kept.FatJet_pt >= 200
    with h5py.File(made.directory / made.outputs[0].file) as jets:
        assert (
            jets["event_info"][:, 2].tolist()
            == ak.flatten(ak.broadcast_arrays(kept.event, kept.FatJet_pt)[0][high]).to_list()
        )
        assert jets["jet_kinematics"].attrs["columns"].tolist() == ["pt", "eta", "phi", "msoftdrop"]
        assert jets["jet_kinematics"][:, 0].tolist() == ak.flatten(kept.FatJet_pt[high]).to_list()
        assert jets["jet_kinematics"][:, 3].tolist() == ak.flatten(kept.FatJet_msoftdrop[high]).to_list()
        assert (
            jets["weight"][:].tolist()
            == ak.flatten(ak.broadcast_arrays(kept.genWeight, kept.FatJet_pt)[0][high]).to_list()
        )
        assert jets.attrs["sum_weights"] == sum_weights
        assert len(jets["weight"]) > 10
        for place, name in enumerate(rules.features):
            fixed = np.stack(table.column(f"part_{name}").to_pylist()).astype(np.float32)
            assert np.array_equal(jets["PFCands"][:, :, place], fixed)
        assert np.array_equal(np.stack(table.column("part_mask").to_pylist()), jets["mask"][:])
    about = json.loads(table.schema.metadata[b"darkop.jet-set"])
    assert (about["selection"], about["collection"], about["units"]["pt"]) == ("MET.pt > 300", "FatJet", "GeV")


def test_what_has_no_jets_is_refused(shared_data: Path, samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    source = shared_data / "cms/pfnano.root"
    with pytest.raises(InputFileError, match="lacks what jets with constituents are made of: FatJet_pt"):
        skim(samples / "0.root", jets=JetSetRules(), layout="hdf5")
    with pytest.raises(InputValueError, match="none of its 10 events with a jet passes"):
        skim(source, jets=JetSetRules(pt_min=1e9), layout="hdf5", output=tmp_path / "two")
    with pytest.raises(UnknownNameError, match=r"unknown format 'ttree'.*of a jet set are hdf5, parquet"):
        skim(source, jets=JetSetRules(), layout="ttree")
    made = skim(source, jets=JetSetRules(pt_min=1e9), layout="hdf5", allow_empty=True, output=tmp_path / "three")
    with h5py.File(made.directory / made.outputs[0].file) as jets:
        assert jets["PFCands"].shape == (0, 150, 11)
