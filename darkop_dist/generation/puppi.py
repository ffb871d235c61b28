"""Which measured particles belong to the hard collision: charged-hadron subtraction, PUPPI and the mean density.

Charged-hadron subtraction removes tracks of other collisions. PUPPI (JHEP 10 (2014) 059, arXiv:1407.6013) weighs every
other particle by how its neighbourhood differs from that of tracks of other collisions. The density is the median
transverse momentum per area (Phys. Lett. B 659 (2008) 119, arXiv:0707.1378), on a grid.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
from scipy.special import erf

from darkop_dist.events.kernels import compiled
from darkop_dist.generation.cones import distance2
from darkop_dist.generation.response import CHARGED_HADRON, ELECTRON, MUON, PHOTON

VERTEX_WINDOW_CM = 0.1
CONE, CORE = 0.3, 0.01
CENTRAL = 2.5
REGIONS = ((0.0, 2.5, 0.2, 0.02), (2.5, 3.0, 1.0, 0.005), (3.0, 10.0, 1.5, 0.005))
"""|eta| from and to, smallest weighted pt in GeV of what is neutral or forward, and its rise per vertex; CMSSW,
CommonTools/PileupAlgos/python/Puppi_cff.py."""

SMALLEST_WEIGHT = 0.01
CERTAIN_PT = (20.0, 200.0)
"""Photons above the first pt in GeV count in full, other weights are at least a line that rises from there to 1 at the
second; CMSSW's PtMaxPhotons, PtMaxNeutralsStartSlope and PtMaxNeutrals."""

CELL = 0.55
DENSITY_EDGES = (0.0, 0.9, 1.5, 2.5, 3.0, 5.0)
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def is_primary(particles: ak.Array) -> ak.Array:
    """Whether charged-hadron subtraction keeps a particle, ``events * var * bool``.

    Only tracks of another collision are removed, and those only where that collision is more than 1 mm away.

    Args:
        particles: ``events * var * {kind, vertex, dz}``, dz in cm.
    """
    charged = (particles.kind == CHARGED_HADRON) | (particles.kind == ELECTRON) | (particles.kind == MUON)
    return ~(charged & (particles.vertex > 0) & (abs(particles.dz) > VERTEX_WINDOW_CM))


def puppi_weights(particles: ak.Array) -> ak.Array:
    """PUPPI's weights, ``events * var``, from 0 to 1; 1 for all where there is no pile-up.

    Args:
        particles: ``events * var * {pt, eta, phi, kind, vertex, primary}`` of measured particles.
    """
    counts = np.asarray(ak.to_numpy(ak.num(particles)), dtype=np.int64)
    pt, eta, phi = (
        np.asarray(ak.to_numpy(ak.flatten(particles[name])), dtype=np.float64) for name in ("pt", "eta", "phi")
    )
    kind, primary = ak.to_numpy(ak.flatten(particles.kind)), ak.to_numpy(ak.flatten(particles.primary))
    track = np.isin(kind, (CHARGED_HADRON, ELECTRON, MUON))
    other = track & ~primary
    if not other.any():
        return ak.unflatten(np.ones(len(pt)), counts)
    central = np.abs(eta) < CENTRAL
    offsets = np.concatenate(([0], np.cumsum(counts)))
    tracks_alpha = _alphas(pt, eta, phi, offsets, track & primary)
    all_alpha = _alphas(pt, eta, phi, offsets, np.ones(len(pt), dtype=bool))
    alpha = np.where(central, tracks_alpha, all_alpha)
    event = np.repeat(np.arange(len(counts)), counts)
    chi2 = np.zeros(len(pt))
    for region, seen in ((central, tracks_alpha), (~central, all_alpha)):  # forward there are no tracks to compare with
        middle, spread = _spread(seen[other & central], event[other & central], len(counts))
        away = (alpha - middle[event]) / np.maximum(spread[event], 1e-6)
        chi2[region] = np.where(away > 0, away**2, 0.0)[region]
    weight = np.asarray(erf(np.sqrt(chi2 / 2)), dtype=np.float64)
    weight[np.isneginf(alpha)] = 0.0
    weight = np.maximum(weight, _isolated(pt, (kind == PHOTON) & central))
    weight = np.where(track & central, primary.astype(np.float64), weight)
    return ak.unflatten(_cut(weight, pt, eta, track & central, _vertices(particles)[event]), counts)


def _isolated(pt: Floats, photon: Flags) -> Floats:
    """Smallest weight of what no collision but the hard one is likely to make: energetic photons, then all the rest."""
    low, high = CERTAIN_PT
    return np.where(photon & (pt > low), 1.0, np.clip((pt - low) / (high - low), 0.0, 1.0))


