"""Which events to call anomalous when many are tested: the false discovery rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from darkop_dist.errors import StatisticsError


@dataclass(frozen=True, eq=False)
class Selection:
    """Events that are called anomalous.

    Attributes:
        selected: whether each event is, shape (events,).
        adjusted: the smallest false discovery rate at which each would be, shape (events,).
        rate: the false discovery rate that is kept on average.
        fewest: with so many calibration events, fewer than this can never be selected.
    """

    selected: npt.NDArray[np.bool_]
    adjusted: npt.NDArray[np.float64]
    rate: float
    fewest: int


def benjamini_hochberg(p_values: npt.ArrayLike, *, rate: float, n: int) -> Selection:
    """Select events so that the expected fraction of background among them is at most a rate.

    Split conformal p-values of one calibration depend on each other, but positively, so that the procedure of Benjamini
    and Hochberg (J. R. Stat. Soc. B 57 (1995) 289) keeps its rate (Bates et al., arXiv:2104.08279, theorem 2). No
    p-value is below 1/(n + 1): k of m events can only be selected if n + 1 >= m/(k rate).

    Args:
        p_values: of the m events, from one unweighted calibration, shape (events,).
        rate: false discovery rate, between 0 and 1.
        n: number of calibration events.

    Raises:
        StatisticsError: the rate or a p-value is no probability, a p-value is below the floor, or so few calibration
            events could not select even all events at once; the n that is needed is named.
    """
    values = np.asarray(p_values, dtype=np.float64).ravel()
    if not 0.0 < rate < 1.0:
        raise StatisticsError(f"a false discovery rate of {rate} is not between 0 and 1; choose for example 0.1")
    if not np.all((values > 0.0) & (values <= 1.0)):
        raise StatisticsError("p-values must be above 0 and at most 1, without NaN; take those of a Calibration")
    if values.size and values.min() < (1 - 1e-9) / (n + 1):
        raise StatisticsError(
            f"a p-value of {values.min():.3g} lies below 1/(n + 1) = {1 / (n + 1):.3g}: these are not the p-values of "
            f"n = {n} calibration events"
        )
    if rate * (n + 1) < 1:
        raise StatisticsError(
            f"n = {n} calibration events can select nothing at a false discovery rate of {rate:g}; calibrate with at "
            f"least {math.ceil(1 / rate - 1e-9) - 1}, and with {math.ceil(max(values.size, 1) / rate - 1e-9) - 1} to "
            "be able to select a single event"
        )
    adjusted = stats.false_discovery_control(values, method="bh") if values.size else values
    fewest = max(math.ceil(values.size / (rate * (n + 1)) - 1e-9), 1)
    return Selection(adjusted <= rate * (1 + 1e-12), adjusted, rate, fewest)
