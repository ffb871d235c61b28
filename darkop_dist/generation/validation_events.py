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

from darkop_dist.generation.card import Floats, load_card
from darkop_dist.generation.clustering import cluster
from darkop_dist.generation.cones import nearest
from darkop_dist.generation.jet_calibration import calibrated
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
class CrowdedMomenta:
    """Missing momentum under pile-up.

    Attributes:
        errors: component perpendicular to the Z boson in GeV by name, each of shape (events,).
        collisions: number of collisions in the crossing, shape (events,).
    """

    errors: dict[str, Floats]
    collisions: Floats


@dataclass(frozen=True)
class MissingMomenta:
    """Missing momentum, both components of every event one after another; shape (2 * events,), GeV.

    Attributes:
        error: measured minus true component.
        sum_et: scalar sum of the measured candidates' pt.
    """

    error: Floats
    sum_et: Floats


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


def missing_momenta(card: str, *, events: int, seed: int, workers: int = 1) -> MissingMomenta:
    """Missing momentum of Z bosons that decay to neutrinos, with the calibration of the card's jets in it.

    Args:
        card: name of the response card.
        events: number of events.
        seed: seed, 0 or above.
        workers: number of processes; the numbers do not depend on it.
    """
    rules = load_card(card).jet
    parts = _parts(card, INVISIBLE_Z, events, seed, (rules.radius,), rules.pt_min)
    done = list(_mapped(_met_of_part, parts, workers))
    return MissingMomenta(*(np.concatenate([getattr(part, name) for part in done]) for name in ("error", "sum_et")))


def crowded_momenta(card: str, *, events: int, seed: int, workers: int = 1) -> CrowdedMomenta:
    """Missing momentum of Z bosons of little momentum that decay to neutrinos, among `CROWDED` further collisions.

    Args:
        card: name of the response card.
        events: number of events.
        seed: seed, 0 or above.
        workers: number of processes; the numbers do not depend on it.
    """
    load_pool(CROWDED_POOL, cache_directory())  # once, before workers that share the cache ask for it
    done = list(_mapped(_crowded_part, _parts(card, SLOW_Z, events, seed, (), 0.0), workers))
    columns = {name: np.concatenate([part.errors[name] for part in done]) for name in done[0].errors}
    return CrowdedMomenta(columns, np.concatenate([part.collisions for part in done]))


def _crowded_part(part: _Part) -> CrowdedMomenta:
    truth, rng = _truth(part)
    card = load_card(part.card)
    profile = PileupProfile("flat", CROWDED, (1 / len(CROWDED),) * len(CROWDED), CROWDED_POOL)
    pool = load_pool(CROWDED_POOL, cache_directory())
    columns = reconstruct(overlay(truth, profile, pool, beam_spot_mm=card.beam_spot_mm, rng=rng), card, rng)
    px, py = truth.invisible_px, truth.invisible_py
    pt = np.hypot(px, py)
    slow = pt < CROWDED_Z_PT_MAX_GEV
    errors = {}
    for name in ("MET", "PuppiMET"):
        x, y = (columns[f"{name}_pt"] * turn(columns[f"{name}_phi"]) for turn in (np.cos, np.sin))
        errors[name] = np.asarray((x * py - y * px) / pt)[slow]
    return CrowdedMomenta(errors, 1.0 + np.asarray(columns["Pileup_nPU"])[slow])


def _parts(
    card: str, lines: tuple[str, ...], events: int, seed: int, radii: tuple[float, ...], pt_min: float
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


def _met_of_part(part: _Part) -> MissingMomenta:
    truth, rng = _truth(part)
    rules = load_card(part.card).jet
    measured = measure(truth.particles, load_card(part.card), rng)
    jets, _ = cluster(measured, radius=rules.radius, pt_min=part.pt_min)
    counts = ak.num(jets)
    pt, eta = (np.asarray(ak.to_numpy(ak.flatten(jets[name])), dtype=np.float64) for name in ("pt", "eta"))
    added = ak.unflatten((calibrated(pt, eta, rules.calibration, rng) - 1) * pt, counts)
    errors = []
    for axis, turn, truly in (("px", np.cos, truth.invisible_px), ("py", np.sin, truth.invisible_py)):
        missing = -ak.to_numpy(ak.sum(measured[axis], axis=1) + ak.sum(added * turn(jets.phi), axis=1))
        errors.append(np.asarray(missing, dtype=np.float64) - truly)
    sum_et = np.asarray(ak.to_numpy(ak.sum(np.hypot(measured.px, measured.py), axis=1)), dtype=np.float64)
    return MissingMomenta(np.concatenate(errors), np.concatenate([sum_et, sum_et]))
