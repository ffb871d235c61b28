"""How large weights are, as counts: they add up from chunk to chunk, unlike the largest weight."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt


def sizes_of(weights: npt.NDArray[np.float64]) -> dict[str, int]:
    """How many weights are of which size: numbers that add up, unlike the largest weight.

    Returns:
        Events by sign and size; size k is above 2^((k-1)/8) and at most 2^(k/8), so that a bound from it is at most 9%
        above the largest weight, and exact for 1. Weights of zero are left out.

    >>> sizes_of(np.array([1.0, -1.0, 1.0, 2.0]))
    {'+0': 2, '+8': 1, '-0': 1}
    """
    found: dict[str, int] = {}
    for sign, chosen in (("+", weights[weights > 0]), ("-", -weights[weights < 0])):
        size = np.ceil(8 * np.log2(chosen)).astype(np.int64)
        size += 2.0 ** (size / 8) < chosen  # the logarithm was rounded down
        for value, events in zip(*np.unique(size, return_counts=True), strict=True):
            found[f"{sign}{value}"] = int(events)
    return found


def largest_of(sizes: Mapping[str, int]) -> tuple[float, int]:
    """A bound on the absolute weights that `sizes_of` counted, and how many of them are negative.

    >>> largest_of({"+0": 2, "+8": 1, "-0": 1})
    (2.0, 1)
    """
    bound = max((2.0 ** (int(size[1:]) / 8) for size in sizes), default=0.0)
    return bound, sum(events for size, events in sizes.items() if size.startswith("-"))
