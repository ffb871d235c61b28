"""Jet energy variations on flat columns: what ``systematics.object_variations`` does, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from darkop_dist.events import kernels
from darkop_dist.events.event_columns import Columns, Values
from darkop_dist.events.marked import MarkedObjects, Numbers, Positions, changed_sums
from darkop_dist.events.systematics import RESOLUTION, ShiftSizes, is_scale

Note = Callable[[str], None]
PROPAGATED_PT_MIN = 15.0
"""Jets above this pT in GeV change the missing momentum when they are shifted."""
ROUNDING = 1e-4
"""Allowance for sums in single precision, relative to all momenta in them: that of a thousand jets at worst."""


Met = Callable[[Positions], tuple[Numbers, Numbers]]
"""Components of the missing momentum in GeV of the events at some positions."""


@dataclass(frozen=True)
class JetShift:
    """Jets and missing momentum of one variation.

    Attributes:
        name: ``nominal`` or ``<systematic>_up`` and ``_down``.
        pt: jet momenta in GeV, shape (jets,).
        met: gives the x and y components of the missing momentum of chosen events.
        limit: gives what it does not exceed without a look at azimuths, which is ten times as fast; infinite or NaN
            where that is not known.
    """

    name: str
    pt: Values
    met: Met
    limit: Callable[[Positions], Numbers]


def shifts_of_jets(systematics: Sequence[str]) -> tuple[str, ...]:
    """Those systematics that shift jets: the resolution, and the scale or its sources."""
    return tuple(name for name in systematics if name == RESOLUTION or is_scale(name))


def unshifted(columns: Columns, jets: MarkedObjects, met: str) -> JetShift:
    """The nominal jets; see ``jet_shifts``."""
    return JetShift("nominal", jets.pt, partial(_components, columns, met, ""), partial(_length, columns, met, ""))


def jet_shifts(
    columns: Columns, jets: MarkedObjects, met: str, systematics: Sequence[str], sizes: ShiftSizes, note: Note
) -> Iterator[JetShift]:
    """The shifts of the jets; collision data are never shifted.

    Shifts are propagated to the missing momentum as in ``systematics.object_variations``, by all jets, whether they
    count or not. Columns such as ``Jet.jet_energy_scale`` and ``Jet.jet_energy_resolution_up`` that corrections have
    added come before the sizes, see ``darkop_dist.events.corrections.jet_energy``.

    Args:
        columns: the events.
        jets: all jets.
        met: name of the missing momentum, ``MET`` or ``PuppiMET``.
        systematics: names asked for; others than the jet ones are ignored here.
        sizes: one-sigma sizes.
        note: is told about what could not be done.
    """
    systematics = shifts_of_jets(systematics)
    if columns.is_data or not systematics:
        return
    nominal = unshifted(columns, jets, met)
    counted = MarkedObjects(jets.offsets, jets.pt > PROPAGATED_PT_MIN, jets.pt, jets.eta, jets.phi)
    propagated = partial(_propagated, nominal, counted, jets.directions())

    def shift(name: str, pt: Values, suffix: str | None) -> JetShift:
        if suffix is not None and _has_met(columns, met, suffix):
            return JetShift(
                name, pt, partial(_components, columns, met, suffix), partial(_length, columns, met, suffix)
            )
        return JetShift(name, pt, partial(propagated, pt), lambda events: np.full(len(events), np.inf))

    for sign, way, suffix in ((1.0, "up", "Up"), (-1.0, "down", "Down")):
        for name in filter(is_scale, systematics):
            own = columns.has(f"Jet.{name}")
            size = columns.per_object(f"Jet.{name}") if own else sizes.jet_energy_scale
            yield shift(f"{name}_{way}", jets.pt * (1.0 + sign * size), None if own else f"JES{suffix}")
        if RESOLUTION in systematics:
            name = f"{RESOLUTION}_{way}"
            if columns.has(f"Jet.{name}"):
                yield shift(name, jets.pt * columns.per_object(f"Jet.{name}"), None)
                continue
            if not _has_generator_jets(columns):
                note("jet_energy_resolution: no generator jets in the file: not varied")
                yield replace(nominal, name=name)
                continue
            pt = jets.pt + sign * sizes.jet_energy_resolution * (jets.pt - _matched_pt(columns, jets))
            pt = np.where(pt > 0.0, pt, np.float64(0.0))
            yield shift(name, pt, f"JER{suffix}")


def met_limit(
    columns: Columns, jets: MarkedObjects, met: str, systematics: Sequence[str], sizes: ShiftSizes, events: Positions
) -> Numbers:
    """What the missing momentum of chosen events does not exceed in any variation, in GeV; shape (chosen events,).

    No vector sum is longer than the sum of the lengths. An event that cannot reach a threshold needs nothing else in
    any variation. NaN where a number is NaN.

    Args:
        columns: the events.
        jets: all jets.
        met: name of the missing momentum, ``MET`` or ``PuppiMET``.
        systematics: names of the variations.
        sizes: their one-sigma sizes.
        events: positions of the events to look at.
    """
    limit = _length(columns, met, "", events)
    if columns.is_data:
        return limit
    for suffix in (f"{kind}{way}" for kind in ("JES", "JER") for way in ("Up", "Down")):
        if _has_met(columns, met, suffix):
            limit = np.maximum(limit, _length(columns, met, suffix, events))
    momenta = _sum_of_sizes(jets, jets.pt, events)
    changes = np.zeros(len(events))
    for name in filter(is_scale, systematics):
        if columns.has(f"Jet.{name}"):
            moved = _sum_of_sizes(jets, jets.pt * columns.per_object(f"Jet.{name}"), events)
        else:
            moved = sizes.jet_energy_scale * momenta
        changes = np.maximum(changes, moved)
    if RESOLUTION in systematics:
        changes = np.maximum(changes, _resolution_change(columns, jets, sizes, events))
    return limit + changes + ROUNDING * (limit + 2 * momenta + changes)


def _resolution_change(columns: Columns, jets: MarkedObjects, sizes: ShiftSizes, events: Positions) -> Numbers:
    """Sum of the changes of the jets' momenta by the resolution, the larger of both ways; shape (chosen events,)."""
    names = [f"Jet.{RESOLUTION}_{way}" for way in ("up", "down")]
    if all(map(columns.has, names)):
        moved = [_sum_of_sizes(jets, jets.pt * columns.per_object(name) - jets.pt, events) for name in names]
        return np.maximum(*moved)
    if not _has_generator_jets(columns):
        return np.zeros(len(events))
    return sizes.jet_energy_resolution * _sum_of_sizes(jets, jets.pt - _matched_pt(columns, jets), events)


