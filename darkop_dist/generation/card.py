"""The response card: a detector in numbers, read from ``responses/`` and validated."""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from darkop_dist.errors import UnknownNameError

DEFAULT_CARD = "cms"
RESPONSE_DIRECTORY = Path(__file__).parent / "responses"
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Grid(_Section, ABC):
    """Numbers in bins of |eta|, and in bins of pt or at nodes in it.

    Attributes:
        pt_are_edges: whether ``pt`` are edges of bins.
        eta: edges in |eta|.
        pt: edges or nodes in pt in GeV.
        values: rows in |eta|, columns in pt.
    """

    pt_are_edges: ClassVar[bool]
    eta: tuple[float, ...]
    pt: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    @abstractmethod
    def at(self, pt: Floats, eta: Floats) -> Floats:
        """The number of each object, shape (objects,)."""

    @model_validator(mode="after")
    def _shape(self) -> Self:
        _check_shape(self.values, len(self.eta) - 1, len(self.pt) - self.pt_are_edges)
        return self


class Efficiency(_Grid):
    """Efficiency in bins; zero outside them."""

    pt_are_edges: ClassVar[bool] = True

    def at(self, pt: Floats, eta: Floats) -> Floats:
        """Efficiency of each particle, shape (particles,)."""
        table = np.pad(np.asarray(self.values, dtype=np.float64), 1)
        row = np.searchsorted(self.eta, np.abs(eta), side="right")
        return np.asarray(table[row, np.searchsorted(self.pt, pt, side="right")])


class Table(_Grid):
    """A quantity in bins of |eta|, between nodes in pt linear in log(pt), outside of both as at the nearest."""

    pt_are_edges: ClassVar[bool] = False

    def at(self, pt: Floats, eta: Floats) -> Floats:
        """The quantity of each object, shape (objects,)."""
        table, nodes = np.asarray(self.values, dtype=np.float64), np.log(self.pt)
        row = np.clip(np.searchsorted(self.eta, np.abs(eta), side="right") - 1, 0, len(table) - 1)
        place = np.interp(np.log(np.maximum(pt, 1e-9)), nodes, np.arange(len(nodes), dtype=np.float64))
        low = np.minimum(place.astype(np.int64), max(len(nodes) - 2, 0))
        high = np.minimum(low + 1, len(nodes) - 1)
        return np.asarray(table[row, low] + (place - low) * (table[row, high] - table[row, low]))


def _check_shape(values: tuple[tuple[float, ...], ...], rows: int, columns: int) -> None:
    if len(values) != rows or any(len(row) != columns for row in values):
        found = f"{len(values)} x {'/'.join(sorted({str(len(row)) for row in values}))}"
        raise ValueError(f"values are {found}, their edges ask for {rows} rows in |eta| and {columns} columns in pt")


class Track(_Section):
    """Efficiency and resolution of a particle with a track.

    sigma(pt)/pt is the table ``resolution``, or constant and linear * pt in quadrature. Errors are log-normal.

    Attributes:
        efficiency: probability that there is a measured track.
        resolution: sigma(pt)/pt; None where the three lists below give it.
        resolution_eta: edges in |eta|.
        resolution_constant: constant term in each bin.
        resolution_linear: linear term in each bin in 1/GeV.
    """

    efficiency: Efficiency
    resolution: Table | None = None
    resolution_eta: tuple[float, ...] = (0.0, 5.0)
    resolution_constant: tuple[float, ...] = (0.0,)
    resolution_linear: tuple[float, ...] = (0.0,)

    def relative_resolution(self, pt: Floats, eta: Floats) -> Floats:
        """sigma(pt)/pt of each particle, shape (particles,)."""
        if self.resolution is not None:
            return self.resolution.at(pt, eta)
        index = np.clip(np.searchsorted(self.resolution_eta, np.abs(eta), side="right") - 1, 0, None)
        index = np.minimum(index, len(self.resolution_constant) - 1)
        constant, linear = np.asarray(self.resolution_constant)[index], np.asarray(self.resolution_linear)[index]
        return np.asarray(np.hypot(constant, linear * pt))


