"""Events on their way through cuts: those that fail too many are dropped, and nothing more is computed for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@final
class Funnel:
    """Follows the events of one variation through its cuts.

    Columns and cuts are kept for the events that were followed when they were added, and narrowed when they are asked
    for: an event that is dropped costs nothing more.

    Attributes:
        events: positions of the events that are followed.
        flow: positions of the events that pass all cuts up to each, by name; empty unless it is asked for.
    """

    def __init__(self, events: Positions, *, spare: int = 0, keep_flow: bool = False) -> None:
        """Begin with some events.

        Args:
            events: their positions.
            spare: how many cuts an event may fail and still be followed: one for plots with all cuts but one.
            keep_flow: whether to remember which events are left after each cut.
        """
        self.events = events
        self.flow: dict[str, Positions] = {}
        self._columns: dict[str, tuple[int, npt.NDArray[Any]]] = {}
        self._masks: dict[str, tuple[int, Mask]] = {}
        self._rows: list[Positions | None] = [None]
        self._spare = spare
        self._keep_flow = keep_flow
        self._passing: Positions | None = None
        self._failures = np.zeros(len(events), np.int8)

    def add(self, **columns: npt.NDArray[Any]) -> None:
        """Add columns of the events that are followed, each of shape (events, ...)."""
        self._columns |= {name: (len(self._rows) - 1, values) for name, values in columns.items()}

    def cut(self, step: str, mask: Mask) -> None:
        """Apply a cut to the events that are followed."""
        self._masks[step] = len(self._rows) - 1, mask
        self._failures += ~mask
        self._passing = np.flatnonzero(mask) if self._passing is None else self._passing[mask[self._passing]]
        if self._keep_flow:
            self.flow[step] = self.events[self._passing]

    def drop(self, required: Collection[str] = (), spared: Mask | None = None) -> None:
        """Follow only the events that fail no required cut, and no more cuts than may be spared.

        Args:
            required: names of cuts that must be passed.
            spared: which events may fail a cut at all, shape (events,); all by default.
        """
        kept = self._failures <= self._spare
        if spared is not None:
            kept &= spared | (self._failures == 0)
        for step in required:
            kept &= self.mask(step)
        if not kept.all():
            self._keep(np.flatnonzero(kept))
            self._passing = np.flatnonzero(self._failures == 0)

    def passing(self) -> Funnel:
        """The events that fail no cut so far, followed by themselves."""
        inner = Funnel(self.events)
        inner._columns, inner._masks = dict(self._columns), dict(self._masks)  # noqa: SLF001  # its own class
        inner._rows, inner._failures = list(self._rows), self._failures  # noqa: SLF001
        inner._keep(np.flatnonzero(self._failures == 0))  # noqa: SLF001
        return inner

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of the events that are followed."""
        since, values = self._columns[name]
        return self._narrowed(since, values)

    def mask(self, step: str) -> Mask:
        """Which of the events that are followed pass a cut."""
        since, mask = self._masks[step]
        return self._narrowed(since, mask)

    def masks(self) -> dict[str, Mask]:
        """All cuts by name, in the order in which they were applied."""
        return {step: self.mask(step) for step in self._masks}

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All columns by name."""
        return {name: self.column(name) for name in self._columns}

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of all events, for the events that are followed."""
        return values if len(self.events) == len(values) else values[self.events]

    def _narrowed(self, since: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows = self._rows[since]
        return values if rows is None else values[rows]

    def _keep(self, chosen: Positions) -> None:
        self.events, self._failures = self.events[chosen], self._failures[chosen]
        self._rows = [chosen if rows is None else rows[chosen] for rows in self._rows]
        self._rows.append(None)
