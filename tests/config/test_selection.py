"""Selections are parsed with units and evaluated on columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.config.selection import Selection, Term, parse_selection
from darkop_dist.errors import UnknownNameError


def test_units_become_gev() -> None:
    selection = parse_selection("mtt > 0.6 TeV and mtt<3000GeV and dphi >= .5 rad and n_jets == 2 and e <= 1e3 MeV")
    assert selection.terms == (
        Term("mtt", ">", 600.0, "GeV"),
        Term("mtt", "<", 3000.0, "GeV"),
        Term("dphi", ">=", 0.5, "rad"),
        Term("n_jets", "==", 2.0, ""),
        Term("e", "<=", 1.0, "GeV"),
    )
    assert selection.observables == ("mtt", "dphi", "n_jets", "e")


def test_evaluate() -> None:
    selection = parse_selection("MET > 250 GeV and n_jets == 2")
    mask = selection.evaluate(
        {"met": np.array([200.0, 250.0, 251.0, 300.0, np.nan]), "n_jets": np.array([2, 2, 2, 3, 2])}
    )
    assert mask.dtype == np.bool_
    assert mask.tolist() == [False, False, True, False, False]


def test_exact_name_wins_over_folded() -> None:
    assert parse_selection("met > 1").evaluate({"MET": [0.0], "met": [2.0]}).tolist() == [True]


def test_unknown_observable() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown observable 'recoill'. Did you mean recoil\?"):
        parse_selection("recoill > 1").evaluate({"recoil": np.zeros(2)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the cut ''"),
        ("MET > 250 GeV and", "cannot read the cut ''"),
        ("MET > 250 GeV or x > 1", "cannot read the cut"),
        ("MET => 250", "cannot read the cut 'MET => 250'"),
        ("250 < MET", "cannot read the cut"),
        ("MET > 250 gev", "unknown unit 'gev'"),
        ("MET > 1e999", "too large"),
    ],
)
def test_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_selection(text)


@given(
    st.floats(0, 1e6),
    st.lists(st.floats(-1e7, 1e7), min_size=1),
    st.sampled_from([("MeV", 1e-3), ("GeV", 1.0), ("TeV", 1e3)]),
)
def test_threshold_in_any_unit_selects_the_same(threshold: float, values: list[float], unit: tuple[str, float]) -> None:
    name, factor = unit
    column = np.asarray(values)
    above = parse_selection(f"x > {threshold!r} {name}").evaluate({"x": column})
    below = parse_selection(f"x <= {threshold!r} {name}").evaluate({"x": column})
    np.testing.assert_array_equal(above, column > threshold * factor)
    np.testing.assert_array_equal(above, ~below)


def test_selection_is_a_value() -> None:
    assert parse_selection("a > 1") == Selection("a > 1", (Term("a", ">", 1.0, ""),))
