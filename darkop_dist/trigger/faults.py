"""Parts of the detector that fail: a dead sector, no electrons and photons, a tower that fires by itself.

Approximations:
    The hardware's inputs are changed, not the towers below them. A dead sector loses its objects, and missing momentum
    loses their jets; the soft energy beside the jets, which the inputs do not hold tower by tower, stays in missing
    momentum, so a real hole costs more. Jets that lie half in the sector are taken whole or not at all. A noisy tower
    makes a jet and a cluster of its own; a jet beside it is not merged with it. How large, how hard and how often are
    chosen, without a source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from darkop_dist.events.level1 import Kind, ObjectScale, encode, load_scales
from darkop_dist.trigger.detector import Seen

DEAD_TURN = 1 / 6
NOISY_GEV = 50.0
NOISY_RING = 5  # counted from pseudorapidity 0: at 0.48
NOISY_TURN = 18  # of 72: at 92.5 degrees
NOISY_SHARE = 1e-3

Integers = npt.NDArray[np.int16]
Momenta = npt.NDArray[np.int16] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class Fault:
    """Something that fails.

    Attributes:
        change: in words.
        share: of the crossings in which it does.
        apply: makes of what the trigger saw what it sees then.
    """

    change: str
    share: float
    apply: Callable[[Seen], Seen]


def dead_sector(seen: Seen) -> Seen:
    """Nothing is seen from 0 to 60 degrees of azimuth, by the calorimeter and the muon detector."""
    scales, places = load_scales(), _places()
    objects = _objects(seen)
    lost = {kind: _in_sector(objects[:, where], scales.of(kind)) for kind, where in places.items() if kind != "met"}
    jets = np.where(lost["jet"][..., None], objects[:, places["jet"]], 0)
    objects[:, places["met"]] = _with_momenta(objects[:, places["met"]], jets, scales.jet)
    for kind, gone in lost.items():
        left = np.where(gone[..., None], np.int16(0), objects[:, places[kind]])
        objects[:, places[kind]] = _ordered(left)
    regions = seen.regions.copy()
    turns = scales.towers.phi_steps // scales.towers.region_towers
    regions[:, :, (np.arange(turns) + 0.5) / turns < DEAD_TURN] = 0
    return _seen(objects, regions)


def no_electrons(seen: Seen) -> Seen:
    """No electron and no photon is found, as when their part of the trigger is not read; the towers stay."""
    objects = _objects(seen)
    objects[:, _places()["egamma"]] = 0
    return _seen(objects, seen.regions)


def noisy_tower(seen: Seen) -> Seen:
    """One tower of the electromagnetic calorimeter, at 92.5 degrees, fires with 50 GeV in every crossing."""
    scales, places = load_scales(), _places()
    towers = scales.towers
    eta = np.array([0.5 * (towers.eta_edges[NOISY_RING] + towers.eta_edges[NOISY_RING + 1])])
    pt, phi = np.array([NOISY_GEV]), np.array([(NOISY_TURN + 0.5) * 2 * np.pi / towers.phi_steps])
    objects = _objects(seen)
    for kind in ("egamma", "jet"):
        where = places[kind]
        fired = np.broadcast_to(encode(pt, eta, phi, scales.of(kind)).astype(np.int16), (len(objects), 1, 3))
        more = np.concatenate([fired, objects[:, where]], axis=1)
        objects[:, where] = _ordered(more)[:, : more.shape[1] - 1]
    back = encode(pt, np.zeros(1), phi + np.pi, scales.met)  # missing momentum points away from the energy
    objects[:, places["met"]] = _with_momenta(objects[:, places["met"]], back[None], scales.met)
    regions = seen.regions.copy()
    ring = (towers.region_rings * towers.region_towers // 2 + NOISY_RING) // towers.region_towers
    hit = regions[:, ring, NOISY_TURN // towers.region_towers]
    most = (1 << towers.region_et_bits) - 1
    hit[:] = np.minimum(hit + round(NOISY_GEV / towers.et_lsb_gev), most)
    return _seen(objects, regions)


FAULTS: tuple[Fault, ...] = (
    Fault("60 degrees of azimuth dead", 1.0, dead_sector),
    Fault("no electrons and photons", 1.0, no_electrons),
    Fault(f"a tower fires {NOISY_GEV:g} GeV in {NOISY_SHARE:.1%}", NOISY_SHARE, noisy_tower),
)


def _places() -> Mapping[Kind, slice]:
    """Where the objects of each kind stand among all."""
    found, first = {}, 0
    for kind, count in load_scales().order:
        found[kind] = slice(first, first + count)
        first += count
    return MappingProxyType(found)


def _objects(seen: Seen) -> Integers:
    """A copy of the inputs, shape (crossings, objects, 3)."""
    return seen.inputs.reshape(len(seen.inputs), -1, 3).copy()


def _seen(objects: Integers, regions: npt.NDArray[np.uint16]) -> Seen:
    return Seen(objects.reshape(len(objects), -1), regions)


def _in_sector(objects: Integers, scale: ObjectScale) -> npt.NDArray[np.bool_]:
    inside = (objects[..., 2] + 0.5) / scale.phi_steps < DEAD_TURN
    return np.asarray(inside & (objects[..., 0] > 0))


def _ordered(objects: Integers) -> Integers:
    """Objects of one kind in order of falling transverse momentum, as the hardware gives them."""
    order = np.argsort(-objects[..., 0], axis=1, kind="stable")
    return np.take_along_axis(objects, order[..., None], axis=1)


def _with_momenta(met: Integers, added: Momenta, scale: ObjectScale) -> Integers:
    """Missing momentum, shape (crossings, 1, 3), with momenta of shape (crossings or 1, objects, 3) added to it.

    Transverse momenta and azimuths are taken in the middle of their steps; without momenta nothing changes.
    """
    own = load_scales().met
    x, y = (a.sum(axis=1) + b.sum(axis=1) for a, b in zip(_plane(met, own), _plane(added, scale), strict=True))
    found = encode(np.hypot(x, y), np.zeros_like(x), np.arctan2(y, x), own).astype(np.int16)[:, None]
    changed = np.any(added[..., 0] > 0, axis=1)
    return np.where(np.reshape(changed, (-1, 1, 1)), found, met)


def _plane(objects: Momenta, scale: ObjectScale) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Momenta in GeV in the transverse plane, shape (crossings, objects) each; places without an object have none."""
    pt = np.where(objects[..., 0] > 0, (objects[..., 0] + 0.5) * scale.pt_lsb_gev, 0.0)
    phi = (objects[..., 2] + 0.5) * 2 * np.pi / scale.phi_steps
    return pt * np.cos(phi), pt * np.sin(phi)
