"""What stands beside ``Events``: ``Runs`` with the sums of weights of all generated events, ``LuminosityBlocks``.

A skim keeps the rows of its inputs as they are, one after the other as hadd does, so that sums over them stay what they
are, and lists such as ``LHEPdfSumw``, which are relative to the row's ``genEventSumw``, keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from darkop_dist.generation.layout import Layout, columns_to_write, new_tree
from darkop_dist.stages.skim.layout import layout_from, ntuple_columns, ntuple_form

SIDE_TREES = ("Runs", "LuminosityBlocks")
SUMS = ("genEventSumw", "genEventSumw2", "genEventSumw_", "genEventSumw2_")
COUNTS = ("genEventCount", "genEventCount_")


@dataclass(frozen=True)
class SideTree:
    """A small tree in memory.

    Attributes:
        layout: its branches.
        columns: by branch, one number or list per row.
    """

    layout: Layout
    columns: Mapping[str, ak.Array]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return max((len(column) for column in self.columns.values()), default=0)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON, see `events.nano_table`."""
        groups = {name: group for group, fields in self.layout.collections.items() for name in fields}
        kinds = {**self.layout.flat, **{n: k for fields in self.layout.collections.values() for n, k in fields.items()}}
        return {
            name: {"type": kinds[name].name, "group": groups.get(name), "values": ak.to_list(self.columns[name])}
            for name in self.layout.names
        }


def from_json(found: Mapping[str, Any]) -> SideTree:
    """What ``to_json`` gave."""
    kinds = {name: (np.dtype(column["type"]), column["group"]) for name, column in found.items()}
    columns = {}
    for name, column in found.items():
        kind, values = kinds[name][0], column["values"]
        if column["group"] is None:
            columns[name] = ak.Array(np.asarray(values, kind))
        else:
            counts = [len(items) for items in values]
            flat = np.asarray([item for items in values for item in items], kind)
            columns[name] = ak.unflatten(flat, np.asarray(counts, np.int64))
    return SideTree(layout_from(kinds), columns)


def joined_trees(trees: Sequence[SideTree]) -> SideTree:
    """The rows of several one after the other; only columns that all of them have."""
    common = [name for name in trees[0].layout.names if all(name in tree.columns for tree in trees)]
    layout = trees[0].layout.without([name for name in trees[0].layout.names if name not in common])
    return SideTree(layout, {name: ak.concatenate([tree.columns[name] for tree in trees]) for name in common})


def scaled_runs(runs: SideTree, fraction: float) -> SideTree:
    """``Runs`` of a file of which only a fraction of the entries was processed, as the ledger of a run counts it."""
    if fraction == 1.0:
        return runs
    columns = dict(runs.columns)
    for name in SUMS:
        if name in columns:
            columns[name] = columns[name] * fraction
    for name in COUNTS:
        if name in columns:
            columns[name] = ak.values_astype(np.round(columns[name] * fraction), np.int64)
    return SideTree(runs.layout, columns)


def runs_of_events(run: int, weights: Sequence[float], squares: Sequence[float], count: int) -> SideTree:
    """``Runs`` for simulation whose file has none: the sums over all of its events.

    Args:
        run: number of the run.
        weights: sums of weights, chunk by chunk.
        squares: sums of squared weights, chunk by chunk.
        count: number of events.
    """
    values: dict[str, Any] = {
        "run": np.array([run], np.uint32),
        "genEventCount": np.array([count], np.int64),
        "genEventSumw": np.array([sum(weights)], np.float64),
        "genEventSumw2": np.array([sum(squares)], np.float64),
    }
    return SideTree(
        Layout({name: array.dtype for name, array in values.items()}, {}, 0.0),
        {name: ak.Array(array) for name, array in values.items()},
    )


def blocks_of_events(runs: Any, blocks: Any) -> SideTree:
    """``LuminosityBlocks`` for a file that has none: those that its events, kept or not, belong to."""
    pairs = np.unique(np.stack([np.asarray(runs, np.int64), np.asarray(blocks, np.int64)], axis=1), axis=0)
    kind = np.dtype(np.uint32)
    columns = {"run": ak.Array(pairs[:, 0].astype(kind)), "luminosityBlock": ak.Array(pairs[:, 1].astype(kind))}
    return SideTree(Layout({"run": kind, "luminosityBlock": kind}, {}, 0.0), columns)


def write_tree(file: Any, name: str, tree: SideTree) -> None:
    """Write it as a TTree into a file that is open for writing."""
    made = new_tree(file, name, tree.layout)
    if tree.rows:
        made.extend(columns_to_write(tree.columns, tree.layout))


def write_ntuple(file: Any, name: str, tree: SideTree) -> None:
    """Write it as an RNTuple into a file that is open for writing."""
    made = file.mkrntuple(name, ntuple_form(tree.layout))
    if tree.rows:
        made.extend(ntuple_columns(tree.columns, tree.layout))