class Displacement(_Section):
    """How the efficiency of tracks falls with the radius at which the particle is produced.

    Attributes:
        source: the papers.
        radius_mm: nodes in the transverse distance of the production point from the beam, in mm.
        factor: what multiplies the efficiency of prompt tracks at the nodes, linear between them, zero beyond.
        z_max_mm: largest |z| of the production point in mm.
    """

    source: str
    radius_mm: tuple[float, ...]
    factor: tuple[float, ...]
    z_max_mm: float

    def at(self, radius_mm: Floats, z_mm: Floats) -> Floats:
        """The factor of each particle, shape (particles,)."""
        factor = np.interp(radius_mm, self.radius_mm, self.factor, right=0.0)
        return np.asarray(np.where(np.abs(z_mm) < self.z_max_mm, factor, 0.0))


class ImpactParameter(_Section):
    """Resolution of the impact parameters of tracks in micrometres; errors are Gaussian.

    Attributes:
        source: the papers.
        d0_um: transverse.
        dz_um: longitudinal.
    """

    source: str
    d0_um: Table
    dz_um: Table


class Tracker(Track):
    """The tracker for charged hadrons; the sources name the papers.

    ``displacement`` and ``impact_parameter`` hold for electrons and muons, too.
    """

    efficiency_source: str
    resolution_source: str
    displacement: Displacement
    impact_parameter: ImpactParameter


class Cells(_Section):
    """Cells of a calorimeter; what reaches one cell is measured as one candidate.

    Attributes:
        source: the papers.
        eta: edges in |eta|.
        size: width of a cell in eta and in phi (rounded to a whole number around the beam) in each bin.
        position: error of the position in units of the size of a cell, Gaussian in eta and phi.
    """

    source: str
    eta: tuple[float, ...]
    size: tuple[float, ...]
    position: float

    @model_validator(mode="after")
    def _shape(self) -> Self:
        _check_shape((self.size,), 1, len(self.eta) - 1)
        return self

    def region(self, eta: Floats) -> npt.NDArray[np.int64]:
        """Bin in |eta| of each particle, the last one beyond the last edge; shape (particles,)."""
        index = np.searchsorted(self.eta, np.abs(eta), side="right") - 1
        return np.minimum(index, len(self.size) - 1)


class Volume(_Section):
    """The cylinder that the calorimeters fill, in mm.

    A neutral particle goes straight to the inner surface and is seen from the hard collision in the direction of the
    point where it arrives. One that is produced outside of the outer surface is not seen.
    """

    source: str
    inner_radius_mm: float
    inner_half_length_mm: float
    outer_radius_mm: float
    outer_half_length_mm: float


class Calorimeter(_Section):
    """Resolution in bins of |eta|: stochastic/sqrt(E), noise/E and constant in quadrature, E in GeV.

    Attributes:
        source: the papers.
        eta: edges in |eta|; nothing is measured beyond the last.
        stochastic: stochastic term.
        noise: noise term.
        constant: constant term.
        threshold_gev: smallest energy that is measured, in GeV.
        cells: its cells.
    """

    source: str
    eta: tuple[float, ...]
    stochastic: tuple[float, ...]
    noise: tuple[float, ...]
    constant: tuple[float, ...]
    threshold_gev: tuple[float, ...]
    cells: Cells

    def relative_resolution(self, energy: Floats, eta: Floats) -> Floats:
        """sigma(E)/E of each particle, shape (particles,)."""
        index = self._bin(eta)
        stochastic, noise, constant = (np.asarray(x)[index] for x in (self.stochastic, self.noise, self.constant))
        return np.asarray(np.sqrt(stochastic**2 / energy + (noise / energy) ** 2 + constant**2))

    def measures(self, energy: Floats, eta: Floats) -> Flags:
        """Whether a particle is in the acceptance and its true energy above the threshold, shape (particles,)."""
        return np.asarray((np.abs(eta) < self.eta[-1]) & (energy > np.asarray(self.threshold_gev)[self._bin(eta)]))

    def _bin(self, eta: Floats) -> npt.NDArray[np.int64]:
        index = np.searchsorted(self.eta, np.abs(eta), side="right") - 1
        return np.minimum(index, len(self.constant) - 1)


