"""The first cuts of a search for one hard jet that recoils against missing momentum, in one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from darkop_dist.events import kernels
from darkop_dist.events.event_columns import Values
from darkop_dist.events.funnel import Codes, Mask, Numbers, Positions
from darkop_dist.events.marked import MarkedObjects

CUTS = (
    "jet_pt",
    "jet_eta",
    "charged_fraction",
    "neutral_fraction",
    "electron veto",
    "photon veto",
    "tau veto",
    "b_jets",
)
"""Names of the cuts in their order."""
VETOES = CUTS[4:7]


@dataclass(frozen=True)
class LeadingJetCuts:
    """Thresholds; an event without jets fails those on pT and pseudorapidity, a fraction that is NaN passes.

    Attributes:
        pt_min: smallest pT of the leading jet in GeV, exclusive.
        abs_eta_max: its largest absolute pseudorapidity, exclusive.
        charged_fraction_min: its smallest charged-hadron energy fraction, exclusive.
        neutral_fraction_max: its largest neutral-hadron energy fraction, exclusive.
        tagged_pt_min: smallest pT in GeV of b-tagged jets, which veto, exclusive.
    """

    pt_min: float
    abs_eta_max: float
    charged_fraction_min: float
    neutral_fraction_max: float
    tagged_pt_min: float


@dataclass(frozen=True)
class LeadingJets:
    """What the loop found.

    Attributes:
        first: position of the leading jet, -1 without jets; shape (events,).
        tagged: number of b-tagged jets, shape (events,).
        first_failed: see ``Funnel.start``.
        failed: see ``Funnel.start``.
    """

    first: Positions
    tagged: Numbers
    first_failed: Codes
    failed: Codes


def first_veto(vetoes: dict[str, Positions]) -> Codes:
    """Number of the first veto that strikes, counted from 1 in the order of ``VETOES``; 0 if none does.

    Args:
        vetoes: number of objects by name of the veto, each of shape (events,).
    """
    code = np.zeros(len(vetoes[VETOES[0]]), np.int8)
    for number, name in reversed(list(enumerate(VETOES, start=1))):
        code[vetoes[name] > 0] = number
    return code


def cut_on_leading_jet(
    cuts: LeadingJetCuts,
    jets: MarkedObjects,
    pt: Values,
    fractions: tuple[Values, Values],
    tagged: Mask,
    vetoed: Codes,
    spared: Mask,
    events: Positions,
) -> LeadingJets:
    """Apply the cuts to chosen events.

    Args:
        cuts: the thresholds.
        jets: the jets; those count that are away from leptons and photons.
        pt: their momenta in a variation.
        fractions: their charged and neutral hadron energy fractions.
        tagged: jets that are b-tagged if their pT is high enough, shape (jets,).
        vetoed: what ``first_veto`` found, shape (all events,).
        spared: whether an event may fail one of the other cuts, shape (all events,).
        events: positions of the events to look at.
    """
    found = LeadingJets(
        first=np.empty(len(events), np.int64),
        tagged=np.empty(len(events)),
        first_failed=np.empty(len(events), np.int8),
        failed=np.empty(len(events), np.int8),
    )
    charged, neutral = fractions

    def like(values: Values, threshold: float) -> Any:
        return values.dtype.type(threshold)

    kernels.cut_on_leading(
        events,
        jets.offsets,
        pt,
        jets.eta,
        jets.kept,
        charged,
        neutral,
        tagged,
        vetoed,
        spared,
        cuts.pt_min,
        cuts.abs_eta_max,
        cuts.charged_fraction_min,
        cuts.neutral_fraction_max,
        like(pt, cuts.tagged_pt_min),
        like(pt, 0.0),
        found.first,
        found.tagged,
        found.first_failed,
        found.failed,
    )
    return found


@dataclass(frozen=True)
class JetColumns:
    """Observables of the jets of chosen events, each of shape (chosen events,).

    Attributes:
        min_dphi: smallest azimuthal distance in rad of a direction and the hardest jets; pi without jets.
        number: jets above a pT.
        sum_pt: the sum of their pT in GeV.
        phi: azimuth of the leading jet; NaN without jets.
        second_pt: pT in GeV of the second jet; NaN with fewer.
        second_eta: pseudorapidity of the second jet; NaN with fewer.
    """

    min_dphi: Numbers
    number: Numbers
    sum_pt: Numbers
    phi: Numbers
    second_pt: Numbers
    second_eta: Numbers


def jet_columns(
    jets: MarkedObjects, pt: Values, events: Positions, *, pt_min: float, most: int, direction: Numbers
) -> JetColumns:
    """Look at the jets of chosen events.

    Args:
        jets: the jets; those count that are away from leptons and photons.
        pt: their momenta in a variation.
        events: positions of the events to look at.
        pt_min: the pT in GeV from which a jet is counted, summed, and looked at for its azimuth; exclusive.
        most: how many of the hardest jets are looked at for their azimuth.
        direction: azimuth of each chosen event's recoil in rad.
    """
    found, hard = np.empty((6, len(events))), np.empty(max(most, 2), np.int64)
    floor = pt.dtype.type(pt_min)
    kernels.around(events, jets.offsets, pt, jets.eta, jets.phi, jets.kept, floor, most, direction, hard, found)
    return JetColumns(*found)
