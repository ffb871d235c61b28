"""Batches of toys: independent of order and place, reported where they fail, and covering as they should."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from darkop_dist.errors import FitError
from darkop_dist.limits import Workspace, upper_limit
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
