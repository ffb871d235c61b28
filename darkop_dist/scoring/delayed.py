"""Scores of dask-awkward collections: worked out where and when the collection is, nothing before."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError

Scores = npt.NDArray[np.floating[Any]]


def is_delayed(events: object) -> bool:
    """Whether events are a collection of dask-awkward rather than an array."""
    return type(events).__module__.partition(".")[0] == "dask_awkward"


def delayed_scores(score: Callable[[ak.Array], Scores], events: Any, columns: Sequence[str], dtype: str) -> Any:
    """Scores of a collection, as a collection of its partitions.

    Args:
        score: gives one number for each event; called once for each partition, when the result is computed.
        events: collection of dask-awkward.
        columns: what ``score`` reads, such as ``Jet.pt``; nothing else is read for it.
        dtype: of the scores.

    Raises:
        InputFileError: the events lack a column.
    """
    dask_awkward: Any = importlib.import_module("dask_awkward")  # it has no types
    absent = [name for name in columns if not _has(events, name)]
    if absent:
        raise InputFileError("events", f"lacks {', '.join(absent)}", "Use files that hold them.")
    chosen = [_field(events, name) for name in columns]
    meta = unknown_scores(dtype)
    return dask_awkward.map_partitions(
        _ScorePartition(score, tuple(columns), dtype), *chosen, meta=meta, label="anomaly-scores"
    )


@dataclass(frozen=True)
class _ScorePartition:
    """Scores of one partition, from the columns that are read."""

    score: Callable[[ak.Array], Scores]
    columns: tuple[str, ...]
    dtype: str

    def __call__(self, *columns: ak.Array) -> ak.Array:
        if ak.backend(*columns) == "typetracer":  # dask-awkward asks which columns are read
            for column in columns:
                ak.typetracer.touch_data(column)
            return unknown_scores(self.dtype)
        return ak.Array(np.asarray(self.score(_put_together(self.columns, columns)), dtype=self.dtype))


def _put_together(names: Sequence[str], columns: Sequence[ak.Array]) -> ak.Array:
    """Columns as events with collections."""
    collections: dict[str, dict[str, ak.Array]] = {}
    plain: dict[str, ak.Array] = {}
    for name, column in zip(names, columns, strict=True):
        first, _, rest = name.partition(".")
        if rest:
            collections.setdefault(first, {})[rest] = ak.without_parameters(column)
        else:
            plain[first] = column
    return ak.zip(plain | {name: ak.zip(fields) for name, fields in collections.items()}, depth_limit=1)


def unknown_scores(dtype: str) -> ak.Array:
    """Numbers of which only the type is known."""
    return ak.Array(ak.Array(np.empty(0, dtype=dtype)).layout.to_typetracer(forget_length=True))


def _has(events: Any, name: str) -> bool:
    first, _, rest = name.partition(".")
    return first in events.fields and (not rest or rest in events[first].fields)


def _field(events: Any, name: str) -> Any:
    first, _, rest = name.partition(".")
    return events[first][rest] if rest else events[first]
