"""What the generator knows of a part: Pythia run for a fixed number of events, reduced to what the response needs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pythia8mc

from darkop_dist.errors import RunError
from darkop_dist.generation.black_hole import BlackHole, black_hole_of, collisions, production
from darkop_dist.generation.black_hole_events import make_event, write_holes
from darkop_dist.generation.history import history
from darkop_dist.generation.lhe import LheRange, lhe_lines, write_events
from darkop_dist.generation.pythia_run import PartRequest, captured_output, explained, next_events, start_pythia
from darkop_dist.generation.suep import MEDIATOR, Suep, decay_mediators, suep_of

SPARE_HOLES = 20
HEAVY_HADRON_PT_MIN_GEV = 5.0
TAU, TAU_NEUTRINO, PION0 = 15, 16, 111
LEPTONS_FROM_TAUS = (11, 13)
MB_TO_PB = 1e9
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CrossSection:
    """Monte Carlo estimate of a cross section.

    Attributes:
        pb: cross section in pb.
        error_pb: its statistical uncertainty in pb.
        tried: points in phase space that were tried.
        failed: events that are left out because Pythia fails them or a shower's matching vetoes them; the cross section
            is that of the others.
    """

    pb: float
    error_pb: float
    tried: int
    failed: int = 0


@dataclass(frozen=True)
class Truth:
    """A part as the generator knows it; momenta in GeV.

    Attributes:
        particles: stable visible particles, type
            ``events * var * {px, py, pz, E, id, charge, x, y, z, vertex}``; x, y, z is where a particle is made in mm
            from the hard collision, ``vertex`` 0 for all of them and above 0 for those of pile-up collisions.
        invisible_px: x momentum of all neutrinos and dark-matter particles, shape (events,).
        invisible_py: the same for y.
        heavy_hadrons: hadrons with bottom or charm, ``events * var * {pt, eta, phi, flavour}``, flavour 5 or 4.
        taus: visible part of hadronic tau decays, ``events * var * {px, py, pz, E, charge, decay_mode}``; the decay
            mode is 5 (charged - 1) + neutral pions, as in NanoAOD.
        weights: generator weights, shape (events,).
        cross_section: the estimate from this part alone.
        history: what NanoAOD keeps of the generator's particles, see `history.history`.
        variations: weights of the variations over the nominal one, by name; each of shape (events,).
        mean_collisions: mean number of pile-up collisions, shape (events,); None without pile-up.
        collisions: their number, shape (events,); None without pile-up.
    """

    particles: ak.Array
    invisible_px: Floats
    invisible_py: Floats
    heavy_hadrons: ak.Array
    taus: ak.Array
    weights: Floats
    cross_section: CrossSection
    history: ak.Array
    variations: Mapping[str, Floats] = field(default_factory=dict)
    mean_collisions: Floats | None = None
    collisions: Ints | None = None


def generate_truth(request: PartRequest) -> Truth:
    """Run Pythia for one part.

    Raises:
        RunError: Pythia rejects a setting, does not start or keeps failing events.
        InputValueError: the parameters describe no particle, see `mediator.read_mediator` and `suep.Suep`.
    """
    if request.lhe is not None:
        return _showered(request, request.lhe)
    made = generate_record(request)
    return replace(_reduced(made.pythia, made.events, request), cross_section=made.cross_section)


@dataclass(frozen=True)
class GeneratedRecord:
    """A part as Pythia has it.

    Attributes:
        pythia: that made it; knows the particles.
        events: what ``nextBatch`` returns.
        cross_section: the estimate from this part alone.
        alive: what Pythia uses while it lives.
    """

    pythia: Any
    events: ak.Array
    cross_section: CrossSection
    alive: object


def generate_record(request: PartRequest) -> GeneratedRecord:
    """Run Pythia for one part that is not read from a file; see `generate_truth`."""
    hole = black_hole_of(request.lines)
    if hole is not None:
        return _evaporated(request, hole)
    pythia, alive = start_pythia(request)
    events, failed = next_events(pythia, request)
    info = pythia.infoPython()
    estimate = CrossSection(info.sigmaGen() * MB_TO_PB, info.sigmaErr() * MB_TO_PB, int(info.nTried()))
    found = _without_failed(estimate, failed, request.events, int(info.nSelected()))
    return GeneratedRecord(pythia, events, found, alive)


def _showered(request: PartRequest, lhe: LheRange) -> Truth:
    """The events of a Les Houches file that the shower does not veto."""
    with tempfile.TemporaryDirectory(prefix="darkop-") as directory:
        events = Path(directory) / "events.lhe"
        read = write_events(lhe, events)
        with captured_output():  # matching prints tables for every part, at its beginning and at its end
            pythia, alive = start_pythia(replace(request, lines=(*lhe_lines(events), *request.lines)))
            record = pythia.nextBatch(request.events)
            truth = _reduced(pythia, record, request) if len(record) else None
            reason = "" if len(record) else explained(pythia, request)
            del pythia, alive
    if truth is None:
        raise RunError(
            f"{request.process}: the shower vetoes every one of {request.events} events. Check the settings of the "
            f"matching (JetMatching, Merging) against those of the file. {reason}"
        )
    weights = record.info.weights
    places = np.rint(_numbers(weights[:, 1]) / _numbers(weights[:, 0])).astype(np.int64) - 1
    variations = {name: read.variations[places, column] for column, name in enumerate(lhe.weights)}
    # Pythia's own estimate leaves the last event that it vetoes out of its number of tries. With the mean weight of the
    # whole file, parts with negative weights add up exactly.
    kept = float(read.nominal[places].sum()) / (lhe.events * lhe.mean_weight)
    share = len(record) / lhe.events
    spread = math.sqrt(float(np.mean(read.nominal**2)) * share * (1 - share) / lhe.events) / abs(lhe.mean_weight)
    error = math.hypot(kept * lhe.xsec_error_pb, spread * lhe.xsec_pb)
    cross_section = CrossSection(kept * lhe.xsec_pb, error, request.events, request.events - len(record))
    return replace(truth, variations=variations, cross_section=cross_section)


def _evaporated(request: PartRequest, hole: BlackHole) -> GeneratedRecord:
    """Black holes, showered from a Les Houches file with more events than asked for, in case that Pythia fails some."""
    rng = np.random.default_rng(request.seed)
    made = production(hole, pythia8mc.Pythia("", False).getPDFPtr(2212).xf)
    spare = SPARE_HOLES + request.events // 5
    hard = [make_event(hole, one, rng) for one in collisions(hole, made, request.events + spare, rng)]
    with tempfile.TemporaryDirectory(prefix="darkop-") as directory:
        file = Path(directory) / "holes.lhe"
        write_holes(hard, hole, made.xsec_pb, file)
        pythia, alive = start_pythia(replace(request, lines=(*request.lines, *lhe_lines(file))))
        record, failed = next_events(pythia, request)
    share = request.events / (request.events + failed)
    error = made.xsec_pb * share * math.sqrt((1 - share) / request.events)
    cross_section = CrossSection(share * made.xsec_pb, error, request.events + failed, failed)
    return GeneratedRecord(pythia, record, cross_section, alive)


def _reduced(pythia: Any, record: ak.Array, request: PartRequest) -> Truth:
    info = pythia.infoPython()
    cross_section = CrossSection(info.sigmaGen() * MB_TO_PB, info.sigmaErr() * MB_TO_PB, int(info.nTried()))
    particles = record.prt
    visible, charge, heavy, hadron = _properties(pythia, particles.id)
    suep = suep_of(request.lines)
    mediators = (particles.id == MEDIATOR) & (suep is not None)
    stable = (particles.status > 0) & ~mediators
    invisible = particles.p[stable & ~visible]
    kept = stable & visible
    momentum = particles.p[kept]
    measurable = ak.zip(
        {
            "px": momentum.px,
            "py": momentum.py,
            "pz": momentum.pz,
            "E": momentum.e,
            "id": particles.id[kept],
            "charge": charge[kept],
            **_production_points(particles.vProd[kept]),
        }
    )
    if suep is not None:
        decayed = _decayed(particles.p[mediators & (particles.status > 0)], suep, request.seed)
        measurable = ak.concatenate([measurable, decayed], axis=1)
    return Truth(
        particles=measurable,
        invisible_px=_numbers(ak.sum(invisible.px, axis=1)),
        invisible_py=_numbers(ak.sum(invisible.py, axis=1)),
        heavy_hadrons=_heavy_hadrons(particles.p, heavy),
        taus=_hadronic_taus(particles, charge),
        weights=_numbers(record.info.weights[:, 0]),
        cross_section=cross_section,
        history=history(particles, hadron, heavy),
    )


def _decayed(mediators: ak.Array, suep: Suep, seed: int) -> ak.Array:
    """What becomes of the mediators, one in each event, as ``Truth.particles``."""
    momenta = np.column_stack([_numbers(ak.flatten(mediators[axis])) for axis in ("px", "py", "pz", "e")])
    found = decay_mediators(momenta, suep, np.random.default_rng(seed))
    momentum = {axis: found.momenta[:, place] for place, axis in enumerate(("px", "py", "pz", "E"))}
    nowhere = np.zeros(len(found.ids))
    columns = {"id": found.ids, "charge": found.charges, **dict.fromkeys("xyz", nowhere)}
    return ak.unflatten(ak.zip({**momentum, **columns, "vertex": nowhere.astype(np.int32)}), found.counts)


def _production_points(points: ak.Array) -> dict[str, ak.Array]:
    """Where particles are made, in mm; Pythia gives no point to those of the hard collision itself."""
    found = {axis: ak.fill_none(points[f"p{axis}"], 0.0) for axis in "xyz"}
    return {**found, "vertex": ak.values_astype(ak.zeros_like(found["x"]), np.int32)}


def _without_failed(estimate: CrossSection, failed: int, kept: int, selected: int) -> CrossSection:
    """The cross section of the events that are left.

    Pythia multiplies its estimate by accepted over selected events, which leaves out those that fail in the shower, in
    hadronisation or in decays, with their part of the uncertainty; those that fail earlier are no selected ones.
    """
    share = min(selected / (kept + failed), 1.0)
    error = share * math.hypot(estimate.error_pb, estimate.pb * math.sqrt((1 - share) / kept))
    return CrossSection(share * estimate.pb, error, estimate.tried, failed)


def _properties(pythia: Any, ids: ak.Array) -> tuple[ak.Array, ak.Array, ak.Array, ak.Array]:
    """Per particle: seen by a detector, charge in units of e, heavy flavour (5, 4 or 0) of a hadron, is a hadron."""
    flat, counts = ak.to_numpy(ak.flatten(ids)), ak.num(ids)
    kinds, index = np.unique(flat, return_inverse=True)
    data = pythia.particleData
    visible = np.array([data.isVisible(int(kind)) for kind in kinds], dtype=bool)
    charge = np.array([data.charge(int(kind)) for kind in kinds])
    heavy = np.array([_heaviest_quark(int(kind)) if data.isHadron(int(kind)) else 0 for kind in kinds])
    hadron = np.array([data.isHadron(int(kind)) for kind in kinds], dtype=bool)
    columns = [ak.unflatten(column[index], counts) for column in (visible, charge, heavy, hadron)]
    return columns[0], columns[1], columns[2], columns[3]


def _heaviest_quark(hadron: int) -> int:
    """Heaviest quark of a hadron, 5 or 4, or 0; the digits of PDG's numbering scheme are its quarks."""
    quarks = {int(digit) for digit in f"{abs(hadron) % 10000:04d}"[:3]}
    return 5 if 5 in quarks else 4 if 4 in quarks else 0


