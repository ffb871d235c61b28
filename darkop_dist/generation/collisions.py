"""Proton collisions for trigger studies: pools in slices of the hardest scattering's transverse momentum.

A zero-bias trigger at 1 kHz takes one of more than a million collisions; no pool of plain minimum bias holds enough. So
collisions come in slices: soft ones, whose hardest scattering stays below the lowest edge, and hard ones between edges,
each with its cross section. Together they are the inelastic cross section, and every slice has as many events as wanted
(the stitching of samples, as in arXiv:2106.04360, without overlap by construction).

Assumptions:
    Soft collisions above the lowest edge are thrown away and replaced by the matrix elements of hard QCD; Pythia's
    description of both uses the same parton densities and multiparton interactions, but nothing matches them at the
    edge. Monash 2013, 13 TeV, leading order; no W and Z bosons, of which there are some thousand a second at 2e34.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.generation.process import load_process, process_file, pythia_lines

EDGES_GEV = (20.0, 30.0, 50.0, 80.0, 120.0, 170.0, 300.0)
"""Edges of the slices in transverse momentum of the hardest scattering, in GeV; below the first is soft."""

SOFT, HARD = "minimum-bias", "qcd-dijets"
ETA_MAX = 5.5
BATCH = 250
SEED = 20_221_125
MOST_SEED = 800  # Pythia takes seeds below 900 million
VERSION = 1
PHOTON_OR_ELECTRON, CHARGED_HADRON, NEUTRAL_HADRON, MUON = 0, 1, 2, 3

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Particles:
    """Visible particles of collisions, one collision after another.

    Attributes:
        pt: transverse momentum in GeV, shape (particles,).
        eta: pseudorapidity, shape (particles,).
        phi: azimuth in rad at the beam line, shape (particles,).
        charge: in units of e, shape (particles,).
        kind: `PHOTON_OR_ELECTRON`, `CHARGED_HADRON`, `NEUTRAL_HADRON` or `MUON`, shape (particles,).
        offsets: where each collision begins and the last ends, shape (collisions + 1,).
    """

    pt: Floats
    eta: Floats
    phi: Floats
    charge: npt.NDArray[np.int8]
    kind: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Slice:
    """Collisions whose hardest scattering lies in a range.

    Attributes:
        low_gev: lower edge in GeV, 0 for soft collisions.
        high_gev: upper edge in GeV, infinite for the last.
        xsec_mb: cross section in mb.
        particles: of the generated collisions.
    """

    low_gev: float
    high_gev: float
    xsec_mb: float
    particles: Particles


@dataclass(frozen=True)
class SliceRequest:
    """What makes a slice; see `Slice`.

    Attributes:
        low_gev: lower edge.
        high_gev: upper edge.
        collisions: number of them.
        seed: 0 or more; collisions of different seeds are independent.
    """

    low_gev: float
    high_gev: float
    collisions: int
    seed: int = 0

    @property
    def pythia_seed(self) -> int:
        """The first of Pythia's seeds."""
        return SEED + 1_000_000 * self.seed


def slice_requests(soft: int, hard: int, seed: int = 0) -> tuple[SliceRequest, ...]:
    """The slices between `EDGES_GEV`, with as many soft collisions and as many in each hard slice as given."""
    if not 0 <= seed <= MOST_SEED:
        raise InputValueError("seed of the collisions", str(seed), f"Choose 0 to {MOST_SEED}")
    if soft < 1 or hard < 1:
        raise InputValueError("collisions", f"{soft} soft and {hard} hard ones", "Ask for one or more of each")
    edges = (0.0, *EDGES_GEV, float("inf"))
    return tuple(SliceRequest(low, high, hard if low else soft, seed) for low, high in pairwise(edges))


