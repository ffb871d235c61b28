"""Variables of a PHYSLITE file by container and name, whether its events are in a TTree or in an RNTuple."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import cramjam
import numpy as np
import uproot

from darkop_dist.errors import DamagedFileError
from darkop_dist.events.files import OpenFile
from darkop_dist.events.remote import is_remote

TREES = ("CollectionTree", "EventData")
"""Names of the events in a TTree and in an RNTuple."""
MARK = ("AnalysisJets", "pt")
"""A variable that every PHYSLITE file has."""
REQUESTS_AT_ONCE = 8
"""Columns of a remote file that are asked for at the same time."""
DAMAGE = (
    uproot.DeserializationError,
    cramjam.DecompressionError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    IndexError,
    AssertionError,
    TypeError,
)

_IN_TREE = re.compile(r"(?:.*/)?(\w+?)Aux(?:Dyn)?\.(\w+)")
_IN_NTUPLE = re.compile(r"(\w+?)Aux(Dyn)?:(\w*)")
_VECTOR = re.compile(r"(?:std::)?vector<\s*(.*?)\s*>")
_NUMBERS = {
    "float": "float32",
    "double": "float64",
    "bool": "bool",
    "char": "int8",
    "int8_t": "int8",
    "uint8_t": "uint8",
    "int16_t": "int16",
    "uint16_t": "uint16",
    "int32_t": "int32",
    "uint32_t": "uint32",
    "int64_t": "int64",
    "uint64_t": "uint64",
}


@dataclass(frozen=True)
class Variable:
    """A variable of a container.

    Attributes:
        branch: its name in the file.
        dtype: type of its numbers; None for links, text and everything else.
        depth: 0 for one number per event, 1 for a list, 2 for a list of lists.
        link: whether it refers to objects of another container.
    """

    branch: str
    dtype: np.dtype[Any] | None
    depth: int
    link: bool


@dataclass(frozen=True, eq=False)
class PhysliteTree:
    """The events of a file.

    Attributes:
        file: the file, held open.
        name: name of the tree.
        branches: names in the file by container and variable.
    """

    file: OpenFile
    name: str
    branches: dict[str, dict[str, str]]
    _known: dict[tuple[str, str], Variable] = field(default_factory=dict)
    _handles: dict[str, Any] = field(default_factory=dict)

    def find(self, container: str, variable: str) -> Variable | None:
        """A variable; None if the file has none of that name."""
        branch = self.branches.get(container, {}).get(variable)
        if branch is None:
            return None
        key = (container, variable)
        if key not in self._known:
            self._known[key] = _described(branch, str(self._handle(branch).typename))
        return self._known[key]

    def matching(self, container: str, patterns: Sequence[str]) -> list[str]:
        """Names of a container's variables that match one of some patterns, in the order of the alphabet."""
        names = self.branches.get(container, {})
        return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))

    def read(self, variables: Sequence[Variable], start: int, stop: int) -> dict[Variable, Any]:
        """Awkward layouts of some variables for a range of entries; several of a remote file at once.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        try:
            return self._read(list(variables), {"entry_start": start, "entry_stop": stop})
        except DAMAGE as error:
            raise self._damaged(str(error).strip(), start, stop) from error
        except OSError as error:
            if error.errno is None and not is_remote(self.file.path):
                raise self._damaged(str(error).strip(), start, stop) from error
            raise

    def _read(self, variables: list[Variable], entries: dict[str, int]) -> dict[Variable, Any]:
        # uproot's own way to read several columns looks at the names of all columns first, which takes up to seconds
        handles = [self._handle(variable.branch) for variable in variables]
        in_turn = len(handles) == 1 or not is_remote(self.file.path)
        if in_turn or not all(isinstance(handle, uproot.TBranch) for handle in handles):  # RNTuples bear no threads
            return {v: handle.array(**entries).layout for v, handle in zip(variables, handles, strict=True)}
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            arrays = list(pool.map(lambda handle: handle.array(**entries), handles))
        return {v: array.layout for v, array in zip(variables, arrays, strict=True)}

    def _handle(self, branch: str) -> Any:
        if branch not in self._handles:
            self._handles[branch] = self._found(branch)
        return self._handles[branch]

    def _found(self, branch: str) -> Any:
        tree = self.file.directory[self.name]
        if isinstance(tree, uproot.TTree):
            return tree[branch]
        # an RNTuple's own look-up by name lists all fields first, which takes seconds
        top, inside, inner = branch.partition(":.")
        if not inside:
            return next(item for item in tree.fields if item.name == branch)
        outer = next(item for item in tree.fields if item.name == f"{top}:")
        return next(item for item in outer.fields if item.name == inner)

    def _damaged(self, reason: str, start: int, stop: int) -> DamagedFileError:
        first = reason.splitlines()[0][:160] if reason else "no reason given"
        return DamagedFileError(
            self.file.path,
            f"is truncated or corrupt in entries {start} to {stop} ({first})",
            "Download it again and compare its checksum.",
        )


def physlite_tree(file: OpenFile, name: str) -> PhysliteTree:
    """The events of an opened file; found out once for each file that a process holds open."""
    key = ("physlite", name)
    if key not in file.derived:
        tree = file.directory[name]
        found: dict[str, dict[str, str]] = {}
        for container, variable, branch in _tree_names(tree) if isinstance(tree, uproot.TTree) else _fields_of(tree):
            found.setdefault(container, {}).setdefault(variable, branch)
        file.derived[key] = PhysliteTree(file, name, found)
    known: PhysliteTree = file.derived[key]
    return known


def tree_of_physlite(directory: Any) -> str | None:
    """Name of the tree of PHYSLITE's events in a file; None if the file is something else.

    Args:
        directory: uproot's directory of the file.
    """
    for name in TREES:
        if name not in directory:
            continue
        tree = directory[name]
        container, variable = MARK
        if isinstance(tree, uproot.TTree):
            if f"{container}AuxDyn.{variable}" in tree:
                return name
        elif any(top.name == f"{container}AuxDyn:{variable}" for top in getattr(tree, "fields", ())):
            return name
    return None


def layout_lists(layout: Any) -> tuple[Any, Any]:
    """Offsets that begin at zero, as numpy's array, and the content of a layout of lists."""
    lists = layout.to_ListOffsetArray64(True)
    offsets = np.asarray(lists.offsets.data)
    return offsets, lists.content[: offsets[-1]]