def _heavy_hadrons(momentum: ak.Array, heavy: ak.Array) -> ak.Array:
    chosen = (heavy > 0) & (momentum.px**2 + momentum.py**2 > HEAVY_HADRON_PT_MIN_GEV**2)
    p = momentum[chosen]
    pt = np.hypot(p.px, p.py)
    return ak.zip({"pt": pt, "eta": np.arcsinh(p.pz / pt), "phi": np.arctan2(p.py, p.px), "flavour": heavy[chosen]})


def _hadronic_taus(particles: ak.Array, charge: ak.Array) -> ak.Array:
    """Sum the visible daughters of each tau: a tau that decays has a tau neutrino among its daughters."""
    counts = _integers(ak.num(particles.id))
    offsets = np.concatenate(([0], np.cumsum(counts)))
    kind = np.abs(_integers(ak.flatten(particles.id)))
    mother = _integers(ak.flatten(particles.mother1)) + np.repeat(offsets[:-1], counts)
    daughters = np.flatnonzero((kind[mother] == TAU) & (kind != TAU))
    is_daughter_of, size = mother[daughters], len(kind)

    def summed(values: npt.NDArray[Any]) -> Floats:
        sums = np.bincount(is_daughter_of, weights=values[daughters].astype(np.float64), minlength=size)
        return np.asarray(sums, dtype=np.float64)

    seen = ~np.isin(kind, (12, 14, TAU_NEUTRINO))
    charged = _numbers(ak.flatten(charge)) != 0
    hadronic = (summed(kind == TAU_NEUTRINO) > 0) & (summed(np.isin(kind, LEPTONS_FROM_TAUS)) == 0)
    taus = np.flatnonzero(hadronic & (kind == TAU))
    columns = {
        name: summed(_numbers(ak.flatten(particles.p[field])) * seen)[taus]
        for name, field in {"px": "px", "py": "py", "pz": "pz", "E": "e"}.items()
    }
    columns["charge"] = _numbers(ak.flatten(charge))[taus]
    columns["decay_mode"] = 5 * (summed(charged)[taus] - 1) + summed(kind == PION0)[taus]
    per_event = np.bincount(np.searchsorted(offsets, taus, side="right") - 1, minlength=len(counts))
    return ak.unflatten(ak.zip(columns), per_event)


def _numbers(values: ak.Array) -> Floats:
    return np.asarray(ak.to_numpy(values), dtype=np.float64)


def _integers(values: ak.Array) -> Ints:
    return np.asarray(ak.to_numpy(values), dtype=np.int64)
