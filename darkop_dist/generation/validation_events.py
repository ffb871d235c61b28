"""Events for the validation of a card: guns of single particles, QCD dijets, and Z bosons that nobody sees.

Words:
    gun     equal particles, one in each event, so that what becomes of each is known.
    matched a generated jet and the nearest measured one within 0.2 in (eta, phi).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import awkward as ak
import numpy as np

from darkop_dist.generation.card import Floats, ResponseCard, load_card
from darkop_dist.generation.clustering import cluster
from darkop_dist.generation.cones import nearest
from darkop_dist.generation.pileup import load_pool, overlay
from darkop_dist.generation.pileup_profile import PileupProfile
from darkop_dist.generation.pythia_run import PartRequest, pythia_seed
from darkop_dist.generation.reconstruct import reconstruct
from darkop_dist.generation.response import measure
from darkop_dist.generation.truth import Truth, generate_truth
from darkop_dist.runs import cache_directory

Result = TypeVar("Result")
EVENTS_PER_PART = 250
MATCHING_RADIUS = 0.2
MEASURED_PT_MIN_GEV, GENERATED_PT_MIN_GEV = 3.0, 9.0
CROWDED = tuple(float(mean) for mean in range(5, 60, 5))
CROWDED_POOL, CROWDED_Z_PT_MAX_GEV = 2000, 60.0
JET_COLUMNS = ("pt", "eta", "measured")
MISSING = ("MET", "PuppiMET")
MASSES_GEV = {211: 0.1396, 130: 0.4976, 13: 0.1057, 11: 0.000511, 22: 0.0}
COMMON = ("Beams:eCM = 13000.", "ParticleDecays:limitTau0 = on", "ParticleDecays:tau0Max = 10.")
DIJETS = (
    *COMMON,
    "HardQCD:all = on",
    "PhaseSpace:pTHatMin = 15.",
    "PhaseSpace:bias2Selection = on",  # about equally many events in equal intervals of log(pt)
    "PhaseSpace:bias2SelectionPow = 5.",
    "PhaseSpace:bias2SelectionRef = 100.",
)
Z_TO_NEUTRINOS = (
    *COMMON,
    "WeakBosonAndParton:qqbar2gmZg = on",
    "WeakBosonAndParton:qg2gmZq = on",
    "WeakZ0:gmZmode = 2",
    "23:onMode = off",
    "23:onIfAny = 12 14 16",
)
SLOW_Z = (*Z_TO_NEUTRINOS, "PhaseSpace:pTHatMin = 10.")
INVISIBLE_Z = (
    *Z_TO_NEUTRINOS,
    "PhaseSpace:pTHatMin = 20.",
    "PhaseSpace:bias2Selection = on",
    "PhaseSpace:bias2SelectionPow = 4.",
    "PhaseSpace:bias2SelectionRef = 50.",
)


@dataclass(frozen=True)
class _Part:
    card: str
    lines: tuple[str, ...]
    events: int
    entropy: tuple[int, int]
    radii: tuple[float, ...]
    pt_min: float


@dataclass(frozen=True)
class MatchedJets:
    """Generated jets and what is measured of them within 0.2 in (eta, phi); shape (jets,), GeV.

    Attributes:
        pt: generated pt.
        eta: generated eta.
        measured: measured pt before any calibration.
    """

    pt: Floats
    eta: Floats
    measured: Floats


@dataclass(frozen=True)
class MissingMomenta:
    """Missing momenta of Z bosons that decay to neutrinos, in GeV.

    Attributes:
        measured: both components by name, ``MET`` and ``PuppiMET``, each of shape (2, events).
        true: momentum of the Z boson's neutrinos, shape (2, events).
        sum_et: scalar sum of the measured candidates' pt, shape (events,).
        collisions: number of collisions in the crossing, shape (events,).
    """

    measured: dict[str, Floats]
    true: Floats
    sum_et: Floats
    collisions: Floats

    def errors(self, name: str) -> Floats:
        """Measured minus true, both components of every event one after another; shape (2 * events,)."""
        return np.asarray((self.measured[name] - self.true).reshape(-1))

    def across(self, name: str) -> Floats:
        """The measured component perpendicular to the Z boson, all of which is an error; shape (events,)."""
        (x, y), (px, py) = self.measured[name], self.true
        return np.asarray((x * py - y * px) / np.hypot(px, py))


def gun(pdg: int, charge: float, pt: Floats, eta: Floats, radius_mm: float = 0.0) -> ak.Array:
    """One particle in each event, along x, produced at a radius along its flight.

    Args:
        pdg: a key of `MASSES_GEV`.
        charge: in units of e.
        pt: in GeV, shape (events,).
        eta: shape (events,).
        radius_mm: transverse distance of the production point from the beam in mm.
    """
    pz = pt * np.sinh(eta)
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + MASSES_GEV[pdg] ** 2)
    columns = {"px": pt, "py": np.zeros_like(pt), "pz": pz, "E": energy, "id": np.full(len(pt), pdg)}
    columns |= {"charge": np.full(len(pt), charge), "x": np.full(len(pt), radius_mm), "y": np.zeros_like(pt)}
    columns |= {"z": radius_mm * np.sinh(eta), "vertex": np.zeros(len(pt), dtype=np.int64)}
    return ak.zip({name: ak.unflatten(values, 1) for name, values in columns.items()})


def matched_jets(
    card: str, *, radii: Sequence[float], events: int, seed: int, workers: int = 1, pt_min: float = GENERATED_PT_MIN_GEV
) -> tuple[MatchedJets, ...]:
    """Jets of QCD dijets, about equally many in equal intervals of log(pt), before any calibration.

    Args:
        card: name of the response card.
        radii: of the jets.
        events: number of events.
        seed: seed, 0 or above.
        workers: number of processes; the jets do not depend on it.
        pt_min: smallest generated pt in GeV.

    Returns:
        The jets of each radius.
    """
    done = list(_mapped(_jets_of_part, _parts(card, DIJETS, events, seed, tuple(radii), pt_min), workers))
    return tuple(
        MatchedJets(*(np.concatenate([getattr(part[place], name) for part in done]) for name in JET_COLUMNS))
        for place in range(len(radii))
    )


def missing_momenta(card: str, *, events: int, seed: int, workers: int = 1, crowded: bool = False) -> MissingMomenta:
    """Missing momentum of Z bosons that decay to neutrinos, as in the file: with the calibration of the card's jets.

    Args:
        card: name of the response card.
        events: number of events.
        seed: seed, 0 or above.
        workers: number of processes; the numbers do not depend on it.
        crowded: Z bosons of little momentum among `CROWDED` further collisions; those of `CROWDED_Z_PT_MAX_GEV` and
            above are left out.
    """
    if crowded:
        load_pool(CROWDED_POOL, cache_directory())  # once, before workers that share the cache ask for it
    parts = _parts(card, SLOW_Z if crowded else INVISIBLE_Z, events, seed)
    done = list(_mapped(_crowded_part if crowded else _alone_part, parts, workers))
    return MissingMomenta(
        {name: np.concatenate([part.measured[name] for part in done], axis=1) for name in MISSING},
        *(np.concatenate([getattr(part, name) for part in done], axis=-1) for name in ("true", "sum_et", "collisions")),
    )


def _alone_part(part: _Part) -> MissingMomenta:
    truth, rng = _truth(part)
    return _momenta(truth, load_card(part.card), rng)


def _crowded_part(part: _Part) -> MissingMomenta:
    truth, rng = _truth(part)
    card = load_card(part.card)
    profile = PileupProfile("flat", CROWDED, (1 / len(CROWDED),) * len(CROWDED), CROWDED_POOL)
    pool = load_pool(CROWDED_POOL, cache_directory())
    crossed = overlay(truth, profile, pool, beam_spot_mm=card.beam_spot_mm, rng=rng)
    return _momenta(crossed, card, rng, z_pt_max_gev=CROWDED_Z_PT_MAX_GEV)


def _momenta(
    truth: Truth, card: ResponseCard, rng: np.random.Generator, *, z_pt_max_gev: float = np.inf
) -> MissingMomenta:
    columns = reconstruct(truth, card, rng)
    true = np.stack([truth.invisible_px, truth.invisible_py])
    slow = np.hypot(*true) < z_pt_max_gev
    measured = {
        name: np.stack([(columns[f"{name}_pt"] * turn(columns[f"{name}_phi"]))[slow] for turn in (np.cos, np.sin)])
        for name in MISSING
    }
    collisions = 1.0 + np.asarray(columns["Pileup_nPU"])
    return MissingMomenta(measured, true[:, slow], columns["MET_sumEt"][slow], collisions[slow])


def _parts(
    card: str,
    lines: tuple[str, ...],
    events: int,
    seed: int,
    radii: tuple[float, ...] = (),
    pt_min: float = GENERATED_PT_MIN_GEV,
) -> tuple[_Part, ...]:
    return tuple(
        _Part(card, lines, min(EVENTS_PER_PART, events - first), (seed, first), radii, pt_min)
        for first in range(0, events, EVENTS_PER_PART)
    )


def _mapped(work: Callable[[_Part], Result], parts: Sequence[_Part], workers: int) -> Iterable[Result]:
    if min(workers, len(parts)) <= 1:
        return map(work, parts)
    with ProcessPoolExecutor(min(workers, len(parts)), mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, parts))


def _truth(part: _Part) -> tuple[Truth, np.random.Generator]:
    for_pythia, for_response = np.random.SeedSequence(part.entropy).spawn(2)
    request = PartRequest(
        process="validation",
        lines=part.lines,
        own_matrix_elements=False,
        seed=pythia_seed(for_pythia),
        events=part.events,
    )
    return generate_truth(request), np.random.default_rng(for_response)


def _jets_of_part(part: _Part) -> tuple[MatchedJets, ...]:
    truth, rng = _truth(part)
    measured = measure(truth.particles, load_card(part.card), rng)
    return tuple(_matched(truth.particles, measured, radius, part.pt_min) for radius in part.radii)


def _matched(particles: ak.Array, candidates: ak.Array, radius: float, pt_min: float) -> MatchedJets:
    measured, _ = cluster(candidates, radius=radius, pt_min=MEASURED_PT_MIN_GEV)
    generated, _ = cluster(particles, radius=radius, pt_min=pt_min)
    place = nearest(generated, measured, cone=MATCHING_RADIUS)
    found = place >= 0
    columns = (generated.pt[found], generated.eta[found], measured.pt[place[found]])
    return MatchedJets(*(np.asarray(ak.to_numpy(ak.flatten(column)), dtype=np.float64) for column in columns))
