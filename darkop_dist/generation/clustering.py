"""Anti-kt jets and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import awkward as ak
import fastjet
import numpy as np
import numpy.typing as npt

from darkop_dist.generation.response import CHARGED_HADRON, ELECTRON, MUON, NEUTRAL_HADRON, PHOTON

fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # noqa: SLF001 - nothing public silences the banner

FRACTIONS: Mapping[str, int] = MappingProxyType(
    {"chHEF": CHARGED_HADRON, "neHEF": NEUTRAL_HADRON, "neEmEF": PHOTON, "chEmEF": ELECTRON, "muEF": MUON}
)


def cluster(
    particles: ak.Array, *, radius: float, pt_min: float, chosen: ak.Array | None = None
) -> tuple[ak.Array, ak.Array]:
    """Anti-kt jets with the E scheme, JHEP 04 (2008) 063.

    Args:
        particles: ``events * var * {px, py, pz, E, ...}`` in GeV.
        radius: distance parameter.
        pt_min: smallest transverse momentum in GeV.
        chosen: which particles to cluster, ``events * var * bool``; None for all.

    Returns:
        Jets as ``events * var * {pt, eta, phi, mass, E}`` by falling pt, and the indices of their constituents in
        ``particles``, ``events * var * var * int``.
    """
    enough = ak.sum(np.hypot(particles.px, particles.py), axis=1) > pt_min  # no jet has more than the scalar sum
    chosen = enough if chosen is None else chosen & enough
    used = particles[ak.broadcast_arrays(chosen, particles.px)[0]]
    momenta = ak.zip({axis: used[axis] for axis in ("px", "py", "pz", "E")}, with_name="Momentum4D")
    sequence = fastjet.ClusterSequence(momenta, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    jets = sequence.inclusive_jets(min_pt=pt_min)
    order = ak.argsort(np.hypot(jets.px, jets.py), ascending=False)
    constituents = sequence.constituent_index(min_pt=pt_min)[order]
    return polar(jets[order]), _numbered(constituents, ak.local_index(particles, axis=1)[chosen])


def _numbered(constituents: ak.Array, places: ak.Array) -> ak.Array:
    """Indices of what was clustered as indices of all particles; ``places`` has those of what was clustered."""
    sizes = ak.num(constituents, axis=2)
    index = ak.to_numpy(flat_index(constituents, places))
    return ak.unflatten(ak.unflatten(ak.to_numpy(ak.flatten(places))[index], ak.flatten(sizes)), ak.num(constituents))


def flat_index(constituents: ak.Array, particles: ak.Array) -> npt.NDArray[np.int64]:
    """Indices of constituents in the particles of all events, one after another; shape (constituents,)."""
    counts = ak.to_numpy(ak.num(particles, axis=1))
    starts = np.cumsum(counts) - counts
    return np.asarray(ak.to_numpy(ak.flatten(constituents + starts, axis=None)), dtype=np.int64)


def polar(momenta: ak.Array) -> ak.Array:
    """``{px, py, pz, E}`` as ``{pt, eta, phi, mass, E}``, masses below zero from rounding as zero."""
    pt = np.hypot(momenta.px, momenta.py)
    mass2 = momenta.E**2 - pt**2 - momenta.pz**2
    return ak.zip(
        {
            "pt": pt,
            "eta": np.arcsinh(momenta.pz / pt),
            "phi": np.arctan2(momenta.py, momenta.px),
            "mass": np.sqrt(np.maximum(mass2, 0)),
            "E": momenta.E,
        },
        depth_limit=2,
    )


def constituent_columns(jets: ak.Array, constituents: ak.Array, particles: ak.Array) -> dict[str, ak.Array]:
    """Energy fractions by kind of particle, number of constituents and NanoAOD's ``jetId``.

    ``jetId`` is 2 for the tight identification of 2016 ultra-legacy without its |eta| dependence beyond 2.4, 6 if
    muons and electrons carry less than 80% besides, else 0.

    Args:
        jets: jets as `cluster` gives them.
        constituents: their constituents' indices.
        particles: the measured particles that were clustered, with ``kind``.

    Returns:
        Columns of type ``events * var``.
    """
    per_jet = ak.num(jets)
    sizes = ak.to_numpy(ak.flatten(ak.num(constituents, axis=2)))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    index = flat_index(constituents, particles)
    energy = ak.to_numpy(ak.flatten(particles.E))[index]
    kind = ak.to_numpy(ak.flatten(particles.kind))[index]
    jet_energy = ak.to_numpy(ak.flatten(jets.E))

    def fraction(chosen: int) -> npt.NDArray[Any]:
        return np.asarray(np.bincount(owner, weights=energy * (kind == chosen), minlength=len(sizes)) / jet_energy)

    flat: dict[str, npt.NDArray[Any]] = {name: fraction(chosen) for name, chosen in FRACTIONS.items()}
    flat["nConstituents"] = sizes
    charged = np.bincount(owner, weights=np.isin(kind, (CHARGED_HADRON, ELECTRON, MUON)), minlength=len(sizes))
    central = np.abs(ak.to_numpy(ak.flatten(jets.eta))) < 2.4
    tight = (flat["neHEF"] < 0.9) & (flat["neEmEF"] < 0.9) & (sizes > 1)
    tight = np.where(central, tight & (charged > 0) & (flat["chHEF"] > 0), flat["neHEF"] + flat["neEmEF"] > 0)
    few_leptons = (flat["muEF"] < 0.8) & (flat["chEmEF"] < 0.8)
    flat["jetId"] = np.where(tight, np.where(few_leptons, 6, 2), 0)
    return {name: ak.unflatten(values, per_jet) for name, values in flat.items()}
