"""The conformal background against closed forms and the exact Beta-Binomial p-values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import hist
import numpy as np
import pytest
from scipy import stats

from darkop_dist.config import P_VALUE
from darkop_dist.conformal import Calibration, excess, from_counts
from darkop_dist.conformal.discovery import count_p_value
from darkop_dist.errors import StatisticsError
from darkop_dist.limits import (
    ConformalBackground,
    FitSample,
    Workspace,
    build_workspace,
    p_value_histogram,
    upper_limit,
)
from darkop_dist.limits.p_value_bins import p_value_ranks

Fit = Callable[..., tuple[dict[str, np.ndarray], float]]

SAMPLES = [
    FitSample("data", ("data",), (1.0,), "data", "Data"),
    FitSample("qcd", ("qcd",), (1.0,), "background", "QCD"),
    FitSample("dm", ("dm",), (0.5,), "signal", "DM"),
]


def calibration_of(counts: Sequence[int]) -> Calibration:
    """Counts of the score's underflow, bins and overflow."""
    edges = np.arange(len(counts) - 1, dtype=float).tolist()
    return from_counts(np.array(counts, dtype=np.int64), edges, "control region", "v1")


def scores_of(calibration: Calibration, **weights: Sequence[float]) -> hist.Hist:
    """Sums of weights in the calibration's bins by dataset, all in the region signal."""
    histogram = hist.Hist(
        *(hist.axis.StrCategory([], growth=True, name=name) for name in ("dataset", "region", "variation")),
        hist.axis.Variable(calibration.edges, name="score", label="score"),
        storage=hist.storage.Weight(),
    )
    for dataset in weights:
        histogram.fill(dataset, "signal", "nominal", [0.5], weight=[0.0])
    for dataset, sums in weights.items():
        view = histogram.view(flow=True)[histogram.axes[0].index(dataset), 0, 0]
        view.value, view.variance = sums, sums
    return histogram


def two_bins(rank: int, n: int, observed: int, total: int) -> Workspace:
    """Beyond one threshold with ``rank - 1`` of n calibration scores above it: ``observed`` of ``total`` events."""
    calibration = calibration_of([0, n - rank + 1, rank - 1, 0])
    scores = scores_of(calibration, data=[0, total - observed, observed, 0], dm=[0, 0, 20, 0])
    return conformal(calibration, scores, (rank / (n + 1),))


def conformal(
    calibration: Calibration, scores: hist.Hist, edges: tuple[float, ...], samples: Sequence[FitSample] = SAMPLES
) -> Workspace:
    return build_workspace(
        p_value_histogram(scores, calibration, edges),
        samples,
        signal="dm",
        regions=["signal"],
        methods=[ConformalBackground(calibration, edges)],
    )


def test_weights_move_to_bins_of_p_values() -> None:
    # p-values from the top: overflow 3/10, then 3/10 (no calibration event), 5/10, 8/10, 9/10, underflow 10/10
    calibration = calibration_of([1, 1, 3, 2, 0, 2])
    assert calibration.bin_p_values.tolist() == [1.0, 0.9, 0.8, 0.5, 0.3, 0.3]
    scores = scores_of(calibration, data=[1, 2, 4, 8, 16, 32])
    found = p_value_histogram(scores, calibration, [0.3, 0.8])
    assert [axis.name for axis in found.axes] == ["dataset", "region", "variation", P_VALUE]
    assert found.values()[0, 0, 0].tolist() == [48, 12, 3]
    assert found.variances()[0, 0, 0].tolist() == [48, 12, 3]
    assert p_value_ranks(calibration, [0.3, 0.8]).tolist() == [3, 8]
    # an edge between the bins' p-values has the rank that the bins reach
    assert p_value_ranks(calibration, [0.45, 0.85]).tolist() == [3, 8]


