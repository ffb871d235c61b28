"""What a response card gives beside what is published: the quantities that are compared, and one curve of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Quantity:
    """What is compared.

    Attributes:
        title: its name.
        definition: how it is measured here.
        x: what it depends on, with unit.
        y: what it is, with unit.
        percent: whether it is shown in percent.
    """

    title: str
    definition: str
    x: str
    y: str
    percent: bool = True


_RELATIVE, _EFFICIENCY = "relative resolution [%]", "efficiency [%]"
_PT, _CORE = "generated pT [GeV]", "standard deviation of the Gaussian core of measured over generated pT"
QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        "jet_response": Quantity(
            "Jet response", "mean of the Gaussian core of measured over generated pT of jets matched within 0.2 in "
            "(η, φ), after calibration; QCD dijets without pile-up", _PT, "mean response", percent=False,
        ),
        "jet_resolution": Quantity(
            "Jet resolution", f"{_CORE}, over its mean, of jets matched within 0.2 in (η, φ), after calibration; QCD "
            "dijets without pile-up", _PT, _RELATIVE,
        ),
        "met_resolution": Quantity(
            "Missing momentum", "standard deviation of the Gaussian core of measured minus true component, x and y "
            "together; Z to neutrinos and jets without pile-up", "ΣET [GeV]", "resolution of a component [GeV]",
            percent=False,
        ),
        "crowded_resolution": Quantity(
            "Missing momentum under pile-up", "standard deviation of the Gaussian core of the component perpendicular "
            "to a Z boson of less than 60 GeV that decays to neutrinos", "collisions in a crossing",
            "resolution of a component [GeV]", percent=False,
        ),
        "track_efficiency": Quantity("Tracking efficiency", "single charged pions with a track", _PT, _EFFICIENCY),
        "displaced_efficiency": Quantity(
            "Efficiency of displaced tracks", "single charged pions of 5 GeV with a track", "radius of production [mm]",
            _EFFICIENCY,
        ),
        "track_resolution": Quantity("Momentum of tracks", f"{_CORE} of single charged pions", _PT, _RELATIVE),
        "d0_resolution": Quantity(
            "Transverse impact parameter", "standard deviation of the core of d0 of single prompt charged pions", _PT,
            "resolution of d0 [µm]", percent=False,
        ),
        "dz_resolution": Quantity(
            "Longitudinal impact parameter", "standard deviation of the core of dz of single prompt charged pions", _PT,
            "resolution of dz [µm]", percent=False,
        ),
        "muon_efficiency": Quantity("Muon efficiency", "single muons that are measured", _PT, _EFFICIENCY),
        "muon_resolution": Quantity("Momentum of muons", f"{_CORE} of single muons", _PT, _RELATIVE),
        "electron_resolution": Quantity("Momentum of electrons", f"{_CORE} of single electrons", _PT, _RELATIVE),
        "photon_resolution": Quantity("Energy of photons", f"{_CORE} of single photons", _PT, _RELATIVE),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One curve, ours beside the published one.

    Attributes:
        quantity: a key of `QUANTITIES`.
        label: which range.
        source: where the published one stands.
        tolerance: relative difference that counts as agreement, besides two standard deviations of ours.
        x: where, shape (points,).
        ours: what the card gives there.
        error: its statistical uncertainty.
        published: what is published.
    """

    quantity: str
    label: str
    source: str
    tolerance: float
    x: tuple[float, ...]
    ours: tuple[float, ...]
    error: tuple[float, ...]
    published: tuple[float, ...]

    @property
    def agrees(self) -> tuple[bool, ...]:
        """Whether each point agrees."""
        return tuple(
            abs(ours - known) <= self.tolerance * abs(known) + 2 * error
            for ours, known, error in zip(self.ours, self.published, self.error, strict=True)
        )
