"""Outputs of a skim: parts one after the other as TTree, RNTuple or Parquet in the layout of NanoAOD."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from darkop_dist.events.nano_table import TREES
from darkop_dist.generation.layout import Layout, columns_to_write, new_tree
from darkop_dist.stages.skim.layout import arrays_of, ntuple_columns, ntuple_form, table_of
from darkop_dist.stages.skim.part import Part
from darkop_dist.stages.skim.side_trees import SideTree, write_ntuple, write_tree

EVENTS_PER_BASKET = 20_000
BYTES_PER_BASKET = 64 << 20
SUFFIXES = {"ttree": ".root", "rntuple": ".root", "parquet": ".parquet"}
PROVENANCE = "darkop.skim"


class _Writer(Protocol):
    def events(self, table: pa.Table) -> None: ...

    def side_tree(self, name: str, tree: SideTree) -> None: ...


def write_events(
    path: Path,
    layout_name: str,
    parts: Sequence[Part],
    trees: Mapping[str, SideTree],
    *,
    tree: str,
    about: Mapping[str, Any],
) -> None:
    """Write an output.

    Args:
        path: the file.
        layout_name: ``ttree``, ``rntuple`` or ``parquet``.
        parts: of one layout, in the order of the events.
        trees: side trees, by name.
        tree: name of the tree of events.
        about: kept in the file as JSON: what it was made from.

    Raises:
        OSError: the file cannot be written.
    """
    layout = parts[0].book.layout
    assert layout is not None  # noqa: S101  # parts of events have one
    open_writer = {"ttree": _ttree, "rntuple": _rntuple, "parquet": _parquet}[layout_name]
    with open_writer(path, layout, tree, trees, about) as writer:
        for table in gathered(parts):
            writer.events(table)
        for name, side_tree in trees.items():
            writer.side_tree(name, side_tree)


def gathered(parts: Sequence[Part]) -> Iterator[pa.Table]:
    """The rows of all parts, so many at a time as baskets or row groups should hold."""
    waiting: list[pa.Table] = []
    for table in (found for part in parts for found in part.tables()):
        if table.num_rows:
            waiting.append(table)
        rows, size = sum(t.num_rows for t in waiting), sum(t.nbytes for t in waiting)
        if rows >= EVENTS_PER_BASKET or size >= BYTES_PER_BASKET:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


class _TreeWriter:
    def __init__(self, file: Any, tree: Any, layout: Layout) -> None:
        self._file, self._tree, self._layout = file, tree, layout

    def events(self, table: pa.Table) -> None:
        self._tree.extend(columns_to_write(arrays_of(table, self._layout), self._layout))

    def side_tree(self, name: str, tree: SideTree) -> None:
        write_tree(self._file, name, tree)


class _NTupleWriter:
    def __init__(self, file: Any, tree: Any, layout: Layout) -> None:
        self._file, self._tree, self._layout = file, tree, layout

    def events(self, table: pa.Table) -> None:
        self._tree.extend(ntuple_columns(arrays_of(table, self._layout), self._layout))

    def side_tree(self, name: str, tree: SideTree) -> None:
        write_ntuple(self._file, name, tree)


class _TableWriter:
    def __init__(self, file: Any, layout: Layout) -> None:
        self._file, self._layout = file, layout

    def events(self, table: pa.Table) -> None:
        whole = table_of(arrays_of(table, self._layout), self._layout, counters=True)
        self._file.write_table(whole.replace_schema_metadata(self._file.schema.metadata))

    def side_tree(self, name: str, tree: SideTree) -> None:
        """It stands in the metadata already."""


Trees = Mapping[str, SideTree]


@contextmanager
def _ttree(path: Path, layout: Layout, tree: str, _trees: Trees, about: Mapping[str, Any]) -> Iterator[_Writer]:
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        file[PROVENANCE] = json.dumps(about)
        yield _TreeWriter(file, new_tree(file, tree, layout), layout)


@contextmanager
def _rntuple(path: Path, layout: Layout, tree: str, _trees: Trees, about: Mapping[str, Any]) -> Iterator[_Writer]:
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        file[PROVENANCE] = json.dumps(about)
        yield _NTupleWriter(file, file.mkrntuple(tree, ntuple_form(layout)), layout)


@contextmanager
def _parquet(path: Path, layout: Layout, _tree: str, trees: Trees, about: Mapping[str, Any]) -> Iterator[_Writer]:
    empty = table_of(_nothing(layout), layout, counters=True)
    kept = {TREES: json.dumps({name: tree.to_json() for name, tree in trees.items()}), PROVENANCE: json.dumps(about)}
    with pq.ParquetWriter(path, empty.schema.with_metadata(kept), compression="zstd") as file:
        yield _TableWriter(file, layout)


def _nothing(layout: Layout) -> Mapping[str, Any]:
    fields: dict[str, Any] = {name: pa.from_numpy_dtype(kind) for name, kind in layout.flat.items()}
    for columns in layout.collections.values():
        fields |= {name: pa.list_(pa.from_numpy_dtype(kind)) for name, kind in columns.items()}
    return arrays_of(pa.schema(list(fields.items())).empty_table(), layout)


def same_layout(parts: Iterable[Part]) -> bool:
    """Whether all parts have the same branches, of the same types."""
    layouts = [part.book.layout for part in parts]
    return all(
        a is not None and b is not None and a.flat == b.flat and a.collections == b.collections
        for a, b in itertools.pairwise(layouts)
    )
