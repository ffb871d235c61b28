"""Decays of a heavy fermion to a light one and a pair of massless fermions through a virtual W or Z boson.

Pythia spreads decays to three bodies of a spectrum's table over phase space. Here they are accepted with the matrix
element of the exchange, so that the invariant mass of the pair has the right shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pythia8mc

GRID = 400


def pair_weight(pair_mass: npt.ArrayLike, heavy: float, light: float, boson: float) -> npt.NDArray[np.float64]:
    """Squared matrix element over phase space as a function of the pair's invariant mass q.

    For a vector coupling of heavy and light fermion, which is what higgsinos have (their masses have opposite signs):
    [(M^2 - m^2)^2 + q^2 (M^2 + m^2 - 6 M m) - 2 q^4] / (q^2 - V^2)^2, the trace of the two currents with the pair's
    directions integrated over; the axial one, with + 6 M m, is that of ATLAS, arXiv:1712.08119, for equal signs.

    Args:
        pair_mass: q in GeV.
        heavy: M in GeV.
        light: m in GeV.
        boson: V in GeV.

    Returns:
        The weight, of the shape of q, in arbitrary units.
    """
    q2 = np.asarray(pair_mass, dtype=np.float64) ** 2
    trace = (heavy**2 - light**2) ** 2 + q2 * (heavy**2 + light**2 - 6 * heavy * light) - 2 * q2**2
    return np.asarray(trace / (q2 - boson**2) ** 2)


def pair_density(pair_mass: npt.ArrayLike, heavy: float, light: float, boson: float) -> npt.NDArray[np.float64]:
    """The distribution of the pair's invariant mass, not normalised: `pair_weight` times phase space; 0 outside it."""
    q = np.asarray(pair_mass, dtype=np.float64)
    free = (heavy**2 - (light + q) ** 2) * (heavy**2 - (light - q) ** 2)
    inside = (q >= 0) & (q <= heavy - light)
    return np.where(inside, q * np.sqrt(np.clip(free, 0, None)) * pair_weight(q, heavy, light, boson), 0.0)


class VirtualBoson(pythia8mc.UserHooks):  # type: ignore[misc]
    """Has Pythia repeat the decays of a hard process until they are accepted; the cross section does not change.

    The virtual methods keep Pythia's names.
    """

    def __init__(self, bosons: dict[int, float], rng: np.random.Generator) -> None:
        """Prepare.

        Args:
            bosons: mass of the boson in GeV by the PDG number of what decays.
            rng: source of random numbers.
        """
        super().__init__()
        self._bosons = bosons
        self._rng = rng
        self._largest: dict[tuple[int, float, float], float] = {}

    def canVetoResonanceDecays(self) -> bool:  # noqa: N802 - Pythia's name
        """Ask after the decays of each hard process."""
        return True

    def doVetoResonanceDecays(self, process: Any) -> bool:  # noqa: N802 - Pythia's name
        """Whether the decays have to be repeated."""
        for place in range(5, process.size()):
            particle = process[place]
            boson = self._bosons.get(abs(particle.id()))
            if boson is None or particle.daughter2() - particle.daughter1() != 2:
                continue
            light, *pair = (process[daughter] for daughter in range(particle.daughter1(), particle.daughter2() + 1))
            heavy_mass, light_mass = particle.m(), light.m()
            mass = (pair[0].p() + pair[1].p()).mCalc()
            weight = float(pair_weight(mass, heavy_mass, light_mass, boson))
            if weight < self._rng.random() * self._most(abs(particle.id()), heavy_mass, light_mass, boson):
                return True
        return False

    def _most(self, kind: int, heavy: float, light: float, boson: float) -> float:
        key = (kind, round(heavy, 6), round(light, 6))
        if key not in self._largest:
            grid = np.linspace(0.0, heavy - light, GRID)
            self._largest[key] = 1.001 * float(pair_weight(grid, heavy, light, boson).max())
        return self._largest[key]
