"""What black holes become, as Les Houches events: kinds of particles, masses, colours.

Charge and baryon number are those of the colliding partons; lepton number is, or it differs by an even number, as the
spin demands. Kinds are drawn with all degrees of freedom alike until they add up to that; quarks and gluons are then
joined by colour lines at random. Pythia showers the events, and decays top quarks, W, Z and Higgs bosons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import RunError
from darkop_dist.generation.black_hole import BlackHole, Collision, Floats, Ints, Radiation, evaporate

QUARKS, CHARGED_LEPTONS, NEUTRINOS = (1, 2, 3, 4, 5, 6), (11, 13, 15), (12, 14, 16)
MASSES = {4: 1.5, 5: 4.8, 6: 172.5, 15: 1.77686, 23: 91.1876, 24: 80.379, 25: 125.0}
CANDIDATES, ROUNDS, HOLES_TRIED = 400, 8, 50
NEWTON_STEPS = 60
FIRST_COLOUR = 501


def _kinds() -> tuple[Ints, Floats, Ints, Ints, Ints, Floats]:
    """Of every particle and antiparticle: PDG number, degrees of freedom, 3 x charge, 3 x baryon, lepton, mass."""
    rows = []
    for sign in (1, -1):
        rows += [(sign * quark, 6, sign * (2 if quark % 2 == 0 else -1), sign, 0) for quark in QUARKS]
        rows += [(sign * lepton, 2, -3 * sign, 0, sign) for lepton in CHARGED_LEPTONS]
        rows += [(sign * neutrino, 1, 0, 0, sign) for neutrino in NEUTRINOS]
        rows.append((sign * 24, 3, 3 * sign, 0, 0))
    rows += [(21, 16, 0, 0, 0), (22, 2, 0, 0, 0), (23, 3, 0, 0, 0), (25, 1, 0, 0, 0)]
    ids, freedom, charge, baryon, lepton = (np.array(column) for column in zip(*rows, strict=True))
    return ids, freedom.astype(float), charge, baryon, lepton, np.array([MASSES.get(abs(kind), 0.0) for kind in ids])


IDS, FREEDOM, CHARGE3, BARYON3, LEPTON, MASS = _kinds()
IS_FERMION = np.abs(IDS) < 20


@dataclass(frozen=True)
class HoleEvent:
    """The hard process of an event.

    Attributes:
        collision: the partons and their energies.
        ids: PDG numbers of what comes out, shape (particles,).
        momenta: in the frame of the protons, shape (particles, 4).
        masses: shape (particles,).
        colours: colour and anticolour of the two partons and of what comes out, shape (2 + particles, 2).
    """

    collision: Collision
    ids: Ints
    momenta: Floats
    masses: Floats
    colours: Ints


def make_event(hole: BlackHole, collision: Collision, rng: np.random.Generator) -> HoleEvent:
    """What becomes of a collision.

    Raises:
        RunError: no set of particles conserves the charges; the hole is too light for any.
    """
    for _ in range(HOLES_TRIED):
        radiation = evaporate(hole, collision.mass, rng)
        found = _draw_kinds(radiation, collision.partons, rng, conserve_leptons=hole.lepton_number == "conserved")
        if found is None:
            continue
        ids, masses = found
        colours = colour_lines(collision.partons, ids, rng)
        if colours is None:
            continue
        momenta = _moving(on_shell(radiation.momenta, masses, collision.mass), collision)
        return HoleEvent(collision, ids, momenta, masses, colours)
    raise RunError(
        f"black-holes: a hole of {collision.mass:g} GeV finds no particles that conserve charge. Raise minimum_mass."
    )


def _totals(ids: Sequence[int] | Ints) -> tuple[int, int, int]:
    """Charge and baryon number, both times 3, and lepton number."""
    places = [int(np.flatnonzero(kind == IDS)[0]) for kind in ids]
    return int(CHARGE3[places].sum()), int(BARYON3[places].sum()), int(LEPTON[places].sum())


def _draw_kinds(
    radiation: Radiation, partons: tuple[int, int], rng: np.random.Generator, *, conserve_leptons: bool
) -> tuple[Ints, Floats] | None:
    """Kinds that add up to the quantum numbers of the partons."""
    charge, baryon, _ = _totals(partons)
    slots = list(zip(radiation.fermions, radiation.momenta[:, 3], strict=True))
    for _ in range(ROUNDS):
        places = np.column_stack([_candidates(float(energy), rng, fermion=bool(fermion)) for fermion, energy in slots])
        leptons = LEPTON[places].sum(axis=1)
        fits = (CHARGE3[places].sum(axis=1) == charge) & (BARYON3[places].sum(axis=1) == baryon)
        fits &= (leptons == 0) if conserve_leptons else (leptons % 2 == 0)
        if fits.any():
            chosen = places[np.flatnonzero(fits)[0]]
            return IDS[chosen], MASS[chosen]
    return None


def _candidates(energy: float, rng: np.random.Generator, *, fermion: bool) -> Ints:
    """Kinds for one particle, drawn by their degrees of freedom from those lighter than its energy."""
    pool = np.flatnonzero((fermion == IS_FERMION) & (energy > MASS))
    return np.asarray(rng.choice(pool, CANDIDATES, p=FREEDOM[pool] / FREEDOM[pool].sum()))


def on_shell(momenta: Floats, masses: Floats, total: float) -> Floats:
    """Give massless particles masses: all momenta times one factor so that the energies add up to ``total``."""
    squares = np.sum(momenta[:, :3] ** 2, axis=1)
    scale = 1.0
    for _ in range(NEWTON_STEPS):
        energies = np.sqrt(scale**2 * squares + masses**2)
        step = (energies.sum() - total) / np.sum(scale * squares / np.maximum(energies, 1e-300))
        scale = max(scale - step, scale / 10)
        if abs(step) < 1e-14 * scale:
            break
    return np.column_stack([scale * momenta[:, :3], np.sqrt(scale**2 * squares + masses**2)])


def _moving(momenta: Floats, collision: Collision) -> Floats:
    """From the frame of the hole to that of the protons, along the beam."""
    plus, minus = (math.sqrt(energy / collision.mass * 2) for energy in collision.energies)
    gamma, gamma_beta = (plus * plus + minus * minus) / 2, (plus * plus - minus * minus) / 2
    energy = gamma * momenta[:, 3] + gamma_beta * momenta[:, 2]
    along = gamma * momenta[:, 2] + gamma_beta * momenta[:, 3]
    return np.column_stack([momenta[:, :2], along, energy])


def colour_lines(partons: tuple[int, int], ids: Ints, rng: np.random.Generator) -> Ints | None:
    """Join colours at random; no gluon to itself, nor colour and anticolour of one incoming gluon.

    An incoming quark's line goes on as an outgoing colour, or ends at an incoming antiquark.

    Returns:
        Colour and anticolour of partons and particles, shape (2 + particles, 2); None if nothing fits.
    """
    every = [*partons, *map(int, ids)]
    has = [(kind == 21 or 1 <= kind <= 6, kind == 21 or -6 <= kind <= -1) for kind in every]
    starts = [(place, 0 if place < 2 else 1) for place, own in enumerate(has) if own[0 if place < 2 else 1]]
    ends = [(place, 1 if place < 2 else 0) for place, own in enumerate(has) if own[1 if place < 2 else 0]]
    if len(starts) != len(ends):
        return None
    for _ in range(200):
        order = rng.permutation(len(ends))
        if all(starts[line][0] != ends[end][0] for line, end in enumerate(order)):
            break
    else:
        return None
    colours = np.zeros((len(every), 2), dtype=np.int64)
    for line, end in enumerate(order):
        colours[starts[line]] = colours[ends[end]] = FIRST_COLOUR + line
    return colours


def write_holes(events: Sequence[HoleEvent], hole: BlackHole, xsec_pb: float, target: Path) -> None:
    """Write events of equal weight as a Les Houches file, hep-ph/0609017.

    The scale of an event, at which showers begin, is the mean energy of its particles in the frame of the hole.
    """
    with target.open("w", encoding="utf-8") as file:
        beams = f"2212 2212 {hole.energy / 2!r} {hole.energy / 2!r} 0 0 247000 247000 3 1"
        file.write(f'<LesHouchesEvents version="1.0">\n<init>\n{beams}\n{xsec_pb!r} 0. 1. 1\n</init>\n')
        for event in events:
            file.write(_event_text(event))
        file.write("</LesHouchesEvents>\n")


def _event_text(event: HoleEvent) -> str:
    scale = event.collision.mass / len(event.ids)
    lines = [f"<event>\n{len(event.ids) + 2} 1 1. {scale!r} 0.0078125 0.1"]
    for place, (kind, energy) in enumerate(zip(event.collision.partons, event.collision.energies, strict=True)):
        colours = " ".join(map(str, event.colours[place]))
        lines.append(f"{kind} -1 0 0 {colours} 0. 0. {(energy, -energy)[place]!r} {energy!r} 0. 0. 9.")
    for kind, colour, momentum, mass in zip(event.ids, event.colours[2:], event.momenta, event.masses, strict=True):
        numbers = " ".join(repr(float(number)) for number in (*momentum, mass))
        lines.append(f"{kind} 1 1 2 {colour[0]} {colour[1]} {numbers} 0. 9.")
    return "\n".join([*lines, "</event>\n"])


def quantum_numbers(ids: Sequence[int] | npt.NDArray[np.int64]) -> tuple[float, float, int]:
    """Charge, baryon number and lepton number of some particles.

    >>> quantum_numbers([2, 2]) == (4 / 3, 2 / 3, 0)
    True
    """
    charge, baryon, lepton = _totals(ids)
    return charge / 3, baryon / 3, lepton
