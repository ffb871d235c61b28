"""Muons, electrons, photons and hadronic taus, as columns of NanoAOD."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from darkop_dist.generation.card import ResponseCard
from darkop_dist.generation.clustering import polar
from darkop_dist.generation.cones import nearest, sum_in_cone
from darkop_dist.generation.response import CHARGED_HADRON, ELECTRON, MUON, PHOTON
from darkop_dist.generation.truth import Truth

MUON_ISOLATION_CONE = 0.4
PILEUP_NEUTRAL_PER_CHARGED = 0.5
Columns = dict[str, Any]


def muons(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Muons with a track, of every collision, with identification and isolation."""
    muons = _sorted(particles[particles.kind == MUON])
    columns = _kinematics(muons, charge=True) | _impact_parameters(muons)
    columns["looseId"] = ak.ones_like(muons.pt, dtype=bool)
    columns["tightId"] = _uniform(muons, rng) < card.muon.tight_given_loose
    columns["pfRelIso04_all"] = isolation(muons, particles, cone=MUON_ISOLATION_CONE)
    return ak.zip(columns)


def electrons(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Electrons with a track, of every collision, with identification and isolation."""
    electrons = _sorted(particles[particles.kind == ELECTRON])
    isolated = isolation(electrons, particles, cone=card.electron.isolation_cone)
    columns = _kinematics(electrons, charge=True) | _impact_parameters(electrons)
    passed = _working_points(electrons, card.electron.identification, rng)
    columns["cutBased"] = passed * (isolated < card.electron.isolation_max)
    columns["pfRelIso03_all"] = isolated
    return ak.zip(columns)


def photons(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Photons above the card's threshold with identification and isolation."""
    rules = card.photon
    chosen = (particles.kind == PHOTON) & (particles.pt > rules.pt_min) & (abs(particles.eta) < rules.eta_max)
    photons = _sorted(particles[chosen])
    isolated = isolation(photons, particles, cone=rules.isolation_cone)
    columns = _kinematics(photons, charge=False)
    columns["cutBased"] = _working_points(photons, rules.identification, rng) * (isolated < rules.isolation_max)
    columns["electronVeto"] = ak.ones_like(photons.pt, dtype=bool)
    return ak.zip(columns)


def taus(truth: Truth, jets: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Visible hadronic taus and jets taken for taus, each with the bits of the working points that it passes."""
    rules = card.tau
    real = polar(truth.taus)
    smeared = ak.unflatten(np.exp(rules.resolution * rng.standard_normal(int(ak.sum(ak.num(real))))), ak.num(real))
    columns_real: Columns = {
        "pt": real.pt * smeared,
        "eta": real.eta,
        "phi": real.phi,
        "mass": real.mass,
        "charge": truth.taus.charge,
        "decayMode": truth.taus.decay_mode,
        "passed": _working_points(real, rules.efficiency, rng),
    }
    far = nearest(jets, real, cone=card.jet.radius) < 0
    columns_fake: Columns = {
        **{name: jets[name] for name in ("pt", "eta", "phi", "mass")},
        "charge": 2.0 * (_uniform(jets, rng) < 0.5) - 1.0,
        "decayMode": ak.ones_like(jets.pt),
        "passed": _working_points(jets, rules.jet_rate, rng),
    }
    taus = ak.concatenate([ak.zip(columns_real), ak.zip(columns_fake)[far]], axis=1)
    taus = _sorted(taus[(taus.pt > rules.pt_min) & (abs(taus.eta) < rules.eta_max) & (taus.passed > 0)])
    columns = _kinematics(taus, charge=True)
    columns["decayMode"] = ak.values_astype(taus.decayMode, np.int32)
    columns["idDecayModeOldDMs"] = ak.ones_like(taus.pt, dtype=bool)
    columns["idDeepTau2017v2p1VSjet"] = ak.values_astype(2**taus.passed - 1, np.uint8)
    return ak.zip(columns)


def isolation(candidates: ak.Array, particles: ak.Array, *, cone: float) -> ak.Array:
    """Scalar pt sum of other hadrons and photons in the cone over the candidate's pt, without the candidate.

    From neutral ones half the sum of tracks of other collisions is taken away, as CMS does for muons: JINST 13 (2018)
    P06015, arXiv:1804.04528.
    """
    charged, pileup = particles.kind == CHARGED_HADRON, ~particles.primary
    neutral = (particles.kind != CHARGED_HADRON) & (particles.kind != ELECTRON) & (particles.kind != MUON)
    tracks, rest, others = (
        sum_in_cone(candidates, particles[chosen], particles.pt[chosen], cone=cone)
        for chosen in (charged & ~pileup, neutral, charged & pileup)
    )
    return (tracks + np.maximum(rest - PILEUP_NEUTRAL_PER_CHARGED * others, 0.0)) / candidates.pt


def _sorted(candidates: ak.Array) -> ak.Array:
    return candidates[ak.argsort(candidates.pt, ascending=False)]


def _kinematics(candidates: ak.Array, *, charge: bool) -> dict[str, ak.Array]:
    columns = {name: candidates[name] for name in ("pt", "eta", "phi", "mass")}
    return columns | {"charge": ak.values_astype(candidates.charge, np.int32)} if charge else columns


def _impact_parameters(candidates: ak.Array) -> dict[str, ak.Array]:
    """NanoAOD's names of the impact parameters, in cm from the hard collision."""
    names = {"dxy": "d0", "dxyErr": "d0_error", "dz": "dz", "dzErr": "dz_error"}
    return {name: candidates[ours] for name, ours in names.items()}


def _uniform(like: ak.Array, rng: np.random.Generator) -> ak.Array:
    counts = ak.num(like)
    return ak.unflatten(rng.random(int(ak.sum(counts))), counts)


def _working_points(like: ak.Array, efficiencies: tuple[float, ...], rng: np.random.Generator) -> ak.Array:
    """How many nested working points each candidate passes, loosest first."""
    quantile = _uniform(like, rng)
    return sum((ak.values_astype(quantile < efficiency, np.int32) for efficiency in efficiencies), start=0)
