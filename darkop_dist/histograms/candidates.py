"""The events with the highest scores, by dataset and region, with the numbers that find them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

IDENTITY = ("dataset", "region", "split", "run", "luminosity_block", "event", "file", "entry", "score", "weight")
MISSING_NUMBER = -1


@dataclass(frozen=True)
class Candidates:
    """The highest scores of each dataset and region.

    Attributes:
        table: one row per event: the columns of ``IDENTITY``, then observables; run, luminosity block and event are
            -1 where the file has none.
        most: how many are kept per dataset and region.
    """

    table: pa.Table
    most: int

    def __add__(self, other: Candidates) -> Candidates:
        """Both together, cut down to the highest scores; associative and free of order."""
        return join_candidates((self, other))

    @property
    def rows(self) -> int:
        """Number of events kept."""
        return int(self.table.num_rows)


def empty_candidates(most: int) -> Candidates:
    """No candidates yet."""
    types = [pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64(), pa.int64(), pa.string(), pa.int64()]
    types += [pa.float32(), pa.float64()]
    return Candidates(pa.table({name: pa.array([], kind) for name, kind in zip(IDENTITY, types, strict=True)}), most)


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """All of them together, cut down to the highest scores; the same as adding one after the other, faster."""
    first = parts[0]
    tables = [part.table for part in parts if part.table.num_rows]
    try:
        joined = pa.concat_tables(tables) if tables else first.table
    except pa.ArrowInvalid:  # columns differ
        joined = pa.concat_tables(tables, promote_options="default")
    return Candidates(_highest(joined, first.most), first.most)


def candidates_of(
    *,
    dataset: str,
    region: str,
    file: str,
    splits: npt.NDArray[np.str_],
    numbers: Mapping[str, npt.NDArray[np.int64]],
    scores: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    observables: Mapping[str, npt.NDArray[np.float64]],
    most: int,
) -> Candidates:
    """The highest scores among events of one region of one chunk.

    Args:
        dataset: name of the dataset.
        region: name of the region.
        file: name of the file, without directories.
        splits: what each event is for: ``train``, ``calibrate`` or ``check``, shape (events,).
        numbers: arrays ``run``, ``luminosity_block``, ``event`` and ``entry``, shape (events,).
        scores: shape (events,).
        weights: generator weights, shape (events,).
        observables: more columns, shape (events,).
        most: how many to keep.
    """
    count = len(scores)
    columns: dict[str, pa.Array] = {
        "dataset": pa.array([dataset] * count, pa.string()),
        "region": pa.array([region] * count, pa.string()),
        "split": pa.array(splits.tolist(), pa.string()),
        "run": pa.array(numbers["run"], pa.int64()),
        "luminosity_block": pa.array(numbers["luminosity_block"], pa.int64()),
        "event": pa.array(numbers["event"], pa.int64()),
        "file": pa.array([file] * count, pa.string()),
        "entry": pa.array(numbers["entry"], pa.int64()),
        "score": pa.array(scores, pa.float32()),
        "weight": pa.array(weights, pa.float64()),
    }
    columns |= {name: pa.array(values, pa.float64()) for name, values in observables.items()}
    return Candidates(_highest(pa.table(columns), most), most)


def save_candidates(path: Path, table: pa.Table) -> None:
    """Write the table as Parquet."""
    pq.write_table(table, path)


def load_candidates(path: Path) -> pa.Table:
    """Read what ``save_candidates`` wrote."""
    return pq.read_table(path)


def _highest(table: pa.Table, most: int) -> pa.Table:
    if not table.num_rows:
        return table
    table = table.combine_chunks()  # what follows is much slower on many small chunks
    groups = _groups(table)
    near = _within_reach(table, groups, most)
    table, groups = table.filter(pa.array(near)), groups[near]
    keys = [("dataset", "ascending"), ("region", "ascending"), ("score", "descending")]
    keys += [(name, "ascending") for name in ("run", "luminosity_block", "event", "file", "entry")]
    order = pc.sort_indices(table, sort_keys=keys).to_numpy()
    groups = groups[order]
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    rank = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    return table.take(pa.array(order[rank < most]))


def _groups(table: pa.Table) -> npt.NDArray[np.int64]:
    """A number for each row: equal where dataset and region are equal."""
    groups = np.zeros(table.num_rows, np.int64)
    for name in ("dataset", "region"):
        found = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        groups = groups * len(found.dictionary) + found.indices.to_numpy()
    return groups


def _within_reach(table: pa.Table, groups: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.bool_]:
    """Rows whose score may be among the highest of their group: to sort them all costs more than to find these."""
    scores = table["score"].to_numpy()
    scores = np.where(np.isnan(scores), -np.inf, scores)
    near = np.ones(len(scores), np.bool_)
    for group in np.flatnonzero(np.bincount(groups) > most):
        rows = np.flatnonzero(groups == group)
        near[rows] = scores[rows] >= np.partition(scores[rows], -most)[-most] if most else False
    return near
