"""Events on their way through cuts: those that fail too many are dropped, and nothing more is computed for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Columns = dict[str, Numbers]
Masks = dict[str, npt.NDArray[np.bool_]]


@final
class Funnel:
    """Follows the events of one variation through its cuts.

    Attributes:
        events: positions of the events that are still followed.
        columns: observables of those events by name.
        masks: which of those events pass each cut, by name.
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
        self.columns: Columns = {}
        self.masks: Masks = {}
        self.flow: dict[str, Positions] = {}
        self._spare = spare
        self._keep_flow = keep_flow
        self._passed = np.ones(len(events), np.bool_)
        self._failures = np.zeros(len(events), np.int8)

    def cut(self, step: str, mask: npt.NDArray[np.bool_]) -> None:
        """Apply a cut to the events that are followed."""
        self.masks[step] = mask
        self._passed &= mask
        self._failures += ~mask
        if self._keep_flow:
            self.flow[step] = self.events[self._passed]

    def drop(self, required: Collection[str] = ()) -> None:
        """Follow only the events that fail no required cut, and no more cuts than may be spared."""
        kept = self._failures <= self._spare
        for step in required:
            kept &= self.masks[step]
        chosen = np.flatnonzero(kept)
        self.events, self._passed, self._failures = (
            self.events[chosen],
            self._passed[chosen],
            self._failures[chosen],
        )
        self.columns = {name: values[chosen] for name, values in self.columns.items()}
        self.masks = {name: mask[chosen] for name, mask in self.masks.items()}

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of all events, for the events that are followed."""
        return values[self.events]
