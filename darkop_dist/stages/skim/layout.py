"""The branches of a file of any kind: which are numbers, which are lists, and which lists one counter belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa

from darkop_dist.events.nano_table import array_of
from darkop_dist.generation.layout import Layout

Kind = tuple[np.dtype[Any], str | None]
"""Type of a branch's numbers, and the collection that it belongs to: None for one number per event."""


def layout_from(kinds: Mapping[str, Kind], bytes_per_event: float = 0.0) -> Layout:
    """The layout of branches of known kinds, in their order."""
    flat: dict[str, np.dtype[Any]] = {}
    collections: dict[str, dict[str, np.dtype[Any]]] = {}
    for name, (kind, group) in kinds.items():
        if group is None:
            flat[name] = kind.newbyteorder("=")
        else:
            collections.setdefault(group, {})[name] = kind.newbyteorder("=")
    return Layout(flat, collections, bytes_per_event)


def group_of(name: str, names: Collection[str]) -> str | None:
    """The collection of a list by the counters that there are: ``Jet`` of ``Jet_pt`` where there is ``nJet``.

    >>> group_of("FatJetPFCands_jetIdx", {"nFatJetPFCands", "nFatJet"})
    'FatJetPFCands'
    """
    ends = [at for at, letter in enumerate(name) if letter == "_"]
    candidates = (name, *(name[:end] for end in reversed(ends)))
    return next((group for group in candidates if f"n{group}" in names), None)


def ntuple_form(layout: Layout) -> ak.forms.RecordForm:
    """The fields of an RNTuple: numbers, lists, and an ``nNAME`` for each collection, as in a TTree."""
    fields: dict[str, Any] = {name: ak.forms.NumpyForm(kind.name) for name, kind in layout.flat.items()}
    for group, columns in layout.collections.items():
        fields[f"n{group}"] = ak.forms.NumpyForm("int32")
        for name, kind in columns.items():
            fields[name] = ak.forms.ListOffsetForm("i64", ak.forms.NumpyForm(kind.name))
    return ak.forms.RecordForm(list(fields.values()), list(fields))


def ntuple_columns(arrays: Mapping[str, ak.Array], layout: Layout) -> ak.Array:
    """Arrays by branch as ``extend`` of such an RNTuple takes them."""
    columns: dict[str, Any] = {name: ak.to_numpy(arrays[name]) for name in layout.flat}
    for group, fields in layout.collections.items():
        columns[f"n{group}"] = ak.to_numpy(ak.num(arrays[next(iter(fields))])).astype(np.int32)
        for name in fields:
            columns[name] = ak.to_packed(arrays[name])
    return ak.Array(columns)


def table_of(arrays: Mapping[str, ak.Array], layout: Layout, *, counters: bool) -> pa.Table:
    """Arrays by branch as a table of Arrow.

    Args:
        arrays: by branch.
        layout: of these branches.
        counters: with a column ``nNAME`` for each collection.
    """
    columns: dict[str, Any] = {name: pa.array(ak.to_numpy(arrays[name])) for name in layout.flat}
    for group, fields in layout.collections.items():
        if counters:
            counts = ak.to_numpy(ak.num(arrays[next(iter(fields))]))
            columns[f"n{group}"] = pa.array(counts.astype(np.int32))
        for name in fields:
            columns[name] = _lists(arrays[name])
    return pa.table(columns)


def arrays_of(table: pa.Table, layout: Layout) -> dict[str, ak.Array]:
    """Arrays by branch from such a table."""
    return {name: array_of(table.column(name)) for name in layout.names}


def _lists(array: ak.Array) -> pa.ListArray:
    counts = ak.to_numpy(ak.num(array))
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    content = pa.array(ak.to_numpy(ak.flatten(array)))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), content)
