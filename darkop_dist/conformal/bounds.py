"""Bounds on probabilities from counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]


def clopper_pearson(passed: npt.ArrayLike, total: int, confidence_level: float) -> tuple[Floats, Floats]:
    """The exact central confidence interval of a binomial probability.

    Args:
        passed: number of successes, shape (values,).
        total: number of trials.
        confidence_level: coverage, which is guaranteed at least.

    Returns:
        Lower and upper ends, shape (values,) each (Clopper and Pearson, Biometrika 26 (1934) 404).
    """
    k = np.asarray(passed, dtype=np.float64)
    tail = (1.0 - confidence_level) / 2.0
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1), total - k + 1, tail), 0.0)
    high = np.where(k < total, special.betaincinv(k + 1, np.maximum(total - k, 1), 1.0 - tail), 1.0)
    return low, high
