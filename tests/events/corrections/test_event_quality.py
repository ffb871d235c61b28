"""MET filters, triggers and certified sections on real files: what passes, and what is said of what is absent."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError, UnknownNameError
from darkop_dist.events.corrections.certified import CertifiedSections
from darkop_dist.events.corrections.event_quality import (
    passes_filters,
    passes_triggers,
    recommended_filters,
    trigger_paths,
)
from darkop_dist.events.corrections.search import SearchCorrections
from darkop_dist.events.read import open_events


def read(folder: Path, name: str, kind: str) -> ak.Array:
    return open_events(str(folder / "cms" / name), DatasetRecord(name="sample", kind=kind, files=("x",)))


@pytest.fixture
def dimuon(shared_data: Path) -> ak.Array:
    return read(shared_data, "nano_dimuon.root", "data")


@pytest.fixture
def ttbar(shared_data: Path) -> ak.Array:
    return read(shared_data, "nanoAOD_2015_CMS_Open_Data_ttbar.root", "simulation")


def test_filters_of_real_collisions(dimuon: ak.Array) -> None:
    names, notes = recommended_filters("2018", is_data=True), []
    with pytest.raises(
        InputFileError,
        match=r"has no MET filter Flag_BadPFMuonDzFilter\. .*corrections\.optional.*Nearest in the file: Flag_BadPFMuonFilter",
    ):
        passes_filters(dimuon, names, notes.append)
    found = passes_filters(dimuon, names, notes.append, optional=["Flag_BadPFMuonDzFilter"])
    flags = dimuon.Flag
    by_hand = [np.asarray(flags[name.removeprefix("Flag_")]) for name in names if name != "Flag_BadPFMuonDzFilter"]
    assert found.tolist() == np.all(by_hand, axis=0).tolist()
    assert len(by_hand) == 8
    assert notes == ["MET filter Flag_BadPFMuonDzFilter is not in the file: not applied"]


def test_triggers_of_real_collisions(dimuon: ak.Array, shared_data: Path) -> None:
    notes: list[str] = []
    paths = trigger_paths(["single_muon", "HLT_Mu50"], "2018")
    assert paths == ("HLT_IsoMu24", "HLT_Mu50")
    found = passes_triggers(dimuon, paths, notes.append)
    assert found.tolist() == (np.asarray(dimuon.HLT.IsoMu24) | np.asarray(dimuon.HLT.Mu50)).tolist()
    assert 0 < found.sum() < 40
    with pytest.raises(InputFileError, match=r"has no trigger HLT_IsoMu242.* Nearest in the file: HLT_IsoMu24"):
        passes_triggers(dimuon, ["HLT_IsoMu242"], notes.append)
    with pytest.raises(InputFileError, match="has no trigger HLT_IsoTkMu24"):  # not one path is there
        passes_triggers(dimuon, ["HLT_IsoTkMu24"], notes.append, optional=["HLT_IsoTkMu24"])
    outreach = read(shared_data, "Run2012B_SingleMu_1000.root", "data")
    assert (
        passes_triggers(outreach, ["HLT_IsoMu24"], notes.append).tolist() == np.asarray(outreach.HLT.IsoMu24).tolist()
    )


def test_simulation_lacks_what_it_lacks(ttbar: ak.Array) -> None:
    notes: list[str] = []
    found = passes_filters(ttbar, recommended_filters("2015", is_data=False), notes.append)
    assert notes == []
    assert 0 < found.sum() <= 200
    assert passes_triggers(ttbar, ["HLT_Nothing"], notes.append).all()
    assert notes == [
        "trigger HLT_Nothing is not in the file: not applied",
        "none of the triggers is in the file: no trigger was required",
    ]
    assert passes_triggers(ttbar, [], notes.append).all()


@pytest.mark.parametrize("year", ["2015", "2016preVFP", "2016postVFP", "2017", "2018"])
def test_tables(year: str) -> None:
    data, simulation = (recommended_filters(year, is_data=is_data) for is_data in (True, False))
    assert set(simulation) <= set(data)
    assert ("Flag_ecalBadCalibFilter" in data) == (year in ("2017", "2018"))
    assert ("Flag_BadPFMuonDzFilter" in data) == (year != "2015")
    assert all(
        path.startswith("HLT_")
        for path in trigger_paths(["met", "single_muon", "single_electron", "single_photon", "jet"], year)
    )


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UnknownNameError, match=r"year of data taking '2016'.*2016preVFP"):
        recommended_filters("2016", is_data=True)
    with pytest.raises(UnknownNameError, match=r"group of triggers 'single_mu'.*Did you mean single_muon"):
        trigger_paths(["single_mu"], "2018")


def test_steps_of_a_search(dimuon: ak.Array, ttbar: ak.Array, shared_data: Path) -> None:
    golden = CertifiedSections(((194711, 1, 298), (195916, 64, 64)))
    given = SearchCorrections(
        golden, {"sample": ("Flag_goodVertices",)}, {"sample": ("HLT_IsoMu24",)}, ("Flag_goodVertices",)
    )
    outreach = read(shared_data, "Run2012B_SingleMu_1000.root", "data")
    notes: list[str] = []
    steps = given.quality(outreach, notes.append)
    assert list(steps) == ["certified sections", "MET filters", "trigger"]
    assert steps["certified sections"].tolist() == (np.asarray(outreach.run) == 195916).tolist()
    assert 0 < steps["certified sections"].sum() < 1000
    assert list(given.quality(ttbar, notes.append)) == ["MET filters", "trigger"]
    assert SearchCorrections().quality(dimuon, notes.append) == {}
    with pytest.raises(InputFileError, match="has no branch luminosityBlock"):
        given.quality(ak.without_field(outreach, "luminosityBlock"), notes.append)
