"""Masses of pairs, from columns of chosen events."""

from __future__ import annotations

import numpy as np

from darkop_dist.events.marked import MarkedObjects, Numbers, Positions


def pair_mass(objects: MarkedObjects, pair: Positions) -> Numbers:
    """Invariant mass in GeV of two objects, taken as massless; NaN where there are fewer.

    Args:
        objects: the objects.
        pair: their positions, -1 where there is none; shape (events, 2).
    """
    mass = np.full(len(pair), np.nan)
    both = np.flatnonzero(pair[:, 1] >= 0)
    one, two = pair[both].T
    deta, dphi = objects.eta[one] - objects.eta[two], objects.phi[one] - objects.phi[two]
    mass[both] = np.sqrt(2 * objects.pt[one] * objects.pt[two] * (np.cosh(deta) - np.cos(dphi)))
    return mass


def transverse_mass(pt: Numbers, phi: Numbers, met: Numbers, met_phi: Numbers) -> Numbers:
    """Transverse mass in GeV of an object and the missing momentum; NaN where the object is."""
    return np.asarray(np.sqrt(2 * pt * met * (1 - np.cos(phi - met_phi))), dtype=np.float64)