def _sum_of_sizes(jets: MarkedObjects, values: Values, events: Positions) -> Numbers:
    sums = np.empty(len(events))
    kernels.sum_sizes(events, jets.offsets, values, sums)
    return sums


def _has_generator_jets(columns: Columns) -> bool:
    return columns.has("Jet.genJetIdx") and columns.has("GenJet.pt")


def _has_met(columns: Columns, met: str, suffix: str) -> bool:
    return all(columns.has(f"{met}.{field}{suffix}") for field in ("pt", "phi"))


def _propagated(
    nominal: JetShift, counted: MarkedObjects, directions: tuple[Values, Values], pt: Values, events: Positions
) -> tuple[Numbers, Numbers]:
    x, y = nominal.met(events)
    after_x, after_y, before_x, before_y = changed_sums(counted, pt, directions, events)
    return x - after_x + before_x, y - after_y + before_y


def _components(columns: Columns, met: str, suffix: str, events: Positions) -> tuple[Numbers, Numbers]:
    pt = columns.per_event(f"{met}.pt{suffix}")[events].astype(np.float64)
    phi = columns.per_event(f"{met}.phi{suffix}")[events].astype(np.float64)
    return pt * np.cos(phi), pt * np.sin(phi)


def _length(columns: Columns, met: str, suffix: str, events: Positions) -> Numbers:
    pt = columns.per_event(f"{met}.pt{suffix}")[events].astype(np.float64)
    return np.asarray(np.abs(pt) * (1.0 + ROUNDING))


def _matched_pt(columns: Columns, jets: MarkedObjects) -> Numbers:
    index = columns.per_object("Jet.genJetIdx").astype(np.int64)
    matched = np.empty(len(index))
    kernels.take_matched(
        index, jets.offsets, columns.per_object("GenJet.pt"), columns.offsets("GenJet"), jets.pt, matched
    )
    return matched
