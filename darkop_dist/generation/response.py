"""The response: stable particles become measured particles. Numbers come from a card in ``responses/``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import UnknownNameError

RESPONSE_DIRECTORY = Path(__file__).parent / "responses"
CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON = range(5)
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Efficiency(_Section):
    """Efficiency in bins; zero outside them.

    Attributes:
        eta: edges in |eta|.
        pt: edges in pt in GeV.
        values: rows in |eta|, columns in pt.
    """

    eta: tuple[float, ...]
    pt: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, pt: Floats, eta: Floats) -> Floats:
        """Efficiency of each particle, shape (particles,)."""
        table = np.pad(np.asarray(self.values, dtype=np.float64), 1)
        row = np.searchsorted(self.eta, np.abs(eta), side="right")
        return np.asarray(table[row, np.searchsorted(self.pt, pt, side="right")])


class Track(_Section):
    """Efficiency and resolution of a particle with a track; sigma(pt)/pt = constant and linear * pt in quadrature.

    Attributes:
        efficiency: probability that there is a measured track.
        resolution_eta: edges in |eta|.
        resolution_constant: constant term in each bin.
        resolution_linear: linear term in each bin in 1/GeV.
    """

    efficiency: Efficiency
    resolution_eta: tuple[float, ...]
    resolution_constant: tuple[float, ...]
    resolution_linear: tuple[float, ...]

    def relative_resolution(self, pt: Floats, eta: Floats) -> Floats:
        """sigma(pt)/pt of each particle, shape (particles,)."""
        index = np.clip(np.searchsorted(self.resolution_eta, np.abs(eta), side="right") - 1, 0, None)
        index = np.minimum(index, len(self.resolution_constant) - 1)
        constant, linear = np.asarray(self.resolution_constant)[index], np.asarray(self.resolution_linear)[index]
        return np.asarray(np.hypot(constant, linear * pt))


class Tracker(Track):
    """The tracker for charged hadrons; the sources name the papers."""

    efficiency_source: str
    resolution_source: str


class Calorimeter(_Section):
    """Resolution in bins of |eta|: stochastic/sqrt(E), noise/E and constant in quadrature, E in GeV.

    Attributes:
        source: the papers.
        eta: edges in |eta|; nothing is measured beyond the last.
        stochastic: stochastic term.
        noise: noise term.
        constant: constant term.
        threshold_gev: smallest energy that is measured, in GeV.
    """

    source: str
    eta: tuple[float, ...]
    stochastic: tuple[float, ...]
    noise: tuple[float, ...]
    constant: tuple[float, ...]
    threshold_gev: tuple[float, ...]

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


class JetResponse(_Section):
    """Jets: radius, thresholds in GeV, and what smears a jet beyond its particles.

    The extra smearing is log-normal with sigma(pt)/pt = extra_stochastic / sqrt(pt/GeV) and extra_constant in
    quadrature; it stands for all that measuring particles one by one leaves out.
    """

    source: str
    radius: float
    pt_min: float
    generator_pt_min: float
    eta_max: float
    extra_stochastic: float
    extra_constant: float
    leptonic_fraction: float


class ResponseCard(_Section):
    """A detector in numbers. Every section names its source."""

    name: str
    title: str
    approximations: str
    tracker: Tracker
    hadron_calorimeter: Calorimeter
    electromagnetic_calorimeter: Calorimeter
    muon: MuonResponse
    electron: ElectronResponse
    photon: PhotonResponse
    tau: TauResponse
    btag: TagResponse
    jet: JetResponse


def card_file(name: str = "simple") -> Path:
    """The TOML file of a response card.

    Raises:
        UnknownNameError: there is no such card.
    """
    known = sorted(path.stem for path in RESPONSE_DIRECTORY.glob("*.toml"))
    if name not in known:
        raise UnknownNameError("response card", name, known, f"Cards: {', '.join(known)}.")
    return RESPONSE_DIRECTORY / f"{name}.toml"


def load_card(name: str = "simple") -> ResponseCard:
    """Read a response card.

    Raises:
        UnknownNameError: there is no such card.
    """
    return ResponseCard.model_validate(tomllib.loads(card_file(name).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class _Flat:
    """Particles of all events, one after another, shape (particles,)."""

    pt: Floats
    eta: Floats
    energy: Floats
    charge: Floats
    kind: npt.NDArray[np.int64]


def measure(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Measure stable particles one by one.

    A charged hadron with a track has the better of track and calorimeter; without one it is a neutral hadron. An
    electron without a track is a photon; a muon without one is lost.

    Args:
        particles: ``events * var * {px, py, pz, E, id, charge}`` in GeV.
        card: the detector.
        rng: source of all random numbers.

    Returns:
        Measured particles, ``events * var * {px, py, pz, E, kind, charge}``; ``kind`` is one of this module's
        constants. Directions are exact; energy and momentum scale together.
    """
    flat, counts = _flatten(particles)
    tracked = _tracked(flat, card, rng)
    kind = flat.kind.copy()
    kind[(kind == CHARGED_HADRON) & ~tracked] = NEUTRAL_HADRON
    kind[(kind == ELECTRON) & ~tracked] = PHOTON
    lost_muon = (kind == MUON) & ~tracked
    scale = np.zeros_like(flat.pt)
    noise = rng.standard_normal(len(flat.pt))
    for calorimeter, measured_kind in (
        (card.hadron_calorimeter, NEUTRAL_HADRON),
        (card.electromagnetic_calorimeter, PHOTON),
    ):
        chosen = (kind == measured_kind) & calorimeter.measures(flat.energy, flat.eta)
        sigma = calorimeter.relative_resolution(flat.energy[chosen], flat.eta[chosen])
        scale[chosen] = log_normal(sigma, noise[chosen])
    for track, measured_kind in ((card.tracker, CHARGED_HADRON), (card.muon, MUON), (card.electron, ELECTRON)):
        chosen = (kind == measured_kind) & ~lost_muon
        sigma = track.relative_resolution(flat.pt[chosen], flat.eta[chosen])
        if measured_kind == CHARGED_HADRON:
            hadronic = card.hadron_calorimeter.relative_resolution(flat.energy[chosen], flat.eta[chosen])
            sigma = np.minimum(sigma, hadronic)
        scale[chosen] = log_normal(sigma, noise[chosen])
    kept = ak.unflatten(scale > 0, counts)
    measured = {axis: (particles[axis] * ak.unflatten(scale, counts))[kept] for axis in ("px", "py", "pz", "E")}
    charge = ak.unflatten(np.where(tracked, flat.charge, 0.0), counts)[kept]
    return ak.zip({**measured, "kind": ak.unflatten(kind, counts)[kept], "charge": charge})


