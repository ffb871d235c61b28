"""Rate against threshold: every point against a direct count, and where the sample cannot say."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.trigger.curve import rate_curve
from darkop_dist.trigger.weighted import sampled_rate, threshold_for

HZ = 2544 * 11245.6
RNG = np.random.default_rng(11)
SCORES = RNG.exponential(4.0, 5000).astype(np.float32).round(1)
WEIGHT = np.where(np.arange(5000) % 3 == 0, 1.9e-4, 1e-5)


def test_every_point_is_a_direct_count() -> None:
    curve = rate_curve(SCORES, WEIGHT, HZ, confidence_level=0.9)
    assert curve.thresholds[0] == SCORES.min()
    assert curve.thresholds[-1] == SCORES.max()
    assert (np.diff(curve.thresholds) > 0).all()
    said = np.isfinite(curve.rate_hz)
    assert said.sum() > 30
    for cut, rate, low, high in zip(curve.thresholds, curve.rate_hz, curve.low_hz, curve.high_hz, strict=True):
        above = cut <= SCORES
        if np.isnan(rate):
            assert WEIGHT[above].sum() ** 2 / (WEIGHT[above] ** 2).sum() < 10
            assert np.isnan(low)
            assert np.isnan(high)
            continue
        one = sampled_rate(above, WEIGHT, HZ, 0.9)
        assert (rate, low, high) == (one.rate_hz, one.low_hz, one.high_hz)
        assert rate == pytest.approx(WEIGHT[above].sum() * HZ)
    assert (np.diff(curve.rate_hz[said]) < 0).all()


def test_it_stops_where_a_threshold_is_refused() -> None:
    curve = rate_curve(SCORES, WEIGHT, HZ)
    said = np.isfinite(curve.rate_hz)
    lowest = float(curve.rate_hz[said].min())
    assert threshold_for(SCORES, WEIGHT, HZ, lowest * (1 + 1e-9)) == curve.thresholds[said].max()
    assert not said[-1], "one crossing has the highest score"
    with pytest.raises(StatisticsError, match="cannot say which score gives"):
        threshold_for(SCORES, WEIGHT, HZ, float(WEIGHT.min()) * HZ)


def test_some_of_the_crossings() -> None:
    among = np.arange(5000) % 2 == 0
    curve = rate_curve(SCORES, WEIGHT, HZ, among=among)
    place = len(curve.thresholds) // 2
    above = (curve.thresholds[place] <= SCORES) & among
    assert curve.rate_hz[place] == sampled_rate(above, WEIGHT, HZ).rate_hz
    assert curve.effective[place] == sampled_rate(above, WEIGHT, HZ).effective
    nothing = rate_curve(SCORES, WEIGHT, HZ, among=np.zeros(5000, dtype=bool))
    assert len(nothing.thresholds) == len(nothing.rate_hz) == 0


def test_what_is_refused() -> None:
    with pytest.raises(StatisticsError, match=r"no weight\. Make it again"):
        rate_curve(SCORES, np.zeros(5000), HZ)
    with pytest.raises(InputValueError, match=r"confidence level: 2\.0"):
        rate_curve(SCORES, WEIGHT, HZ, confidence_level=2.0)