class MuonResponse(Track):
    """Muons; ``tight_given_loose`` is the fraction of loose muons that are tight."""

    source: str
    tight_given_loose: float


class ElectronResponse(Track):
    """Electrons: identification efficiencies from veto to tight, and the isolation that they demand."""

    source: str
    identification: tuple[float, ...]
    isolation_cone: float
    isolation_max: float


class PhotonResponse(_Section):
    """Photons: identification efficiencies from loose to tight, and the isolation that they demand."""

    source: str
    pt_min: float
    eta_max: float
    identification: tuple[float, ...]
    isolation_cone: float
    isolation_max: float


class TauResponse(_Section):
    """Hadronic taus: efficiency of each working point against jets, loosest first, and the rate for jets."""

    source: str
    pt_min: float
    eta_max: float
    resolution: float
    efficiency: tuple[float, ...]
    jet_rate: tuple[float, ...]


class TagResponse(_Section):
    """b-tag: thresholds of the discriminant from loose to tight, and the rates above them for each flavour."""

    source: str
    eta_max: float
    thresholds: tuple[float, ...]
    bottom: tuple[float, ...]
    charm: tuple[float, ...]
    light: tuple[float, ...]
    cone: float


class JetCalibration(_Section):
    """What makes jets of measured particles like jets of the experiment; see `jet_calibration` and `jet_fit`.

    Attributes:
        source: what it was fitted to, and the command.
        response: mean of measured over generated pt, in measured pt; a jet is divided by it.
        extra: sigma of the Gaussian factor that widens corrected jets to the published resolution, in corrected pt.
    """

    source: str
    response: Table
    extra: Table


class LargeJets(_Section):
    """Jets of a large radius; thresholds in GeV, and their calibration, by default that of small ones."""

    source: str
    radius: float
    pt_min: float
    generator_pt_min: float
    eta_max: float
    calibration: JetCalibration | None = None


class JetResponse(_Section):
    """Jets: radius, thresholds in GeV, and what makes jets of measured particles like those of the experiment."""

    source: str
    radius: float
    pt_min: float
    generator_pt_min: float
    eta_max: float
    leptonic_fraction: float
    calibration: JetCalibration
    large: LargeJets


class ResponseCard(_Section):
    """A detector in numbers. Every section names its source.

    ``published`` names the file of ``responses/published/`` that it is compared with, its own name if empty;
    ``beam_spot_mm`` is the standard deviation of the luminous region along the beam.
    """

    name: str
    title: str
    published: str = ""
    approximations: str
    beam_spot_mm: float = 35.0
    tracker: Tracker
    hadron_calorimeter: Calorimeter
    electromagnetic_calorimeter: Calorimeter
    calorimeter_volume: Volume
    muon: MuonResponse
    electron: ElectronResponse
    photon: PhotonResponse
    tau: TauResponse
    btag: TagResponse
    jet: JetResponse


def list_cards() -> list[str]:
    """Names of the response cards."""
    return sorted(path.stem for path in RESPONSE_DIRECTORY.glob("*.toml"))


def card_file(name: str) -> Path:
    """The TOML file of a response card.

    Raises:
        UnknownNameError: there is no such card.
    """
    known = list_cards()
    if name not in known:
        raise UnknownNameError("response card", name, known, f"Cards: {', '.join(known)}.")
    return RESPONSE_DIRECTORY / f"{name}.toml"


def load_card(name: str = DEFAULT_CARD) -> ResponseCard:
    """Read a response card.

    Raises:
        UnknownNameError: there is no such card.
    """
    return ResponseCard.model_validate(tomllib.loads(card_file(name).read_text(encoding="utf-8")))
