"""Adding events to bins: one compiled loop, with the bins and the order of sums of boost-histogram."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt


def add_events(
    sums: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
    values: npt.NDArray[Any],
    weights: npt.NDArray[np.float64],
    chosen: npt.NDArray[np.int64],
) -> None:
    """Add chosen events to the bins of one observable; values that are not numbers are left out.

    Args:
        sums: sum of weights and of squared weights, shape (bins + 2, 2), with under- and overflow at the ends; they
            grow event by event in the order given, as in boost-histogram, so the result is the same to the last bit.
        edges: increasing bin edges, shape (bins + 1,); a value on an edge belongs to the bin above it.
        values: shape (events,).
        weights: shape (events,).
        chosen: positions of the events that are added.
    """
    _compiled_loop()(sums, edges, values, weights, chosen)


@cache
def _compiled_loop() -> Any:
    import numba

    return numba.njit(cache=True, nogil=True)(_loop)


def _loop(sums: Any, edges: Any, values: Any, weights: Any, chosen: Any) -> None:
    bins = len(edges) - 1
    # Where bins are of one width, the bin follows from the value but for rounding; that costs half of a search.
    bins_per_unit = bins / (edges[bins] - edges[0])
    guessed = 0.0 < bins_per_unit < np.inf
    for at in chosen:
        value = np.float64(values[at])
        if np.isnan(value):
            continue
        if value < edges[0]:
            found = 0
        elif value >= edges[bins]:
            found = bins + 1
        else:
            low = min(int((value - edges[0]) * bins_per_unit), bins - 1) if guessed else 0
            if not edges[low] <= value < edges[low + 1]:
                low, high = 0, bins
                while high - low > 1:
                    middle = (low + high) // 2
                    if value < edges[middle]:
                        high = middle
                    else:
                        low = middle
            found = low + 1
        weight = weights[at]
        sums[found, 0] += weight
        sums[found, 1] += weight * weight
