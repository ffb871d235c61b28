"""Anti-kt jets and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import awkward as ak
import fastjet
import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from darkop_dist.generation.response import CHARGED_HADRON, ELECTRON, MUON, NEUTRAL_HADRON, PHOTON

fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # noqa: SLF001 - nothing public silences the banner

CELL_SHARE, WINDOW = 0.75, 5
EDGE, ENOUGH = np.tanh(8.0), 1 - 1e-6  # of rounding
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
    chosen = ak.ones_like(particles.px, dtype=bool) if chosen is None else chosen
    chosen = chosen & may_have_jets(particles, radius=radius, pt_min=pt_min)
    momenta = ak.zip({axis: particles[axis][chosen] for axis in ("px", "py", "pz", "E")}, with_name="Momentum4D")
    sequence = fastjet.ClusterSequence(momenta, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    jets = sequence.inclusive_jets(min_pt=pt_min)
    order = ak.argsort(np.hypot(jets.px, jets.py), ascending=False)
    constituents = sequence.constituent_index(min_pt=pt_min)[order]
    return polar(jets[order]), _numbered(constituents, ak.local_index(particles.px, axis=1)[chosen])


def may_have_jets(particles: ak.Array, *, radius: float, pt_min: float) -> npt.NDArray[np.bool_]:
    """Events in which a jet can be above a threshold, shape (events,).

    A jet has no more than the scalar sum over what lies within one and a half radii of its axis, and that is in five
    times five cells of three quarters of the radius about it.

    Args:
        particles: ``events * var * {px, py, pz, E}`` in GeV.
        radius: of the jets.
        pt_min: their threshold in GeV.
    """
    counts = np.asarray(ak.to_numpy(ak.num(particles)), dtype=np.int64)
    px, py, pz, energy = (np.asarray(ak.to_numpy(ak.flatten(particles[axis]))) for axis in ("px", "py", "pz", "E"))
    rapidity = np.arctanh(np.clip(pz / np.maximum(energy, 1e-12), -EDGE, EDGE))
    cell = CELL_SHARE * radius
    rows, columns = 2 * int(np.ceil(np.arctanh(EDGE) / cell)), int(2 * np.pi / cell)
    row = (rapidity / cell).astype(np.int64) + rows // 2
    column = np.minimum((np.arctan2(py, px) / (2 * np.pi) % 1 * columns).astype(np.int64), columns - 1)
    place = (np.repeat(np.arange(len(counts)), counts) * rows + row) * columns + column
    sums = np.bincount(place, weights=np.hypot(px, py), minlength=len(counts) * rows * columns)
    windows = uniform_filter(
        sums.reshape(-1, rows, columns), size=(1, WINDOW, WINDOW), mode=("constant", "constant", "wrap")
    )
    return np.asarray(windows.max(axis=(1, 2), initial=0.0) * WINDOW**2 > ENOUGH * pt_min)


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
