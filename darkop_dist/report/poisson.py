"""Error bars of counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

ONE_SIGMA = 0.682689492137086


def garwood_errors(
    counts: npt.ArrayLike, coverage: float = ONE_SIGMA
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lengths of the central Poisson interval below and above each count.

    Garwood, Biometrika 28 (1936) 437: the interval for the mean is [F(a/2; 2n)/2, F(1 - a/2; 2n + 2)/2] with the
    chi-square quantile F and a = 1 - coverage. It covers at least as often as stated for every mean. For n = 0 the
    lower end is 0 and the upper end is that of the central interval (1.84 at one standard deviation).

    Args:
        counts: counts of shape (bins,); not negative. Non-integer values (an Asimov data set) are interpolated.
        coverage: central coverage.

    Returns:
        Distances from the count to the lower and to the upper end, each of shape (bins,).

    >>> low, high = garwood_errors([0, 1])
    >>> high.round(2).tolist(), low.round(2).tolist()
    ([1.84, 2.3], [0.0, 0.83])
    """
    n = np.asarray(counts, dtype=np.float64)
    tail = (1.0 - coverage) / 2.0
    positive = np.where(n > 0.0, n, 1.0)
    lower = np.where(n > 0.0, stats.chi2.ppf(tail, 2.0 * positive) / 2.0, 0.0)
    upper = stats.chi2.isf(tail, 2.0 * n + 2.0) / 2.0
    return n - lower, upper - n
