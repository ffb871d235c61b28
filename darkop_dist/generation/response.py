"""The response: stable particles become measured candidates. Numbers come from a card in ``responses/``."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.generation.card import (
    Calorimeter,
    Cells,
    Flags,
    Floats,
    ResponseCard,
    Volume,
)

CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON = range(5)
LOST = -1
UM_PER_CM, MM_PER_CM = 1e4, 10.0
OUTPUT = ("px", "py", "pz", "E", "kind", "charge", "d0", "dz", "d0_error", "dz_error", "vertex")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Particles:
    """Particles of all events, one after another, shape (particles,): GeV, mm."""

    event: Ints
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    charge: Floats
    kind: Ints
    x: Floats
    y: Floats
    z: Floats
    vertex: Ints
    pt: Floats
    eta: Floats

    def __getitem__(self, chosen: Flags) -> _Particles:
        return _Particles(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


Columns = dict[str, npt.NDArray[np.float64] | Ints]


def measure(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Measure stable particles.

    A charged hadron with a track has the better of track and calorimeter; without one it is a neutral hadron. An
    electron without a track is a photon; a muon without one is lost. Neutral hadrons in one cell of the calorimeter are
    one candidate, and so are photons in one cell.

    Impact parameters are those of straight lines: d0 = (y px - x py) / pt and dz = z - (x px + y py) pz / pt^2 with the
    production point relative to the hard collision. That is right to first order in distance over radius of curvature.

    Args:
        particles: ``events * var * {px, py, pz, E, id, charge}`` in GeV, and the production point ``x, y, z`` in mm
            relative to the hard collision and ``vertex``, 0 for the hard collision and above for others. Without these
            four all particles come from the hard collision.
        card: the detector.
        rng: source of all random numbers.

    Returns:
        Candidates, ``events * var * {px, py, pz, E, kind, charge, d0, dz, d0_error, dz_error, vertex}``: tracks in the
        order of their particles, then neutral ones. ``kind`` is one of this module's constants; d0, dz and their errors
        in cm, 0 for neutral candidates; ``vertex`` is that of the particle for tracks and -1 for neutral candidates.
    """
    flat, events = _flatten(particles)
    tracked = _tracked(flat, card, rng)
    kind = flat.kind.copy()
    kind[(kind == CHARGED_HADRON) & ~tracked] = NEUTRAL_HADRON
    kind[(kind == ELECTRON) & ~tracked] = PHOTON
    kind[(kind == MUON) & ~tracked] = LOST
    parts = [_tracks(flat[tracked], card, rng)]
    for calorimeter, measured_kind in (
        (card.hadron_calorimeter, NEUTRAL_HADRON),
        (card.electromagnetic_calorimeter, PHOTON),
    ):
        parts.append(_deposits(flat[kind == measured_kind], measured_kind, calorimeter, card.calorimeter_volume, rng))
    return _events(parts, events)


def _events(parts: list[Columns], events: int) -> ak.Array:
    event = np.concatenate([part["event"] for part in parts])
    order = np.argsort(event, kind="stable")
    counts = np.bincount(event, minlength=events)
    columns = {name: np.concatenate([part[name] for part in parts])[order] for name in OUTPUT}
    return ak.unflatten(ak.zip(columns), counts)


def _flatten(particles: ak.Array) -> tuple[_Particles, int]:
    counts = np.asarray(ak.to_numpy(ak.num(particles)), dtype=np.int64)
    size = int(counts.sum())

    def column(name: str) -> Floats:
        if name in {"x", "y", "z", "vertex"} and name not in particles.fields:
            return np.zeros(size)
        return np.asarray(ak.to_numpy(ak.flatten(particles[name])), dtype=np.float64)

    px, py, pz, charge = (column(name) for name in ("px", "py", "pz", "charge"))
    pdg = np.abs(column("id").astype(np.int64))
    kind = np.where(charge != 0, CHARGED_HADRON, NEUTRAL_HADRON)
    for code, special in ((22, PHOTON), (11, ELECTRON), (13, MUON)):
        kind[pdg == code] = special
    pt = np.maximum(np.hypot(px, py), 1e-9)
    flat = _Particles(
        event=np.repeat(np.arange(len(counts)), counts),
        px=px,
        py=py,
        pz=pz,
        energy=np.maximum(column("E"), 1e-9),
        charge=charge,
        kind=kind.astype(np.int64),
        x=column("x"),
        y=column("y"),
        z=column("z"),
        vertex=column("vertex").astype(np.int64),
        pt=pt,
        eta=np.arcsinh(pz / pt),
    )
    return flat, len(counts)


