"""Jet energy variations on flat columns: what ``systematics.object_variations`` does, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from darkop_dist.events import kernels
from darkop_dist.events.event_columns import EventColumns, Values
from darkop_dist.events.marked import MarkedObjects, Numbers, Positions, changed_sums
from darkop_dist.events.systematics import ShiftSizes

Note = Callable[[str], None]
PROPAGATED_PT_MIN = 15.0
"""Jets above this pT in GeV change the missing momentum when they are shifted."""
ROUNDING = 1e-4
"""Allowance for sums in single precision, relative to all momenta: that of a thousand jets at the very worst."""

Met = Callable[[Positions], tuple[Numbers, Numbers]]
"""Components of the missing momentum in GeV of the events at some positions."""
Reach = Callable[[Positions], Numbers]
"""What the missing momentum in GeV of the events at some positions cannot exceed; NaN where that is not known."""


@dataclass(frozen=True)
class JetShift:
    """Jets and missing momentum of one variation.

    Attributes:
        name: ``nominal`` or ``<systematic>_up`` and ``_down``.
        pt: jet momenta in GeV, shape (jets,).
        met: gives the x and y components of the missing momentum of chosen events.
        reach: gives an upper limit of it without looking at azimuths, which takes a tenth of the time.
    """

    name: str
    pt: Values
    met: Met
    reach: Reach


def jet_shifts(
    columns: EventColumns, jets: MarkedObjects, met: str, systematics: Sequence[str], sizes: ShiftSizes, note: Note
) -> Iterator[JetShift]:
    """The nominal jets and their shifts; collision data are never shifted.

    Shifts are propagated to the missing momentum as in ``systematics.object_variations``.

    Args:
        columns: the events.
        jets: all jets.
        met: name of the missing momentum, ``MET`` or ``PuppiMET``.
        systematics: names asked for; others than the jet ones are ignored here.
        sizes: one-sigma sizes.
        note: is told about what could not be done.
    """
    nominal = JetShift("nominal", jets.pt, *_stored(columns, met, ""))
    yield nominal
    if (columns.events.metadata or {}).get("is_data", False):
        return
    counted = MarkedObjects(jets.offsets, jets.pt > PROPAGATED_PT_MIN, jets.pt, jets.eta, jets.phi)

    def shifted(name: str, pt: Values, suffix: str) -> JetShift:
        if all(columns.has(f"{met}.{field}{suffix}") for field in ("pt", "phi")):
            return JetShift(name, pt, *_stored(columns, met, suffix))
        return JetShift(name, pt, partial(_propagated, nominal, counted, pt), partial(_reach, nominal, counted, pt))

    for sign, way, suffix in ((1.0, "up", "Up"), (-1.0, "down", "Down")):
        if "jet_energy_scale" in systematics:
            pt = jets.pt * (1.0 + sign * sizes.jet_energy_scale)
            yield shifted(f"jet_energy_scale_{way}", pt, f"JES{suffix}")
        if "jet_energy_resolution" in systematics:
            name = f"jet_energy_resolution_{way}"
            if not (columns.has("Jet.genJetIdx") and columns.has("GenJet.pt")):
                note("jet_energy_resolution: no generator jets in the file: not varied")
                yield replace(nominal, name=name)
                continue
            pt = jets.pt + sign * sizes.jet_energy_resolution * (jets.pt - _matched_pt(columns, jets))
            pt = np.where(pt > 0.0, pt, np.float64(0.0))
            yield shifted(name, pt, f"JER{suffix}")


def _stored(columns: EventColumns, met: str, suffix: str) -> tuple[Met, Reach]:
    """The missing momentum of a variation from the file."""
    fields = (f"pt{suffix}", f"phi{suffix}")

    def reach(events: Positions) -> Numbers:
        pt = columns.per_event(f"{met}.{fields[0]}")[events].astype(np.float64)
        return np.abs(pt) * (1.0 + ROUNDING)

    return partial(_components, columns, met, *fields), reach


def _propagated(nominal: JetShift, counted: MarkedObjects, pt: Values, events: Positions) -> tuple[Numbers, Numbers]:
    x, y = nominal.met(events)
    after_x, after_y, before_x, before_y = changed_sums(counted, pt, events)
    return x - after_x + before_x, y - after_y + before_y


def _reach(nominal: JetShift, jets: MarkedObjects, pt: Values, events: Positions) -> Numbers:
    """No vector sum is longer than the sum of the lengths."""
    changes = np.empty(len(events))
    kernels.sum_changes(events, jets.offsets, pt, jets.pt, ROUNDING, changes)
    return nominal.reach(events) + changes


def _components(
    columns: EventColumns, met: str, pt_field: str, phi_field: str, events: Positions
) -> tuple[Numbers, Numbers]:
    pt = columns.per_event(f"{met}.{pt_field}")[events].astype(np.float64)
    phi = columns.per_event(f"{met}.{phi_field}")[events].astype(np.float64)
    return pt * np.cos(phi), pt * np.sin(phi)


def _matched_pt(columns: EventColumns, jets: MarkedObjects) -> Numbers:
    index = columns.per_object("Jet.genJetIdx").astype(np.int64)
    matched = np.empty(len(index))
    kernels.take_matched(
        index, jets.offsets, columns.per_object("GenJet.pt"), columns.offsets("GenJet"), jets.pt, matched
    )
    return matched
