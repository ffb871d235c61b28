"""Gross and Vitells on a stationary Gaussian process, whose crossings are known (Rice) and whose maximum is simulated.

Correlation exp(-d^2/2) over 20 correlation lengths in steps of 0.05: the mean number of rises of Z above z is 20/(2 pi)
exp(-z^2/2) (S. O. Rice, Bell System Tech. J. 24 (1945) 46). On the grid a rise and fall within one step is missed: a share
of z^2 0.05^2/24, below 0.2% up to 4 sigma.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft, stats

from darkop_dist.conformal import look_elsewhere, up_crossings
from darkop_dist.errors import InputValueError, StatisticsError

LENGTH, STEP, TOYS = 20.0, 0.05, 40_000
MASSES = np.arange(0.0, LENGTH, STEP)
RICE = LENGTH / (2 * np.pi)


@pytest.fixture(scope="module")
def scans() -> np.ndarray:
    """Toys of the process on a circle of twice the length, cut in half: the far ends have no correlation, exp(-200)."""
    rng, points = np.random.default_rng(12), 2 * len(MASSES)
    distance = STEP * np.minimum(np.arange(points), points - np.arange(points))
    amplitude = np.sqrt(np.maximum(fft.rfft(np.exp(-(distance**2) / 2)).real, 0.0))
    noise = rng.standard_normal((TOYS, points), dtype=np.float32)
    smooth: np.ndarray = fft.irfft(fft.rfft(noise, axis=1) * amplitude.astype(np.float32), n=points, axis=1)
    return smooth[:, : len(MASSES)]


def with_maximum(z: float) -> np.ndarray:
    """A scan whose largest significance is z."""
    return np.where(np.arange(len(MASSES)) == 100, z, -1.0)


@pytest.mark.parametrize("z", [0.0, 1.0, 2.0])
def test_crossings_are_those_of_rice(scans: np.ndarray, z: float) -> None:
    counts = up_crossings(scans, z)
    assert abs(counts.mean() - RICE * np.exp(-(z**2) / 2)) < 4 * counts.std() / np.sqrt(TOYS)


@pytest.mark.parametrize("sides", ["excess", "both"])
@pytest.mark.parametrize("z", [2.0, 3.0, 4.0])
def test_global_p_value_against_simulated_maxima(scans: np.ndarray, z: float, sides: str) -> None:
    """Counted in 500 toys, compared with the maxima of the others: never below, and equal where it is small.

    An upper bound that lies above by the mean number of pairs of rises, at most half the square of it. The binomial law
    of the maxima is left out at 4.5 of its standard deviations (1e-5), the crossings at four of their errors.
    """
    found = look_elsewhere(MASSES, with_maximum(z), toys=scans[:500], sides=sides)  # type: ignore[arg-type]
    rest = scans[500:] if sides == "excess" else np.abs(scans[500:])
    seen, total = int(np.sum(rest.max(axis=1) > z)), len(rest)
    expected = RICE * np.exp(-(z**2) / 2) * (1 if sides == "excess" else 2)
    slack = 4 * found.p_value_error
    assert seen <= stats.binom.isf(3e-6, total, min(found.p_value + slack, 1.0))
    assert seen >= stats.binom.ppf(3e-6, total, max(0.998 * found.p_value - slack - expected**2 / 2, 0.0))
    assert abs(found.crossings - RICE * np.exp(-0.25) * (1 if sides == "excess" else 2)) < 4 * found.crossings_error
    assert found.p_value == 1.0 or found.significance < z


def test_closed_form_from_the_scan_itself() -> None:
    """Rises above q = 1 at 3 and 1.5, the latter a deficit: 1 one-sided, 2 two-sided; P(Z > 3) = 1.3499e-3."""
    masses, local = [1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 3.0, 0.5, -1.5, 0.0]
    one, two = look_elsewhere(masses, local, level=1.0), look_elsewhere(masses, local, level=1.0, sides="both")
    assert (one.mass, one.local_significance, one.crossings, one.crossings_error, one.toys) == (2.0, 3.0, 1, 1, 0)
    assert one.local_p_value == pytest.approx(1.3498980e-3)
    assert one.p_value == pytest.approx(1.3498980e-3 + np.exp(-4))
    assert one.p_value_error == pytest.approx(np.exp(-4))
    assert one.trials == pytest.approx(one.p_value / 1.3498980e-3)
    assert two.p_value == pytest.approx(2 * 1.3498980e-3 + 2 * np.exp(-4))
    assert two.crossings_error == pytest.approx(np.sqrt(2))


def test_a_deficit_is_the_largest_of_both_sides_alone() -> None:
    local = [-0.5, -4.0, 0.0, 2.0, 0.0]
    assert look_elsewhere(range(5), local, sides="both").local_significance == -4.0
    assert look_elsewhere(range(5), local).local_significance == 2.0


def test_a_scan_that_starts_above_has_not_risen() -> None:
    """Nor is N = 0 without error: the count of one scan is taken as uncertain by 1 at least."""
    found = look_elsewhere([1, 2, 3], [3.0, 1.0, 0.0])
    assert (found.crossings, found.crossings_error) == (0, 1)
    assert found.p_value == found.local_p_value


def test_refusals() -> None:
    good = ([1.0, 2.0, 3.0], [0.0, 3.0, 0.0])
    with pytest.raises(StatisticsError, match="2 masses are no scan"):
        look_elsewhere([1, 2], [0, 3])
    with pytest.raises(StatisticsError, match="masses do not rise"):
        look_elsewhere([1, 3, 2], good[1])
    with pytest.raises(StatisticsError, match=r"masses of shape \(3,\) and significances of \(2,\)"):
        look_elsewhere(good[0], [0, 3])
    with pytest.raises(InputValueError, match="significances: 1 of 3 are not finite"):
        look_elsewhere(good[0], [0, np.nan, 3])
    with pytest.raises(InputValueError, match="masses: 1 of 3 are not finite"):
        look_elsewhere([1, 2, np.inf], good[1])
    for level in (9.0, 0.0):
        with pytest.raises(
            StatisticsError, match=f"u0 = {level:g} must lie above 0 and below the largest q of the scan, 9"
        ):
            look_elsewhere(*good, level=level)
    with pytest.raises(StatisticsError, match="largest q of the scan, 0"):
        look_elsewhere(good[0], [-1, -2, -3])
    with pytest.raises(StatisticsError, match=r"toys of shape \(1, 3\) fit no scan"):
        look_elsewhere(*good, toys=[good[1]])
    with pytest.raises(InputValueError, match="toys: 1 values are not finite"):
        look_elsewhere(*good, toys=[good[1], [0, np.nan, 0]])
    with pytest.raises(StatisticsError, match="no sides 'two'"):
        look_elsewhere(*good, sides="two")  # type: ignore[arg-type]
