"""The columns of one chunk: each is read at most once, several at a time where they are asked for together."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from darkop_dist.errors import DamagedFileError
from darkop_dist.events.baskets import Branch, Column, DamagedBasketError, branch_of, read_branches
from darkop_dist.events.constituents import CANDIDATES, COLUMN, JETS, group_members
from darkop_dist.events.files import OpenFile
from darkop_dist.events.phases import READ, phase
from darkop_dist.events.remote import is_remote

DAMAGE = (DamagedBasketError, uproot.DeserializationError, zlib.error, EOFError)
Offsets = npt.NDArray[np.int64]


class Place(Protocol):
    """Where a column is."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def counter(self) -> str | None:
        """Name of the column that counts its numbers per entry; None for one number per entry."""


class ColumnSource(Protocol):
    """Columns of a range of entries, by NanoAOD's names."""

    @property
    def start(self) -> int:
        """First entry."""

    @property
    def stop(self) -> int:
        """One past the last entry."""

    def branch(self, name: str) -> Place | None:
        """A column that can be read here; None if it is absent or left to uproot."""

    def load(self, names: Iterable[str]) -> None:
        """Read columns together; those that are not read here are skipped."""

    def column(self, name: str) -> Column:
        """Numbers of a column: one per entry, or for lists the numbers of all entries one after another."""

    def offsets(self, counter: str) -> Offsets:
        """Where the list of each entry begins, and the end; shape (entries + 1,)."""

    def content(self, name: str) -> Any:
        """A column as awkward's layout; None if it is left to uproot."""


@dataclass(frozen=True, eq=False)
class ChunkSource:
    """Columns of a range of entries of a tree.

    Attributes:
        file: the file, held open.
        tree: name of the tree.
        start: first entry.
        stop: one past the last entry.
    """

    file: OpenFile
    tree: str
    start: int
    stop: int
    _columns: dict[str, Column] = field(default_factory=dict)
    _offsets: dict[str, Offsets] = field(default_factory=dict)

    def branch(self, name: str) -> Branch | None:
        """A column that can be read here; None if it is absent or left to uproot."""
        return branch_of(self.file, self.tree, name)

    def load(self, names: Iterable[str]) -> None:
        """Read columns, and the counters of lists, with one request for each; those that are not read here are skipped.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        found = {name: branch for name in names if (branch := self.branch(name)) is not None}
        counters = {b.counter: self.branch(b.counter) for b in found.values() if b.counter is not None}
        self._read([b for b in counters.values() if b is not None])
        self._read(list(found.values()))

    def column(self, name: str) -> Column:
        """Numbers of a column: one per entry, or for lists the numbers of all entries one after another.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        if name not in self._columns:
            self.load([name])
        return self._columns[name]

    def offsets(self, counter: str) -> Offsets:
        """Where the list of each entry begins, and the end; from the branch that counts, shape (entries + 1,).

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        if counter not in self._offsets:
            offsets = np.zeros(self.stop - self.start + 1, np.int64)
            np.cumsum(self.column(counter), out=offsets[1:])
            self._offsets[counter] = offsets
        return self._offsets[counter]

    def content(self, name: str) -> Any:
        """A column as awkward's layout; None if it is left to uproot.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        branch = self.branch(name)
        if branch is None:
            jets, _, field_name = name.partition("_")
            return self._constituents(jets) if field_name == COLUMN and jets in JETS else None
        numbers = ak.contents.NumpyArray(self.column(branch.name))
        return numbers if branch.counter is None else list_layout(self.offsets(branch.counter), numbers)

    def _constituents(self, jets: str) -> Any:
        """Positions of the constituents of each jet among the candidates of all entries."""
        pairs = JETS[jets]
        members, jet_index = self._list(f"{pairs}_jetIdx")
        _, candidate_index = self._list(f"{pairs}_pFCandsIdx")
        begins = self._list(f"{jets}_pt")[0]
        candidates = self._list(f"{CANDIDATES[0]}_pt")[0]
        offsets, found = group_members(begins, candidates, jet_index, candidate_index, members)
        return list_layout(begins, list_layout(offsets, ak.contents.NumpyArray(found)))

    def _list(self, name: str) -> tuple[Offsets, Column]:
        """Offsets and numbers of a list, read by uproot where that is needed."""
        branch = self.branch(name)
        if branch is not None and branch.counter is not None:
            return self.offsets(branch.counter), self.column(name)
        with phase(READ):
            found = self.file.directory[self.tree][name].array(entry_start=self.start, entry_stop=self.stop)
        counts = ak.to_numpy(ak.num(found))
        return np.concatenate([[0], np.cumsum(counts)]), np.asarray(ak.to_numpy(ak.flatten(found)))

    def _read(self, branches: list[Branch]) -> None:
        missing = [branch for branch in branches if branch.name not in self._columns]
        if not missing:
            return
        with phase(READ):
            self._read_now(missing)

    def _read_now(self, missing: list[Branch]) -> None:
        lengths = {b.name: int(self.offsets(b.counter)[-1]) for b in missing if b.counter is not None}
        try:
            self._columns.update(read_branches(self.file, missing, self.start, self.stop, lengths))
        except NotImplementedError:
            tree = self.file.directory[self.tree]
            self._columns.update({b.name: self._read_by_uproot(tree[b.name], b) for b in missing})
        except DAMAGE as error:
            raise self._damaged(str(error).strip().splitlines()[0][:160]) from error
        except OSError as error:
            if error.errno is None and not is_remote(self.file.path):
                raise self._damaged(str(error)) from error
            raise

    def _read_by_uproot(self, branch: uproot.TBranch, described: Branch) -> Column:
        found = branch.array(entry_start=self.start, entry_stop=self.stop)
        column = ak.to_numpy(ak.flatten(found) if described.counter is not None else found)
        return np.asarray(column, described.stored.newbyteorder("="))

    def _damaged(self, reason: str) -> DamagedFileError:
        return DamagedFileError(
            self.file.path,
            f"is truncated or corrupt in entries {self.start} to {self.stop} ({reason})",
            "Download it again and compare its checksum.",
        )


def list_layout(offsets: Offsets, content: Any) -> Any:
    """A layout of lists."""
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)