def _cut(weight: Floats, pt: Floats, eta: Floats, certain: Flags, vertices: Floats) -> Floats:
    kept = certain.copy()
    for low, high, smallest, rise in REGIONS:
        inside = (np.abs(eta) >= low) & (np.abs(eta) < high)
        kept |= inside & (weight * pt > smallest + rise * vertices)
    return np.where(kept & (weight > SMALLEST_WEIGHT), weight, 0.0)


def _vertices(particles: ak.Array) -> Floats:
    return np.asarray(ak.to_numpy(reconstructed_vertices(particles)), dtype=np.float64)


def reconstructed_vertices(particles: ak.Array) -> npt.NDArray[np.int32]:
    """Number of collisions with two measured tracks or more, at least 1; shape (events,)."""
    tracks = particles.vertex[(particles.kind == CHARGED_HADRON) & (particles.charge != 0)]
    events = np.repeat(np.arange(len(tracks)), ak.to_numpy(ak.num(tracks)))
    vertex = ak.to_numpy(ak.flatten(tracks)).astype(np.int64)
    most = int(vertex.max(initial=0)) + 1
    sizes = np.bincount(events * most + vertex, minlength=len(tracks) * most).reshape(-1, most)
    found = np.sum(sizes >= 2, axis=1)
    return np.asarray(np.maximum(found, 1), dtype=np.int32)


def _spread(values: Floats, event: npt.NDArray[np.int64], events: int) -> tuple[Floats, Floats]:
    """Median of each event's finite values and the root mean square below it."""
    finite = np.isfinite(values)
    ordered = ak.unflatten(values[finite], np.bincount(event[finite], minlength=events))
    ordered = ak.sort(ordered, axis=1)
    sizes = ak.num(ordered)
    middle = ak.fill_none(ak.firsts(ordered[ak.local_index(ordered, axis=1) == (sizes // 2)]), np.inf)
    below = ordered[ordered < middle] - middle
    spread = np.sqrt(ak.fill_none(ak.mean(below**2, axis=1, mask_identity=True), 1.0))
    return np.asarray(ak.to_numpy(middle), dtype=np.float64), np.asarray(ak.to_numpy(spread), dtype=np.float64)


@compiled
def _alphas(pt: Any, eta: Any, phi: Any, offsets: Any, source: Any) -> Any:
    """Logarithm of the sum of (pt / distance)^2 over the sources in the cone about each particle, -inf without any."""
    found = np.full(len(pt), -np.inf)
    for event in range(len(offsets) - 1):
        begin, end = offsets[event], offsets[event + 1]
        sources = np.flatnonzero(source[begin:end]) + begin
        by_eta = sources[np.argsort(eta[sources])]
        sorted_eta = eta[by_eta]
        for i in range(begin, end):
            total = 0.0
            for place in range(np.searchsorted(sorted_eta, eta[i] - CONE), np.searchsorted(sorted_eta, eta[i] + CONE)):
                j = by_eta[place]
                d2 = distance2(eta[i], phi[i], eta[j], phi[j])
                if j != i and CORE**2 < d2 < CONE**2:
                    total += pt[j] ** 2 / d2
            if total > 0:
                found[i] = math.log(total)
    return found


def density(particles: ak.Array, edges: tuple[float, ...]) -> Floats:
    """Median transverse momentum per area of particles, on a grid of cells of about 0.55.

    Args:
        particles: ``events * var * {pt, eta, phi}``, pt in GeV.
        edges: of regions in |eta|.

    Returns:
        GeV per unit of eta and phi, shape (events, regions).
    """
    event = np.repeat(np.arange(len(particles)), ak.to_numpy(ak.num(particles)))
    pt, eta, phi = (np.asarray(ak.to_numpy(ak.flatten(particles[name]))) for name in ("pt", "eta", "phi"))
    found = []
    for low, high in itertools.pairwise(edges):
        rows, columns = max(round((high - low) / CELL), 1), round(2 * math.pi / CELL)
        area = (high - low) / rows * 2 * math.pi / columns
        inside = (np.abs(eta) >= low) & (np.abs(eta) < high)
        row = np.minimum(((np.abs(eta[inside]) - low) / (high - low) * rows).astype(np.int64), rows - 1)
        row += rows * (eta[inside] < 0)
        rows *= 2
        column = np.minimum(((phi[inside] + np.pi) / (2 * np.pi) * columns).astype(np.int64), columns - 1)
        cell = (event[inside] * rows + row) * columns + column
        sums = np.bincount(cell, weights=pt[inside], minlength=len(particles) * rows * columns)
        found.append(np.median(sums.reshape(len(particles), -1), axis=1) / area)
    return np.stack(found, axis=1)
