"""Columns of events as plain arrays for compiled selections, straight from the file where that is possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, final

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.events import kernels
from darkop_dist.events.nanoevents import Layout, source_of
from darkop_dist.events.read import has_column
from darkop_dist.events.source import ColumnSource

Values = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]


class Columns(Protocol):
    """Columns of events by name, such as ``genWeight``, ``MET.pt`` (one number per event) or ``Jet.pt`` (a list)."""

    def __len__(self) -> int:
        """Number of events."""

    @property
    def is_data(self) -> bool:
        """Whether these are collisions, not simulation."""

    def has(self, name: str) -> bool:
        """Whether the events have a column."""

    def per_event(self, name: str) -> Values:
        """One number per event, shape (events,)."""

    def offsets(self, collection: str) -> Offsets:
        """Where the objects of each event begin in the collection's columns, and the end; shape (events + 1,)."""

    def per_object(self, name: str) -> Values:
        """One number per object of a collection, all events one after another, shape (objects,)."""


@final
class EventColumns:
    """``Columns`` of events as they come.

    Any NanoEvents will do: a chunk as it was opened, a selection, or events with fields set by hand. The arrays are the
    same in all cases; those of a chunk as it was opened are read without awkward.

    Attributes:
        events: the events.
        replaced: columns that stand in the place of the events' own or beside them, such as corrected momenta.
    """

    def __init__(self, events: ak.Array, replaced: Mapping[str, Values] | None = None) -> None:
        self.events = events
        self.replaced = dict(replaced or {})
        self._found = source_of(events)
        self._offsets: dict[str, Offsets] = {}

    def __len__(self) -> int:
        return len(self.events)

    @property
    def is_data(self) -> bool:
        """Whether these are collisions, not simulation."""
        return bool((self.events.metadata or {}).get("is_data", False))

    def has(self, name: str) -> bool:
        """Whether the events have a column."""
        return name in self.replaced or has_column(self.events, name)

    def load(self, names: Iterable[str]) -> None:
        """Read columns together, which saves time on remote files; those that are absent are skipped."""
        if self._found is not None:
            self._found[0].load(name.replace(".", "_") for name in names)

    def per_event(self, name: str) -> Values:
        """One number per event, shape (events,)."""
        if name in self.replaced:
            return self.replaced[name]
        source = self._source_for(name, counted=False)
        if source is not None:
            return source.column(name.replace(".", "_"))
        return np.asarray(ak.to_numpy(self._array(name)))

    def offsets(self, collection: str) -> Offsets:
        """Where the objects of each event begin in the collection's columns, and the end; shape (events + 1,)."""
        if collection not in self._offsets:
            self._offsets[collection] = self._read_offsets(collection)
        return self._offsets[collection]

    def per_object(self, name: str) -> Values:
        """One number per object of a collection, all events one after another, shape (objects,)."""
        if name in self.replaced:
            return self.replaced[name]
        source = self._source_for(name, counted=True)
        if source is not None:
            return source.column(name.replace(".", "_"))
        return np.asarray(ak.to_numpy(ak.flatten(self._array(name), axis=1)))

    def replaced_in(self, events: ak.Array) -> ak.Array:
        """Events with the replaced columns as their fields, for code that reads awkward arrays.

        Args:
            events: the same events.
        """
        for name, values in self.replaced.items():
            collection, _, field = name.partition(".")
            old = events[collection]
            new = ak.unflatten(values, np.diff(self.offsets(collection))) if old.ndim > 1 else values
            events = ak.with_field(events, ak.with_field(old, new, field), collection)
        return events

    def _read_offsets(self, collection: str) -> Offsets:
        if self._found is not None and self._is_list(self._found[1], self._found[0], collection):
            return self._found[0].offsets(f"n{collection}")
        counts = ak.to_numpy(ak.num(self.events[collection], axis=1))
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])

    def _source_for(self, name: str, *, counted: bool) -> ColumnSource | None:
        if self._found is None or not self.has(name):
            return None
        branch = self._found[0].branch(name.replace(".", "_"))
        counter = f"n{name.partition('.')[0]}" if counted else None
        return self._found[0] if branch is not None and branch.counter == counter else None

    @staticmethod
    def _is_list(layout: Layout, source: ColumnSource, collection: str) -> bool:
        counter = source.branch(f"n{collection}")
        return collection in layout.fields and counter is not None and counter.counter is None

    def _array(self, name: str) -> ak.Array:
        collection, _, field = name.partition(".")
        return self.events[collection][field] if field else self.events[collection]


@final
class ChosenColumns:
    """``Columns`` of some of the events: numbers that are far apart are brought together once, for all later loops."""

    def __init__(self, columns: Columns, chosen: npt.NDArray[np.int64]) -> None:
        self._columns = columns
        self._chosen = chosen
        self.is_data = columns.is_data

    def __len__(self) -> int:
        return len(self._chosen)

    def has(self, name: str) -> bool:
        """Whether the events have a column."""
        return self._columns.has(name)

    def per_event(self, name: str) -> Values:
        """One number per event, shape (events,)."""
        return gathered(self._columns.per_event(name), self._chosen)

    def offsets(self, collection: str) -> Offsets:
        """Where the objects of each event begin in the collection's columns, and the end; shape (events + 1,)."""
        return chosen_lists(self._columns.offsets(collection), self._chosen)[0]

    def per_object(self, name: str) -> Values:
        """One number per object of a collection, all events one after another, shape (objects,)."""
        places = chosen_lists(self._columns.offsets(name.partition(".")[0]), self._chosen)[1]
        return gathered(self._columns.per_object(name), places)


def chosen_lists(offsets: Offsets, chosen: npt.NDArray[np.int64]) -> tuple[Offsets, npt.NDArray[np.int64]]:
    """The lists of chosen events one after another: their offsets, and the positions of their members among all."""
    found = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(offsets[chosen + 1] - offsets[chosen], out=found[1:])
    places = np.empty(found[-1], np.int64)
    kernels.place_members(chosen, offsets, places)
    return found, places


def gathered(values: Values, places: npt.NDArray[np.int64]) -> Values:
    """``values[places]`` for positions that exist, in half the time."""
    found = np.empty(len(places), values.dtype)
    kernels.gather(values, places, found)
    return found