def numbers(layout: Any, dtype: np.dtype[Any]) -> Any:
    """Numbers of a layout without lists; RNTuples give ATLAS' ``char`` as text that has to be read as numbers."""
    values = np.asarray(layout.data)
    return values.view(dtype) if values.dtype.itemsize == dtype.itemsize else values.astype(dtype)


def _tree_names(tree: Any) -> list[tuple[str, str, str]]:
    matches = [(_IN_TREE.fullmatch(key), key) for key in tree.keys()]  # noqa: SIM118  # uproot's trees are no mappings
    return [(match[1], match[2], key.rsplit("/", 1)[-1]) for match, key in matches if match]


def _fields_of(ntuple: Any) -> list[tuple[str, str, str]]:
    found = []
    for top in ntuple.fields:
        match = _IN_NTUPLE.fullmatch(top.name)
        if match and match[3]:
            found.append((match[1], match[3], top.name))
        elif match and match[1].endswith("Jets"):  # truth jets have their momenta there
            found += [(match[1], inner.name, f"{top.name}.{inner.name}") for inner in top.fields]
    return found


def _described(branch: str, typename: str) -> Variable:
    depth, kind = 0, typename.strip()
    while match := _VECTOR.fullmatch(kind):
        depth, kind = depth + 1, match[1]
    dtype = _NUMBERS.get(kind.removeprefix("std::"))
    return Variable(branch, None if dtype is None else np.dtype(dtype), depth, kind.startswith("ElementLink<"))