def load_slices(
    requests: Sequence[SliceRequest],
    cache: Path,
    *,
    workers: int = 1,
    progress: Callable[[SliceRequest], None] | None = None,
) -> tuple[Slice, ...]:
    """The slices, from the cache or generated into it; the same for the same requests and versions, wherever made.

    Args:
        requests: what to make.
        cache: directory for generated files.
        workers: processes that generate.
        progress: called after each slice.

    Raises:
        RunError: Pythia does not start or keeps failing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [request for request in requests if not _file(request, cache).is_file()]
    if missing and workers > 1:  # spawned: Pythia and numba have threads and files of their own
        with ProcessPoolExecutor(min(workers, len(missing)), mp_context=get_context("spawn")) as pool:
            for request, _ in zip(missing, pool.map(_generate, missing, [cache] * len(missing)), strict=True):
                if progress is not None:
                    progress(request)
    else:
        for request in missing:
            _generate(request, cache)
            if progress is not None:
                progress(request)
    return tuple(_load(request, cache) for request in requests)


def reduce_particles(truth: ak.Array) -> Particles:
    """Generated particles as a trigger study wants them.

    Args:
        truth: ``Truth.particles``: stable visible particles with px, py, pz, E, id and charge.
    """
    counts = ak.to_numpy(ak.num(truth))
    px, py, pz = (ak.to_numpy(ak.flatten(truth[axis])).astype(np.float64) for axis in ("px", "py", "pz"))
    pdg = np.abs(ak.to_numpy(ak.flatten(truth.id)))
    charge = np.rint(ak.to_numpy(ak.flatten(truth.charge))).astype(np.int8)
    pt = np.hypot(px, py)
    kept = (pt > 0) & (np.abs(pz) < np.sinh(ETA_MAX) * pt)
    kind = np.where(charge == 0, NEUTRAL_HADRON, CHARGED_HADRON)
    kind[(pdg == 22) | (pdg == 11)] = PHOTON_OR_ELECTRON
    kind[pdg == 13] = MUON
    event = np.repeat(np.arange(len(counts)), counts)[kept]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(event, minlength=len(counts))))).astype(np.int64)
    pt, px, py, pz = pt[kept], px[kept], py[kept], pz[kept]
    return Particles(
        pt=pt.astype(np.float32),
        eta=np.arcsinh(pz / pt).astype(np.float32),
        phi=np.arctan2(py, px).astype(np.float32),
        charge=charge[kept],
        kind=kind[kept].astype(np.int8),
        offsets=offsets,
    )


def _file(request: SliceRequest, cache: Path) -> Path:
    content = {
        "soft": process_file(SOFT).read_text(encoding="utf-8"),
        "hard": process_file(HARD).read_text(encoding="utf-8"),
        "request": [request.low_gev, str(request.high_gev), request.collisions],
        "numbers": [SEED, BATCH, ETA_MAX, VERSION],
        "pythia8mc": metadata.version("pythia8mc"),
        **({"seed": request.seed} if request.seed else {}),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return cache / f"collisions-{digest[:20]}.npz"


def _load(request: SliceRequest, cache: Path) -> Slice:
    with np.load(_file(request, cache), allow_pickle=False) as stored:
        arrays: dict[str, npt.NDArray[Any]] = {name: stored[name] for name in stored.files}
    xsec_mb = float(arrays.pop("xsec_mb"))
    return Slice(request.low_gev, request.high_gev, xsec_mb, Particles(**arrays))


def _generate(request: SliceRequest, cache: Path) -> None:
    xsec_mb, particles = _soft(request) if request.low_gev == 0 else _hard(request)
    file = _file(request, cache)
    partial = file.with_name(f".{file.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.npz")
    try:
        np.savez(partial, xsec_mb=np.float64(xsec_mb), **vars(particles))
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _hard(request: SliceRequest) -> tuple[float, Particles]:
    """One run of Pythia: it makes the events and integrates the cross section together."""
    from darkop_dist.generation.pythia_run import PartRequest
    from darkop_dist.generation.truth import generate_truth

    settings: dict[str, float | int | str] = {"pthat_min": request.low_gev}
    if np.isfinite(request.high_gev):
        settings["pthat_max"] = request.high_gev
    lines = pythia_lines(load_process(HARD), settings)
    found: list[Particles] = []
    sections: list[float] = []
    for place, first in enumerate(range(0, request.collisions, 20 * BATCH)):  # a part at once takes 1 GB
        count = min(20 * BATCH, request.collisions - first)
        seed = request.pythia_seed + 1000 * int(request.low_gev) + place
        truth = generate_truth(PartRequest(HARD, lines, own_matrix_elements=False, seed=seed, events=count))
        found.append(reduce_particles(truth.particles))
        sections.append(truth.cross_section.pb * count)
    return sum(sections) / request.collisions * 1e-9, _joined(found)


def _soft(request: SliceRequest) -> tuple[float, Particles]:
    """Pythia's inelastic collisions without those that are hard."""
    from darkop_dist.generation.pythia_run import PartRequest, next_events, start_pythia

    lines = pythia_lines(load_process(SOFT), {})
    part = PartRequest(SOFT, lines, own_matrix_elements=False, seed=request.pythia_seed, events=BATCH)
    pythia, alive = start_pythia(part)
    found: list[Particles] = []
    kept = 0
    while kept < request.collisions:
        record, _ = next_events(pythia, part)
        soft = record[ak.to_numpy(record.info.pT2Hat) < request.high_gev**2][: request.collisions - kept]
        kept += len(soft)
        found.append(reduce_particles(_visible(pythia, soft.prt)))
    xsec_mb = float(pythia.infoPython().sigmaGen())
    del alive
    return xsec_mb * (1.0 - _share_above(request.high_gev, xsec_mb)), _joined(found)


def _share_above(edge_gev: float, inelastic_mb: float) -> float:
    """The part of the inelastic cross section that the hard slices take over, from their own matrix elements."""
    from darkop_dist.generation.pythia_run import PartRequest
    from darkop_dist.generation.truth import generate_truth

    lines = pythia_lines(load_process(HARD), {"pthat_min": edge_gev, "mpi": "off"})
    truth = generate_truth(PartRequest(HARD, lines, own_matrix_elements=False, seed=SEED, events=2000))
    return truth.cross_section.pb * 1e-9 / inelastic_mb


def _visible(pythia: Any, particles: ak.Array) -> ak.Array:
    stable = particles[particles.status > 0]
    flat, counts = ak.to_numpy(ak.flatten(stable.id)), ak.num(stable.id)
    kinds, index = np.unique(flat, return_inverse=True)
    data = pythia.particleData
    seen = np.array([data.isVisible(int(kind)) for kind in kinds], dtype=bool)[index]
    charge = np.array([data.charge(int(kind)) for kind in kinds])[index]
    whole = ak.zip(
        {
            **{axis: stable.p[axis] for axis in ("px", "py", "pz")},
            "id": stable.id,
            "charge": ak.unflatten(charge, counts),
        }
    )
    return whole[ak.unflatten(seen, counts)]


def _joined(parts: Sequence[Particles]) -> Particles:
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ("pt", "eta", "phi", "charge", "kind")
    }
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return Particles(**columns, offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64))
