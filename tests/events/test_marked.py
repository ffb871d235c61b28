"""Compiled objects against their awkward counterparts, on real events and where rounding is most delicate."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events import marked, objects
from darkop_dist.events.event_columns import ChosenColumns, EventColumns
from darkop_dist.events.jet_shifts import jet_shifts, met_limit, unshifted
from darkop_dist.events.kernels import wrapped
from darkop_dist.events.objects import IdCut, ObjectCuts
from darkop_dist.events.read import open_events
from darkop_dist.events.recoil import jet_columns
from darkop_dist.events.systematics import ShiftSizes, object_variations

MC = DatasetRecord(name="tt", kind="simulation", files=("x",))
LEPTONS = ObjectCuts(pt_min=5.0, abs_eta_max=2.4, ids=(IdCut(column="noSuchId"), IdCut(column="charge", minimum=0.5)))


@pytest.fixture
def ttbar(shared_data: Path) -> ak.Array:
    return open_events(str(shared_data / "cms" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"), MC)


def same(found: marked.MarkedObjects, expected: ak.Array) -> bool:
    pt = found.pt[found.kept].tobytes() == ak.to_numpy(ak.flatten(expected.pt)).tobytes()
    return pt and found.counts.tolist() == ak.num(expected).to_list()


def test_selection_and_overlap_are_those_of_awkward(ttbar: ak.Array) -> None:
    read, notes, others = EventColumns(ttbar), [], []
    muons = marked.mark_objects(read, "Muon", LEPTONS, notes.append)
    expected = objects.select_objects(ttbar, "Muon", LEPTONS, others.append)
    assert same(muons, expected)
    assert 10 < muons.kept.sum() < len(muons.kept)
    jets = marked.all_objects(read, "Jet")
    for radius in (0.0, 0.4, 1.5, 4.0):
        clean = marked.away_from(jets, muons, radius=radius)
        assert same(clean, objects.away_from(ttbar.Jet, expected, radius))
        assert jets.kept.all()  # the jets themselves are not touched
    strict = ObjectCuts(pt_min=5.0, ids=(IdCut(column="noSuchId", minimum=1),))
    marked.mark_objects(read, "Muon", strict, notes.append)
    objects.select_objects(ttbar, "Muon", strict, others.append)
    assert notes == others == ["Muon: no identification column of noSuchId: none applied"]
    with pytest.raises(InputFileError, match="has no branch Muonium_pt"):
        marked.mark_objects(read, "Muonium", LEPTONS, notes.append)
    assert marked.no_objects(3).counts.tolist() == [0, 0, 0]


def test_sums_and_order_are_those_of_awkward(ttbar: ak.Array) -> None:
    jets, found = ttbar.Jet, marked.all_objects(EventColumns(ttbar), "Jet")
    x, y = found.vector_sum(found.pt, found.directions())
    expected = objects.vector_sum(jets.pt, jets.phi)
    assert (x.tobytes(), y.tobytes()) == (expected[0].tobytes(), expected[1].tobytes())
    events = np.arange(0, len(ttbar), 7)
    columns = jet_columns(found, found.pt, events, pt_min=30.0, most=2, direction=np.zeros(len(events)))
    order = jets[ak.argsort(jets.pt, axis=1, ascending=False)]
    hard = order[order.pt > 30.0]
    dphi = ak.fill_none(ak.min(abs(objects.delta_phi(hard[:, :2].phi, np.zeros(len(jets)))), axis=1), np.pi)
    expected = {
        "min_dphi": dphi,
        "number": ak.num(hard),
        "sum_pt": ak.sum(ak.values_astype(jets.pt[jets.pt > 30.0], float), axis=1),
        "phi": ak.fill_none(ak.firsts(order.phi), np.nan),
        "second_pt": ak.fill_none(ak.pad_none(order.pt, 2)[:, 1], np.nan),
        "second_eta": ak.fill_none(ak.pad_none(order.eta, 2)[:, 1], np.nan),
    }
    for name, values in expected.items():
        assert getattr(columns, name).tobytes() == ak.to_numpy(values)[events].astype(float).tobytes(), name
    assert found.total(np.ones(len(found.pt), np.int32)).tolist() == ak.num(jets).to_list()


@pytest.mark.parametrize("met", ["MET", "PuppiMET"])
def test_variations_are_those_of_awkward(ttbar: ak.Array, met: str) -> None:
    names, sizes = ("jet_energy_scale", "jet_energy_resolution"), ShiftSizes(jet_energy_scale=0.05)
    read, every = EventColumns(ttbar), np.arange(len(ttbar))
    jets = marked.all_objects(read, "Jet")
    found = [unshifted(read, jets, met), *jet_shifts(read, jets, met, names, sizes, print)]
    expected = object_variations(ttbar, met, names, sizes, print)
    limit = met_limit(read, jets, met, names, sizes, every)
    some = np.arange(len(ttbar) - 1, 0, -3)
    few = ChosenColumns(read, some)
    again = [unshifted(few, *(few_jets := marked.of_events(jets, some)[:1]), met)]
    again += jet_shifts(few, *few_jets, met, names, sizes, print)
    assert [shift.name for shift in found] == [variation.name for variation in expected]
    for shift, same_shift, variation in zip(found, again, expected, strict=True):
        assert shift.pt.tobytes() == ak.to_numpy(ak.flatten(variation.jets.pt)).tobytes()
        x, y = shift.met(every)
        assert (x.tobytes(), y.tobytes()) == (variation.met_x.tobytes(), variation.met_y.tobytes())
        assert [part.tobytes() for part in same_shift.met(np.arange(len(some)))] == [
            x[some].tobytes(),
            y[some].tobytes(),
        ]
        assert same_shift.pt.tobytes() == ak.to_numpy(ak.flatten(variation.jets.pt[some])).tobytes()
        assert (np.hypot(x, y) < limit).all()
        assert (np.hypot(x, y) < shift.limit(every)).all()
    assert (limit[some] == met_limit(few, *few_jets, met, names, sizes, np.arange(len(some)))).all()
    assert np.median(limit) < 2 * np.median(found[0].limit(every))  # it would be of no use if it were far away


def test_the_objects_of_chosen_events(ttbar: ak.Array) -> None:
    read, events = EventColumns(ttbar), np.array([3, 0, 7, 7])
    muons = marked.mark_objects(read, "Muon", LEPTONS, print)
    chosen, places = marked.of_events(muons, events)
    assert same(chosen, objects.select_objects(ttbar, "Muon", LEPTONS, print)[events])
    assert chosen.eta.tolist() == muons.eta[places].tolist() == ak.flatten(ttbar.Muon.eta[events]).to_list()
    assert np.diff(chosen.offsets).tolist() == ak.num(ttbar.Muon)[events].to_list()


def test_equal_momenta_stay_in_order_and_nan_comes_first() -> None:
    pt = np.array([5.0, 7.0, 7.0, np.nan, 5.0, 9.0], np.float32)
    assert ak.argsort(ak.Array([pt]), axis=1, ascending=False).to_list() == [[3, 5, 1, 2, 0, 4]]
    for kept, second in (([1, 1, 1, 1, 1, 1], 9.0), ([1, 1, 1, 0, 0, 0], 7.0), ([1, 0, 0, 1, 1, 0], 5.0)):
        eta = np.arange(6, dtype=np.float32)
        jets = marked.MarkedObjects(np.array([0, 6]), np.array(kept, np.bool_), pt, eta, eta)
        columns = jet_columns(jets, pt, np.array([0]), pt_min=0.0, most=1, direction=np.zeros(1))
        assert columns.second_pt.tolist() == [second]
        assert columns.second_eta.tolist() == [{9.0: 5.0, 7.0: 2.0, 5.0: 0.0}[second]]


@pytest.mark.parametrize("turns", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_overlap_at_any_azimuth(turns: float, kind: type[np.floating]) -> None:
    rng = np.random.default_rng(int(10 * turns))
    collections, found = [], []
    for most in (6, 3):
        counts = rng.integers(0, most, 2000)
        size = counts.sum()
        phi = (rng.choice([-np.pi, np.pi, 0.0, 1.0], size) + rng.normal(0.0, 0.5, size)).clip(-3.9, 3.9)
        phi += 2 * np.pi * np.round(rng.uniform(-turns, turns, size))
        values = {"pt": np.arange(size), "eta": rng.normal(0.0, 0.5, size), "phi": phi}
        columns = {name: column.astype(kind) for name, column in values.items()}
        collections.append(ak.unflatten(ak.zip(columns), counts))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        found.append(marked.MarkedObjects(offsets, np.ones(size, np.bool_), **columns))
    for radius in (0.4, 2.0):
        clean = marked.away_from(*found, radius=radius)
        assert same(clean, objects.away_from(*collections, radius))
        assert 0.1 < clean.kept.mean() < 0.95


@settings(max_examples=300, deadline=None)
@given(st.floats(-30, 30, width=32), st.floats(-30, 30, width=32))
def test_azimuths_wrap_as_in_numpy(first: float, second: float) -> None:
    for kind in (np.float32, np.float64):
        one, two = np.array([first], kind), np.array([second], kind)
        found = wrapped((one - two)[0], kind(np.pi), kind(2 * np.pi))
        assert found == objects.delta_phi(one, two)[0]
