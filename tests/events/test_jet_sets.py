"""Jets with constituents in fixed shape: links, order, padding, and features by hand."""

import math

import awkward as ak
import numpy as np
import pytest

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.events.jet_sets import ASPEN, FEATURES, JetSetRules, make_jet_set

COLUMNS = {
    "Jet_pt": ak.Array([[50.0, 20.0], [], [30.0]]),
    "Jet_eta": ak.Array([[1.0, 0.0], [], [-1.0]]),
    "Jet_phi": ak.Array([[3.1, 0.0], [], [0.5]]),
    "Jet_mass": ak.Array([[5.0, 2.0], [], [3.0]]),
    "JetPFCands_jetIdx": ak.Array([[0, 1, 0, 0, -1, 5], [], [0]]),
    "JetPFCands_pFCandsIdx": ak.Array([[0, 1, 2, 3, 1, 1], [], [1]]),
    "PFCands_pt": ak.Array([[5.0, 20.0, 30.0, 10.0], [9.0], [1.0, 2.0]]),
    "PFCands_eta": ak.Array([[1.1, 0.0, 1.0, 0.9], [0.0], [0.0, -1.2]]),
    "PFCands_phi": ak.Array([[-3.1, 0.0, 3.1, 3.0], [0.0], [0.0, 0.4]]),
    "PFCands_mass": ak.Array([[0.1, 0.1, 0.1, 0.0], [0.1], [0.1, 0.1]]),
    "PFCands_pdgId": ak.Array([[211, 22, -211, 130], [22], [22, 11]]),
}
NAMES = ("pt", "deta", "dphi", "pdgId", "energy", "logptrel")


def test_constituents_stand_in_order_of_pt_and_are_padded() -> None:
    found = make_jet_set(COLUMNS, JetSetRules("Jet", 25.0, 4, NAMES))
    assert found.entry.tolist() == [0, 2]
    assert found.jet_index.tolist() == [0, 0]
    assert found.counts.tolist() == [3, 1]
    assert found.features["pt"].tolist() == [[30.0, 10.0, 5.0, 0.0], [2.0, 0.0, 0.0, 0.0]]
    assert found.features["pdgId"].tolist() == [[-211, 130, 211, 0], [11, 0, 0, 0]]
    assert found.mask.tolist() == [[True, True, True, False], [True, False, False, False]]
    assert found.features["dphi"][0, 2] == pytest.approx(2 * math.pi - 6.2, abs=1e-6)
    assert found.features["deta"][1, 0] == pytest.approx(-0.2, abs=1e-6)
    energy = math.sqrt((10.0 * math.cosh(0.9)) ** 2)
    assert found.features["energy"][0, 1] == pytest.approx(energy, rel=1e-6)
    assert found.features["logptrel"][0, 0] == pytest.approx(math.log(30.0 / 50.0), abs=1e-6)
    assert found.jets["mass"].tolist() == [5.0, 3.0]


def test_the_softest_constituents_are_left_out_and_counted() -> None:
    found = make_jet_set(COLUMNS, JetSetRules("Jet", 0.0, 1, ("pt",)))
    assert found.features["pt"].tolist() == [[30.0], [20.0], [2.0]]
    assert found.counts.tolist() == [3, 1, 1]
    assert found.jet_index.tolist() == [0, 1, 0]


def test_all_features_can_be_made() -> None:
    columns = dict(COLUMNS)
    rules = JetSetRules("Jet", 0.0, 3, tuple(FEATURES))
    for name in rules.columns(frozenset(COLUMNS)):
        columns.setdefault(name, ak.zeros_like(COLUMNS["PFCands_pt"]))
    found = make_jet_set(columns, rules)
    assert set(found.features) == set(FEATURES)
    assert all(np.isfinite(values).all() for values in found.features.values())
    assert set(ASPEN) <= set(FEATURES)


def test_no_event_and_no_jet_give_no_row() -> None:
    none = make_jet_set({name: array[:0] for name, array in COLUMNS.items()}, JetSetRules("Jet", 0.0, 3, ("pt",)))
    assert none.features["pt"].shape == none.mask.shape == (0, 3)
    high = make_jet_set(COLUMNS, JetSetRules("Jet", 1000.0, 3, ("pt",)))
    assert high.features["pt"].shape == (0, 3)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown collection of jets 'Jets'. Did you mean Jet"):
        JetSetRules("Jets")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"unknown feature 'dpih'. Did you mean dphi"):
        JetSetRules(features=("dpih",))
    with pytest.raises(InputValueError, match="cannot have 0 constituents"):
        JetSetRules(constituents=0)
    wrong = COLUMNS | {"JetPFCands_pFCandsIdx": ak.Array([[0, 1, 2, 30, 1, 1], [], [1]])}
    with pytest.raises(InputValueError, match="points to candidates that are not there"):
        make_jet_set(wrong, JetSetRules("Jet", 0.0, 3, ("pt",)))
