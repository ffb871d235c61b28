"""Limits against mass: interpolation, exclusion and failures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from darkop_dist.errors import FitError, StatisticsError
from darkop_dist.limits import LimitResult, MassScan, Workspace, scan_limits, upper_limit
from darkop_dist.limits.mass_scan import Excluded

Counting = Callable[[float, float, float], Workspace]


def limit(workspace: Workspace, xsec_pb: float | None = None) -> LimitResult:
    return upper_limit(workspace, signal="s", xsec_pb=xsec_pb)


def test_a_mass_that_fails_is_left_out_and_reported(counting: Counting) -> None:
    def broken() -> LimitResult:
        raise FitError("out of order")

    limits = {float(mass): partial(limit, counting(1e4 / mass, 50.0, 50.0), 2.0) for mass in (500, 1000, 2000)}
    scan = scan_limits({**limits, 1500.0: broken})
    assert scan.masses == (500.0, 1000.0, 2000.0)
    assert scan.problems == ("the mass 1500 is left out: out of order",)
    assert scan.observed[2] / scan.observed[0] == pytest.approx(4.0, rel=1e-4)
    in_pb = scan_limits(limits, cross_section=True)
    assert in_pb.observed == pytest.approx([2 * value for value in scan.observed])
    assert scan.p0 == pytest.approx([0.5] * 3, abs=1e-3)
    with pytest.raises(StatisticsError, match=r"limits at 1 of 2 masses are no scan. the mass 1500 is left out"):
        scan_limits({500.0: limits[500.0], 1500.0: broken})
    with pytest.raises(StatisticsError, match="the signal s has no cross section"):
        scan_limits({500.0: partial(limit, counting(5.0, 50.0, 50.0))}, cross_section=True)


def scan_of(observed: list[float], masses: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)) -> MassScan:
    return MassScan(masses, tuple(observed), tuple((0.1, 0.2, 2 * v, 5.0, 9.0) for v in observed), (0.5,) * 4, ())


def test_interpolation_and_its_refusal_outside() -> None:
    scan = scan_of([0.1, 1.0, 10.0, 100.0])
    assert scan.at(2.5) == pytest.approx((10**0.5, 2 * 10**0.5))
    with pytest.raises(StatisticsError, match=r"no limit at 4\.5: the scan covers 1 to 4 and is not extrapolated"):
        scan.at(4.5)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_prediction_that_is_no_cross_section(value: float) -> None:
    """Zero at one mass gave an excluded range that began at NaN."""
    with pytest.raises(StatisticsError, match=f"the prediction at 2 is {value:g}; it must be positive and finite"):
        scan_of([0.1, 10.0, 10.0, 0.1]).excluded(lambda mass: value if mass == 2.0 else 1.0)


def test_excluded_masses() -> None:
    scan = scan_of([0.1, 10.0, 10.0, 0.1])
    assert scan.excluded() == (
        Excluded(1.0, pytest.approx(1.5), low_open=True, high_open=False),
        Excluded(pytest.approx(3.5), 4.0, low_open=False, high_open=True),
    )
    assert scan.excluded(expected=True)[0].high == pytest.approx(1 + np.log(5) / np.log(100))
    assert scan.excluded(0.01) == ()
    assert scan_of([10.0, 0.1, 0.1, 10.0]).excluded(lambda mass: 1.0 + 0.0 * mass) == (
        Excluded(pytest.approx(1.5), pytest.approx(3.5), low_open=False, high_open=False),
    )
    assert scan_of([0.1] * 4).excluded() == (Excluded(1.0, 4.0, low_open=True, high_open=True),)
