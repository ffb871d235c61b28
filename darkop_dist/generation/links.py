"""Indices from one collection of NanoAOD to another, which coffea follows."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from darkop_dist.generation.cones import nearest

JET_CONE, GENERATED_CONE, TAU_CONE, ELECTRON_PHOTON_CONE = 0.4, 0.1, 0.3, 0.05
FINAL, TAU = 1, 15
PDG_IDS = {"Electron": 11, "Muon": 13, "Photon": 22}
NOWHERE = 1e3
Columns = dict[str, Any]


def linked(columns: Columns) -> Columns:
    """Columns with the indices between jets, leptons, photons and generator particles; -1 where there is none.

    The nearest jet within 0.4, the nearest final generator particle of the same kind within 0.1 (taus: the nearest tau
    before its decay within 0.3), the nearest photon of an electron within 0.05.

    Args:
        columns: collections by NanoAOD name; see `reconstruct.reconstruct`.
    """
    found = dict(columns)
    generated = columns["GenPart"]
    for name in ("Electron", "Muon", "Photon", "Tau"):
        objects = columns[name]
        if name == "Tau":
            last = (generated.statusFlags >> 13) & 1 == 1
            match = _nearest_of(objects, generated, (abs(generated.pdgId) == TAU) & last, cone=TAU_CONE)
        else:
            same = (abs(generated.pdgId) == PDG_IDS[name]) & (generated.status == FINAL)
            match = _nearest_of(objects, generated, same, cone=GENERATED_CONE)
        objects = ak.with_field(objects, match, "genPartIdx")
        found[name] = ak.with_field(objects, nearest(objects, columns["Jet"], cone=JET_CONE), "jetIdx")
    electrons, photons = found["Electron"], found["Photon"]
    found["Electron"] = ak.with_field(electrons, nearest(electrons, photons, cone=ELECTRON_PHOTON_CONE), "photonIdx")
    found["Photon"] = ak.with_field(photons, nearest(photons, electrons, cone=ELECTRON_PHOTON_CONE), "electronIdx")
    for name in ("Electron", "Muon"):
        for place, index in enumerate(_members(columns["Jet"], found[name].jetIdx), start=1):
            found["Jet"] = ak.with_field(found["Jet"], index, f"{name.lower()}Idx{place}")
    return found


def _nearest_of(objects: ak.Array, others: ak.Array, chosen: ak.Array, *, cone: float) -> ak.Array:
    """Index in ``others`` of the nearest chosen one."""
    eta = ak.where(chosen, others.eta, NOWHERE)
    return nearest(objects, ak.zip({"eta": eta, "phi": others.phi}), cone=cone)


def _members(jets: ak.Array, jet_index: ak.Array) -> tuple[ak.Array, ak.Array]:
    """Indices of the first and second object whose nearest jet is each jet."""
    belongs = ak.local_index(jets, axis=1)[:, :, np.newaxis] == jet_index[:, np.newaxis, :]
    objects = ak.local_index(belongs, axis=2)[belongs]
    padded = ak.fill_none(ak.pad_none(objects, 2, axis=2, clip=True), -1)
    return padded[:, :, 0], padded[:, :, 1]
