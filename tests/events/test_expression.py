"""Selections over columns: what they mean, and what is refused by name."""

import contextlib

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.events.expression import parse_expression

COLUMNS = {
    "MET_pt": np.array([50.0, 250.0, 300.0, np.nan]),
    "MET_phi": np.array([0.0, 3.1, -3.1, 0.0]),
    "HLT_MET": np.array([True, True, False, True]),
    "Jet_pt": ak.Array([[100.0, 20.0], [], [40.0, 35.0], [31.0]]),
    "Jet_phi": ak.Array([[0.0, 1.0], [], [3.1, 0.0], [1.0]]),
    "Jet_id": ak.Array([[6, 2], [], [4, 6], [0]]),
    "Muon_pt": ak.Array([[5.0], [7.0, 30.0], [], [9.0]]),
    "nJet": np.array([2, 0, 2, 1]),
}
OF = {name: name.partition("_")[0] for name in COLUMNS if name.startswith(("Jet_", "Muon_"))}


def passes(text: str) -> list[bool]:
    return parse_expression(text).evaluate(COLUMNS, OF, 4).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MET.pt > 200 and count(Jet.pt > 30) >= 1", [0, 0, 1, 0]),
        ("MET_pt > 0.2 TeV", [0, 1, 1, 0]),
        ("not (MET.pt > 200)", [1, 0, 0, 1]),
        ("HLT_MET", [1, 1, 0, 1]),
        ("HLT.MET and nJet > 0", [1, 0, 0, 1]),
        ("any(Jet.pt > 30 and abs(Jet.phi) < 2)", [1, 0, 1, 1]),
        ("all(Jet.pt > 30)", [0, 1, 1, 1]),
        ("count(Jet.pt) == nJet", [1, 1, 1, 1]),
        ("max(Jet.pt) > 35", [1, 0, 1, 0]),
        ("not (max(Jet.pt) > 35)", [0, 1, 0, 1]),
        ("min(Jet.pt) < 32", [1, 0, 0, 1]),
        ("sum(Jet.pt) >= 75", [1, 0, 1, 0]),
        ("Jet.pt[1] > 0", [1, 0, 1, 0]),
        ("30 < Jet.pt[0] < 50 GeV", [0, 0, 1, 1]),
        ("any(Jet.id & 4 == 4)", [1, 0, 1, 0]),
        ("(MET.pt > 200) | (count(Muon.pt > 8) > 0)", [0, 1, 1, 1]),
        ("abs(delta_phi(MET.phi, Jet.phi[0])) < 0.2", [1, 0, 1, 0]),
        ("hypot(MET.pt, 40) > 60 and sqrt(MET.pt) < 10", [1, 0, 0, 0]),
        ("9 ** 9 ** 9 > 1", [1, 1, 1, 1]),
    ],
)
def test_what_a_selection_means(text: str, expected: list[int]) -> None:
    assert passes(text) == [bool(value) for value in expected]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("Jet.pt > 30", r"gives one value per object of Jet, not one per event. Use any\(...\)"),
        ("MET.pt", "gives numbers .float64., not true or false. Compare them"),
        ("MET.pt and HLT_MET", "'MET.pt' is a number where true or false is needed"),
        ("any(Jet.pt > Muon.pt)", "joins objects of Jet and Muon, which differ in number"),
        ("MET.pt > 3 & MET.pt < 5", "put comparisons beside & and | in parentheses"),
        ("count(MET.pt) > 1", "needs a value per object, such as Jet.pt"),
        ("any(Jet.pt)", "is a number where true or false is needed"),
        ("MET.pt[0] > 1", "needs a value per object, such as Jet.pt.0."),
        ("hypot(MET.pt) > 3", "hypot takes 2 arguments, not 1"),
        ("mean(Jet.pt) > 3", "'mean' is no function here"),
        ("MET.pt >", "cannot be read. Write such as"),
        ("MET > 200 > ", "cannot be read"),
        ("(" * 300 + "MET.pt > 1" + ")" * 300, "cannot be read"),
        ("MET.pt > 1 and " * 400 + "HLT_MET", "is longer than 4000 characters"),
        ("__import__('os').system('true')", "is not part of a selection"),
        ("MET.pt.__class__ == 1", "is not part of a selection"),
        ("[x for x in Jet.pt]", "is not part of a selection"),
        ("(lambda: 1)()", "is not part of a selection"),
        ("~MET.pt > 3", "'MET.pt' is of a type that this cannot be done with"),
        ("-HLT_MET", "'HLT_MET' is of a type that this cannot be done with"),
        ("Jet.pt[1000000000] > 3", "is not part of a selection"),
        ("Jet.pt[-1] > 3", "is not part of a selection"),
        ("MET.pt > 'a'", "is not part of a selection"),
    ],
)
def test_what_is_no_selection_is_refused(text: str, match: str) -> None:
    with pytest.raises(InputValueError, match=match):
        passes(text)


def test_an_unknown_column_gives_the_nearest() -> None:
    expression = parse_expression("MTE.pt > 3 and Jet.pt[0] > 3")
    assert expression.names == ("MTE.pt", "Jet.pt")
    with pytest.raises(UnknownNameError, match=r"unknown column 'MTE.pt'. Did you mean MET_pt.*a.root has no such"):
        expression.branches(frozenset(COLUMNS), "a.root")


@given(st.text(alphabet="MET.ptJe()[]<>=& |and0123456789'\"_*~", max_size=40))
def test_no_text_does_more_than_select_or_be_refused(text: str) -> None:
    with contextlib.suppress(InputValueError, UnknownNameError):
        assert len(passes(text)) == 4
