"""Batches of toys: independent of order and place, reported where they fail, and covering as they should."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import special, stats

from darkop_dist.errors import FitError
from darkop_dist.limits import Workspace, fit, upper_limit
from darkop_dist.limits.likelihood import Data, Likelihood, Minimum
from darkop_dist.limits.toys import ToyBatch, ToyTask, plan_toys, run_here, run_task

Counting = Callable[[float, float, float], Workspace]


def test_batches_in_any_order_give_the_same_limit(counting: Counting) -> None:
    workspace = counting(4.0, 6.0, 6.0)

    def backwards(given: Workspace, tasks: Sequence[ToyTask]) -> list[ToyBatch]:
        return list(run_here(given, tasks[::-1]))

    here = upper_limit(workspace, signal="s", toys=150, seed=3)
    assert upper_limit(workspace, signal="s", toys=150, seed=3, runner=backwards) == here
    assert upper_limit(workspace, signal="s", toys=150, seed=4).observed != here.observed
    assert here.problems == ()
    assert here.observed_error is not None
    assert 0.02 < here.observed_error / here.observed < 0.2


def test_plan_splits_hypotheses_into_batches() -> None:
    tasks = plan_toys([1.0, 2.0], 250, 5, negative=False)
    assert [(task.truth, task.tested, task.toys) for task in tasks] == [
        (truth, tested, size)
        for truth, tested in ((0.0, (1.0, 2.0)), (1.0, (1.0,)), (2.0, (2.0,)))
        for size in (100, 100, 50)
    ]
    assert len({task.stream for task in tasks}) == len(tasks)


@pytest.mark.slow
def test_error_of_the_limit_is_the_spread_over_seeds(counting: Counting) -> None:
    """Fifteen seeds: the spread of a normal law is known to 19%; half is 2.6 times that."""
    results = [upper_limit(counting(4.0, 6.0, 6.0), signal="s", toys=100, seed=seed) for seed in range(15)]
    spread = np.std([result.observed for result in results], ddof=1)
    assert np.mean([result.observed_error for result in results]) == pytest.approx(spread, rel=0.5)


def test_a_toy_that_fails_is_reported(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """One toy of 200 at one point: left out by name. Many: the point is left out. All of the background: an error."""
    workspace = counting(4.0, 6.0, 6.0)
    original = Likelihood.fit
    lost: list[int] = []

    def failing(self: Likelihood, data: Data, mu: float | None = None, *rest: object, **more: object) -> Minimum:
        if mu is None and len(lost) < most[0] and data is not self.data and data.counts[0] == wanted[0]:
            lost.append(1)
            raise FitError("out of order")
        return original(self, data, mu, *rest, **more)

    most, wanted = [1], [3.0]
    monkeypatch.setattr(Likelihood, "fit", failing)
    result = upper_limit(workspace, signal="s", toys=200, seed=3)
    assert result.problems == ("a toy at mu = 0 was left out: out of order",)
    most[0], wanted[0] = 10**6, 33.0  # a count that only strong signals give
    lost.clear()
    result = upper_limit(workspace, signal="s", toys=200, seed=3)
    assert len(result.scan_mu) < 8
    assert any("is left out" in problem and "of 200 toys failed" in problem for problem in result.problems)
    wanted[0] = 6.0
    lost.clear()
    with pytest.raises(FitError, match=r"of 200 toys of the background could not be fitted.*out of order"):
        upper_limit(workspace, signal="s", toys=200, seed=3)


def test_a_batch_repeats_with_its_task(counting: Counting) -> None:
    task = ToyTask(1.0, (0.5, 1.0), 20, 11, (2, 3), negative=False)
    assert run_task(counting(4.0, 6.0, 6.0), task) == run_task(counting(4.0, 6.0, 6.0), task)


@pytest.mark.slow
def test_limits_cover(counting: Counting) -> None:
    """1000 pseudo-experiments with a signal of strength 1: at most 5% of the limits lie below it.

    CLs covers by construction; asymptotics are good to about a percent at 60 expected events. 1000 experiments at 5%
    have a standard deviation of 0.7%: 5% + 3 x 0.7% + 1%.
    """
    rng = np.random.default_rng(9)
    counts, frequency = np.unique(rng.poisson(50.0 + 20.0, 1000), return_counts=True)
    limits = [upper_limit(counting(20.0, 50.0, float(n)), signal="s").observed for n in counts]
    missed = frequency[np.array(limits) < 1.0].sum() / 1000
    assert missed <= 0.05 + 3 * 0.007 + 0.01
    assert missed > 0.0


def test_discovery_and_goodness_of_fit_from_toys(counting: Counting) -> None:
    """16 events on 8: P(n >= 16 | 8) exactly, from 600 toys: 4 binomial standard deviations.

    Without nuisance parameters the misfit of the background alone is 2 (b - n + n ln(n/b)): as bad are 16 or more
    events, and those so few that the formula gives as much.
    """
    result = upper_limit(counting(5.0, 8.0, 16.0), signal="s", toys=600, seed=2)
    assert result.p0_toys is not None
    assert result.goodness_p_toys is not None

    def misfit(n: np.ndarray) -> np.ndarray:
        return 2 * (8.0 - n + special.xlogy(n, n / 8.0))

    counts = np.arange(200.0)
    as_bad = stats.poisson.pmf(counts, 8.0)[misfit(counts) >= misfit(np.array([16.0])) - 1e-9].sum()
    for found, exact in ((result.p0_toys, stats.poisson.sf(15, 8.0)), (result.goodness_p_toys, as_bad)):
        assert abs(found - exact) < 4 * np.sqrt(exact / 600) + 1 / 601


def test_toys_with_the_counts_of_the_data_are_as_extreme(counting: Counting) -> None:
    """3 events on 3: CLs = P(n <= 3 | mu + 3) / P(n <= 3 | 3) exactly, of the data and of the median background.

    600 toys: 4 standard deviations of the ratio. Without the toys with 3 events CLs would be half as large.
    """
    result = upper_limit(counting(1.0, 3.0, 3.0), signal="s", toys=600, seed=3)
    below = stats.poisson.cdf(3, 3.0)
    for mu, observed, expected in zip(result.scan_mu, result.scan_cls_obs, result.scan_cls_exp, strict=True):
        passed = stats.poisson.cdf(3, mu + 3.0)
        error = passed / below * np.sqrt(((1 - passed) / passed + (1 - below) / below) / 600)
        assert abs(observed - passed / below) < 4 * error + 1 / 600
        assert abs(expected[2] - passed / below) < 4 * error + 1 / 600


def with_uncertainty(kind: str, sizes: list[float], bins: int = 20) -> Workspace:
    """100 expected and observed events in each bin, alternating by 10 up and down, with one modifier."""
    modifier = {"name": "size", "type": kind, "data": sizes}
    signal = {"name": "s", "data": [5.0] * bins, "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]}
    background = {"name": "b", "data": [100.0] * bins, "modifiers": [modifier]}
    spec = {
        "channels": [{"name": "c", "samples": [background, signal]}],
        "observations": [{"name": "c", "data": [110.0, 90.0] * (bins // 2)}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    return Workspace("s", spec, "data")


@pytest.mark.parametrize("kind", ["staterror", "shapesys"])
def test_goodness_of_fit_takes_no_toys_of_constants(kind: str) -> None:
    """20 bins with a chi-square of 20, 19 of them without uncertainty: 100 toys and the chi-square law agree.

    Constraints of constants that fluctuated would add 19 to the toys' chi-square: p = .99 and not .46. Four binomial
    standard deviations.
    """
    workspace = with_uncertainty(kind, [1.0] + [0.0] * 19)
    result = upper_limit(workspace, signal="s", toys=100, seed=1)
    asymptotic = fit(workspace, hypothesis="background-only").goodness.p_value
    assert asymptotic is not None
    assert result.goodness_p_toys is not None
    assert abs(result.goodness_p_toys - asymptotic) < 4 * 0.05


def test_an_uncertainty_that_is_all_but_zero() -> None:
    """(100 / 1e-8)^2 = 1e20 auxiliary counts are more than NumPy draws."""
    result = upper_limit(with_uncertainty("shapesys", [1e-8] * 2, bins=2), signal="s", toys=20, seed=1)
    assert result.observed > 0


def test_covariance_of_a_fit(counting: Counting) -> None:
    fitted = fit(counting(5.0, 50.0, 53.0), hypothesis="signal+background")
    assert fitted.covariance[0, 0] == pytest.approx(fitted.mu_hat_uncertainty**2)
