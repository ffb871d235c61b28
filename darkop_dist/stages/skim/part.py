"""What one chunk keeps, as a file: record batches of Arrow, with the chunk's bookkeeping in the metadata."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from darkop_dist.errors import StorageError
from darkop_dist.execution.store import FULL
from darkop_dist.generation.layout import Layout
from darkop_dist.stages.skim.side_trees import SideTree, from_json

KEY = b"darkop.part"


@dataclass(frozen=True)
class PartBook:
    """What a part knows besides its events.

    Attributes:
        layout: of the events; None for a jet set.
        entries: events of the chunk, kept or not.
        sum_weights: sum of the generator weights of all of them; None for data.
        sum_weights2: sum of their squares.
        trees: side trees of the file, or what stands for them.
        made_runs: the file has no ``Runs``, so that the sums of the chunks take their place.
        made_blocks: the file has no ``LuminosityBlocks``, so that those of the chunks take their place.
        seen: luminosity sections of the chunk's events, kept or not; None where they have no numbers.
    """

    layout: Layout | None
    entries: int
    sum_weights: float | None
    sum_weights2: float | None
    trees: Mapping[str, SideTree]
    made_runs: bool = False
    made_blocks: bool = False
    seen: SideTree | None = None

    def to_bytes(self) -> bytes:
        """As JSON."""
        layout = None
        if self.layout is not None:
            flat = {name: kind.name for name, kind in self.layout.flat.items()}
            groups = {g: {n: k.name for n, k in fields.items()} for g, fields in self.layout.collections.items()}
            layout = {"flat": flat, "collections": groups}
        body = {
            "layout": layout,
            "entries": self.entries,
            "sums": [self.sum_weights, self.sum_weights2],
            "trees": {name: tree.to_json() for name, tree in self.trees.items()},
            "made": [self.made_runs, self.made_blocks],
            "seen": None if self.seen is None else self.seen.to_json(),
        }
        return json.dumps(body).encode()


@dataclass(frozen=True)
class Part:
    """A part; its file is open only while rows are read, since there may be more parts than a process may open files.

    Attributes:
        book: what it knows.
        schema: Arrow's, of its batches.
        path: its file; None for one without rows.
    """

    book: PartBook
    schema: pa.Schema
    path: Path | None = None

    def tables(self) -> Iterable[pa.Table]:
        """Its rows, batch by batch."""
        if self.path is None:
            return
        with pa.memory_map(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            for index in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(index)]).replace_schema_metadata(None)


def write_part(path: Path, book: PartBook, tables: Iterable[pa.Table]) -> tuple[int, int, int]:
    """Write a part under its name when it is whole.

    Args:
        path: the file.
        book: what it knows.
        tables: its rows; at least one table, which may be empty.

    Returns:
        Number of rows, bytes of the file, adler32 of the file.

    Raises:
        StorageError: the disk is full or may not be written to.
        OSError: the file system does not answer.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    rows, waiting = 0, iter(tables)
    first = next(waiting)
    schema = first.schema.with_metadata({KEY: book.to_bytes()})
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    try:
        with temporary.open("wb") as stream, pa.ipc.new_file(stream, schema, options=options) as writer:
            for table in _all(first, waiting):
                writer.write_table(table.replace_schema_metadata(schema.metadata))
                rows += table.num_rows
        size, check = temporary.stat().st_size, checksum(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in FULL:
            told = f"{path.parent}: cannot be written ({error.strerror}); what was skimmed is kept"
            raise StorageError(f"{told}: make room and run again with --resume") from error
        raise
    return rows, size, check


def _all(first: pa.Table, others: Iterable[pa.Table]) -> Iterable[pa.Table]:
    yield first
    yield from others


def open_part(path: Path) -> Part:
    """What a part knows.

    Raises:
        OSError, ValueError, KeyError: it is absent or damaged.
    """
    with pa.memory_map(str(path)) as source:
        schema = pa.ipc.open_file(source).schema
    body = json.loads(schema.metadata[KEY])
    layout = None
    if body["layout"] is not None:
        flat = {name: np.dtype(kind) for name, kind in body["layout"]["flat"].items()}
        groups = {g: {n: np.dtype(k) for n, k in f.items()} for g, f in body["layout"]["collections"].items()}
        layout = Layout(flat, groups, 0.0)
    trees = {name: from_json(tree) for name, tree in body["trees"].items()}
    (sum_weights, sum_weights2), (made_runs, made_blocks) = body["sums"], body["made"]
    seen = None if body["seen"] is None else from_json(body["seen"])
    book = PartBook(layout, body["entries"], sum_weights, sum_weights2, trees, made_runs, made_blocks, seen)
    return Part(book, schema.remove_metadata(), path)


def checksum(path: Path) -> int:
    """Adler-32 of a file's bytes."""
    found = 1
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found = zlib.adler32(block, found)
    return found
