"""Limits against the mass of a resonance, and the masses that they exclude.

Between two masses the logarithm of a limit is interpolated linearly in the mass; outside the scan nothing is said. A
mass whose limit fails is left out and reported: the others stand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from darkop_dist.errors import DarkopError, StatisticsError
from darkop_dist.limits.upper_limit import LimitResult

MEDIAN = 2  # of the five expected limits


@dataclass(frozen=True)
class Excluded:
    """A range of masses that is excluded.

    Attributes:
        low: lower end; that of the scan if ``low_open``.
        high: upper end; that of the scan if ``high_open``.
        low_open: the exclusion may go on below the scan.
        high_open: the exclusion may go on above the scan.
    """

    low: float
    high: float
    low_open: bool
    high_open: bool


@dataclass(frozen=True)
class MassScan:
    """Limits against mass.

    Attributes:
        masses: increasing, in the unit that they were given in, shape (masses,).
        observed: limits, shape (masses,).
        expected: limits expected without signal at -2, -1, 0, 1, 2 sigma, shape (masses, 5).
        p0: local p-values of the background alone, shape (masses,).
        problems: masses that were left out, points and toys that failed, and why.
        cross_section: the limits are on the cross section in pb and not on the signal strength.
    """

    masses: tuple[float, ...]
    observed: tuple[float, ...]
    expected: tuple[tuple[float, ...], ...]
    p0: tuple[float, ...]
    problems: tuple[str, ...]
    cross_section: bool = False

    def at(self, mass: float) -> tuple[float, float]:
        """The observed and the median expected limit at a mass, interpolated.

        Raises:
            StatisticsError: the mass lies outside the scan.
        """
        if not self.masses[0] <= mass <= self.masses[-1]:
            raise StatisticsError(
                f"no limit at {mass:g}: the scan covers {self.masses[0]:g} to {self.masses[-1]:g} and "
                "is not extrapolated"
            )
        rows = self.observed, [row[MEDIAN] for row in self.expected]
        observed, expected = (float(np.exp(np.interp(mass, self.masses, np.log(row)))) for row in rows)
        return observed, expected

    def excluded(
        self, prediction: Callable[[float], float] | float = 1.0, *, expected: bool = False
    ) -> tuple[Excluded, ...]:
        """The ranges of masses whose limit lies below a prediction.

        Args:
            prediction: signal strength or cross section by mass, in the unit of the limits; 1 for limits on the
                signal strength. Its logarithm is interpolated as that of the limits.
            expected: for the median expected limit and not for the observed one.

        Raises:
            StatisticsError: a prediction that is not positive.
        """
        limits = np.array([row[MEDIAN] for row in self.expected] if expected else self.observed)
        values = [prediction(mass) if callable(prediction) else prediction for mass in self.masses]
        for mass, value in zip(self.masses, values, strict=True):
            if not 0.0 < value < np.inf:
                raise StatisticsError(f"the prediction at {mass:g} is {value:g}; it must be positive and finite")
        ratio = np.log(limits) - np.log(np.asarray(values, dtype=np.float64))
        below = ratio < 0
        ranges, start = [], None
        for place in range(len(self.masses)):
            if below[place] and start is None:
                start = (self.masses[0], True) if place == 0 else (self._crossing(ratio, place), False)
            if start is not None and not below[place]:
                ranges.append(Excluded(start[0], self._crossing(ratio, place), start[1], high_open=False))
                start = None
        if start is not None:
            ranges.append(Excluded(start[0], self.masses[-1], start[1], high_open=True))
        return tuple(ranges)

    def _crossing(self, ratio: np.typing.NDArray[np.float64], place: int) -> float:
        """Where the logarithm of limit over prediction is zero between a mass and the one before."""
        before, after = ratio[place - 1], ratio[place]
        share = float(before / (before - after))
        return self.masses[place - 1] + share * (self.masses[place] - self.masses[place - 1])


def scan_limits(limits: Mapping[float, Callable[[], LimitResult]], *, cross_section: bool = False) -> MassScan:
    """Compute the limits of several masses; one that fails is left out and reported.

    Args:
        limits: what computes the limit, by mass.
        cross_section: take the limits on the cross section in pb and not those on the strength.

    Raises:
        StatisticsError: fewer than two masses have a limit, or a cross section is unknown.
    """
    rows, problems = [], []
    for mass in sorted(limits):
        try:
            found = limits[mass]()
        except DarkopError as error:
            problems.append(f"the mass {mass:g} is left out: {error}")
            continue
        observed, expected = found.observed, found.expected
        if cross_section:
            if found.xsec_limit_pb is None or found.xsec_limit_expected_pb is None:
                raise StatisticsError(f"the signal {found.signal} has no cross section: give its record one (xsec_pb)")
            observed, expected = found.xsec_limit_pb, found.xsec_limit_expected_pb
        rows.append((float(mass), observed, expected, found.p0_observed))
        problems += [f"at {mass:g}: {problem}" for problem in found.problems]
    if len(rows) < 2:
        raise StatisticsError(f"limits at {len(rows)} of {len(limits)} masses are no scan. {' '.join(problems)}")
    masses, observed_row, expected_rows, p0 = zip(*rows, strict=True)
    return MassScan(masses, observed_row, expected_rows, p0, tuple(problems), cross_section)
