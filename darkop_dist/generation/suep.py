"""Soft unclustered energy patterns: a scalar mediator that decays to many soft dark mesons at once.

The recipe of Knapen, Griso, Papucci, Robinson, JHEP 08 (2017) 076, arXiv:1612.00850: in the rest frame of the mediator,
mesons of mass m are drawn without direction from the relativistic Boltzmann distribution, d^3N/dp^3 ~ exp(-E/T), until
their energies make up the mediator's mass; then their momenta are shifted and scaled so that momentum and energy are
conserved. Each meson decays to two dark photons, each of these to e+ e-, mu+ mu- or pi+ pi-, isotropically. Everything
is done for all events of a part at once; momenta are arrays of shape (particles, 4) of px, py, pz, E in GeV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import kve

from darkop_dist.errors import InputValueError
from darkop_dist.generation.own_lines import own_settings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MEDIATOR = 25
GRID = 4000
LARGEST_MOMENTUM_IN_T = 60.0
NEWTON_STEPS = 60
PRODUCTS = {"ee": (11, 0.000511), "mumu": (13, 0.10566), "pipi": (211, 0.13957)}
MINUS_IS_PARTICLE = (11, 13)


@dataclass(frozen=True)
class Suep:
    """A dark sector in numbers.

    Attributes:
        temperature: T in GeV.
        meson_mass: m in GeV.
        photon_mass: mass of the dark photons in GeV.
        electrons: branching fraction of the dark photon to e+ e-.
        muons: to mu+ mu-; the rest is pi+ pi-.
    """

    temperature: float
    meson_mass: float
    photon_mass: float
    electrons: float
    muons: float

    def __post_init__(self) -> None:
        """Refuse what cannot decay.

        Raises:
            InputValueError: a decay has no phase space, or branching fractions exceed 1.
        """
        if 2 * self.photon_mass >= self.meson_mass:
            raise InputValueError(
                "suep: photon_mass",
                f"{self.photon_mass:g} GeV is not below half of meson_mass, {self.meson_mass:g} GeV",
                "Lower photon_mass or raise meson_mass.",
            )
        if self.electrons + self.muons > 1:
            raise InputValueError(
                "suep: electrons, muons",
                f"the branching fractions {self.electrons:g} and {self.muons:g} add up to more than 1",
                "Lower one of them; the rest is pions.",
            )
        pions = self.electrons + self.muons < 1
        heaviest = PRODUCTS["pipi"][1] if pions else PRODUCTS["mumu"][1] if self.muons > 0 else PRODUCTS["ee"][1]
        if self.photon_mass <= 2 * heaviest:
            raise InputValueError(
                "suep: photon_mass",
                f"{self.photon_mass:g} GeV is too light for its decays",
                f"Raise it above {2 * heaviest:g} GeV, or change the branching fractions.",
            )


@dataclass(frozen=True)
class Decayed:
    """Stable particles of all events.

    Attributes:
        momenta: shape (particles, 4).
        ids: PDG numbers, shape (particles,).
        charges: in units of e, shape (particles,).
        counts: particles of each event, shape (events,).
        mesons: dark mesons of each event, shape (events,).
    """

    momenta: Floats
    ids: Ints
    charges: Floats
    counts: Ints
    mesons: Ints


def suep_of(lines: Sequence[str]) -> Suep | None:
    """The dark sector that the lines of a process describe; None if they describe none.

    >>> suep_of(["HardQCD:all = on"]) is None
    True
    """
    own = own_settings(lines, "suep")
    return Suep(**{name: float(value) for name, value in own.items()}) if own else None


def mean_energy(mass: float, temperature: float) -> float:
    """Mean energy of the relativistic Boltzmann distribution: 3 T + m K_1(m/T) / K_2(m/T).

    >>> round(mean_energy(1e-9, 2.0), 6)
    6.0
    """
    ratio = mass / temperature
    return 3 * temperature + mass * float(kve(1, ratio) / kve(2, ratio))


def thermal_momenta(mass: float, temperature: float, size: int, rng: np.random.Generator) -> Floats:
    """Absolute momenta in GeV, dN/dp ~ p^2 exp(-E/T), shape (size,)."""
    grid = np.linspace(0.0, LARGEST_MOMENTUM_IN_T * temperature + mass, GRID)
    density = grid**2 * np.exp(-(np.hypot(grid, mass) - mass) / temperature)
    cumulative = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return np.asarray(np.interp(rng.random(size) * cumulative[-1], cumulative, grid))


def thermal_decay(mediators: Floats, mass: float, temperature: float, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Decay mediators to mesons.

    Args:
        mediators: shape (events, 4).
        mass: of the mesons in GeV.
        temperature: T in GeV.
        rng: source of all random numbers.

    Returns:
        The mesons of all events, shape (mesons, 4), and their numbers, shape (events,); at least two each.
    """
    masses = _masses(mediators)
    most = 16 + int(2.5 * masses.max() / mean_energy(mass, temperature))
    size = (len(mediators), most)
    absolute = thermal_momenta(mass, temperature, len(mediators) * most, rng).reshape(size)
    energies = np.hypot(absolute, mass).cumsum(axis=1)
    reached = (energies < masses[:, None]).sum(axis=1)  # mesons that fit; the next one overshoots
    before = np.where(reached > 0, np.take_along_axis(energies, np.maximum(reached - 1, 0)[:, None], axis=1)[:, 0], 0)
    after = np.take_along_axis(energies, np.minimum(reached, most - 1)[:, None], axis=1)[:, 0]
    numbers = np.clip(reached + (after - masses < masses - before), 2, np.minimum(most, masses // (1.02 * mass)))
    numbers = numbers.astype(np.int64)
    kept = np.arange(most) < numbers[:, None]
    vectors = absolute[kept][:, None] * _directions(int(numbers.sum()), rng)
    event = np.repeat(np.arange(len(mediators)), numbers)
    vectors -= (_sums(vectors, event, len(mediators)) / numbers[:, None])[event]
    scale = _scale(np.sum(vectors**2, axis=1), mass, masses, event)
    vectors *= scale[event][:, None]
    energy = np.sqrt(np.sum(vectors**2, axis=1) + mass**2)
    return boosted(np.column_stack([vectors, energy]), mediators[event]), numbers


def two_body(parents: Floats, mass: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Isotropic decays to two particles of one mass each.

    Args:
        parents: shape (particles, 4).
        mass: of the daughters of each parent in GeV, shape (particles,).
        rng: source of all random numbers.

    Returns:
        First and second daughters, each of shape (particles, 4).
    """
    half = _masses(parents) / 2
    momentum = np.sqrt(np.maximum(half**2 - mass**2, 0.0))[:, None] * _directions(len(parents), rng)
    first = np.column_stack([momentum, half])
    second = np.column_stack([-momentum, half])
    return boosted(first, parents), boosted(second, parents)


def boosted(momenta: Floats, frames: Floats) -> Floats:
    """Momenta given in the rest frames of ``frames``, in the frame in which those move; shape (particles, 4)."""
    mass = _masses(frames)
    along = np.sum(momenta[:, :3] * frames[:, :3], axis=1)
    energy = (frames[:, 3] * momenta[:, 3] + along) / mass
    factor = (momenta[:, 3] + energy) / (frames[:, 3] + mass)
    return np.column_stack([momenta[:, :3] + factor[:, None] * frames[:, :3], energy])


def decay_mediators(mediators: Floats, suep: Suep, rng: np.random.Generator) -> Decayed:
    """Decay mediators to stable particles.

    Args:
        mediators: shape (events, 4).
        suep: the dark sector.
        rng: source of all random numbers.
    """
    mesons, numbers = thermal_decay(mediators, suep.meson_mass, suep.temperature, rng)
    photons = np.stack(two_body(mesons, np.full(len(mesons), suep.photon_mass), rng), axis=1).reshape(-1, 4)
    drawn = rng.random(len(photons))
    kind = np.where(drawn < suep.electrons, 0, np.where(drawn < suep.electrons + suep.muons, 1, 2))
    codes, masses = (np.array(column) for column in zip(*PRODUCTS.values(), strict=True))
    pairs = two_body(photons, masses[kind], rng)
    minus = np.where(np.isin(codes[kind], MINUS_IS_PARTICLE), 1, -1)
    ids = np.stack([codes[kind] * minus, -codes[kind] * minus], axis=1).reshape(-1)
    charges = np.tile([-1.0, 1.0], len(photons))
    return Decayed(np.stack(pairs, axis=1).reshape(-1, 4), ids, charges, 4 * numbers, numbers)


def _directions(size: int, rng: np.random.Generator) -> Floats:
    cosine, phi = rng.uniform(-1.0, 1.0, size), rng.uniform(0.0, 2 * np.pi, size)
    sine = np.sqrt(1 - cosine**2)
    return np.column_stack([sine * np.cos(phi), sine * np.sin(phi), cosine])


def _masses(momenta: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(momenta[:, 3] ** 2 - np.sum(momenta[:, :3] ** 2, axis=1), 0.0)))


def _sums(vectors: Floats, event: Ints, events: int) -> Floats:
    return np.column_stack([np.bincount(event, weights=vectors[:, axis], minlength=events) for axis in range(3)])


def _scale(squares: Floats, mass: float, masses: Floats, event: Ints) -> Floats:
    """By which factor to multiply all momenta of an event so that the energies make up its mass: Newton's method."""
    scale = np.ones(len(masses))
    for _ in range(NEWTON_STEPS):
        energy = np.sqrt(scale[event] ** 2 * squares + mass**2)
        total = np.bincount(event, weights=energy, minlength=len(masses))
        slope = np.bincount(event, weights=scale[event] * squares / energy, minlength=len(masses))
        step: Any = (total - masses) / slope
        scale = np.maximum(scale - step, scale / 10)
        if np.all(np.abs(step) < 1e-13 * scale):
            break
    return scale
