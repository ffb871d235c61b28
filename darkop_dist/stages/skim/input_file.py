"""An input file, whatever its kind: which branches it has, a range of some of them, and its side trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import uproot

from darkop_dist.config.access import Access
from darkop_dist.errors import InputFileError
from darkop_dist.events.files import OpenFile, open_file
from darkop_dist.events.nano_table import NanoTable, is_nano_table, open_table
from darkop_dist.events.remote import DEFAULT
from darkop_dist.events.source import ChunkSource
from darkop_dist.generation.layout import Layout
from darkop_dist.stages.skim.layout import Kind, group_of, layout_from
from darkop_dist.stages.skim.side_trees import SIDE_TREES, SideTree, from_json


@dataclass(frozen=True)
class InputFile:
    """A file of events, open.

    Attributes:
        path: local path or address.
        tree: name of its tree of events.
        names: all branches, counters included, in the order of the file.
        counters: those that count a collection.
    """

    path: str
    tree: str
    names: tuple[str, ...]
    counters: frozenset[str]
    _root: OpenFile | None = field(repr=False, default=None)
    _table: NanoTable | None = field(repr=False, default=None)

    def layout(self, names: Sequence[str]) -> Layout:
        """The layout of some branches.

        Raises:
            InputFileError: one is neither a number per event nor a list of numbers with a counter of its own.
        """
        return layout_from({name: self._kind(name) for name in names})

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, ak.Array]:
        """Branches of a range of entries.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: it is truncated or corrupt.
        """
        if self._table is not None:
            return self._table.read(names, start, stop)
        assert self._root is not None  # noqa: S101  # one of the two
        source = ChunkSource(self._root, self.tree, start, stop)
        source.load(names)
        return {name: _column(source, self._root, name) for name in names}

    def side_trees(self) -> dict[str, SideTree]:
        """``Runs`` and ``LuminosityBlocks``, where the file has them, without what is neither number nor list."""
        if self._table is not None:
            return {name: from_json(tree) for name, tree in self._table.trees.items() if name in SIDE_TREES}
        assert self._root is not None  # noqa: S101
        directory = self._root.directory
        return {name: _side_tree(directory[name]) for name in SIDE_TREES if name in directory}

    def _kind(self, name: str) -> Kind:
        found: Kind | None = None
        if self._table is not None:
            kind, is_list = self._table.kinds[name]
            group = group_of(name, self.counters)
            found = (kind, group) if is_list and group else None if is_list else (kind, None)
        elif self._root is not None:
            found = _kind_of(self._root.directory[self.tree], name, self.counters)
        if found is None:
            raise InputFileError(
                self.path,
                f"the branch {name} is neither a number per event nor a list counted by a branch nNAME",
                f"Leave it out with --drop {name}.",
            )
        return found


def open_input(path: str, tree: str, access: Access = DEFAULT) -> InputFile:
    """Open a file of NanoAOD's layout, or use the handle that this process holds.

    Args:
        path: local path or address.
        tree: name of the tree of events.
        access: how remote files are reached.

    Raises:
        OSError: it cannot be reached.
        Exception: what uproot and pyarrow raise on damaged files.
    """
    if is_nano_table(path, "nanoaod"):
        table = open_table(path, access)
        names = tuple(table.kinds)
        lists = {name for name, (_, is_list) in table.kinds.items() if is_list}
        counters = {f"n{group}" for name in lists if (group := group_of(name, names))}
        return InputFile(path, tree, names, frozenset(counters), _table=table)
    opened = open_file(path, access)
    found = opened.directory[tree]
    key = ("skim", tree)
    if key not in opened.derived:
        opened.derived[key] = InputFile(path, tree, *_branches(found), _root=None)
    known: InputFile = opened.derived[key]
    return InputFile(path, tree, known.names, known.counters, _root=opened)


def _branches(tree: Any) -> tuple[tuple[str, ...], frozenset[str]]:
    names = tuple(tree.keys(recursive=False))
    if isinstance(tree, uproot.TTree):
        branches = [tree[name] for name in names]
        return names, frozenset(b.count_branch.name for b in branches if b.count_branch is not None)
    lists = [name for name in names if isinstance(_form(tree, name), ak.forms.ListOffsetForm)]
    return names, frozenset(f"n{group}" for name in lists if (group := group_of(name, names)))


def _kind_of(tree: Any, name: str, counters: frozenset[str]) -> Kind | None:
    """Kind of a branch; None where it is of no kind that a skim writes."""
    if not isinstance(tree, uproot.TTree):
        form = _form(tree, name)
        if isinstance(form, ak.forms.NumpyForm) and not form.inner_shape:
            return np.dtype(form.primitive), None
        group = group_of(name, counters)
        if isinstance(form, ak.forms.ListOffsetForm) and isinstance(form.content, ak.forms.NumpyForm) and group:
            return np.dtype(form.content.primitive), group
        return None
    branch = tree[name]
    kind, counter = branch.interpretation, None if branch.count_branch is None else branch.count_branch.name
    if isinstance(kind, uproot.AsDtype) and kind.to_dtype.shape == () and counter is None:
        return kind.to_dtype.newbyteorder("="), None
    if isinstance(kind, uproot.AsJagged) and _is_of(name, counter) and kind.content.to_dtype.shape == ():
        return kind.content.to_dtype.newbyteorder("="), str(counter)[1:]
    return None


def _is_of(name: str, counter: str | None) -> bool:
    return counter is not None and counter[:1] == "n" and (name == counter[1:] or name.startswith(f"{counter[1:]}_"))


def _form(ntuple: Any, name: str) -> Any:
    return ntuple[name].to_akform()[0].contents[0]


def _column(source: ChunkSource, file: OpenFile, name: str) -> ak.Array:
    branch = source.branch(name)
    if branch is None:
        return file.directory[source.tree][name].array(entry_start=source.start, entry_stop=source.stop)
    content = ak.contents.NumpyArray(source.column(name))
    if branch.counter is None:
        return ak.Array(content)
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(source.offsets(branch.counter)), content))


def _side_tree(tree: Any) -> SideTree:
    names, counters = _branches(tree)
    kinds = {name: kind for name in names if name not in counters and (kind := _kind_of(tree, name, counters))}
    return SideTree(layout_from(kinds), {name: tree[name].array() for name in kinds})
