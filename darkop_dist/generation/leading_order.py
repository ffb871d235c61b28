"""Transverse-momentum spectra at leading order, worked out here: what Pythia's own hard processes are held against.

d sigma / d pT = 2 pT int dy_3 dy_4 sum_ab x_1 f_a x_2 f_b d sigma^/dt, with parton densities at the scale of the
transverse mass. Matrix elements: Ellis, Stirling, Webber, QCD and Collider Physics, tables 7.1 and 9.1 (dijets, vector
boson and jet); Higgs boson and jet in the limit of a heavy top quark, Ellis et al., Nucl. Phys. B 297 (1988) 221.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Parton = Callable[[int, float, float], float]
Hat = Callable[[Any, Any, Floats, Floats, Floats], Floats]
GEV2_PB = 0.3893793721e9
RAPIDITIES = np.linspace(-5.0, 5.0, 41)
FINE = np.linspace(-5.0, 5.0, 201)
QUARKS = (1, 2, 3, 4, 5)
ALPHA_S, Z_MASS = 0.13, 91.188  # Pythia's value and order for hard processes


def alpha_strong(scale2: npt.ArrayLike) -> Floats:
    """Strong coupling to first order with five flavours from Pythia's 0.13 at the mass of the Z boson."""
    logs = np.log(np.asarray(scale2, dtype=np.float64) / Z_MASS**2)
    return np.asarray(ALPHA_S / (1 + ALPHA_S * 23 / (12 * math.pi) * logs))


def _spectrum(pt: npt.ArrayLike, mass: float, energy: float, hat: Hat, xf: Parton) -> Floats:
    """Spectrum d sigma / d pT in pb/GeV for a first particle with a mass and a massless second one."""
    found = []
    for momentum in np.atleast_1d(np.asarray(pt, dtype=np.float64)):
        transverse = math.hypot(momentum, mass)
        y3, y4 = np.meshgrid(RAPIDITIES, RAPIDITIES, indexing="ij")
        x1 = (transverse * np.exp(y3) + momentum * np.exp(y4)) / energy
        x2 = (transverse * np.exp(-y3) + momentum * np.exp(-y4)) / energy
        inside = (x1 < 1) & (x2 < 1)
        x1, x2, y3, y4 = x1[inside], x2[inside], y3[inside], y4[inside]
        s = x1 * x2 * energy**2
        t = mass**2 - x1 * energy * transverse * np.exp(-y3)
        u = mass**2 - x2 * energy * transverse * np.exp(y3)
        scale2 = momentum * transverse  # Pythia's default for two unequal masses
        one, two = (_densities(x, scale2, xf) for x in (x1, x2))
        cell = (RAPIDITIES[1] - RAPIDITIES[0]) ** 2
        total = float(np.sum(hat(one, two, s, t, u)))
        found.append(2 * momentum * total * cell * GEV2_PB * float(alpha_strong(scale2)))
    return np.array(found)


def _densities(x: Floats, scale2: float, xf: Parton) -> dict[int, Floats]:
    kinds = (21, *QUARKS, *(-quark for quark in QUARKS))
    return {kind: np.array([xf(kind, float(value), scale2) for value in x]) for kind in kinds}


def boson_and_jet(
    pt: npt.ArrayLike, mass: float, energy: float, flavours: Mapping[tuple[int, int], float], xf: Parton, *,
    with_gluons: bool = True,
) -> Floats:  # fmt: skip
    """Spectrum d sigma / d pT in arbitrary units of a vector boson with a parton.

    Args:
        pt: in GeV.
        mass: of the boson in GeV.
        energy: of the collisions in GeV.
        flavours: squared coupling to each quark and antiquark that annihilate to it, ``(quark, -antiquark)``.
        xf: parton densities times x.
        with_gluons: quark and gluon collide too.
    """

    def hat(one: Any, two: Any, s: Floats, t: Floats, u: Floats) -> Floats:
        annihilation = 8 / 9 * (t**2 + u**2 + 2 * s * mass**2) / (t * u) / s**2
        compton = [-1 / 3 * (s**2 + v**2 + 2 * w * mass**2) / (s * v) / s**2 for v, w in ((u, t), (t, u))]
        total = np.zeros_like(s)
        for (quark, anti), coupling2 in flavours.items():
            total += coupling2 * annihilation * (one[quark] * two[anti] + one[anti] * two[quark])
            if with_gluons:
                for kind in (quark, anti):
                    total += coupling2 * (compton[1] * one[kind] * two[21] + compton[0] * one[21] * two[kind])
        return total

    return _spectrum(pt, mass, energy, hat, xf)