def test_the_background_of_each_bin_and_its_constraint(expectation: Callable) -> None:
    calibration = calibration_of([0, 880, 90, 20, 9, 0])  # n = 999: the ranks of .01, .03, .12 are 10, 30, 120
    scores = scores_of(calibration, data=[0, 4300, 520, 120, 60, 0], dm=[0, 1, 2, 6, 40, 2], qcd=[0, 9, 9, 9, 9, 9])
    workspace = conformal(calibration, scores, (0.01, 0.03, 0.12))
    background, signal = workspace.spec["channels"][0]["samples"]
    assert background["data"] == pytest.approx([50, 100, 450, 4400])
    shares = next(m for m in background["modifiers"] if m["type"] == "shapesys")
    assert (np.array(background["data"]) / shares["data"]) ** 2 == pytest.approx([10, 20, 90, 880])
    assert signal["data"] == pytest.approx([21, 3, 1, 0.5])
    assert workspace.spec["observations"][0]["data"] == [60, 120, 520, 4300]
    assert workspace.edges == {"signal": (0.0, 0.01, 0.03, 0.12, 1.0)}
    assert any("shared out by 999 calibration events of control region" in note for note in workspace.notes)
    assert any(note.endswith("; the simulated qcd take no part") for note in workspace.notes)
    assert not any("dropped" in note for note in workspace.notes)
    shifted = expectation(
        workspace, {"conformal_background_shares_signal": [1.2, 1.0, 0.9, 1.0], "conformal_background_total": 1.1}
    )
    assert shifted["signal"] == pytest.approx([66, 110, 445.5, 4840])


def test_shares_have_the_moments_of_a_dirichlet() -> None:
    """Gamma variables with the constraints' shapes, divided by their sum: mean and variance of Beta(r, n + 1 - r).

    200 000 draws: the mean is within five standard errors, the variance within 2% (its relative standard error is
    0.3%, more for skew bins).
    """
    method = ConformalBackground(calibration_of([0, 880, 90, 20, 9, 0]), (0.01, 0.03, 0.12))
    counts = np.array(method.effective_counts)
    assert counts.tolist() == [10, 20, 90, 880]
    draws = np.random.default_rng(2).gamma(counts, size=(200_000, 4))
    shares = draws / draws.sum(axis=1, keepdims=True)
    for k, rank in enumerate(np.cumsum(counts)[:-1]):
        law = stats.beta(rank, 1000 - rank)
        beyond = shares[:, : k + 1].sum(axis=1)
        assert beyond.mean() == pytest.approx(law.mean(), abs=5 * law.std() / np.sqrt(200_000))
        assert beyond.var() == pytest.approx(law.var(), rel=0.02)


