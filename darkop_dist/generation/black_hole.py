"""Black holes of colliding partons: horizon, temperature, cross section, and how they evaporate.

The recipe is that of Dimopoulos and Landsberg, hep-ph/0106295, and Giddings and Thomas, hep-ph/0106219. Two partons
with an invariant mass M above a threshold form a hole with the cross section pi r_s(M)^2; r_s is the horizon of 4 + n
dimensions. It emits particles on the brane one after another, with the spectrum of a black body of the Hawking
temperature T = (n + 1)/(4 pi r_s), without direction in the frame of what is left of it, until less than a last mass is
left; the rest becomes two particles. All degrees of freedom of the Standard Model count alike: no grey-body factors, no
rotation, no emission into the bulk. Momenta are arrays of shape (particles, 4) of px, py, pz, E in GeV.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import gamma, zeta

from darkop_dist.errors import InputValueError
from darkop_dist.generation.own_lines import own_settings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
GEV2_PB = 0.3893793721e9
PARTONS = (21, 1, 2, 3, 4, 5, -1, -2, -3, -4, -5)
MASSES, RAPIDITIES = 80, 81
SPECTRUM = np.linspace(0.0, 40.0, 4001)
FERMIONS, BOSONS = 90, 28
"""Degrees of freedom: quarks 72, charged leptons 12, neutrinos 6; gluons 16, photon 2, W 6, Z 3, Higgs boson 1."""

FERMION_SHARE = 0.75 * FERMIONS / (0.75 * FERMIONS + BOSONS)
"""Of the particles of a black body: at one temperature a fermion's rate is 3/4 of a boson's."""

MEAN_ENERGY_IN_T = FERMION_SHARE * 7 * math.pi**4 / (180 * zeta(3)) + (1 - FERMION_SHARE) * math.pi**4 / (30 * zeta(3))
"""Mean energy of the particles in units of the temperature: 3.15 for fermions, 2.70 for bosons."""


@dataclass(frozen=True)
class BlackHole:
    """A model of black holes.

    Attributes:
        dimensions: n, number of extra dimensions.
        planck_mass: fundamental scale in GeV, in the convention below.
        minimum_mass: smallest mass of a hole in GeV.
        last_mass: mass in GeV below which the rest becomes two particles.
        convention: ``PDG`` for M_D with M_D^(n+2) = (2 pi)^n / (8 pi G), ``DL`` for M_P with M_P^(n+2) = 1 / G.
        temperature: ``falling`` with the mass that is left as in equilibrium, or ``fixed`` at its first value.
        lepton_number: ``violated`` by even numbers, as gravity may, or ``conserved``.
        energy: of the proton-proton collisions in GeV.
    """

    dimensions: int
    planck_mass: float
    minimum_mass: float
    last_mass: float
    convention: Literal["PDG", "DL"] = "PDG"
    temperature: Literal["falling", "fixed"] = "falling"
    lepton_number: Literal["violated", "conserved"] = "violated"
    energy: float = 13000.0

    def __post_init__(self) -> None:
        """Refuse what is no black hole.

        Raises:
            InputValueError: holes lighter than the fundamental scale, or no energy for them.
        """
        thing = "black-holes: minimum_mass"
        if self.minimum_mass < max(self.planck_mass, self.last_mass):
            raise InputValueError(
                thing,
                f"{self.minimum_mass:g} GeV is below the fundamental scale or the last mass, "
                f"{max(self.planck_mass, self.last_mass):g} GeV",
                "Raise it: the horizon means nothing there.",
            )
        if self.minimum_mass > 0.95 * self.energy:
            raise InputValueError(thing, f"{self.minimum_mass:g} GeV leaves no energy", "Lower it.")


def black_hole_of(lines: Sequence[str]) -> BlackHole | None:
    """The model that the lines of a process describe; None if they describe none.

    Raises:
        InputValueError: see `BlackHole`.
    """
    own: dict[str, Any] = dict(own_settings(lines, "black-hole"))
    if not own:
        return None
    words: dict[str, Any] = {
        name: own.pop(name) for name in ("convention", "temperature", "lepton_number") if name in own
    }
    dimensions = float(own.pop("dimensions"))
    if not dimensions.is_integer():
        raise InputValueError(
            "black-holes: dimensions", f"{dimensions:g} is no whole number", "Use 2, 3, 4, 5, 6 or 7."
        )
    numbers: dict[str, Any] = {name: float(value) for name, value in own.items()}
    return BlackHole(dimensions=int(dimensions), **words, **numbers)


def horizon(hole: BlackHole, mass: npt.ArrayLike) -> Floats:
    """Schwarzschild radius in 1/GeV of holes of some masses (Myers and Perry; Eq. 1 of hep-ph/0106295).

    >>> h = BlackHole(dimensions=2, planck_mass=1000.0, minimum_mass=5000.0, last_mass=1000.0, convention="DL")
    >>> float(horizon(h, 1000.0).round(6))  # (2 Gamma(5/2))^(1/3) / (sqrt(pi) 1000 GeV)
    0.000782
    """
    n = hole.dimensions
    if hole.convention == "DL":
        factor = 8 * gamma((n + 3) / 2) / (n + 2) / math.pi ** ((n + 1) / 2)
    else:
        factor = 2**n * math.pi ** ((n - 3) / 2) * gamma((n + 3) / 2) / (n + 2)
    ratio = np.asarray(mass, dtype=np.float64) / hole.planck_mass
    return np.asarray((factor * ratio) ** (1 / (n + 1)) / hole.planck_mass)


def hawking_temperature(hole: BlackHole, mass: npt.ArrayLike) -> Floats:
    """Temperature in GeV: (n + 1) / (4 pi r_s)."""
    return np.asarray((hole.dimensions + 1) / (4 * math.pi * horizon(hole, mass)))


def expected_multiplicity(hole: BlackHole, mass: float) -> float:
    """Mean number of particles in the limit of many: the integral of dM / <E>(T(M)) down to the last mass, plus two."""
    if hole.temperature == "fixed":
        return 2.0 + float((mass - hole.last_mass) / (MEAN_ENERGY_IN_T * float(hawking_temperature(hole, mass))))
    grid = np.linspace(hole.last_mass, mass, 2000)
    return 2.0 + float(np.trapezoid(1 / (MEAN_ENERGY_IN_T * hawking_temperature(hole, grid)), grid))


@dataclass(frozen=True)
class Production:
    """The differential cross section on a grid, to draw from.

    Attributes:
        masses: of the holes in GeV, shape (masses,).
        rapidities: over the largest one possible, from -1 to 1, shape (rapidities,).
        density: d sigma / d ln M dy with y the relative rapidity in pb, shape (masses, rapidities).
        densities: x f(x) of each parton of the first proton, shape (masses, rapidities, partons).
        xsec_pb: the integral.
    """

    masses: Floats
    rapidities: Floats
    density: Floats
    densities: Floats
    xsec_pb: float


def production(hole: BlackHole, parton_density: Callable[[int, float, float], float]) -> Production:
    """Work the cross section out: d sigma / d ln M = pi r_s^2 2 tau int dy sum_ab f_a(x_1) f_b(x_2), x = sqrt(tau) e^y.

    Parton densities are taken at the scale M.

    Args:
        hole: the model.
        parton_density: x f(x) of a parton by its PDG number, x and Q^2 in GeV^2.
    """
    masses = np.geomspace(hole.minimum_mass, 0.999 * hole.energy, MASSES)
    rapidities = np.linspace(-1.0, 1.0, RAPIDITIES)
    roots = masses / hole.energy
    densities = np.array(
        [
            [
                [parton_density(kind, min(float(root ** (1 - y)), 1.0), float(mass**2)) for kind in PARTONS]
                for y in rapidities
            ]
            for mass, root in zip(masses, roots, strict=True)
        ]
    )
    together = densities.sum(axis=2)
    largest = -np.log(roots)
    area = math.pi * horizon(hole, masses) ** 2 * GEV2_PB
    density = (2 * area * largest)[:, None] * together * together[:, ::-1]
    xsec = float(np.trapezoid(np.trapezoid(density, rapidities, axis=1), np.log(masses)))
    return Production(masses, rapidities, density, densities, xsec)


@dataclass(frozen=True)
class Collision:
    """Two partons that form a hole: PDG numbers, and energies in GeV."""

    partons: tuple[int, int]
    energies: tuple[float, float]

    @property
    def mass(self) -> float:
        """Mass of the hole in GeV."""
        return 2 * math.sqrt(self.energies[0] * self.energies[1])


def collisions(hole: BlackHole, made: Production, size: int, rng: np.random.Generator) -> list[Collision]:
    """Draw collisions: mass and rapidity within the cells of the grid, with the weights of their corners' mean."""
    log_masses = np.log(made.masses)
    cells = (made.density[1:, 1:] + made.density[:-1, 1:] + made.density[1:, :-1] + made.density[:-1, :-1]).ravel()
    chosen = rng.choice(cells.size, size, p=cells / cells.sum())
    row, column = np.divmod(chosen, len(made.rapidities) - 1)
    inside = _within_cells(np.log(np.clip(made.density.sum(axis=1), 1e-300, None)), row, rng)
    masses = np.exp(log_masses[row] + inside * np.diff(log_masses)[row])
    y = made.rapidities[column] + rng.random(size) * np.diff(made.rapidities)[column]
    found = []
    for mass, relative, at, along in zip(masses, y, row, column, strict=True):
        boost = relative * math.log(hole.energy / mass)
        first, second = made.densities[at, along], made.densities[at, len(made.rapidities) - 1 - along]
        kinds = [int(rng.choice(PARTONS, p=weights / weights.sum())) for weights in (second, first)]
        energies = (float(mass / 2 * math.exp(boost)), float(mass / 2 * math.exp(-boost)))
        found.append(Collision((kinds[0], kinds[1]), energies))
    return found


