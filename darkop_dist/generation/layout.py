"""The branches of a tree of NanoAOD that others wrote: what is flat, what is a collection, how to write the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from darkop_dist.errors import InputFileError

CHUNK_BYTES = 32 << 20
FEWEST, MOST = 200, 50_000


@dataclass(frozen=True)
class Layout:
    """Branches of a tree, without the counters of its collections.

    Attributes:
        flat: types of the branches with one number per event.
        collections: by name, types of the branches that one counter belongs to. A collection of one branch that has its
            name, as ``LHEPdfWeight``, is a list of numbers; others are ``Jet_pt`` and so on.
        bytes_per_event: mean size of all of them in memory.
    """

    flat: Mapping[str, np.dtype[Any]]
    collections: Mapping[str, Mapping[str, np.dtype[Any]]]
    bytes_per_event: float

    @property
    def names(self) -> tuple[str, ...]:
        """All branches."""
        return (*self.flat, *(name for fields in self.collections.values() for name in fields))

    @property
    def chunk_events(self) -> int:
        """So many events at a time that they take some 32 MB."""
        return int(min(max(CHUNK_BYTES / max(self.bytes_per_event, 1.0), FEWEST), MOST))

    def without(self, dropped: Collection[str]) -> Layout:
        """The layout without some branches."""
        collections = {
            group: {name: kind for name, kind in fields.items() if name not in dropped}
            for group, fields in self.collections.items()
        }
        return Layout(
            {name: kind for name, kind in self.flat.items() if name not in dropped},
            {group: fields for group, fields in collections.items() if fields},
            self.bytes_per_event,
        )


def layout_of(tree: Any, path: str, dropped: Collection[str] = ()) -> Layout:
    """The layout of an open tree.

    Args:
        tree: from uproot.
        path: of its file, for messages.
        dropped: branches to leave out.

    Raises:
        InputFileError: a branch is neither a number nor a list of numbers with a counter of its own.
    """
    flat: dict[str, np.dtype[Any]] = {}
    collections: dict[str, dict[str, np.dtype[Any]]] = {}
    branches = dict(tree.items(recursive=False))
    counters = {branch.count_branch.name for branch in branches.values() if branch.count_branch is not None}
    for name, branch in branches.items():
        if name in dropped or name in counters:
            continue
        kind = branch.interpretation
        counter = None if branch.count_branch is None else branch.count_branch.name
        if isinstance(kind, uproot.AsDtype) and kind.to_dtype.shape == () and counter is None:
            flat[name] = kind.to_dtype.newbyteorder("=")
        elif isinstance(kind, uproot.AsJagged) and _is_of(name, counter) and kind.content.to_dtype.shape == ():
            assert counter is not None  # noqa: S101  # _is_of says so
            collections.setdefault(counter[1:], {})[name] = kind.content.to_dtype.newbyteorder("=")
        else:
            raise InputFileError(
                path,
                f"the branch {name} is neither a number per event nor a list counted by a branch nNAME (it is {kind})",
                f"Leave it out with --drop {name}.",
            )
    kept = [branches[name] for name in branches if name not in dropped]
    size = sum(branch.uncompressed_bytes for branch in kept) / max(tree.num_entries, 1)
    return Layout(flat, collections, size)


def _is_of(name: str, counter: str | None) -> bool:
    return counter is not None and counter[:1] == "n" and (name == counter[1:] or name.startswith(f"{counter[1:]}_"))


def new_tree(file: Any, name: str, layout: Layout) -> Any:
    """Begin a tree with a layout in a file that is open for writing."""
    kinds: dict[str, Any] = dict(layout.flat)
    for group, fields in layout.collections.items():
        numbers = {_inner(group, field): ak.types.NumpyType(kind.name) for field, kind in fields.items()}
        whole = numbers[""] if list(numbers) == [""] else ak.types.RecordType(list(numbers.values()), list(numbers))
        kinds[group] = ak.types.ListType(whole)
    return file.mktree(name, kinds, title=name)


def columns_to_write(arrays: Mapping[str, ak.Array], layout: Layout) -> dict[str, Any]:
    """Arrays by branch as ``extend`` of a tree of that layout takes them."""
    columns: dict[str, Any] = {name: ak.to_numpy(arrays[name]) for name in layout.flat}
    for group, fields in layout.collections.items():
        inner = {_inner(group, name): arrays[name] for name in fields}
        columns[group] = inner[""] if list(inner) == [""] else ak.zip(inner, depth_limit=2)
    return columns


def _inner(group: str, name: str) -> str:
    return name[len(group) + 1 :]


def read_rows(tree: Any, names: Sequence[str], rows: npt.NDArray[np.int64], block: int) -> dict[str, ak.Array]:
    """Some entries of a tree.

    Args:
        tree: from uproot.
        names: of the branches.
        rows: the entries in ascending order.
        block: most entries to hold at once besides those.

    Returns:
        By branch, one array of as many entries.
    """
    found: list[dict[str, ak.Array]] = []
    first = 0
    while first < len(rows):
        start = int(rows[first])
        end = int(np.searchsorted(rows, start + block))
        stop = int(rows[end - 1]) + 1
        arrays = tree.arrays(list(names), entry_start=start, entry_stop=stop, library="ak", how=dict)
        chosen = rows[first:end] - start
        found.append(
            {
                name: arrays[name] if len(chosen) == stop - start else ak.to_packed(arrays[name][chosen])
                for name in names
            }
        )
        first = end
    return joined(found) if found else {}


def joined(parts: Sequence[Mapping[str, ak.Array]]) -> dict[str, ak.Array]:
    """The rows of several parts one after the other, by branch."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}


def missing_from(layout: Layout, other: Iterable[str]) -> tuple[str, ...]:
    """Branches of a layout that another tree lacks, in alphabetical order."""
    return tuple(sorted(set(layout.names) - set(other)))
