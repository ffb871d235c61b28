"""Do the p-values of held-out background events keep their promise?"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy import special

from darkop_dist.conformal.bounds import clopper_pearson
from darkop_dist.conformal.calibration import Calibration, from_counts
from darkop_dist.conformal.weighted import WeightedCalibration
from darkop_dist.errors import StatisticsError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CalibrationCheck:
    """How often held-out background falls below each p-value that can occur.

    All arrays have shape (levels,), with increasing levels.

    Attributes:
        levels: the p-values a that the calibration can give, each once.
        fraction: fraction of the check events with p <= a; valid p-values have an expectation of at most a.
        low: lower end of the Clopper-Pearson interval of P(p <= a) given this calibration.
        high: its upper end.
        expected_sigma: standard deviation of the fraction for continuous scores, where the calibration's own
            fluctuation is included: the count is Beta-Binomial(n_check, r, n + 1 - r) with r = a (n + 1)
            (from the Beta law of the calibration-conditional level; Bates et al., arXiv:2104.08279).
        confidence_level: of the Clopper-Pearson intervals, each for itself.
        n_check: number of check events.
        n_calibration: number of calibration events.
        max_deviation: largest |fraction - level|.
        max_deviation_p_value: two-sample Kolmogorov-Smirnov p-value of calibration and check scores, from the
            large-sample distribution for continuous scores; binned scores can only make it larger.
    """

    levels: Floats
    fraction: Floats
    low: Floats
    high: Floats
    expected_sigma: Floats
    confidence_level: float
    n_check: int
    n_calibration: int
    max_deviation: float
    max_deviation_p_value: float

    def to_dict(self) -> dict[str, object]:
        """As JSON-able values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def check_uniformity(
    calibration: Calibration, check_counts: npt.ArrayLike, *, confidence_level: float = 0.95
) -> CalibrationCheck:
    """Compare the p-values of held-out background with the uniform distribution.

    Args:
        calibration: the calibration under check.
        check_counts: integer counts of background events that calibrated nothing, shape (bins + 2,).
        confidence_level: of the Clopper-Pearson intervals.

    Raises:
        StatisticsError: the counts are weighted, empty or binned differently, or the calibration is empty.
    """
    check = from_counts(check_counts, calibration.edges.tolist(), "check events", calibration.fingerprint)
    if check.n == 0 or calibration.n == 0:
        empty = "check" if check.n == 0 else "calibration"
        raise StatisticsError(f"there are no {empty} events; give the {empty} split more background events")
    if not 0.0 < confidence_level < 1.0:
        raise StatisticsError(f"a confidence level of {confidence_level} is not between 0 and 1; choose 0.95")

    p_values = calibration.bin_p_values[::-1]  # from the overflow down: increasing
    passed = np.cumsum(check.counts[::-1])
    last_of_level = np.append(np.diff(p_values) > 0, [True])
    levels, passed = p_values[last_of_level], passed[last_of_level]
    low, high = clopper_pearson(passed, check.n, confidence_level)
    fraction = passed / check.n

    tail_calibration = np.cumsum(calibration.counts[::-1]) / calibration.n
    tail_check = np.cumsum(check.counts[::-1]) / check.n
    distance = float(np.max(np.abs(tail_calibration - tail_check)))
    effective = calibration.n * check.n / (calibration.n + check.n)
    return CalibrationCheck(
        levels=levels,
        fraction=fraction,
        low=low,
        high=high,
        expected_sigma=_beta_binomial_sigma(levels, check.n, calibration.n),
        confidence_level=confidence_level,
        n_check=check.n,
        n_calibration=calibration.n,
        max_deviation=float(np.max(np.abs(fraction - levels))),
        max_deviation_p_value=float(special.kolmogorov(np.sqrt(effective) * distance)),
    )


def check_weighted_uniformity(
    calibration: WeightedCalibration, held_out: WeightedCalibration, *, confidence_level: float = 0.95
) -> CalibrationCheck:
    """Compare the p-values of held-out weighted background with the uniform distribution.

    Fractions are of weights. Intervals, standard deviations and the Kolmogorov-Smirnov p-value are those of as many
    unweighted events as the weighted ones are worth (Kish's effective size): an approximation, unlike the unweighted
    check. Negative sums, where weights were folded, count as none.

    Args:
        calibration: the calibration under check.
        held_out: background events that calibrated nothing, with weights on the same scale.
        confidence_level: of the intervals.

    Raises:
        StatisticsError: the bins differ, or a confidence level is none.
    """
    if not np.array_equal(calibration.calibration.edges, held_out.calibration.edges):
        raise StatisticsError("the check events are binned differently from the calibration: use one score axis")
    if not 0.0 < confidence_level < 1.0:
        raise StatisticsError(f"a confidence level of {confidence_level} is not between 0 and 1; choose 0.95")
    p_values = calibration.bin_p_values[::-1]
    last_of_level = np.append(np.diff(p_values) > 0, [True])
    tails = [np.cumsum(one.sums[::-1]) / one.sums.sum() for one in (calibration, held_out)]
    levels, fraction = p_values[last_of_level], np.clip(tails[1], 0.0, 1.0)[last_of_level]
    size, known = held_out.effective_size, calibration.effective_size
    low, high = clopper_pearson(fraction * size, size, confidence_level)
    distance = float(np.max(np.abs(tails[0] - tails[1])))
    return CalibrationCheck(
        levels=levels,
        fraction=fraction,
        low=np.minimum(low, fraction),
        high=np.maximum(high, fraction),
        expected_sigma=_beta_binomial_sigma(levels, size, known),
        confidence_level=confidence_level,
        n_check=held_out.calibration.n,
        n_calibration=calibration.calibration.n,
        max_deviation=float(np.max(np.abs(fraction - levels))),
        max_deviation_p_value=float(special.kolmogorov(np.sqrt(size * known / (size + known)) * distance)),
    )


def _beta_binomial_sigma(levels: Floats, n_check: float, n_calibration: float) -> Floats:
    """Standard deviation of K/m for K ~ Beta-Binomial(m, r, n + 1 - r), r = level * (n + 1)."""
    variance = levels * (1.0 - levels) * (n_calibration + 1 + n_check) / (n_check * (n_calibration + 2.0))
    return np.asarray(np.sqrt(variance), dtype=np.float64)
