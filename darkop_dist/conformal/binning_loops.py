"""The compiled loops of ``binning``; importing this file loads numba.

Indices are unsigned where numba would else look at each whether it counts from the end. Bins are found block by block,
in a buffer that stays in the processor's cache: a call for each score would count references to the grid's arrays,
which takes five times as long as the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

Loop = TypeVar("Loop", bound=Callable[..., Any])

BLOCK = 8192


def compiled(loop: Loop) -> Loop:
    """Compile a loop when it is first called."""
    made: Loop = numba.njit(cache=True, nogil=True)(loop)
    return made


@compiled
def find_bins(found: Any, grid: Any, scores: Any) -> Any:
    """Write the number of edges at or below each score; a NaN gets any bin, and their number is returned."""
    edges, below, lowest, cells_per_unit = grid
    last, missing = np.float64(len(below) - 2), 0
    for at in range(len(scores)):
        score = np.float64(scores[at])
        missing += score != score  # noqa: PLR0124
        place = (score - lowest) * cells_per_unit
        place = place if place > 0.0 else 0.0  # noqa: FURB136  # 0 for NaN
        cell = np.uint64(place if place < last else last)  # noqa: FURB136
        low = np.int64(below[cell])
        low += score >= edges[np.uint64(low)]  # no branch: which way it goes cannot be foreseen
        if score >= edges[np.uint64(low)]:
            high = np.int64(below[cell + np.uint64(1)])
            while high - low > 1:
                middle = (low + high) >> 1
                if score >= edges[np.uint64(middle)]:
                    low = middle
                else:
                    high = middle
            low += 1
        found[at] = low
    return missing


@compiled
def count_bins(lanes: Any, grid: Any, scores: Any) -> Any:
    """Count into some histograms in turn, so that an event need not wait for the one before it; returns the NaNs."""
    bins, turn, missing = np.empty(BLOCK, dtype=np.int32), len(lanes) - 1, 0
    for start in range(0, len(scores), BLOCK):
        block = scores[start : start + BLOCK]
        missing += find_bins(bins, grid, block)
        for at in range(len(block)):
            lanes[np.uint64(at & turn), np.uint64(bins[at])] += 1
    return missing


@compiled
def look_up_bins(found: Any, of_bins: Any, grid: Any, scores: Any) -> Any:
    """Write what stands in the table at the bin of each score; returns the number of NaNs."""
    bins, missing = np.empty(BLOCK, dtype=np.int32), 0
    for start in range(0, len(scores), BLOCK):
        block, into = scores[start : start + BLOCK], found[start : start + BLOCK]
        missing += find_bins(bins, grid, block)
        for at in range(len(block)):
            into[at] = of_bins[np.uint64(bins[at])]
    return missing
