"""Trigger rates against closed forms."""

from __future__ import annotations

import pytest
from scipy import stats

from darkop_dist.errors import StatisticsError
from darkop_dist.trigger import trigger_rate


def test_everything_passes_at_the_crossing_rate() -> None:
    """2544 bunches cross at 28.6 MHz."""
    rate = trigger_rate(1000, 1000, colliding_bunches=2544)
    assert rate.rate_hz == pytest.approx(28.6e6, rel=1e-3)
    assert rate.high_hz == rate.rate_hz


def test_nothing_passes_has_the_closed_upper_end() -> None:
    """With no event accepted of n the Clopper-Pearson upper end is 1 - (tail)^(1/n), tail = (1 - CL)/2."""
    rate = trigger_rate(0, 500, colliding_bunches=2544, confidence_level=0.9)
    assert (rate.rate_hz, rate.low_hz) == (0.0, 0.0)
    assert rate.high_hz == pytest.approx((1 - 0.05 ** (1 / 500)) * 2544 * 11245.6, rel=1e-9)


def test_interval_against_scipy() -> None:
    rate = trigger_rate(12, 100_000, colliding_bunches=2448, confidence_level=0.95)
    interval = stats.binomtest(12, 100_000).proportion_ci(0.95, "exact")
    assert rate.low_hz == pytest.approx(interval.low * 2448 * 11245.6, rel=1e-9)
    assert rate.high_hz == pytest.approx(interval.high * 2448 * 11245.6, rel=1e-9)


@pytest.mark.parametrize(
    ("passed", "total", "bunches", "level", "message"),
    [
        (0, 0, 2544, 0.68, "there are none"),
        (5, 4, 2544, 0.68, "5 of 4 zero-bias events cannot pass"),
        (-1, 4, 2544, 0.68, "cannot pass"),
        (1, 4, 0, 0.68, "0 colliding bunches cannot be"),
        (1, 4, 4000, 0.68, "4000 colliding bunches"),
        (1, 4, 2544, 68.0, "not between 0 and 1"),
    ],
)
def test_bad_input(passed: int, total: int, bunches: int, level: float, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        trigger_rate(passed, total, colliding_bunches=bunches, confidence_level=level)