@pytest.mark.parametrize("n", [1_000, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize(("rank", "share"), [(10, 1.0), (30, 0.1), (100, 10.0)])
def test_significance_is_that_of_the_exact_law(fit_with_pyhf: Fit, n: int, rank: int, share: float) -> None:
    """At 2, 3 and 4 sigma of the Beta-Binomial law, with as many events under test as ``share`` n.

    q0 is the likelihood ratio of two binomial samples (a G-test), to what a minimiser leaves. It agrees with the exact
    p-value to 0.11 sigma: above because a count is discrete, below because the profile takes r for the calibration where
    the exact law has one less beside the threshold; measured from -0.10 to +0.10 in this range.
    """
    total = round(share * n)
    for sigma in (2.0, 3.0, 4.0):
        observed = smallest_count(sigma, total, n, rank)
        exact = float(stats.norm.isf(count_p_value(observed, total, n, rank)))
        table = [[observed, total - observed], [rank, n + 1 - rank]]
        closed = np.sqrt(stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic)
        workspace = two_bins(rank, n, observed, total)
        q0 = fit_with_pyhf(workspace, 0.0)[1] - fit_with_pyhf(workspace)[1]
        assert np.sqrt(q0) == pytest.approx(closed, abs=2e-3)
        assert np.sqrt(q0) == pytest.approx(exact, abs=0.11)


def smallest_count(sigma: float, total: int, n: int, rank: int) -> int:
    """The smallest count that is at least so significant."""
    low, high = 0, total
    while high - low > 1:
        middle = (low + high) // 2
        enough = count_p_value(middle, total, n, rank) <= stats.norm.sf(sigma)
        low, high = (low, middle) if enough else (middle, high)
    return high


def test_the_package_says_the_same_from_counts_to_significance() -> None:
    """The same tail through `excess` and through `upper_limit`; bins so fine that few scores are tied."""
    rng = np.random.default_rng(7)
    edges = np.linspace(0.0, 1.0, 200_001)
    counts = np.histogram(rng.uniform(size=20_000), edges)[0]
    data = np.histogram(rng.uniform(size=5_000), edges)[0]
    data[-25:] += 1
    pad = (1, 1)
    calibration = from_counts(np.pad(counts, pad), edges.tolist(), "control region", "v1")
    found = excess(calibration, np.pad(data, pad), 0.01)
    workspace = conformal(
        calibration, scores_of(calibration, data=np.pad(data, pad), dm=np.pad(1.0 * (edges[1:] > 0.995), pad)), (0.01,)
    )
    assert workspace.spec["observations"][0]["data"] == [found.observed, found.total - found.observed]
    assert 2.0 < found.significance < 4.0
    assert upper_limit(workspace, signal="dm").z_observed == pytest.approx(found.significance, abs=0.11)


def test_without_data_the_simulation_says_how_many(expectation: Callable) -> None:
    calibration = calibration_of([0, 880, 90, 20, 9, 0])
    scores = scores_of(calibration, dm=[0, 1, 2, 6, 40, 2], qcd=[0, 1700, 200, 60, 40, 0])
    workspace = conformal(calibration, scores, (0.01, 0.1), SAMPLES[1:])
    assert workspace.observed == "asimov"
    assert sum(workspace.spec["observations"][0]["data"]) == pytest.approx(2000)
    assert expectation(workspace, {})["signal"] == pytest.approx([20, 40, 1940])


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((), "must increase between 0 and 1"),
        ((0.1, 0.05), "must increase between 0 and 1"),
        ((0.1, 1.0), "must increase between 0 and 1"),
        ((float("nan"),), "must increase between 0 and 1"),
        ((1e-4, 0.1), r"alpha = 0.0001 lies below 0.001"),
        ((0.005,), "no score bin has a p-value above 0 and up to 0.005: the nearest is 0.01"),
        ((0.01, 0.02), "no score bin has a p-value above 0.01 and up to 0.02: the nearest is 0.03"),
    ],
)
def test_edges_that_the_calibration_cannot_have(edges: tuple[float, ...], message: str) -> None:
    # the overflow has no calibration event and p-value .001, so it is taken away by a full last bin
    calibration = calibration_of([0, 880, 90, 20, 0, 9])
    scores = scores_of(calibration, data=[0, 4300, 520, 120, 60, 0], dm=[0, 1, 2, 6, 40, 2])
    with pytest.raises(StatisticsError, match=message):
        conformal(calibration, scores, edges)


def test_other_bins_regions_and_no_events() -> None:
    calibration = calibration_of([0, 880, 90, 20, 9, 0])
    scores = scores_of(calibration, data=[0, 0, 0, 0, 0, 0], dm=[0, 1, 2, 6, 40, 2])
    with pytest.raises(StatisticsError, match="no event is under test in region signal"):
        conformal(calibration, scores, (0.01, 0.1))
    with pytest.raises(StatisticsError, match="scores have other bins than the calibration with control region"):
        p_value_histogram(scores, calibration_of([0, 5, 5, 0]), (0.5,))
    arguments = {"samples": SAMPLES, "signal": "dm", "methods": [ConformalBackground(calibration, (0.01,))]}
    with pytest.raises(StatisticsError, match=r"region signal has the edges .* needs those of its p-values"):
        build_workspace(scores, regions=["signal"], **arguments)
    scores.fill("data", "control", "nominal", [0.5])
    with pytest.raises(StatisticsError, match="one region, since a calibration is used up by its first; the fit has"):
        build_workspace(p_value_histogram(scores, calibration, (0.01,)), regions=["signal", "control"], **arguments)
