"""The bound below the floor: how often it covers where its model holds, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from darkop_dist.conformal import Calibration, from_scores, tail_upper_bound
from darkop_dist.errors import StatisticsError

EDGES = np.linspace(0, 40, 801).tolist()


def calibrated(scores: np.ndarray) -> Calibration:
    return from_scores(scores, edges=EDGES, source="Z to nunu", fingerprint="f")


@pytest.mark.parametrize("shape", [-0.15, 0.0, 0.25])
def test_it_covers(shape: float) -> None:
    """150 calibrations of 5000; true probability 1e-6, 200 times below the floor; 90% bounds."""
    rng, probability, trials = np.random.default_rng(7), 1e-6, 150
    law = stats.genpareto(shape)
    bounds = np.array(
        [
            tail_upper_bound(
                calibrated(law.rvs(5000, random_state=rng)), law.isf(probability), confidence_level=0.9
            ).upper
            for _ in range(trials)
        ]
    )
    missed = int(np.sum(bounds < probability))
    assert missed <= stats.binom.isf(1e-3, trials, 0.1)
    assert np.median(bounds) < (100 * probability if shape >= 0 else 1 / 5001)  # the floor: an end is not made use of


def test_it_falls_with_the_score_and_with_more_events() -> None:
    rng = np.random.default_rng(8)
    small, large = (calibrated(rng.exponential(size=size)) for size in (5000, 200_000))
    bounds = [tail_upper_bound(small, score).upper for score in (6.0, 10.0, 14.0, 25.0)]
    assert bounds == sorted(bounds, reverse=True)
    assert all(bound > np.exp(-score) for bound, score in zip(bounds, (6.0, 10.0, 14.0, 25.0), strict=True))
    many = tail_upper_bound(large, 14.0, exceedances=5000)
    assert np.exp(-14.0) < many.upper < bounds[2]
    assert many.exceedances >= 5000 > np.sum(large.counts[1 + EDGES.index(many.threshold) + 1 :])


def test_near_the_threshold_it_is_the_binomial_bound() -> None:
    """Just above the threshold nothing is extrapolated: k of n, one-sided 95% by the likelihood of a binomial."""
    calibration = calibrated(np.random.default_rng(9).exponential(size=5000))
    threshold = tail_upper_bound(calibration, 10.0).threshold
    found = tail_upper_bound(calibration, threshold + 1e-6)
    share = found.exceedances / 5000
    likelihood = stats.binom(5000, np.linspace(share, 2 * share, 20_001)).logpmf(found.exceedances)
    by_hand = np.linspace(share, 2 * share, 20_001)[np.argmax(likelihood[0] - likelihood > stats.chi2.isf(0.1, 1) / 2)]
    assert found.upper == pytest.approx(by_hand, rel=5e-3)


def test_it_says_what_it_depends_on_and_refuses_what_it_cannot_bound() -> None:
    calibration = calibrated(np.random.default_rng(10).exponential(size=5000))
    assert tail_upper_bound(calibration, 12.0).model.startswith("model-dependent: generalised Pareto")
    for options, message in (
        ({"score": 0.5}, "a score of 0.5 is not above the threshold"),
        ({"score": float("nan")}, "a score of nan is not above"),
        ({"score": 9.0, "exceedances": 10}, "10 exceedances fit no tail; take at least 50"),
        ({"score": 9.0, "exceedances": 6000}, "n = 5000 events of Z to nunu have no edge with 6000"),
        ({"score": 9.0, "confidence_level": 0.3}, "confidence level of 0.3"),
    ):
        with pytest.raises(StatisticsError, match=message):
            tail_upper_bound(calibration, **options)  # type: ignore[arg-type]
    coarse = from_scores(np.full(500, 0.5), edges=[0.0, 1.0, 2.0], source="b", fingerprint="f")
    with pytest.raises(StatisticsError, match="lie in 1 bins, which show no shape"):
        tail_upper_bound(coarse, 9.0)
