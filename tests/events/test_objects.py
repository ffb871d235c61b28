"""Objects, overlap removal and variations on hand-made and real events."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import vector

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.objects import IdCut, ObjectCuts, away_from, delta_phi, leading, select_objects, vector_sum
from darkop_dist.events.read import open_events
from darkop_dist.events.systematics import ShiftSizes, object_variations, weight_variations

MC = DatasetRecord(name="tt", kind="simulation", files=("x",))


@pytest.fixture
def ttbar(shared_data: Path) -> ak.Array:
    return open_events(str(shared_data / "cms" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"), MC)


def test_delta_phi_wraps() -> None:
    assert delta_phi(ak.Array([3.1]), ak.Array([-3.1]))[0] == pytest.approx(6.2 - 2 * np.pi)


def test_away_from_removes_near_objects_across_the_seam() -> None:
    jets = ak.Array([[{"eta": 0.0, "phi": 3.1}, {"eta": 0.0, "phi": 0.0}], []])
    muons = ak.Array([[{"eta": 0.1, "phi": -3.1}], [{"eta": 0.0, "phi": 0.0}]])
    assert ak.to_list(away_from(jets, muons, 0.4).phi) == [[0.0], []]
    assert ak.num(away_from(jets, muons[:, :0], 0.4)).tolist() == [2, 0]


def test_leading_and_vector_sum() -> None:
    pt, phi = ak.Array([[3.0, 4.0], []]), ak.Array([[0.0, np.pi / 2], []])
    x, y = vector_sum(pt, phi)
    assert (x.tolist(), y.tolist()) == (pytest.approx([3.0, 0.0]), pytest.approx([4.0, 0.0]))
    assert leading(pt, absent=-1.0).tolist() == [3.0, -1.0]


def test_selection_agrees_with_a_plain_loop(ttbar: ak.Array) -> None:
    cuts = ObjectCuts(pt_min=20.0, abs_eta_max=2.4, ids=(IdCut(column="jetId", minimum=2),))
    notes: list[str] = []
    selected = select_objects(ttbar, "Jet", cuts, notes.append)
    jets = ttbar.Jet[["pt", "eta", "jetId"]].to_list()
    expected = [[j["pt"] for j in event if j["pt"] > 20 and abs(j["eta"]) < 2.4 and j["jetId"] >= 2] for event in jets]
    assert ak.to_list(selected.pt) == expected
    assert sum(map(len, expected)) > 10
    assert notes == []


def test_absent_identification_is_noted_and_absent_collection_refused(ttbar: ak.Array) -> None:
    notes: list[str] = []
    cuts = ObjectCuts(pt_min=20.0, ids=(IdCut(column="noSuchId", minimum=1),))
    assert ak.all(select_objects(ttbar, "Muon", cuts, notes.append).pt > 20)
    assert notes == ["Muon: no identification column of noSuchId: none applied"]
    with pytest.raises(InputFileError, match="has no branch Muonium_pt"):
        select_objects(ttbar, "Muonium", cuts, notes.append)


def test_jet_scale_moves_jets_and_missing_momentum(ttbar: ak.Array) -> None:
    found = object_variations(ttbar, "MET", ("jet_energy_scale",), ShiftSizes(jet_energy_scale=0.1), lambda _: None)
    nominal, up, down = found
    assert [v.name for v in found] == ["nominal", "jet_energy_scale_up", "jet_energy_scale_down"]
    assert ak.all(np.isclose(up.jets.pt, 1.1 * nominal.jets.pt))
    # The change of the missing momentum is minus a tenth of the vector sum of the jets above 15 GeV.
    jets = ak.zip(
        {"pt": ttbar.Jet.pt, "phi": ttbar.Jet.phi}, with_name="Momentum2D", behavior=vector.backends.awkward.behavior
    )
    total = ak.sum(jets[jets.pt > 15], axis=1)
    assert np.allclose(up.met_x - nominal.met_x, -0.1 * ak.to_numpy(total.px), atol=1e-3)
    assert np.allclose(up.met_x + down.met_x, 2 * nominal.met_x, atol=1e-3)


def test_columns_of_the_file_replace_the_propagation(ttbar: ak.Array) -> None:
    found = object_variations(ttbar, "PuppiMET", ("jet_energy_scale",), ShiftSizes(), lambda _: None)
    assert np.allclose(np.hypot(found[1].met_x, found[1].met_y), ak.to_numpy(ttbar.PuppiMET.ptJESUp), rtol=1e-5)


def test_resolution_uses_generator_jets(ttbar: ak.Array) -> None:
    sizes = ShiftSizes(jet_energy_resolution=0.5)
    up = object_variations(ttbar, "MET", ("jet_energy_resolution",), sizes, lambda _: None)[1]
    jets, generator = ttbar.Jet, ttbar.GenJet
    for event in range(20):
        for position, index in enumerate(jets.genJetIdx[event]):
            pt = jets.pt[event, position]
            truth = generator.pt[event, index] if 0 <= index < len(generator.pt[event]) else pt
            assert up.jets.pt[event, position] == pytest.approx(max(pt + 0.5 * (pt - truth), 0.0), rel=1e-5)


def test_collision_data_never_vary(shared_data: Path) -> None:
    data = open_events(str(shared_data / "cms" / "nano_dimuon.root"), MC.model_copy(update={"kind": "data"}))
    names = ("jet_energy_scale", "jet_energy_resolution", "pileup_reweighting")
    assert len(object_variations(data, "MET", names, ShiftSizes(), lambda _: None)) == 1
    assert list(weight_variations(data, names, lambda _: None)) == ["nominal"]


def test_pileup_weights_are_used_where_they_exist(ttbar: ak.Array) -> None:
    notes: list[str] = []
    without = weight_variations(ttbar, ("pileup_reweighting",), notes.append)
    # Files without the columns stand beside files with them: their variations are the nominal weights.
    assert {name: set(factor) for name, factor in without.items()} == {
        "nominal": {1.0}, "pileup_reweighting_up": {1.0}, "pileup_reweighting_down": {1.0},
    }  # fmt: skip
    assert notes == ["pileup_reweighting: no puWeight columns in the file: not reweighted and not varied"]
    ones = np.ones(len(ttbar))
    for name, size in (("puWeight", 1.0), ("puWeightUp", 1.1), ("puWeightDown", 0.9)):
        ttbar = ak.with_field(ttbar, ones * size, name)
    found = weight_variations(ttbar, ("pileup_reweighting",), notes.append)
    assert found["pileup_reweighting_up"].tolist() == [1.1] * 200
