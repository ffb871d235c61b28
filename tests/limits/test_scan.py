"""Profile likelihoods and intervals against closed forms, and their coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize

from darkop_dist.errors import FitError, StatisticsError, UnknownNameError
from darkop_dist.limits import Workspace, scan_likelihood
from darkop_dist.limits.likelihood import Data, Likelihood, Minimum

Counting = Callable[[float, float, float], Workspace]


def height(mu: float, n: float = 53.0) -> float:
    """-2 ln L of n events above its minimum, expected 50 + 5 mu."""
    expected = 50 + 5 * mu
    return 2 * (expected - n + n * np.log(n / expected))


def test_counting_experiment(counting: Counting) -> None:
    scan = scan_likelihood(counting(5.0, 50.0, 53.0))
    assert (scan.parameter, scan.bestfit) == ("mu", pytest.approx(0.6, abs=1e-5))
    assert scan.twice_delta_nll == pytest.approx([height(mu) for mu in scan.values], abs=1e-6)
    assert len(scan.values) == 31
    assert scan.low == pytest.approx(optimize.brentq(lambda mu: height(mu) - 1, -9, 0.6), abs=1e-4)
    assert scan.high == pytest.approx(optimize.brentq(lambda mu: height(mu) - 1, 0.6, 9), abs=1e-4)
    assert scan.problems == ()
    wide = scan_likelihood(counting(5.0, 50.0, 53.0), "mu", [0.0, 1.0], confidence_level=0.9545)
    assert wide.values == (0.0, 1.0)
    assert wide.high == pytest.approx(optimize.brentq(lambda mu: height(mu) - 4, 0.6, 9), abs=1e-3)


def test_an_interval_that_ends_at_a_bound_is_one_sided_and_says_so(counting: Counting) -> None:
    """No event seen, none of background: the strength cannot go below zero."""
    scan = scan_likelihood(counting(3.0, 0.001, 0.0))
    assert scan.low is None
    assert scan.high == pytest.approx(1 / 6 + scan.bestfit, abs=1e-3)  # 2 x 3 mu = 1
    assert any("no lower end: mu reaches its bound" in problem for problem in scan.problems)


def test_bad_requests(counting: Counting) -> None:
    workspace = counting(5.0, 50.0, 53.0)
    with pytest.raises(UnknownNameError, match=r"unknown parameter 'nu'.*The model has mu"):
        scan_likelihood(workspace, "nu")
    with pytest.raises(StatisticsError, match="confidence level of 68"):
        scan_likelihood(workspace, confidence_level=68)
    workspace.spec["channels"][0]["samples"][0]["modifiers"].append({"name": "k", "type": "normfactor", "data": None})
    workspace.spec["measurements"][0]["config"]["parameters"].append({"name": "k", "fixed": True})
    with pytest.raises(StatisticsError, match="k is a constant of the model"):
        scan_likelihood(workspace, "k")


def test_a_point_that_fails_is_reported(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Likelihood.fit

    def failing(self: Likelihood, data: Data, *rest: object, fixed: dict[int, float] | None = None) -> Minimum:
        if fixed in ({0: 1.0}, {0: 3.0}):
            raise FitError("out of order")
        return original(self, data, *rest, fixed=fixed)

    monkeypatch.setattr(Likelihood, "fit", failing)
    scan = scan_likelihood(counting(5.0, 50.0, 53.0), values=[0.0, 1.0, 2.0])
    assert scan.values == (0.0, 2.0)
    assert scan.problems == ("the point mu = 1 is left out: out of order",)
    with pytest.raises(FitError, match="no point of the scan of mu could be fitted"):
        scan_likelihood(counting(5.0, 50.0, 53.0), values=[1.0, 3.0])


def test_intervals_cover(counting: Counting) -> None:
    """1000 pseudo-experiments of 100 events, seed 5: the 68.27% interval holds the truth.

    The counts are whole numbers, which shifts the coverage by up to the probability of half a count, 2%; the binomial
    law of 1000 experiments has a standard deviation of 1.5%, taken three times.
    """
    counts, frequency = np.unique(np.random.default_rng(5).poisson(80 + 20 * 1.0, 1000), return_counts=True)
    covered = 0
    for count, times in zip(counts, frequency, strict=True):
        scan = scan_likelihood(counting(20.0, 80.0, float(count)), values=[1.0])
        assert scan.low is not None
        assert scan.high is not None
        covered += times * (scan.low <= 1.0 <= scan.high)
    assert abs(covered / 1000 - 0.6827) < 3 * 0.015 + 0.02
