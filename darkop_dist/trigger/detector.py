"""A Level-1 calorimeter and muon trigger: from the particles of a bunch crossing to jets, clusters, muons and regions.

What it does: charged particles turn in the solenoid's field, soft ones never reach the calorimeter; energies fall into
trigger towers, are smeared per tower, cut to the hardware's steps and saturate; sliding windows find jets and clusters;
missing momentum is minus the vector sum of the towers; muons have the resolution of the muon trigger.

Approximations (numbers in `detector.toml`):
    No showers that spread over towers, no material, no noise, no out-of-time pile-up, no calibration of jets or
    clusters, no isolation. Muons come from the generator, without those of pions and kaons that decay in flight and
    without fakes. Rates from it have the right shape and order of magnitude; they are not those of an experiment.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from darkop_dist.events.level1 import encode, load_scales
from darkop_dist.generation.collisions import CHARGED_HADRON, MUON, NEUTRAL_HADRON, Particles

DETECTOR_FILE = Path(__file__).parent / "detector.toml"
FIELD = 0.3  # GeV of transverse momentum per tesla and metre of radius
ETA_BINS_PER_UNIT = 1000
JETS, CLUSTERS, MUONS = 10, 4, 4
MOST_MUONS = 64

Floats = npt.NDArray[np.float64]


class Detector(BaseModel):
    """Numbers of the trigger; see `detector.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    field_tesla: float
    calorimeter_radius_m: float
    central_rings: int
    hadron_interacts_early: float
    em_share_most: float
    em_stochastic: float
    em_constant: float
    hadron_stochastic: float
    hadron_constant: float
    forward_stochastic: float
    forward_constant: float
    seed_egamma_gev: float
    h_over_e_most: float
    seed_jet_gev: float
    met_tower_min_gev: float
    muon_eta_max: float
    muon_pt_min_gev: float
    muon_efficiency: float
    muon_pt_resolution: float


@cache
def load_detector() -> Detector:
    """The trigger of `detector.toml`."""
    return Detector.model_validate(tomllib.loads(DETECTOR_FILE.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Drawn:
    """Collisions that meet in each crossing.

    Attributes:
        collision: which of the pool, shape (collisions,).
        angle: by which it is turned about the beam, in rad, shape (collisions,).
        mirror: 1, or -1 where it is mirrored in z, shape (collisions,).
        offsets: where each crossing begins and the last ends, shape (crossings + 1,).
    """

    collision: npt.NDArray[np.int64]
    angle: Floats
    mirror: Floats
    offsets: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """What the trigger makes of crossings.

    Attributes:
        inputs: the 57 integers of `events.level1`, shape (crossings, 57).
        regions: transverse energy of 4 x 4 towers in steps of the hardware, shape (crossings, 14, 18): pseudorapidity
            from -3 to 3, azimuth from 0.
    """

    inputs: npt.NDArray[np.int16]
    regions: npt.NDArray[np.uint16]


def observe(pool: Particles, drawn: Drawn, rng: np.random.Generator) -> Seen:
    """Simulate the trigger's objects of crossings.

    Args:
        pool: particles of all collisions that may be drawn.
        drawn: which collisions meet.
        rng: source of random numbers.
    """
    scales, detector = load_scales(), load_detector()
    towers = scales.towers
    edges = np.array(towers.eta_edges)
    fine = (np.arange(int(edges[-1] * ETA_BINS_PER_UNIT)) + 0.5) / ETA_BINS_PER_UNIT
    ring_of = (np.searchsorted(edges, fine, side="right") - 1).astype(np.int16)
    middle = 0.5 * (edges[:-1] + edges[1:])
    ring_eta = np.concatenate((-middle[::-1], middle))
    jets, clusters, muons, met, regions = _observe(
        (pool.pt, pool.eta, pool.phi, pool.charge, pool.kind, pool.offsets),
        (drawn.collision, drawn.angle, drawn.mirror, drawn.offsets),
        ring_of,
        ring_eta,
        _numbers(detector, towers.et_lsb_gev, (1 << towers.et_bits) - 1, (1 << towers.region_et_bits) - 1),
        rng,
    )
    muons = _measured(muons, detector, rng)
    flat = np.zeros(len(met))
    columns = [encode(met[:, 0], flat, met[:, 1], scales.met)]
    for kind, found in (("egamma", clusters), ("muon", muons), ("jet", jets)):
        scale = scales.of(kind)  # type: ignore[arg-type]
        seen = (found[..., 0] >= scale.pt_min_gev) & (np.abs(found[..., 1]) < scale.eta_max)
        steps = encode(found[..., 0].ravel(), found[..., 1].ravel(), found[..., 2].ravel(), scale)
        steps[~seen.ravel()] = 0
        columns.append(_forward(steps.reshape(*seen.shape, 3), seen).reshape(len(met), -1))
    return Seen(np.concatenate(columns, axis=1).astype(np.int16), regions)


def _numbers(detector: Detector, lsb_gev: float, tower_most: int, region_most: int) -> Floats:
    """The numbers as the compiled loop wants them."""
    d = detector
    softest = FIELD * d.field_tesla * d.calorimeter_radius_m / 2.0
    return np.array([
        softest, d.central_rings, d.hadron_interacts_early, d.em_share_most, d.em_stochastic, d.em_constant,
        d.hadron_stochastic, d.hadron_constant, d.forward_stochastic, d.forward_constant, d.seed_egamma_gev,
        d.h_over_e_most, d.seed_jet_gev, d.met_tower_min_gev, d.muon_eta_max, d.muon_pt_min_gev, lsb_gev, tower_most,
        region_most,
    ])  # fmt: skip


def _measured(muons: Floats, detector: Detector, rng: np.random.Generator) -> Floats:
    """Muons with efficiency and resolution, hardest first, shape (crossings, 4, 3)."""
    shape = muons.shape[:2]
    found = muons.copy()
    found[..., 0] *= np.exp(detector.muon_pt_resolution * rng.standard_normal(shape))
    found[..., 0] *= rng.random(shape) < detector.muon_efficiency
    order = np.argsort(-found[..., 0], axis=1, kind="stable")[:, :MUONS]
    return np.take_along_axis(found, order[..., None], axis=1)


def _forward(steps: npt.NDArray[np.int32], seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Objects that are seen before those that are not, in their order."""
    order = np.argsort(~seen, axis=1, kind="stable")
    return np.take_along_axis(steps, order[..., None], axis=1)


@numba.njit(cache=False)
def _observe(pool, drawn, ring_of, ring_eta, numbers, rng):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    collision, angle, mirror, offsets = drawn
    crossings, rings, turns = len(offsets) - 1, len(ring_eta), 72
    lsb, region_most = numbers[16], numbers[18]
    jets = np.zeros((crossings, JETS, 3))
    clusters = np.zeros((crossings, CLUSTERS, 3))
    muons = np.zeros((crossings, MOST_MUONS, 3))
    met = np.zeros((crossings, 2))
    regions = np.zeros((crossings, 14, 18), dtype=np.uint16)
    em, had = np.zeros((rings, turns)), np.zeros((rings, turns))
    for crossing in range(crossings):
        em[:], had[:] = 0.0, 0.0
        seen = 0
        for place in range(offsets[crossing], offsets[crossing + 1]):
            seen = _deposit(
                pool,
                collision[place],
                angle[place],
                mirror[place],
                ring_of,
                numbers,
                rng,
                em,
                had,
                muons[crossing],
                seen,
            )
        _digitise(em, had, ring_eta, numbers, rng)
        total = em + had
        _find_clusters(em, had, ring_eta, numbers, clusters[crossing])
        _find_jets(total, ring_eta, numbers[12], jets[crossing])
        x = y = 0.0
        for turn in range(turns):
            column = 0.0
            for ring in range(rings):
                if total[ring, turn] >= numbers[13]:
                    column += total[ring, turn]
            phi = (turn + 0.5) * 2 * np.pi / turns
            x -= column * np.cos(phi)
            y -= column * np.sin(phi)
        met[crossing, 0], met[crossing, 1] = np.hypot(x, y), np.arctan2(y, x)
        first = rings // 2 - 28
        for ring in range(14):
            for turn in range(18):
                part = total[first + 4 * ring : first + 4 * ring + 4, 4 * turn : 4 * turn + 4].sum()
                regions[crossing, ring, turn] = min(part / lsb, region_most)
    return jets, clusters, muons, met, regions


@numba.njit(cache=False)
def _deposit(pool, event, angle, mirror, ring_of, numbers, rng, em, had, muons, seen):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add the particles of one collision to the towers; returns how many muons there are now."""
    pts, etas, phis, charges, kinds, offsets = pool
    half, turns = em.shape[0] // 2, em.shape[1]
    softest, central, early, share_most = numbers[0], int(numbers[1]), numbers[2], numbers[3]
    for index in range(offsets[event], offsets[event + 1]):
        pt, eta, phi = pts[index], etas[index] * mirror, phis[index] + angle
        kind, charge = kinds[index], charges[index]
        if kind == MUON:
            if pt >= numbers[15] and abs(eta) < numbers[14] and seen < MOST_MUONS:
                muons[seen, 0], muons[seen, 1], muons[seen, 2] = pt, eta, phi
                seen += 1
            continue
        if charge != 0:
            if pt <= softest:
                continue
            phi -= charge * np.arcsin(softest / pt)
        fine = int(abs(eta) * ETA_BINS_PER_UNIT)
        if fine >= len(ring_of):
            continue
        ring = ring_of[fine]
        row = half + ring if eta >= 0 else half - 1 - ring
        turn = int(np.floor(phi / (2 * np.pi) * turns)) % turns
        if ring >= central:
            had[row, turn] += pt
        elif kind in (CHARGED_HADRON, NEUTRAL_HADRON):
            share = share_most * rng.random() if rng.random() < early else 0.0
            em[row, turn] += share * pt
            had[row, turn] += (1.0 - share) * pt
        else:
            em[row, turn] += pt
    return seen


@numba.njit(cache=False)
def _digitise(em, had, ring_eta, numbers, rng):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Resolution, steps and saturation of every tower, in place; energies stay in GeV."""
    half, central, lsb, most = em.shape[0] // 2, int(numbers[1]), numbers[16], numbers[17]
    for row in range(em.shape[0]):
        forward = not (half - central <= row < half + central)
        lift = np.cosh(ring_eta[row])
        a, b = (numbers[8], numbers[9]) if forward else (numbers[6], numbers[7])
        for turn in range(em.shape[1]):
            e, h = em[row, turn], had[row, turn]
            if e > 0:
                e += rng.standard_normal() * e * np.sqrt(numbers[4] ** 2 / (e * lift) + numbers[5] ** 2)
            if h > 0:
                h += rng.standard_normal() * h * np.sqrt(a * a / (h * lift) + b * b)
            em[row, turn] = lsb * min(max(np.floor(e / lsb), 0.0), most)
            had[row, turn] = lsb * min(max(np.floor(h / lsb), 0.0), most)


@numba.njit(cache=False)
def _insert(found, pt, eta, phi):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Put an object into a list in order of falling transverse momentum."""
    last = len(found) - 1
    if pt <= found[last, 0]:
        return
    place = last
    while place > 0 and found[place - 1, 0] < pt:
        found[place] = found[place - 1]
        place -= 1
    found[place, 0], found[place, 1], found[place, 2] = pt, eta, phi


@numba.njit(cache=False)
def _is_peak(towers, row, turn, reach):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Whether a tower is the largest of its window; of equal ones the first is."""
    height = towers[row, turn]
    for i in range(-reach, reach + 1):
        other = row + i
        if other < 0 or other >= towers.shape[0]:
            continue
        for j in range(-reach, reach + 1):
            value = towers[other, (turn + j) % towers.shape[1]]
            if value > height or (value == height and (i < 0 or (i == 0 and j < 0))):
                return False
    return True


@numba.njit(cache=False)
def _window(towers, row, turn, rows, turns):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Sum of the towers from ``rows[0]`` to ``rows[1]`` rings and ``turns[0]`` to ``turns[1]`` steps away."""
    total = 0.0
    for i in range(max(row + rows[0], 0), min(row + rows[1], towers.shape[0] - 1) + 1):
        for j in range(turns[0], turns[1] + 1):
            total += towers[i, (turn + j) % towers.shape[1]]
    return total


@numba.njit(cache=False)
def _find_clusters(em, had, ring_eta, numbers, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    half, central = em.shape[0] // 2, int(numbers[1])
    for row in range(half - central, half + central):
        for turn in range(em.shape[1]):
            if em[row, turn] < numbers[10] or not _is_peak(em, row, turn, 1):
                continue
            pt = _window(em, row, turn, (-1, 1), (-1, 1))
            if _window(had, row, turn, (-1, 1), (-1, 1)) <= numbers[11] * pt:
                _insert(found, pt, ring_eta[row], (turn + 0.5) * 2 * np.pi / em.shape[1])


@numba.njit(cache=False)
def _find_jets(total, ring_eta, seed_gev, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    strips = np.zeros(4)
    for row in range(total.shape[0]):
        for turn in range(total.shape[1]):
            if total[row, turn] < seed_gev or not _is_peak(total, row, turn, 4):
                continue
            strips[0] = _window(total, row, turn, (-7, -5), (-4, 4))
            strips[1] = _window(total, row, turn, (5, 7), (-4, 4))
            strips[2] = _window(total, row, turn, (-4, 4), (-7, -5))
            strips[3] = _window(total, row, turn, (-4, 4), (5, 7))
            pt = _window(total, row, turn, (-4, 4), (-4, 4)) - (strips.sum() - strips.max())
            _insert(found, pt, ring_eta[row], (turn + 0.5) * 2 * np.pi / total.shape[1])