def scalar_and_gluon(pt: npt.ArrayLike, mass: float, energy: float, xf: Parton) -> Floats:
    """Spectrum d sigma / d pT in arbitrary units of g g to a scalar and a gluon, in the limit of a heavy loop."""

    def hat(one: Any, two: Any, s: Floats, t: Floats, u: Floats) -> Floats:
        return np.asarray(one[21] * two[21] * (s**4 + t**4 + u**4 + mass**8) / (s * t * u) / s**2)

    strength = alpha_strong(np.asarray(pt) * np.hypot(pt, mass)) ** 2
    return np.asarray(_spectrum(pt, mass, energy, hat, xf) * strength)


def annihilation_luminosity(masses: npt.ArrayLike, energy: float, xf: Parton) -> Floats:
    """How often a quark and its antiquark meet at some invariant masses, in arbitrary units: sum_q int dy f f."""
    found = []
    for mass in np.atleast_1d(np.asarray(masses, dtype=np.float64)):
        root = mass / energy
        x1, x2 = root * np.exp(FINE), root * np.exp(-FINE)
        inside = (x1 < 1) & (x2 < 1)
        one, two = (_densities(x[inside], float(mass**2), xf) for x in (x1, x2))
        found.append(float(sum(np.sum(one[q] * two[-q] + one[-q] * two[q]) for q in QUARKS)))
    return np.array(found)


def dijets(pt: npt.ArrayLike, energy: float, xf: Parton) -> Floats:
    """Spectrum d sigma / d pT in pb/GeV of all two-to-two QCD processes with massless partons, five flavours."""

    def hat(one: Any, two: Any, s: Floats, t: Floats, u: Floats) -> Floats:
        return np.asarray(math.pi / s**2 * _qcd(one, two, s, t, u))

    return _spectrum(pt, 0.0, energy, hat, xf) * alpha_strong(np.asarray(pt) ** 2)


def _qcd(one: Any, two: Any, s: Any, t: Any, u: Any) -> Any:
    """Sum over flavours of parton densities and squared matrix elements over g^4."""
    quark1, quark2 = sum(one[q] for q in QUARKS), sum(two[q] for q in QUARKS)
    anti1, anti2 = sum(one[-q] for q in QUARKS), sum(two[-q] for q in QUARKS)
    same = sum(one[q] * two[q] + one[-q] * two[-q] for q in QUARKS)
    pair, pair_back = sum(one[q] * two[-q] for q in QUARKS), sum(one[-q] * two[q] for q in QUARKS)
    every = (quark1 + anti1) * (quark2 + anti2)
    annihilating = pair + pair_back
    exchange = 4 / 9 * (s**2 + u**2) / t**2
    to_others = 4 / 9 * (t**2 + u**2) / s**2
    identical = exchange + 4 / 9 * (s**2 + t**2) / u**2 - 8 / 27 * s**2 / (u * t)
    own = exchange + to_others - 8 / 27 * u**2 / (s * t)
    to_gluons = 32 / 27 * (t**2 + u**2) / (t * u) - 8 / 3 * (t**2 + u**2) / s**2
    from_gluons = 1 / 6 * (t**2 + u**2) / (t * u) - 3 / 8 * (t**2 + u**2) / s**2
    compton = [-4 / 9 * (s**2 + v**2) / (s * v) + (s**2 + v**2) / w**2 for v, w in ((u, t), (t, u))]
    gluons = 9 / 2 * (3 - t * u / s**2 - s * u / t**2 - s * t / u**2)
    return (
        (every - same - annihilating) * exchange
        + same * identical / 2
        + annihilating * (own + (len(QUARKS) - 1) * to_others + to_gluons / 2)
        + one[21] * two[21] * (len(QUARKS) * from_gluons + gluons / 2)
        + (quark1 + anti1) * two[21] * compton[0]
        + one[21] * (quark2 + anti2) * compton[0]
    )