def _within_cells(logs: Floats, row: Ints, rng: np.random.Generator) -> Floats:
    """Where in a cell, 0 to 1, if the density falls exponentially from one edge to the other."""
    fall = np.minimum(np.diff(logs)[row], -1e-9)
    return np.asarray(np.log1p(rng.random(len(row)) * np.expm1(fall)) / fall)


@dataclass(frozen=True)
class Radiation:
    """What a hole becomes in its own frame, before the particles get their kinds.

    Attributes:
        momenta: of massless particles that add up to the hole at rest, shape (particles, 4).
        fermions: which of them are fermions, shape (particles,).
    """

    momenta: Floats
    fermions: npt.NDArray[np.bool_]


def evaporate(hole: BlackHole, mass: float, rng: np.random.Generator) -> Radiation:
    """Let a hole evaporate.

    Energies above half of what is left are drawn again: nothing could recoil against them.

    Args:
        hole: the model.
        mass: of the hole in GeV.
        rng: source of all random numbers.
    """
    first = float(hawking_temperature(hole, mass))
    left = np.array([0.0, 0.0, 0.0, mass])
    momenta, fermions = [], []
    while (rest := _mass(left)) > hole.last_mass:
        temperature = first if hole.temperature == "fixed" else float(hawking_temperature(hole, rest))
        fermion = bool(rng.random() < FERMION_SHARE)
        energy = _black_body(temperature, rest / 2, rng, fermion=fermion)
        particle = _boosted(energy * np.append(_direction(rng), 1.0), left)
        momenta.append(particle)
        fermions.append(fermion)
        left = left - particle
    rest, direction = _mass(left), _direction(rng)
    momenta += [_boosted(rest / 2 * np.append(sign * direction, 1.0), left) for sign in (1, -1)]
    fermions += [bool(drawn < FERMION_SHARE) for drawn in rng.random(2)]
    return Radiation(np.array(momenta), np.array(fermions))


