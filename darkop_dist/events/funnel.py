"""Events on their way through cuts: those that fail too many are dropped, and nothing more is computed for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]

NONE_FAILED = np.int8(127)
"""Code of events that pass all cuts; otherwise it is the number of the cut that fails, counted from 0."""
DROPPED = np.int8(-1)
"""Code of events that fail more cuts than may be spared."""


@final
class Funnel:
    """Follows the events of one variation through its cuts.

    Columns are kept for the events that were followed when they were added, and narrowed when they are asked for: an
    event that is dropped costs nothing more.

    Attributes:
        events: positions of the events that are followed.
        steps: names of the cuts, in the order in which they were applied.
        flow: positions of the events that pass all cuts up to each, by name; empty unless it is asked for.
    """

    def __init__(self, events: Positions, *, spare: bool = False, keep_flow: bool = False) -> None:
        """Begin with some events.

        Args:
            events: their positions.
            spare: whether an event may fail one cut and still be followed, for plots with all cuts but one.
            keep_flow: whether to remember which events are left after each cut.
        """
        self.events = events
        self.steps: list[str] = []
        self.flow: dict[str, Positions] = {}
        self._columns: dict[str, tuple[int, npt.NDArray[Any]]] = {}
        self._rows: list[Positions | None] = [None]
        self._failed = np.full(len(events), NONE_FAILED, np.int8)
        self._spare = spare
        self._keep_flow = keep_flow

    def add(self, **columns: npt.NDArray[Any]) -> None:
        """Add columns of the events that are followed, each of shape (events, ...)."""
        self._columns |= {name: (len(self._rows) - 1, values) for name, values in columns.items()}

    def start(self, steps: Sequence[str], first_failed: Codes, failed: Codes) -> None:
        """Take over the first cuts, which a compiled loop has applied, and drop the events that fail too many.

        Args:
            steps: their names.
            first_failed: number of the first cut that each event fails, ``NONE_FAILED`` if none; shape (events,).
            failed: number of the only cut that each event fails, ``NONE_FAILED`` if none, ``DROPPED`` if there are
                more than may be spared; shape (events,).
        """
        self.steps += steps
        self._failed = failed
        if self._keep_flow:
            left, codes = self.events, first_failed
            for code, step in enumerate(steps):
                passed = np.flatnonzero(codes > code)
                left, codes = left[passed], codes[passed]
                self.flow[step] = left
        self._keep(np.flatnonzero(failed != DROPPED))

    def cut(self, step: str, mask: Mask) -> None:
        """Apply a cut to the events that are followed, and drop those that fail too many."""
        code = np.int8(len(self.steps))
        self.steps.append(step)
        passed = self._failed == NONE_FAILED
        self._failed[passed & ~mask] = code
        if self._keep_flow:
            self.flow[step] = self.events[self._failed == NONE_FAILED]
        kept = mask | passed if self._spare else mask
        if not kept.all():
            self._keep(np.flatnonzero(kept))

    def drop(self, hopeless: Mask) -> None:
        """Drop events that are known to fail more cuts to come than may be spared."""
        self._keep(np.flatnonzero(~hopeless))

    def passing(self) -> Funnel:
        """The events that fail no cut so far, followed by themselves."""
        inner = Funnel(self.events)
        inner.steps, inner._columns = list(self.steps), dict(self._columns)  # its own class
        inner._rows, inner._failed = list(self._rows), self._failed
        inner._keep(np.flatnonzero(self._failed == NONE_FAILED))
        return inner

    def passed(self, but: Collection[str] = ()) -> Mask:
        """Which of the events that are followed pass all cuts, but for some that do not matter."""
        mask = self._failed == NONE_FAILED
        for step in but:
            if step in self.steps:
                mask |= self._failed == self.steps.index(step)
        return np.asarray(mask)

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of the events that are followed."""
        since, values = self._columns[name]
        rows = self._rows[since]
        if rows is not None:
            values = values[rows]
            self.add(**{name: values})  # asked for again, it is there
        return values

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of all events, for the events that are followed."""
        return values if len(self.events) == len(values) else values[self.events]

    def _keep(self, chosen: Positions) -> None:
        self.events, self._failed = self.events[chosen], self._failed[chosen]
        self._rows = [chosen if rows is None else rows[chosen] for rows in self._rows]
        self._rows.append(None)
