"""Unbinned p-values are exact, and bins calibrate any number of events in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from darkop_dist.conformal import UnbinnedCalibration, from_chunks, from_scores, propose_edges, unbinned_from_scores
from darkop_dist.errors import InputValueError, StatisticsError

FEW = st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.inf])
SCORES = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(allow_nan=False) | FEW)


def unbinned(scores: np.ndarray, source: str = "background") -> UnbinnedCalibration:
    return unbinned_from_scores(scores, source=source, fingerprint="abc")


def test_by_hand() -> None:
    calibration = unbinned(np.array([3.0, 1.0, 1.0, -np.inf]))
    assert (calibration.n, calibration.floor) == (4, 0.2)
    assert calibration.p_values([[4.0, 3.0, 2.0], [1.0, 0.0, -np.inf]]).tolist() == [[0.2, 0.4, 0.4], [0.8, 0.8, 1.0]]


@given(background=SCORES, tested=SCORES)
def test_as_the_definition(background: np.ndarray, tested: np.ndarray) -> None:
    ranks = (background[None, :] >= tested[:, None]).sum(axis=1)
    assert np.array_equal(unbinned(background).p_values(tested), (1 + ranks) / (len(background) + 1))


@given(first=SCORES, second=SCORES)
def test_merge_is_joint_calibration(first: np.ndarray, second: np.ndarray) -> None:
    assert unbinned(first) + unbinned(second) == unbinned(np.concatenate([first, second]))


@given(background=SCORES, tested=SCORES)
def test_bins_can_only_make_p_values_larger(background: np.ndarray, tested: np.ndarray) -> None:
    whole = unbinned(background)
    assert np.all(whole.binned([-1.0, 0.0, 1.0, 2.0]).p_values(tested) >= whole.p_values(tested))


@pytest.mark.parametrize("levels", [None, 10])
def test_validity_over_repeated_experiments(levels: int | None) -> None:
    """P(p <= a) <= a over calibration and test event together, with and without ties: 40 000 experiments of n = 39.

    At each a = r/40 the number of p <= a may differ from the binomial expectation only by what has probability 1e-6:
    to both sides without ties, upwards with ten levels of score.
    """
    trials, n = 40_000, 39
    draws = np.random.default_rng(8).uniform(size=(trials, n + 1))
    scores = draws if levels is None else np.floor(draws * levels)
    p_values = np.array([unbinned(row[:n]).p_values(row[n]) for row in scores])
    for r in (1, 2, 4, 10, 20, 39):
        seen, level = np.sum(p_values <= r / (n + 1) + 1e-12), r / (n + 1)
        assert seen <= stats.binom.isf(1e-6, trials, level)
        assert levels is not None or seen >= stats.binom.ppf(1e-6, trials, level)


def test_refusals() -> None:
    with pytest.raises(InputValueError, match="QCD: 1 of 2 scores are NaN"):
        unbinned(np.array([np.nan, 1.0]), "QCD")
    with pytest.raises(InputValueError, match="under test: 1 of 1 scores are NaN"):
        unbinned(np.zeros(3)).p_values(np.nan)
    with pytest.raises(StatisticsError, match=r"below 0\.01.* n = 99 .*at least 9999 events"):
        unbinned(np.zeros(99)).require_alpha(1e-4)
    with pytest.raises(StatisticsError, match="different models"):
        unbinned(np.zeros(3)) + unbinned_from_scores([1.0], source="b", fingerprint="other")


def chunks(number: int, events: int = 250_000) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(9)
    for _ in range(number):
        yield rng.standard_exponential(events, dtype=np.float32)


def test_ten_million_scores_in_the_memory_of_one_chunk() -> None:
    """40 chunks of 250 000 float32 scores, 40 MB in all: at most what 8 chunks take, and less than 8 MB."""
    edges = propose_edges(np.random.default_rng(10).exponential(size=100_000)).tolist()

    def peak_bytes(number: int) -> int:
        tracemalloc.start()
        try:
            calibration = from_chunks(chunks(number), edges=edges, source="b", fingerprint="f")
            assert calibration.n == number * 250_000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    from_chunks(chunks(1), edges=edges, source="b", fingerprint="f")  # loads numba
    few, many = peak_bytes(8), peak_bytes(40)
    assert many < 1.02 * few
    assert many < 8e6


def test_chunks_are_the_whole() -> None:
    edges = [0.0, 0.5, 1.0, 3.0]
    pieces = from_chunks(chunks(3, 200_000), edges=edges, source="b", fingerprint="f")
    whole = from_scores(np.concatenate(list(chunks(3, 200_000))), edges=edges, source="b", fingerprint="f")
    assert pieces == whole
    with pytest.raises(InputValueError, match="b, chunk 1: 1 of 2 scores are NaN"):
        from_chunks([[1.0], [np.nan, 2.0]], edges=edges, source="b", fingerprint="f")


@pytest.mark.parametrize("share", [0.1, 0.02])
def test_proposed_edges_cost_little(share: float) -> None:
    """On 100 000 other events p-values in bins are 1/(1 - share) of the unbinned ones at most, within their noise.

    Down to p = 0.01, where 1000 of the sample and of the calibration fluctuate by 3% each: four of both together.
    """
    rng = np.random.default_rng(11)
    edges = propose_edges(rng.normal(size=100_000), share=share)
    assert np.all(np.diff(edges) > 0)
    assert np.array_equal(edges, edges.astype(np.float32))
    whole, tested = unbinned(rng.normal(size=100_000)), rng.normal(size=100_000)
    exact, binned = whole.p_values(tested), whole.binned(edges.tolist()).p_values(tested)
    ratio = (binned / exact)[exact > 0.01]
    assert ratio.min() >= 1.0
    assert ratio.max() < 1 / (1 - share) + 4 * np.sqrt(2 * share / 1000) + 0.01
    assert ratio.max() > 1 + share / 2  # no finer than was asked for
    assert len(edges) < 12 / share + 51  # log(100 000) / share, and the bins beyond the sample
    assert edges[-1] > 100  # far beyond the sample


def test_edges_that_cannot_be_proposed() -> None:
    with pytest.raises(StatisticsError, match="49 scores fix no edges"):
        propose_edges(np.arange(49.0))
    with pytest.raises(StatisticsError, match="half of the scores"):
        propose_edges(np.zeros(100))
    with pytest.raises(InputValueError, match="1 are not finite"):
        propose_edges(np.append(np.arange(99.0), np.inf))
    with pytest.raises(StatisticsError, match=r"a share of 1\.5 is not between"):
        propose_edges(np.arange(99.0), share=1.5)
