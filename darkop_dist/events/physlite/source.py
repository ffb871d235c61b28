"""The columns of one chunk of PHYSLITE: each is made at most once of variables that are read at most once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.events.phases import READ, phase
from darkop_dist.events.physlite.tree import PhysliteTree, Variable, layout_lists, numbers

Values = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """How a column is made.

    Attributes:
        name: NanoAOD's name, such as ``Jet_pt``.
        counter: name of the column that counts its numbers per event; None for one number per event.
        dtype: type of its numbers.
        needs: the variables to read.
        make: gives its numbers: one per event, or those of all events one after another.
        nested: gives, for a column of lists of positions, where the list of each object begins, and the end.
    """

    name: str
    counter: str | None
    dtype: np.dtype[Any]
    needs: tuple[Variable, ...]
    make: Callable[[PhysliteSource], Values]
    nested: Callable[[PhysliteSource], Offsets] | None = None


@dataclass(frozen=True)
class Lists:
    """Where the objects of a collection are.

    Attributes:
        needs: the variables to read.
        offsets: gives where the objects of each event begin, and the end.
        ranked: the column by which the objects of an event stand, largest first; None for the order of the file.
    """

    needs: tuple[Variable, ...]
    offsets: Callable[[PhysliteSource], Offsets]
    ranked: Recipe | None = None


@dataclass(frozen=True, eq=False)
class PhysliteSource:
    """Columns of a range of entries.

    Attributes:
        tree: the events of the file.
        start: first entry.
        stop: one past the last entry.
        recipes: the columns by name.
        lists: the collections by the name of the column that counts their objects.
    """

    tree: PhysliteTree
    start: int
    stop: int
    recipes: Mapping[str, Recipe]
    lists: Mapping[str, Lists]
    _raw: dict[Variable, Any] = field(default_factory=dict)
    _columns: dict[str, Values] = field(default_factory=dict)
    _offsets: dict[str, Offsets] = field(default_factory=dict)
    memory: dict[Any, Any] = field(default_factory=dict)
    """What several recipes share, such as the missing momentum."""

    def __len__(self) -> int:
        return self.stop - self.start

    def branch(self, name: str) -> Recipe | None:
        """A column that can be read; None if the file has nothing for it."""
        found = self.recipes.get(name)
        return None if found is None or found.nested is not None else found

    def load(self, names: Iterable[str]) -> None:
        """Read what columns are made of, together; those that are absent are skipped.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        recipes = [self.recipes[name] for name in names if name in self.recipes]
        counted = [self.lists[recipe.counter] for recipe in recipes if recipe.counter is not None]
        needed = [lists.needs for lists in counted] + [lists.ranked.needs for lists in counted if lists.ranked]
        self._fetch(v for needs in (*needed, *(recipe.needs for recipe in recipes)) for v in needs)

    def column(self, name: str) -> Values:
        """Numbers of a column: one per event, or for lists the numbers of all events one after another.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        if name not in self._columns:
            recipe = self.recipes[name]
            self.load([name])
            made = np.asarray(recipe.make(self))
            order = None if recipe.counter is None or recipe.nested else self._order(recipe.counter)
            self._columns[name] = np.ascontiguousarray(made if order is None else made[order], recipe.dtype)
        return self._columns[name]

    def offsets(self, counter: str) -> Offsets:
        """Where the list of each event begins, and the end; shape (events + 1,)."""
        if counter not in self._offsets:
            lists = self.lists[counter]
            self._fetch(lists.needs)
            self._offsets[counter] = lists.offsets(self)
        return self._offsets[counter]

    def content(self, name: str) -> Any:
        """A column as awkward's layout.

        Raises:
            OSError: the file cannot be read.
            DamagedFileError: the file is truncated or corrupt.
        """
        recipe = self.recipes[name]
        content: Any = ak.contents.NumpyArray(self.column(name))
        if recipe.counter is None:
            return content
        if recipe.nested is not None:
            content = ak.contents.ListOffsetArray(ak.index.Index64(recipe.nested(self)), content)
            order = self._order(recipe.counter)
            content = content if order is None else ak.Array(content)[order].layout.to_ListOffsetArray64(True)
        return ak.contents.ListOffsetArray(ak.index.Index64(self.offsets(recipe.counter)), content)

    def _order(self, counter: str) -> Values | None:
        """Positions of a collection's objects as NanoAOD has them; None if they stand so in the file."""
        ranked = self.lists[counter].ranked
        if ranked is None:
            return None
        key = ("order", counter)
        if key not in self.memory:
            self._fetch(ranked.needs)
            by, counts = ranked.make(self), np.diff(self.offsets(counter))
            event = np.repeat(np.arange(len(self)), counts)
            falling = (by[1:] <= by[:-1]) | (event[1:] != event[:-1])
            self.memory[key] = None if falling.all() else np.lexsort((-by, event))
        found: Values | None = self.memory[key]
        return found

    def layout(self, variable: Variable) -> Any:
        """A variable as uproot reads it."""
        self._fetch([variable])
        return self._raw[variable]

    def values(self, variable: Variable) -> Values:
        """Numbers of a variable: one per event, or those of all its lists one after another."""
        layout = self.layout(variable)
        for _ in range(variable.depth):
            layout = layout_lists(layout)[1]
        if variable.dtype is None:
            raise TypeError(f"{variable.branch} holds no numbers")
        return np.asarray(numbers(layout, variable.dtype))

    def _fetch(self, variables: Iterable[Variable]) -> None:
        missing = [v for v in dict.fromkeys(variables) if v not in self._raw]
        if missing:
            with phase(READ):
                self._raw.update(self.tree.read(missing, self.start, self.stop))