def _tracked(flat: _Particles, card: ResponseCard, rng: np.random.Generator) -> Flags:
    efficiency = np.zeros_like(flat.pt)
    for track, kind in ((card.tracker, CHARGED_HADRON), (card.electron, ELECTRON), (card.muon, MUON)):
        chosen = flat.kind == kind
        efficiency[chosen] = track.efficiency.at(flat.pt[chosen], flat.eta[chosen])
    efficiency *= card.tracker.displacement.at(np.hypot(flat.x, flat.y), flat.z)
    return np.asarray(rng.random(len(efficiency)) < efficiency)


def _tracks(tracks: _Particles, card: ResponseCard, rng: np.random.Generator) -> Columns:
    sigma = np.empty_like(tracks.pt)
    for track, kind in ((card.tracker, CHARGED_HADRON), (card.muon, MUON), (card.electron, ELECTRON)):
        chosen = tracks.kind == kind
        sigma[chosen] = track.relative_resolution(tracks.pt[chosen], tracks.eta[chosen])
    hadrons = tracks.kind == CHARGED_HADRON
    hadronic = card.hadron_calorimeter.relative_resolution(tracks.energy[hadrons], tracks.eta[hadrons])
    sigma[hadrons] = np.minimum(sigma[hadrons], hadronic)
    scale = log_normal(sigma, rng.standard_normal(len(sigma)))
    columns: Columns = {"event": tracks.event, "kind": tracks.kind, "charge": tracks.charge, "vertex": tracks.vertex}
    columns |= {"px": tracks.px * scale, "py": tracks.py * scale, "pz": tracks.pz * scale, "E": tracks.energy * scale}
    return columns | _impact_parameters(tracks, card, rng)


def _impact_parameters(tracks: _Particles, card: ResponseCard, rng: np.random.Generator) -> Columns:
    d0 = (tracks.y * tracks.px - tracks.x * tracks.py) / tracks.pt
    dz = tracks.z - (tracks.x * tracks.px + tracks.y * tracks.py) * tracks.pz / tracks.pt**2
    rules = card.tracker.impact_parameter
    columns: Columns = {}
    for name, true_mm, table in (("d0", d0, rules.d0_um), ("dz", dz, rules.dz_um)):
        error = table.at(tracks.pt, tracks.eta) / UM_PER_CM
        columns[name] = true_mm / MM_PER_CM + error * rng.standard_normal(len(error))
        columns[f"{name}_error"] = error
    return columns


def _deposits(
    particles: _Particles, kind: int, calorimeter: Calorimeter, volume: Volume, rng: np.random.Generator
) -> Columns:
    """Candidates of one calorimeter: particles to its surface, energies of a cell together, then smeared once."""
    particles = _at_surface(particles[_inside(particles, volume)], volume)
    deposit = _Deposits(particles.event, particles.px, particles.py, particles.pz, particles.energy)
    deposit = _merged(deposit, particles.eta, calorimeter.cells)
    measurable = calorimeter.measures(deposit.energy, deposit.eta())
    deposit = _Deposits(*(getattr(deposit, name)[measurable] for name in deposit.__dataclass_fields__))
    sigma = calorimeter.relative_resolution(deposit.energy, deposit.eta())
    scale = log_normal(sigma, rng.standard_normal(len(sigma)))
    px, py, pz = _displaced(deposit, calorimeter.cells, rng)
    columns: Columns = {"event": deposit.event, "px": px * scale, "py": py * scale, "pz": pz * scale}
    columns |= {"E": deposit.energy * scale, "kind": np.full(len(scale), kind), "vertex": np.full(len(scale), -1)}
    return columns | {name: np.zeros_like(scale) for name in ("charge", "d0", "dz", "d0_error", "dz_error")}


@dataclass(frozen=True)
class _Deposits:
    """Energy in the calorimeter, shape (deposits,), in GeV."""

    event: Ints
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats

    def eta(self) -> Floats:
        return np.asarray(np.arcsinh(self.pz / np.maximum(np.hypot(self.px, self.py), 1e-9)))


