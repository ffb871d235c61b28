"""Parquet in the layout of NanoAOD: the branches as columns, lists for collections, other trees in the metadata.

A column has the name of its branch, ``Jet_pt`` a list of numbers, ``nJet`` their count. What stands beside ``Events``
in a ROOT file, ``Runs`` and ``LuminosityBlocks``, is JSON under the key ``darkop.trees`` of the file's metadata:
``{"Runs": {"genEventSumw": {"type": "float64", "group": null, "values": [...]}}}``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

from darkop_dist.config.access import Access
from darkop_dist.events.identity import content_identity, local_identity
from darkop_dist.events.phases import READ, phase
from darkop_dist.events.remote import DEFAULT, fetch, is_remote

SUFFIXES = (".parquet", ".pq")
TREES = b"darkop.trees"


@dataclass(frozen=True, eq=False)
class NanoTable:
    """A Parquet file of NanoAOD's layout, open.

    Attributes:
        path: local path or address.
        identity: of the file.
        file: pyarrow's ParquetFile.
    """

    path: str
    identity: str
    file: Any = field(repr=False)

    @property
    def entries(self) -> int:
        """Number of events."""
        return int(self.file.metadata.num_rows)

    @property
    def trees(self) -> dict[str, Any]:
        """What stands beside the events, by name of the tree."""
        found = (self.file.schema_arrow.metadata or {}).get(TREES)
        return {} if found is None else dict(json.loads(found))

    @property
    def kinds(self) -> dict[str, tuple[np.dtype[Any], bool]]:
        """Type of each column's numbers, and whether there is a list of them per event."""
        import pyarrow as pa

        found = {}
        for column in self.file.schema_arrow:
            is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
            inner = column.type.value_type if is_list else column.type
            if pa.types.is_primitive(inner):
                found[column.name] = np.dtype(inner.to_pandas_dtype()), is_list
        return found

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, ak.Array]:
        """Columns of a range of events; only the row groups that hold it are read."""
        with phase(READ):
            ends = np.cumsum([0, *(self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups))])
            first = max(int(np.searchsorted(ends, start, side="right")) - 1, 0)
            groups = range(first, max(int(np.searchsorted(ends, stop, side="left")), first))
            table = self.file.read_row_groups(list(groups), columns=list(names), use_threads=False)
            table = table.slice(start - int(ends[first]), stop - start)
            return {name: array_of(table.column(name)) for name in names}


def array_of(column: Any) -> ak.Array:
    """A column of Arrow as an array of numbers or of lists of numbers."""
    import pyarrow as pa

    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # of no chunks
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    if pa.types.is_list(whole.type) or pa.types.is_large_list(whole.type):
        offsets = np.asarray(whole.offsets, dtype=np.int64)
        content = whole.flatten().to_numpy(zero_copy_only=False)
        return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets - offsets[0]), _numbers(content)))
    return ak.Array(_numbers(whole.to_numpy(zero_copy_only=False)))


def _numbers(values: Any) -> ak.contents.NumpyArray:
    return ak.contents.NumpyArray(np.ascontiguousarray(values))


def is_nano_table(path: str, layout: str) -> bool:
    """Whether a file of a dataset of that format is Parquet in the layout of NanoAOD."""
    return layout != "flat" and path.lower().endswith(SUFFIXES)


def open_table(path: str, access: Access = DEFAULT) -> NanoTable:
    """Open a file; one on a server is fetched whole.

    Raises:
        OSError: it cannot be reached, or it is no Parquet.
        ValueError: it is damaged.
    """
    import pyarrow.parquet as pq

    if is_remote(path):
        content = fetch(path, access)
        return NanoTable(path, content_identity(content.getbuffer()), pq.ParquetFile(content))
    return NanoTable(path, local_identity(path), pq.ParquetFile(path.removeprefix("file://")))


def generated_of(table: NanoTable) -> tuple[float | None, int | None]:
    """Sum of weights and number of the events generated for a file; None where it does not say."""
    runs = table.trees.get("Runs", {})
    for sumw, count in (("genEventSumw", "genEventCount"), ("genEventSumw_", "genEventCount_")):
        if sumw in runs and count in runs:
            return float(np.sum(np.asarray(runs[sumw]["values"], np.float64))), int(sum(runs[count]["values"]))
    return None, None


def table_events(table: NanoTable, start: int, stop: int, schema: type[NanoAODSchema], metadata: Any) -> ak.Array:
    """NanoEvents of a range of events; columns are read when they are touched."""
    source = _Columns(table, start, stop)
    factory = NanoEventsFactory.from_preloaded(source, schemaclass=schema, metadata=metadata)
    factory._mode = "virtual"  # noqa: SLF001  # coffea 2026.9 offers no other way to read these on touch
    factory._mapping._virtual = True  # noqa: SLF001
    return factory.events()


class _Columns(dict[str, "_Column"]):
    """What coffea takes for columns in memory; each is read when it is asked for."""

    def __init__(self, table: NanoTable, start: int, stop: int) -> None:
        super().__init__({name: _Column(table, name, *kind, start, stop) for name, kind in table.kinds.items()})
        self.metadata = {"uuid": uuid.uuid4(), "num_rows": stop - start, "object_path": "/Events"}


@dataclass(frozen=True, eq=False)
class _Column:
    table: NanoTable
    name: str
    kind: np.dtype[Any]
    is_list: bool
    start: int
    stop: int

    @property
    def layout(self) -> ak.contents.Content:
        """An array of the same form without events: coffea asks for the form before anything is read."""
        empty = ak.contents.NumpyArray(np.zeros(0, self.kind))
        return ak.contents.ListOffsetArray(ak.index.Index64(np.zeros(1, np.int64)), empty) if self.is_list else empty

    @cached_property
    def whole(self) -> ak.Array:
        """The column in the range; coffea asks twice for a list, for offsets and content."""
        return self.table.read([self.name], self.start, self.stop)[self.name]

    def __getitem__(self, where: slice) -> ak.Array:
        return self.whole[where]
