"""Scores counted by file and by run: small tables that say whether some score differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from darkop_dist.errors import InputFileError

MOST_GROUPS = 200
COARSE_BINS = 24
POOLED = "…"
"""Ends the name of a group that holds all whose names begin like it."""
KEYS = ("by", "dataset", "region", "split", "group")

Table = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ScoreGroups:
    """Events by file or run and coarse bin of the score.

    At most `MOST_GROUPS` files, and as many runs, are told apart in a dataset. Where there are more, names are cut to
    the longest beginning that leaves so few, and what begins alike is one group. That length follows from the set of
    names alone and falls as names come in, so sums are equal whatever their order.

    Attributes:
        table: one row per group: the columns of `KEYS`, where ``by`` is ``file`` or ``run``, and ``counts``, the events
            in each coarse bin of the score.
    """

    table: pa.Table

    def __add__(self, other: ScoreGroups) -> ScoreGroups:
        """Both together; associative and free of order."""
        return join_groups((self, other))

    def counts(self, by: str, dataset: str, region: str, splits: Sequence[str]) -> dict[str, Table]:
        """Events of each group by name, in the order of the names; each of shape (coarse bins,)."""
        found: dict[str, Table] = {}
        for row in self.table.to_pylist():
            if (row["by"], row["dataset"], row["region"]) == (by, dataset, region) and row["split"] in splits:
                found[row["group"]] = found.get(row["group"], 0) + np.array(row["counts"], dtype=np.int64)
        return found


def coarse_counts(counts: npt.ArrayLike) -> Table:
    """Score counts in coarse bins: neighbours together, as many of the axis in each.

    Args:
        counts: shape (..., bins + 2): underflow, bins, overflow.

    Returns:
        Shape (..., coarse bins), `COARSE_BINS` or fewer.
    """
    fine = np.asarray(counts)
    bins = fine.shape[-1]
    kept = min(COARSE_BINS, bins)
    return np.asarray(np.add.reduceat(fine, [-(-bins * k // kept) for k in range(kept)], axis=-1), dtype=np.int64)


def no_groups() -> ScoreGroups:
    """No group yet."""
    columns = {name: pa.array([], pa.string()) for name in KEYS}
    return ScoreGroups(pa.table(columns | {"counts": pa.array([], pa.list_(pa.int64()))}))


def groups_of(
    *,
    dataset: str,
    region: str,
    split: str,
    file: str,
    runs: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    bins: int,
) -> ScoreGroups:
    """Count the events of one file, region and split.

    Args:
        dataset: name of the dataset.
        region: name of the region.
        split: what the events are for.
        file: label of the file.
        runs: run number of each event, negative where the file has none, shape (events,).
        places: bin of the score of each, 0 for underflow, shape (events,).
        bins: number of bins of the score with under- and overflow.
    """
    found = {("file", file): coarse_counts(np.bincount(places, minlength=bins))}
    for run in np.unique(runs[runs >= 0]):
        found["run", f"{run:06d}"] = coarse_counts(np.bincount(places[runs == run], minlength=bins))
    rows = [(by, dataset, region, split, name) for by, name in found]
    return _pooled(rows, np.array(list(found.values())))


def join_groups(parts: Sequence[ScoreGroups]) -> ScoreGroups:
    """All of them together; the same as adding one after the other, faster."""
    filled = [part.table for part in parts if part.table.num_rows]
    if not filled:
        return parts[0]
    table = pa.concat_tables(filled).combine_chunks()
    _, first, group = np.unique(_codes(table), return_index=True, return_inverse=True)
    listed = table["counts"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    counts = np.zeros((len(first), listed.shape[1]), dtype=np.int64)
    np.add.at(counts, group, listed)
    chosen = table.select(KEYS).take(pa.array(first))
    return _pooled(list(zip(*(chosen[name].to_pylist() for name in KEYS), strict=True)), counts)


def save_groups(path: Path, groups: ScoreGroups) -> None:
    """Write the table as Parquet."""
    pq.write_table(groups.table, path)


def load_groups(path: Path) -> ScoreGroups:
    """Read what `save_groups` wrote.

    Raises:
        InputFileError: the file is damaged.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputFileError(str(path), f"is damaged ({error})", "Run the search again.") from error
    if tuple(table.column_names) != (*KEYS, "counts"):
        raise InputFileError(str(path), f"has the columns {', '.join(table.column_names)}", "Run the search again.")
    return ScoreGroups(table)


def _codes(table: pa.Table) -> npt.NDArray[np.int64]:
    """A number for each row: equal where all keys are, whatever the number of keys that occur."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in KEYS:
        found = table[name].combine_chunks().dictionary_encode()
        _, codes = np.unique(codes * len(found.dictionary) + found.indices.to_numpy(), return_inverse=True)
    return codes


def _pooled(rows: Sequence[tuple[str, ...]], counts: Table) -> ScoreGroups:
    """Add up rows of one name, after cutting names where there are too many, in the order of the keys."""
    names: dict[tuple[str, str], set[str]] = {}
    for by, dataset, _, _, group in rows:
        names.setdefault((by, dataset), set()).add(group)
    lengths = {which: _length(found) for which, found in names.items()}
    places: dict[tuple[str, ...], int] = {}
    at = [places.setdefault((*row[:4], _cut(row[4], lengths[row[0], row[1]])), len(places)) for row in rows]
    total = np.zeros((len(places), counts.shape[1]), dtype=np.int64)
    np.add.at(total, at, counts)
    order = sorted(places)
    columns: dict[str, pa.Array] = {
        name: pa.array(column, pa.string()) for name, column in zip(KEYS, zip(*order, strict=True), strict=True)
    }
    listed = pa.array(total[[places[key] for key in order]].tolist(), pa.list_(pa.int64()))
    return ScoreGroups(pa.table(columns | {"counts": listed}))


def _length(names: set[str]) -> int:
    """The longest beginning of names that leaves few enough groups, and no more than what is pooled already."""
    pooled = [len(name) - 1 for name in names if name.endswith(POOLED)]
    length = min(pooled, default=max(map(len, names)))
    while length and len({_cut(name, length) for name in names}) > MOST_GROUPS:
        length -= 1
    return length


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length or name == name[:length] + POOLED else name[:length] + POOLED
