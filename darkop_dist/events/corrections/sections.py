"""Luminosity sections with the number of events in each: what a chunk held, exactly, and sums of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.events.declared import COLUMNS, Ranges
from darkop_dist.events.event_columns import EventColumns

Integers = npt.NDArray[np.int64]
Plain = dict[str, list[list[int]]]


@dataclass(frozen=True, eq=False)
class Sections:
    """Sections in rising order, each once.

    Attributes:
        runs: run numbers, shape (sections,).
        numbers: numbers of the sections in their runs, shape (sections,).
        events: events in each, shape (sections,); 0 where a file says that it holds a section without events.
    """

    runs: Integers
    numbers: Integers
    events: Integers

    def __len__(self) -> int:
        return len(self.runs)

    def __add__(self, other: Sections) -> Sections:
        return total([self, other])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sections) and self.to_plain() == other.to_plain()

    def __hash__(self) -> int:
        return hash(self.keys.tobytes())

    @cached_property
    def keys(self) -> Integers:
        """One number for each section, rising; shape (sections,)."""
        return section_keys(self.runs, self.numbers)

    def where(self, mask: npt.NDArray[np.bool_]) -> Sections:
        """Some of the sections."""
        return Sections(self.runs[mask], self.numbers[mask], self.events[mask])

    def holds(self, keys: Integers) -> npt.NDArray[np.bool_]:
        """Which sections, given by ``section_keys``, are among these."""
        return np.isin(keys, self.keys)

    def to_plain(self) -> Plain:
        """By run, lists of: first section, events in it, events in the next, ...; `from_plain` is the inverse.

        >>> sections_with([7, 7, 7, 7], [1, 1, 2, 5]).to_plain()
        {'7': [[1, 2, 1], [5, 1]]}
        """
        found: Plain = {}
        breaks = np.flatnonzero(np.diff(self.keys) != 1) + 1
        for part in np.split(np.arange(len(self)), breaks) if len(self) else ():
            line = [int(self.numbers[part[0]]), *self.events[part].tolist()]
            found.setdefault(str(self.runs[part[0]]), []).append(line)
        return found

    @classmethod
    def from_plain(cls, content: Mapping[str, Sequence[Sequence[int]]]) -> Sections:
        """Read what `to_plain` wrote."""
        lines = [(int(run), line) for run, lines in content.items() for line in lines]
        if not lines:
            return NO_SECTIONS
        runs = np.concatenate([np.full(len(line) - 1, run, np.int64) for run, line in lines])
        numbers = np.concatenate([np.arange(line[0], line[0] + len(line) - 1, dtype=np.int64) for _, line in lines])
        return _summed(runs, numbers, np.concatenate([np.asarray(line[1:], np.int64) for _, line in lines]))

    def ranges(self) -> dict[str, list[list[int]]]:
        """By run, lists of first and last section, as a golden JSON has them."""
        return {run: [[line[0], line[0] + len(line) - 2] for line in lines] for run, lines in self.to_plain().items()}


NO_SECTIONS = Sections(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def section_keys(runs: npt.ArrayLike, numbers: npt.ArrayLike) -> Integers:
    """One number for each section: run in the upper, section in the lower 32 bits."""
    return (np.asarray(runs).astype(np.int64) << 32) | np.asarray(numbers).astype(np.int64)


def sections_with(runs: npt.ArrayLike, numbers: npt.ArrayLike) -> Sections:
    """The sections of events; both of shape (events,)."""
    keys, counts = np.unique(section_keys(runs, numbers), return_counts=True)
    return Sections(keys >> 32, keys & 0xFFFFFFFF, counts.astype(np.int64))


def total(several: Iterable[Sections]) -> Sections:
    """Sum of sections: exact, in any order."""
    parts = [NO_SECTIONS, *several]
    return _summed(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("runs", "numbers", "events")))


def sections_of(events: ak.Array) -> Sections | None:
    """The sections of events; None where they have no run or section numbers."""
    read = EventColumns(events)
    if not all(read.has(name) for name in COLUMNS):
        return None
    read.load(COLUMNS)
    return sections_with(*(read.per_event(name) for name in COLUMNS))


def without_events(ranges: Ranges) -> Sections:
    """Sections of which nothing is known but that they were processed.

    >>> without_events(((7, 1, 2), (7, 5, 5))).to_plain()
    {'7': [[1, 0, 0], [5, 0]]}
    """
    return total(map(_empty, ranges))


def _empty(several: tuple[int, int, int]) -> Sections:
    run, first, last = several
    numbers = np.arange(first, last + 1, dtype=np.int64)
    return Sections(np.full_like(numbers, run), numbers, np.zeros_like(numbers))


def _summed(runs: Integers, numbers: Integers, events: Integers) -> Sections:
    keys, places = np.unique(section_keys(runs, numbers), return_inverse=True)
    sums = np.zeros(len(keys), np.int64)
    np.add.at(sums, places, events)
    return Sections(keys >> 32, keys & 0xFFFFFFFF, sums)
