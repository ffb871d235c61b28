"""The rate of a selection from its acceptance of zero-bias events.

Assumptions:
    Zero-bias events sample the bunch crossings at random and with the pile-up of the run for which the rate is
    stated. A rate does not scale linearly to another luminosity where the selection responds to pile-up.
"""

from __future__ import annotations

from dataclasses import dataclass

from darkop_dist.conformal.bounds import clopper_pearson
from darkop_dist.errors import StatisticsError

REVOLUTION_FREQUENCY_HZ = 11245.6
"""Turns of a proton per second in the LHC: the speed of light over 26.659 km."""

MOST_BUNCHES = 3564
"""25 ns slots in one turn of the LHC."""


@dataclass(frozen=True)
class Rate:
    """A trigger rate with its statistical uncertainty.

    Attributes:
        passed: zero-bias events that the selection accepts.
        zero_bias: all zero-bias events.
        colliding_bunches: pairs of bunches that collide.
        confidence_level: of the interval.
        rate_hz: accepted events per second.
        low_hz: lower end of the Clopper-Pearson interval.
        high_hz: its upper end.
    """

    passed: int
    zero_bias: int
    colliding_bunches: int
    confidence_level: float
    rate_hz: float
    low_hz: float
    high_hz: float


def trigger_rate(passed: int, zero_bias: int, *, colliding_bunches: int, confidence_level: float = 0.68) -> Rate:
    """Rate = passed / zero_bias * colliding_bunches * 11245.6 Hz.

    Args:
        passed: zero-bias events that the selection accepts.
        zero_bias: all zero-bias events.
        colliding_bunches: pairs of bunches that collide, such as 2544 in 2018.
        confidence_level: of the central Clopper-Pearson interval, which covers at least this often.

    Raises:
        StatisticsError: no zero-bias events, more passed than there are, or numbers that cannot be.

    >>> round(trigger_rate(7, 2_000_000, colliding_bunches=2544).rate_hz, 2)
    100.13
    """
    if zero_bias <= 0:
        raise StatisticsError("a rate needs zero-bias events; there are none")
    if not 0 <= passed <= zero_bias:
        raise StatisticsError(f"{passed} of {zero_bias} zero-bias events cannot pass; count the same events for both")
    if not 0 < colliding_bunches <= MOST_BUNCHES:
        raise StatisticsError(f"{colliding_bunches} colliding bunches cannot be; the LHC has 1 to {MOST_BUNCHES}")
    if not 0.0 < confidence_level < 1.0:
        raise StatisticsError(f"a confidence level of {confidence_level} is not between 0 and 1; choose 0.68")
    crossings_hz = colliding_bunches * REVOLUTION_FREQUENCY_HZ
    low, high = clopper_pearson(passed, zero_bias, confidence_level)
    return Rate(
        passed=passed,
        zero_bias=zero_bias,
        colliding_bunches=colliding_bunches,
        confidence_level=confidence_level,
        rate_hz=passed / zero_bias * crossings_hz,
        low_hz=float(low) * crossings_hz,
        high_hz=float(high) * crossings_hz,
    )