def _flatten(particles: ak.Array) -> tuple[_Flat, npt.NDArray[np.int64]]:
    px, py, pz, energy, pdg, charge = (
        ak.to_numpy(ak.flatten(particles[name])) for name in ("px", "py", "pz", "E", "id", "charge")
    )
    pt = np.maximum(np.hypot(px, py), 1e-9)
    kind = np.where(charge != 0, CHARGED_HADRON, NEUTRAL_HADRON)
    for code, special in ((22, PHOTON), (11, ELECTRON), (13, MUON)):
        kind[np.abs(pdg) == code] = special
    flat = _Flat(pt, np.arcsinh(pz / pt), np.maximum(energy, 1e-9), charge, kind)
    return flat, np.asarray(ak.to_numpy(ak.num(particles)), dtype=np.int64)


def _tracked(flat: _Flat, card: ResponseCard, rng: np.random.Generator) -> Flags:
    efficiency = np.zeros_like(flat.pt)
    for track, kind in ((card.tracker, CHARGED_HADRON), (card.electron, ELECTRON), (card.muon, MUON)):
        chosen = flat.kind == kind
        efficiency[chosen] = track.efficiency.at(flat.pt[chosen], flat.eta[chosen])
    return np.asarray(rng.random(len(efficiency)) < efficiency)


def log_normal(sigma: Floats, noise: Floats) -> Floats:
    """Positive factors with mean 1 and standard deviation sigma."""
    spread2 = np.log1p(sigma**2)
    return np.asarray(np.exp(np.sqrt(spread2) * noise - spread2 / 2))