def _black_body(temperature: float, most: float, rng: np.random.Generator, *, fermion: bool) -> float:
    """An energy below ``most``: dN/dE ~ E^2 / (exp(E/T) +- 1)."""
    cumulative = FERMION_SPECTRUM if fermion else BOSON_SPECTRUM
    largest = float(np.interp(most / temperature, SPECTRUM, cumulative))
    return temperature * float(np.interp(rng.random() * largest, cumulative, SPECTRUM))


def _cumulative(sign: int) -> Floats:
    x = np.maximum(SPECTRUM, 1e-9)
    density = x**2 / (np.exp(x) + sign)
    return np.asarray(np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2))))


FERMION_SPECTRUM, BOSON_SPECTRUM = _cumulative(1), _cumulative(-1)


def _direction(rng: np.random.Generator) -> Floats:
    cosine, phi = rng.uniform(-1.0, 1.0), rng.uniform(0.0, 2 * math.pi)
    sine = math.sqrt(1 - cosine**2)
    return np.array([sine * math.cos(phi), sine * math.sin(phi), cosine])


def _mass(momentum: Floats) -> float:
    return math.sqrt(max(float(momentum[3] ** 2 - np.sum(momentum[:3] ** 2)), 0.0))


def _boosted(momentum: Floats, frame: Floats) -> Floats:
    """A momentum of the rest frame of ``frame`` in the frame in which that moves."""
    mass = _mass(frame)
    energy = (frame[3] * momentum[3] + float(momentum[:3] @ frame[:3])) / mass
    factor = (momentum[3] + energy) / (frame[3] + mass)
    return np.append(momentum[:3] + factor * frame[:3], energy)
