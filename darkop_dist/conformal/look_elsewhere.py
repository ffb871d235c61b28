"""How likely background alone shows an excess as large anywhere in a scan over masses (Gross and Vitells).

Assumptions:
    Asymptotic. At each mass the local significance is normal under background, and it changes smoothly with the mass,
    on a grid so fine that no crossing is missed. Then P(largest q > u) <= P(q > u) + N(u0) exp(-(u - u0)/2), where
    N(u0) is the mean number of times that q rises above a lower level u0 (arXiv:1005.1891, eq. 3, with Davies' bound);
    the two sides meet for large u. For q0, which counts excesses alone, P(q0 > u) = P(chi2_1 > u)/2. Where counts are
    small use toys for the whole p-value; over thresholds of a conformal search `scan_thresholds` is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from darkop_dist.errors import InputValueError, StatisticsError

Floats = npt.NDArray[np.float64]
Sides = Literal["excess", "both"]

FEWEST_MASSES = 3


@dataclass(frozen=True)
class LookElsewhere:
    """The largest local deviation of a scan, and its significance after the search for it.

    Attributes:
        mass: where it is, in the unit of the masses.
        local_significance: Z there, in standard deviations, negative for a deficit.
        local_p_value: of this mass alone; one-sided for an excess, two-sided where deficits count too.
        p_value: global, at most 1. Asymptotic: an upper bound, tight where it is small.
        p_value_error: standard deviation of the global p-value from that of the crossings.
        level: u0, in units of q = Z^2.
        crossings: N(u0), how often q rises above u0 under background.
        crossings_error: its standard error: from the toys' spread, or the square root of the scan's own count and at
            least 1.
        toys: background-only scans that were counted; 0 if the scan itself was.
    """

    mass: float
    local_significance: float
    local_p_value: float
    p_value: float
    p_value_error: float
    level: float
    crossings: float
    crossings_error: float
    toys: int

    @property
    def significance(self) -> float:
        """Global, in standard deviations of a normal distribution, one-sided; minus infinity for p = 1."""
        return float(stats.norm.isf(self.p_value))

    @property
    def trials(self) -> float:
        """Global over local p-value."""
        return self.p_value / self.local_p_value


def look_elsewhere(
    masses: npt.ArrayLike,
    significances: npt.ArrayLike,
    *,
    level: float = 0.5,
    toys: npt.ArrayLike | None = None,
    sides: Sides = "excess",
) -> LookElsewhere:
    """The global p-value of the largest local deviation.

    Args:
        masses: of the scan, rising, shape (masses,), at least 3.
        significances: local Z at each, shape (masses,), negative for deficits; for q0 give its square root.
        level: u0, in units of q = Z^2: so low that the scan crosses it often, above 0.
        toys: local Z of background-only scans, shape (toys, masses), at least 2; None to count in the scan itself,
            which is one sample of N(u0) alone and holds the signal, if there is one.
        sides: "excess" for q0, where deficits count as 0 and P(q0 > u) = P(chi2_1 > u)/2; "both" for q = Z^2, which
            also rises at deficits, with P(chi2_1 > u).

    Raises:
        StatisticsError: there are fewer than 3 masses or 2 toys, masses do not rise, shapes differ, the level is not
            positive or not below the largest q, or there are no such sides.
        InputValueError: a mass or a significance is not finite.
    """
    grid, local = np.asarray(masses, dtype=np.float64), np.asarray(significances, dtype=np.float64)
    _check_scan(grid, local)
    q = _statistic(local, sides)
    best = int(np.argmax(q))
    if not 0.0 < level < q[best]:
        raise StatisticsError(
            f"the level u0 = {level:g} must lie above 0 and below the largest q of the scan, {q[best]:.4g}; "
            "crossings are counted at a low level, such as 0.5"
        )
    tail = float(stats.norm.sf(math.sqrt(q[best]))) * (1 if sides == "excess" else 2)
    if toys is None:
        crossings = float(up_crossings(q, level))
        error, number = math.sqrt(max(crossings, 1.0)), 0
    else:
        counts = up_crossings(_statistic(_checked_toys(toys, len(grid)), sides), level)
        crossings, number = float(counts.mean()), len(counts)
        error = float(counts.std(ddof=1)) / math.sqrt(number)
    falls = math.exp(-(float(q[best]) - level) / 2)
    return LookElsewhere(
        mass=float(grid[best]),
        local_significance=float(local[best]),
        local_p_value=tail,
        p_value=min(tail + crossings * falls, 1.0),
        p_value_error=error * falls,
        level=level,
        crossings=crossings,
        crossings_error=error,
        toys=number,
    )


def up_crossings(values: npt.ArrayLike, level: float) -> npt.NDArray[np.int64]:
    """How often each scan rises above a level: a point at or below it is followed by one above it.

    Args:
        values: scans along the last axis, shape (..., masses); one that starts above has not risen there.
        level: in their unit.

    Returns:
        Counts, shape (...).
    """
    above = np.asarray(values) > level
    return np.asarray(np.sum(~above[..., :-1] & above[..., 1:], axis=-1), dtype=np.int64)


def _statistic(local: Floats, sides: Sides) -> Floats:
    if sides not in ("excess", "both"):
        raise StatisticsError(f"there are no sides {sides!r}; choose excess or both")
    return np.square(np.maximum(local, 0.0) if sides == "excess" else local)


def _check_scan(masses: Floats, local: Floats) -> None:
    if masses.ndim != 1 or masses.shape != local.shape:
        raise StatisticsError(f"masses of shape {masses.shape} and significances of {local.shape}: give one of each")
    if len(masses) < FEWEST_MASSES:
        raise StatisticsError(f"{len(masses)} masses are no scan; give at least {FEWEST_MASSES}")
    for name, values in (("masses", masses), ("significances", local)):
        wrong = int(np.sum(~np.isfinite(values)))
        if wrong:
            raise InputValueError(name, f"{wrong} of {len(values)} are not finite", "Leave out fits that failed.")
    if not np.all(np.diff(masses) > 0):
        raise StatisticsError("the masses do not rise; sort the scan by mass and give each mass once")


def _checked_toys(toys: npt.ArrayLike, masses: int) -> Floats:
    values = np.asarray(toys, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != masses or len(values) < 2:
        raise StatisticsError(
            f"toys of shape {values.shape} fit no scan of {masses} masses: give shape (toys, {masses}), at least 2 toys"
        )
    if not np.all(np.isfinite(values)):
        raise InputValueError("toys", f"{np.sum(~np.isfinite(values))} values are not finite", "Leave out those toys.")
    return values
