"""Objects of a collection as flat columns, with a mark on those that count: what ``objects`` does, compiled.

The functions answer as those of ``darkop_dist.events.objects`` on the same events, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.events import kernels
from darkop_dist.events.absence import missing_columns
from darkop_dist.events.event_columns import EventColumns, Offsets, Values, chosen_lists, gathered
from darkop_dist.events.objects import IdCut, ObjectCuts

Note = Callable[[str], None]
Marks = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MarkedObjects:
    """Objects of all events one after another.

    Attributes:
        offsets: where the objects of each event begin, and the end; shape (events + 1,).
        kept: whether an object counts, shape (objects,).
        pt: transverse momenta in GeV, shape (objects,).
        eta: pseudorapidities, shape (objects,).
        phi: azimuths in rad, shape (objects,).
    """

    offsets: Offsets
    kept: Marks
    pt: Values
    eta: Values
    phi: Values

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> Positions:
        """Number of objects that count, shape (events,)."""
        found = np.empty(self.events, np.int64)
        kernels.count_kept(self.kept, self.offsets, found)
        return found

    @cached_property
    def occupied(self) -> Positions:
        """Positions of the events that have objects that count."""
        return np.flatnonzero(self.counts > 0)

    def first(self, number: int, events: Positions | None = None) -> Positions:
        """Positions of the first objects that count in the order of the file, shape (chosen events, number); -1: none.

        Args:
            number: how many.
            events: the events to look at; all by default.
        """
        events = np.arange(self.events) if events is None else events
        found = np.empty((len(events), number), np.int64)
        kernels.first_kept(events, self.kept, self.offsets, found)
        return found

    def total(self, values: Values, events: Positions | None = None) -> Values:
        """Sum of a column over the objects that count, shape (chosen events,); of all events by default."""
        events = np.arange(self.events) if events is None else events
        kind = np.int64 if values.dtype.kind in "iu" else values.dtype
        sums = np.empty(len(events), kind)
        kernels.sum_kept(events, self.kept, self.offsets, values, sums.dtype.type(0), sums)
        return sums

    def directions(self) -> tuple[Values, Values]:
        """Cosine and sine of the azimuths, each of shape (objects,)."""
        return np.cos(self.phi), np.sin(self.phi)

    def vector_sum(
        self, pt: Values, directions: tuple[Values, Values], events: Positions | None = None
    ) -> tuple[Numbers, Numbers]:
        """Components (px, py) in GeV of the sum of the objects that count, each of shape (chosen events,).

        Args:
            pt: their momenta in a variation.
            directions: what ``directions`` says.
            events: the events to look at; all by default.
        """
        events = np.arange(self.events) if events is None else events
        zero: Any = np.result_type(pt, directions[0]).type(0)
        sums = np.empty((2, len(events)))
        kernels.sum_products(events, self.kept, self.offsets, pt, *directions, zero, sums)
        return sums[0], sums[1]


def of_events(objects: MarkedObjects, events: Positions) -> tuple[MarkedObjects, Positions]:
    """The objects of chosen events alone, and their positions among all objects."""
    offsets, places = chosen_lists(objects.offsets, events)
    kept, pt, eta, phi = (gathered(values, places) for values in (objects.kept, objects.pt, objects.eta, objects.phi))
    return MarkedObjects(offsets, kept, pt, eta, phi), places


def changed_sums(
    objects: MarkedObjects, pt: Values, directions: tuple[Values, Values], events: Positions
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """``vector_sum`` with momenta of a variation and with the objects' own: px, py, own px, own py in GeV."""
    kinds: list[Any] = [np.result_type(momenta, directions[0]).type(0) for momenta in (pt, objects.pt)]
    sums = np.empty((4, len(events)))
    kernels.sum_changed(events, objects.kept, objects.offsets, pt, *directions, kinds[0], objects.pt, kinds[1], sums)
    return sums[0], sums[1], sums[2], sums[3]


def mark_objects(columns: EventColumns, collection: str, cuts: ObjectCuts, note: Note) -> MarkedObjects:
    """Objects of a collection; those count that pass.

    Args:
        columns: the events.
        collection: such as ``Muon``.
        cuts: thresholds and identification.
        note: is told about an identification that no column of the file allows.

    Raises:
        InputFileError: the collection is absent.
    """
    objects = all_objects(columns, collection)
    passed = (objects.pt > cuts.pt_min) & (np.abs(objects.eta) < cuts.abs_eta_max)
    for purpose, alternatives in (("identification", cuts.ids), ("isolation", cuts.isolation)):
        cut = next((cut for cut in alternatives if columns.has(f"{collection}.{cut.column}")), None)
        if cut is not None:
            passed &= _passes(columns.per_object(f"{collection}.{cut.column}"), cut)
        elif alternatives:
            names = ", ".join(cut.column for cut in alternatives)
            note(f"{collection}: no {purpose} column of {names}: none applied")
    return MarkedObjects(objects.offsets, passed, objects.pt, objects.eta, objects.phi)


def all_objects(columns: EventColumns, collection: str) -> MarkedObjects:
    """Objects of a collection; all count.

    Raises:
        InputFileError: the collection is absent.
    """
    if not columns.has(f"{collection}.pt"):
        raise missing_columns(columns.events, (f"{collection}.pt",), f"Use files with the collection {collection}.")
    pt, eta, phi = (columns.per_object(f"{collection}.{field}") for field in ("pt", "eta", "phi"))
    return MarkedObjects(columns.offsets(collection), np.ones(len(pt), np.bool_), pt, eta, phi)


def no_objects(events: int) -> MarkedObjects:
    """No objects at all in any event."""
    nothing = np.zeros(0, np.float32)
    return MarkedObjects(np.zeros(events + 1, np.int64), np.zeros(0, np.bool_), nothing, nothing, nothing)


def _passes(values: Values, cut: IdCut) -> Marks:
    passed = np.ones(len(values), np.bool_) if values.dtype.kind in "biu" else ~np.isnan(values)
    if cut.minimum is not None:
        passed &= values >= cut.minimum
    if cut.maximum is not None:
        passed &= values <= cut.maximum
    return passed


def away_from(objects: MarkedObjects, *others: MarkedObjects, radius: float) -> MarkedObjects:
    """The objects, where only those count that are farther than a distance in (eta, phi) from others that count."""
    kept = objects.kept.copy()
    near = _wraps_once(objects.phi)
    for other in others:
        if not other.kept.any():
            continue
        kind: Any = np.result_type(objects.eta, other.eta, objects.phi, other.phi).type
        kernels.drop_near(
            other.occupied,
            kept,
            objects.offsets,
            objects.eta,
            objects.phi,
            other.kept,
            other.offsets,
            other.eta,
            other.phi,
            kind(radius**2),
            kind(np.pi),
            kind(2 * np.pi),
            near and _wraps_once(other.phi),
        )
    return MarkedObjects(objects.offsets, kept, objects.pt, objects.eta, objects.phi)


def _wraps_once(phi: Values) -> bool:
    """Whether the difference of two such azimuths is within one turn of [-pi, pi)."""
    return bool(phi.min(initial=0.0) > -4.0 and phi.max(initial=0.0) < 4.0)


def take(values: Values, positions: Positions, *, absent: float = np.nan) -> Numbers:
    """Values at positions; ``absent`` where the position is -1."""
    taken = np.empty(len(positions))
    kernels.take(values, positions, absent, taken)
    return taken
