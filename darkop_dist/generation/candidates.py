"""Measured particles as candidates of PFNano, and which jets they belong to."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from darkop_dist.generation.response import CHARGED_HADRON, ELECTRON, MUON, NEUTRAL_HADRON, PHOTON

PDG_ID = {CHARGED_HADRON: 211, NEUTRAL_HADRON: 130, PHOTON: 22, ELECTRON: -11, MUON: -13}
"""CMS's codes of candidates with positive charge."""

PRIMARY, OTHER_VERTEX = 7, 0
"""``pvAssocQuality``: used in the fit of the hard vertex, or not of it."""


def candidate_columns(particles: ak.Array, jets: ak.Array, large_jets: ak.Array) -> dict[str, ak.Array]:
    """Collections of PFNano (github.com/cms-jet/PFNano).

    Args:
        particles: measured particles, see `reconstruct.reconstruct`.
        jets: indices of the constituents of each jet, ``events * var * var * int``.
        large_jets: the same for jets of radius 0.8.

    Returns:
        ``PFCands`` by falling pt, with pt and mass in GeV, impact parameters in cm from the hard collision, weights;
        ``JetPFCands`` and ``FatJetPFCands`` with the indices of jets and candidates, jet by jet.
    """
    order = ak.argsort(particles.pt, ascending=False)
    ranked = particles[order]
    kind = ak.to_numpy(ak.flatten(ranked.kind))
    charge = ak.to_numpy(ak.flatten(ranked.charge))
    code = np.array([PDG_ID[place] for place in range(len(PDG_ID))])[kind] * np.where(charge < 0, -1, 1)
    counts = ak.num(ranked)
    candidates = {
        **{name: ranked[name] for name in ("pt", "eta", "phi", "mass", "charge", "d0", "dz")},
        "d0Err": ranked.d0_error,
        "dzErr": ranked.dz_error,
        "pdgId": ak.unflatten(code, counts),
        "puppiWeight": ranked.puppi,
        "pvAssocQuality": ak.where((ranked.charge != 0) & ranked.primary, PRIMARY, OTHER_VERTEX),
    }
    place = ak.argsort(order)
    return {
        "PFCands": ak.zip(candidates),
        "JetPFCands": _members(jets, place),
        "FatJetPFCands": _members(large_jets, place),
    }


def _members(constituents: ak.Array, place: ak.Array) -> ak.Array:
    """Which candidate belongs to which jet; ``place`` is where each particle stands among the candidates."""
    jet, _ = ak.broadcast_arrays(ak.local_index(constituents, axis=1), constituents)
    columns: dict[str, Any] = {
        "jetIdx": ak.flatten(jet, axis=2),
        "pFCandsIdx": place[ak.flatten(constituents, axis=2)],
    }
    return ak.zip(columns)
