"""Fast bins are those of a binary search, to the last bit, for any edges and scores."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from darkop_dist.conformal import binning
from darkop_dist.conformal.binning import bins_of, count_scores, look_up
from darkop_dist.errors import InputValueError

ANY = st.floats(allow_nan=False, allow_infinity=False)
FINE = st.floats(-4, 4) | st.floats(0, 1e-300) | st.sampled_from([0.0, -0.0, 5e-324, 1.0, np.nextafter(1.0, 2.0)])
EDGES = st.lists(ANY | FINE, min_size=2, max_size=60, unique=True).map(lambda edges: np.array(sorted(edges)))


@pytest.fixture(autouse=True)
def always_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binning, "FEWEST_FOR_GRID", 0)


def reference(edges: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.searchsorted(edges, scores.astype(np.float64), side="right")


def check(edges: np.ndarray, scores: np.ndarray) -> None:
    bins, of_bins = reference(edges, scores), np.linspace(1.0, 0.0, len(edges) + 1)
    assert np.array_equal(bins_of(scores, edges, "s"), bins)
    assert np.array_equal(look_up(of_bins, scores, edges, "s"), of_bins[bins])
    assert np.array_equal(count_scores(scores, edges, "s"), np.bincount(bins.ravel(), minlength=len(edges) + 1))


@given(edges=EDGES, data=st.data(), dtype=st.sampled_from([np.float64, np.float32]))
def test_as_a_binary_search(edges: np.ndarray, data: st.DataObject, dtype: type) -> None:
    """With the edges themselves, their neighbours, infinities, both zeros and denormal numbers among the scores."""
    edges = np.unique(edges)  # of the two zeros keep one
    own = data.draw(hnp.arrays(np.float64, st.integers(0, 30), elements=ANY | FINE))
    special = np.array([np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308])
    with np.errstate(over="ignore"):  # the neighbour of the largest number is infinite
        near = [edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]
        scores = np.concatenate([own, special, *near]).astype(dtype)
    if len(edges) > 1:
        check(edges, scores)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_scores_on_axes_of_every_kind(dtype: type) -> None:
    """Regular, crowded at one end, 100 000 edges as dense as the scores, and edges that differ in their last bit alone."""
    rng = np.random.default_rng(5)
    scores = np.concatenate([rng.exponential(size=200_000), rng.normal(size=50_000) * 100]).astype(dtype)
    last_bits = 1.0 + np.arange(500) * np.finfo(float).eps
    for edges in (
        np.linspace(0, 20, 201),
        np.geomspace(1e-9, 1e6, 301),
        np.unique(scores[::2].astype(float)),
        np.concatenate([[-1e6], last_bits, [1e12]]),
    ):
        check(edges, np.concatenate([scores, edges.astype(dtype)]))


def test_the_grid_is_used_and_given_up_where_it_must() -> None:
    assert binning.grid_of(np.array([0.0, 1.0]), 10) is not None
    assert binning.grid_of(np.array([-1.7e308, 1.7e308]), 10) is None  # the width is infinite
    assert binning.grid_of(np.array([0.0, 5e-324]), 10) is None  # its inverse is
    assert binning.grid_of(np.array([0.0, 1.0]), 10, fewest=11) is None


def test_without_numba_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, edges = np.random.default_rng(6), np.geomspace(1e-3, 10, 100)
    scores = rng.exponential(size=150_000).astype(np.float32)
    fast = count_scores(scores, edges, "s"), bins_of(scores, edges, "s")
    monkeypatch.setitem(sys.modules, "numba", None)  # import numba fails then
    binning._has_numba.cache_clear()
    try:
        assert binning.grid_of(edges, len(scores)) is None
        assert np.array_equal(count_scores(scores, edges, "s"), fast[0])
        assert np.array_equal(bins_of(scores, edges, "s"), fast[1])
        with pytest.raises(InputValueError, match="QCD: 1 of 2 scores are NaN"):
            count_scores([np.nan, 1.0], edges, "QCD")
    finally:
        monkeypatch.undo()
        binning._has_numba.cache_clear()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_refused_wherever_it_stands(dtype: type) -> None:
    scores = np.zeros(20_000, dtype=dtype)
    scores[[0, 9_000, -1]] = np.nan
    with pytest.raises(InputValueError, match="QCD: 3 of 20000 scores are NaN"):
        count_scores(scores, np.array([0.0, 1.0]), "QCD")
    with pytest.raises(InputValueError, match="QCD: 3 of 20000 scores are NaN"):
        bins_of(scores, np.array([0.0, 1.0]), "QCD")


def test_any_shape_and_type_of_numbers() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    assert bins_of([[0, 1], [2, -1]], edges, "s").tolist() == [[1, 2], [3, 0]]
    assert bins_of(0.5, edges, "s") == 1
    assert bins_of(np.array([0.5, 1.5], dtype=">f4")[::-1], edges, "s").tolist() == [2, 1]
    assert count_scores(np.array([], dtype=np.float32), edges, "s").tolist() == [0, 0, 0, 0]
