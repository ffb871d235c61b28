"""A dark-matter pair and a jet through a spin-1 mediator: matrix elements that Pythia calls.

Pythia 8.317 has ``DM:ffbar2Zp2XXj``, but its cross section multiplies an already integrated Breit-Wigner by a
propagator (units of pb/GeV^2), its mediator width lacks the colour factor of quarks, and q g to Z' q does not exist.
The two leading-order matrix elements are short, so they are here; the tests compare them with Pythia's own Z + jet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pythia8mc

from darkop_dist.errors import InputValueError

MEDIATOR = 55
DARK_MATTER = 52
GLUON = 21
QUARKS = range(1, 7)
MAX_WIDTH_OVER_MASS = 0.3


@dataclass(frozen=True)
class Mediator:
    """Widths and couplings of the mediator.

    Attributes:
        mass_gev: its mass.
        width_gev: its total width.
        invisible_fraction: branching fraction into the dark-matter pair.
        up_coupling2: v^2 + a^2 of up-type quarks.
        down_coupling2: v^2 + a^2 of down-type quarks.
    """

    mass_gev: float
    width_gev: float
    invisible_fraction: float
    up_coupling2: float
    down_coupling2: float


def partial_width_gev(mediator_mass: float, fermion_mass: float, vector: float, axial: float, colours: int) -> float:
    """Width of a spin-1 mediator into a pair of Dirac fermions (LHC Dark Matter Working Group, arXiv:1603.04156).

    colours * M / (12 pi) * [v^2 beta (1 + 2 m^2/M^2) + a^2 beta^3], beta^2 = 1 - 4 m^2/M^2.

    Args:
        mediator_mass: M in GeV.
        fermion_mass: m in GeV.
        vector: coupling v.
        axial: coupling a.
        colours: 3 for quarks, 1 for dark matter.

    Returns:
        The width in GeV; 0 below threshold.

    >>> round(partial_width_gev(1000.0, 0.0, 0.0, 1.0, 1), 3)
    26.526
    """
    ratio = (fermion_mass / mediator_mass) ** 2
    if ratio >= 0.25:
        return 0.0
    beta = math.sqrt(1 - 4 * ratio)
    strength = vector**2 * beta * (1 + 2 * ratio) + axial**2 * beta**3
    return colours * mediator_mass / (12 * math.pi) * strength


def read_mediator(pythia: Any) -> Mediator:
    """The mediator that Pythia's settings describe.

    Args:
        pythia: a Pythia that has read its settings, not yet initialised.

    Raises:
        InputValueError: the mediator cannot decay to dark matter, couples to no quark, or is too wide for the
            approximation of a particle.
    """
    mass, dark_mass = pythia.particleData.m0(MEDIATOR), pythia.particleData.m0(DARK_MATTER)
    gauge = pythia.parm("Zp:gZp")
    couplings = {
        kind: (gauge * pythia.parm(f"Zp:v{kind}"), gauge * pythia.parm(f"Zp:a{kind}")) for kind in ("u", "d", "X")
    }
    invisible = partial_width_gev(mass, dark_mass, *couplings["X"], colours=1)
    visible = sum(
        partial_width_gev(mass, pythia.particleData.m0(quark), *couplings["d" if quark % 2 else "u"], colours=3)
        for quark in QUARKS
    )
    thing = f"mediator of {mass:g} GeV, dark matter of {dark_mass:g} GeV"
    if invisible == 0:
        raise InputValueError(
            thing,
            "the mediator does not decay to dark matter",
            "Use a mediator heavier than two dark-matter particles and a dark-matter coupling above 0.",
        )
    if visible == 0:
        raise InputValueError(thing, "no quark couples to the mediator", "Set a quark coupling above 0.")
    width = visible + invisible
    if width > MAX_WIDTH_OVER_MASS * mass:
        raise InputValueError(
            thing,
            f"the width of the mediator is {width:.0f} GeV, {width / mass:.0%} of its mass",
            f"Lower the couplings: above {MAX_WIDTH_OVER_MASS:.0%} it is no particle on its mass shell.",
        )
    up, down = (v**2 + a**2 for v, a in (couplings["u"], couplings["d"]))
    return Mediator(mass, width, invisible / width, up, down)


class MediatorAndJet(pythia8mc.Sigma2Process):  # type: ignore[misc]
    """Leading-order production of a mediator with a quark or gluon; Pythia's virtual methods keep Pythia's names.

    With alpha = (v^2 + a^2)/(4 pi), masses of quarks neglected and m the mass of the mediator (the virtual photon's
    leading-order matrix elements with alpha in place of e_q^2 alpha_em; the tests hold them against Pythia's Z + jet):

    - q qbar to Z' g: d sigma/d t = 8/9 pi alpha alpha_s / s^2 (t^2 + u^2 + 2 s m^2) / (t u)
    - q g to Z' q:    d sigma/d t = 1/3 pi alpha alpha_s / s^2 (s^2 + u^2 + 2 t m^2) / (-s u)
    """

    def __init__(self, mediator: Mediator, *, gluon_out: bool) -> None:
        super().__init__()
        self._mediator = mediator
        self._gluon_out = gluon_out
        self._kinematics = 0.0

    def name(self) -> str:
        """Name in Pythia's tables."""
        return "q qbar -> Z' g" if self._gluon_out else "q g -> Z' q"

    def code(self) -> int:
        """Code in Pythia's tables; the range from 10000 belongs to users."""
        return 10001 if self._gluon_out else 10002

    def inFlux(self) -> str:  # noqa: N802 - Pythia's name
        """Which partons collide."""
        return "qqbarSame" if self._gluon_out else "qg"

    def id3Mass(self) -> int:  # noqa: N802 - Pythia's name
        """The first outgoing particle has the mediator's mass distribution."""
        return MEDIATOR

    def resonanceA(self) -> int:  # noqa: N802 - Pythia's name
        """The resonance that shapes the phase space."""
        return MEDIATOR

    def sigmaKin(self) -> None:  # noqa: N802 - Pythia's name
        """The part of d sigma/d t that all flavours share."""
        if self._gluon_out:
            shape = 8 / 9 * (self.tH2 + self.uH2 + 2 * self.sH * self.s3) / (self.tH * self.uH)
        else:
            shape = 1 / 3 * (self.sH2 + self.uH2 + 2 * self.tH * self.s3) / (-self.sH * self.uH)
        self._kinematics = math.pi / self.sH2 * self.alpS * shape

    def sigmaHat(self) -> float:  # noqa: N802 - Pythia's name
        """The differential cross section d sigma/d t for the current flavours."""
        quark = self.id2 if self.id1 == GLUON else self.id1
        coupling2 = self._mediator.down_coupling2 if quark % 2 else self._mediator.up_coupling2
        return float(self._kinematics * coupling2 / (4 * math.pi) * self._mediator.invisible_fraction)

    def setIdColAcol(self) -> None:  # noqa: N802 - Pythia's name
        """Flavours and colour flow of the chosen collision."""
        if self._gluon_out:
            self.setId(self.id1, self.id2, MEDIATOR, GLUON)
            self.setColAcol(1, 0, 0, 2, 0, 0, 1, 2)
            if self.id1 < 0:
                self.swapColAcol()
            return
        quark_first = self.id2 == GLUON
        quark = self.id1 if quark_first else self.id2
        self.setId(self.id1, self.id2, MEDIATOR, quark)
        self.swapTU = quark_first  # t is between the two quarks in sigmaKin
        self.setColAcol(*((1, 0, 2, 1, 0, 0, 2, 0) if quark_first else (2, 1, 1, 0, 0, 0, 2, 0)))
        if quark < 0:
            self.swapColAcol()


def attach_mediator(pythia: Any) -> tuple[MediatorAndJet, MediatorAndJet]:
    """Give Pythia the mediator's width and matrix elements.

    Args:
        pythia: a Pythia that has read its settings, not yet initialised.

    Returns:
        The two matrix elements; they must live as long as Pythia does.

    Raises:
        InputValueError: see `read_mediator`.
    """
    mediator = read_mediator(pythia)
    threshold = 2 * pythia.particleData.m0(DARK_MATTER)
    for line in (
        f"{MEDIATOR}:mWidth = {mediator.width_gev!r}",
        f"{MEDIATOR}:doForceWidth = on",
        f"{MEDIATOR}:mMin = {max(threshold, 0.2 * mediator.mass_gev) + 0.01 * mediator.width_gev!r}",
    ):
        pythia.readString(line)
    processes = MediatorAndJet(mediator, gluon_out=True), MediatorAndJet(mediator, gluon_out=False)
    pythia.setSigmaPtr(processes[0])
    pythia.addSigmaPtr(processes[1])
    return processes