def _inside(particles: _Particles, volume: Volume) -> Flags:
    inside = np.hypot(particles.x, particles.y) < volume.outer_radius_mm
    return np.asarray(inside & (np.abs(particles.z) < volume.outer_half_length_mm))


def _at_surface(particles: _Particles, volume: Volume) -> _Particles:
    """Particles with the momentum in the direction in which the hard collision sees them arrive.

    One that is produced behind the surface is seen where it is produced.
    """
    moved = (particles.x != 0) | (particles.y != 0) | (particles.z != 0)
    if not moved.any():
        return particles
    far = particles[moved]
    point = np.column_stack([far.x, far.y, far.z])
    momentum = np.column_stack([far.px, far.py, far.pz])
    point = point + momentum * _path(far, volume)[:, np.newaxis]
    distance = np.maximum(np.linalg.norm(point, axis=1), 1e-9)
    direction = point / distance[:, np.newaxis] * np.linalg.norm(momentum, axis=1)[:, np.newaxis]
    columns = {name: getattr(particles, name) for name in particles.__dataclass_fields__}
    for axis, name in enumerate(("px", "py", "pz")):
        columns[name] = columns[name].copy()
        columns[name][moved] = direction[:, axis]
    columns["pt"] = np.maximum(np.hypot(columns["px"], columns["py"]), 1e-9)
    columns["eta"] = np.arcsinh(columns["pz"] / columns["pt"])
    return _Particles(**columns)


def _path(particles: _Particles, volume: Volume) -> Floats:
    """Path to the inner cylinder in units of mm per GeV of momentum; 0 for what is behind it."""
    pt2 = particles.pt**2
    along = particles.x * particles.px + particles.y * particles.py
    missing = np.maximum(volume.inner_radius_mm**2 - particles.x**2 - particles.y**2, 0.0)
    to_barrel = (np.sqrt(along**2 + pt2 * missing) - along) / pt2
    left = volume.inner_half_length_mm - np.sign(particles.pz) * particles.z
    to_endcap = np.maximum(left, 0.0) / np.maximum(np.abs(particles.pz), 1e-9)
    behind = (missing == 0) | (np.abs(particles.z) >= volume.inner_half_length_mm)
    return np.asarray(np.where(behind, 0.0, np.minimum(to_barrel, to_endcap)))


def _merged(deposit: _Deposits, eta: Floats, cells: Cells) -> _Deposits:
    """Sum the deposits of every cell of every event."""
    region = cells.region(eta)
    size = np.asarray(cells.size)[region]
    around = np.maximum(np.rint(2 * np.pi / size), 1.0)
    phi = np.arctan2(deposit.py, deposit.px)
    column = np.minimum(np.floor((phi + np.pi) / (2 * np.pi) * around), around - 1).astype(np.int64)
    row = np.floor(np.clip(eta, -20.0, 20.0) / size).astype(np.int64)
    rows = 2 * (int(np.abs(row).max(initial=0)) + 1)
    key = ((deposit.event * len(cells.size) + region) * rows + row + rows // 2) * 100_000 + column
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    px, py, pz, energy = (
        np.asarray(np.bincount(inverse, weights=values), dtype=np.float64)
        for values in (deposit.px, deposit.py, deposit.pz, deposit.energy)
    )
    return _Deposits(deposit.event[first], px, py, pz, energy)


def _displaced(deposit: _Deposits, cells: Cells, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Momenta with the error of the position; their magnitude stays."""
    eta = deposit.eta()
    error = cells.position * np.asarray(cells.size)[cells.region(eta)]
    seen_eta = eta + error * rng.standard_normal(len(eta))
    phi = np.arctan2(deposit.py, deposit.px) + error * rng.standard_normal(len(eta))
    magnitude = np.sqrt(deposit.px**2 + deposit.py**2 + deposit.pz**2)
    pt = magnitude / np.cosh(seen_eta)
    return pt * np.cos(phi), pt * np.sin(phi), magnitude * np.tanh(seen_eta)


def log_normal(sigma: Floats, noise: Floats) -> Floats:
    """Positive factors with mean 1 and standard deviation sigma."""
    spread2 = np.log1p(sigma**2)
    return np.asarray(np.exp(np.sqrt(spread2) * noise - spread2 / 2))
