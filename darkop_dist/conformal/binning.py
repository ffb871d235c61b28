"""The bins of scores, fast and exact: for any edges, to the last bit those of a binary search.

A grid of equal cells over the axis says how many edges lie below each cell; with the edges inside the cell, most often
one or none, the score is then compared itself. The cell of a number never falls when the number rises, whatever the
rounding, and edges and scores are rounded alike, so that no score can end on the wrong side of an edge. Scores of
single precision are compared in double precision, which changes none of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError

Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", np.int64, np.float64)

FEWEST_FOR_GRID = 1 << 17  # with fewer scores a binary search is over before numba is loaded
FEWEST_CELLS, MOST_CELLS = 1 << 16, 1 << 21
BLOCK = 1 << 16
MOST_BINS_IN_LANES = 1 << 12  # with more, two events in a row seldom meet, and the cache holds one histogram only


class Grid(NamedTuple):
    """Equal cells over a score axis; those at the ends reach to infinity. A tuple, since compiled loops take it.

    Attributes:
        edges: increasing bin edges, shape (bins + 2,), closed by a NaN, which no score reaches.
        below: number of edges in lower cells, int32, shape (cells + 1,).
        lowest: the first edge.
        cells_per_unit: how many cells cover a unit of score.
    """

    edges: Floats
    below: npt.NDArray[np.int32]
    lowest: float
    cells_per_unit: float


def count_scores(scores: npt.ArrayLike, edges: Floats, source: str) -> npt.NDArray[np.int64]:
    """How many scores lie in each bin, shape (bins + 2,): underflow, bins, overflow.

    Args:
        scores: any shape.
        edges: increasing bin edges; a bin holds its lower one.
        source: which scores these are, for the error.

    Raises:
        InputValueError: a score is NaN.
    """
    values, bins = _flat(scores), len(edges) + 1
    grid = grid_of(edges, values.size)
    if grid is None:
        refuse_nan(sum(int(np.isnan(block).sum()) for block in _blocks(values)), values.size, source)
        counts = np.zeros(bins, dtype=np.int64)
        for block in _blocks(values):
            counts += np.bincount(_search(edges, block), minlength=bins)
        return counts
    from darkop_dist.conformal.binning_loops import count_bins

    lanes = np.zeros((4 if bins <= MOST_BINS_IN_LANES else 1, bins), dtype=np.int64)
    refuse_nan(count_bins(lanes, grid, values), len(values), source)
    return np.asarray(lanes.sum(axis=0), dtype=np.int64)


def look_up(of_bins: npt.NDArray[Number], scores: npt.ArrayLike, edges: Floats, source: str) -> npt.NDArray[Number]:
    """What stands in a table at the bin of each score, in the shape of the scores.

    Args:
        of_bins: shape (bins + 2,): underflow, bins, overflow.
        scores: any shape.
        edges: increasing bin edges; a bin holds its lower one.
        source: which scores these are, for the error.

    Raises:
        InputValueError: a score is NaN.
    """
    values, shape = _flat(scores), np.shape(scores)
    found = np.empty(values.size, dtype=of_bins.dtype)
    grid = grid_of(edges, values.size)
    if grid is None:
        refuse_nan(sum(int(np.isnan(block).sum()) for block in _blocks(values)), values.size, source)
        for block, into in zip(_blocks(values), _blocks(found), strict=True):
            into[:] = of_bins[_search(edges, block)]
        return found.reshape(shape)
    from darkop_dist.conformal.binning_loops import look_up_bins

    refuse_nan(look_up_bins(found, np.ascontiguousarray(of_bins), grid, values), len(values), source)
    return found.reshape(shape)


def bins_of(scores: npt.ArrayLike, edges: Floats, source: str) -> npt.NDArray[np.int64]:
    """The bin of each score, in the shape of the scores: 0 for underflow, then the bins, then overflow.

    Args:
        scores: any shape.
        edges: increasing bin edges; a bin holds its lower one.
        source: which scores these are, for the error.

    Raises:
        InputValueError: a score is NaN.
    """
    return look_up(np.arange(len(edges) + 1, dtype=np.int64), scores, edges, source)


def grid_of(edges: Floats, scores: int, *, fewest: int | None = None) -> Grid | None:
    """The grid for so many scores, or None where a binary search does as well, or better.

    Args:
        edges: increasing bin edges.
        scores: how many scores are to be looked up.
        fewest: scores that are worth a grid; None for `FEWEST_FOR_GRID`.

    Returns:
        None also without numba, and where the width of the axis or its inverse is not a finite number.
    """
    if scores < (FEWEST_FOR_GRID if fewest is None else fewest) or not _has_numba():
        return None
    with np.errstate(over="ignore", divide="ignore"):
        width = edges[-1] - edges[0]
        usable = np.isfinite(width) and np.isfinite(MOST_CELLS / width)
    if not usable:
        return None
    cells = FEWEST_CELLS
    place = _cells_of(edges, cells)
    while 2 * cells <= min(MOST_CELLS, max(scores, 16 * len(edges))) and _crowded(place):
        cells *= 2
        place = _cells_of(edges, cells)
    below = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=cells))]).astype(np.int32)
    return Grid(np.append(edges, np.nan), below, float(edges[0]), float(cells / width))


def _cells_of(edges: Floats, cells: int) -> npt.NDArray[np.int64]:
    place = (edges - edges[0]) * (cells / (edges[-1] - edges[0]))
    return np.asarray(np.minimum(place, cells - 1.0).astype(np.int64))


def _crowded(place: npt.NDArray[np.int64]) -> bool:
    """Whether one edge in a hundred shares its cell with another."""
    return 100 * int(np.sum(np.diff(place) == 0)) > len(place)


def _flat(scores: npt.ArrayLike) -> npt.NDArray[Any]:
    values = np.asarray(scores)
    if values.dtype not in (np.float32, np.float64) or not values.dtype.isnative:
        values = values.astype(np.float64)
    return np.ascontiguousarray(values).ravel()


def _blocks(values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]


def _search(edges: Floats, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.asarray(np.searchsorted(edges, values.astype(np.float64, copy=False), side="right"), dtype=np.int64)


def refuse_nan(missing: int, total: int, source: str) -> None:
    """Raises InputValueError if a score is NaN."""
    if missing:
        raise InputValueError(
            source, f"{missing} of {total} scores are NaN", "Look for NaN in the model's inputs of these events."
        )


@cache
def _has_numba() -> bool:
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True
