"""From the truth and a response card to the columns of a NanoAOD file."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from darkop_dist.generation.jets import cluster, constituent_columns, delta_r2, nearest, polar
from darkop_dist.generation.response import ELECTRON, MUON, PHOTON, ResponseCard, log_normal, measure
from darkop_dist.generation.truth import Truth

MUON_ISOLATION_CONE = 0.4
Columns = dict[str, Any]


def reconstruct(truth: Truth, card: ResponseCard, rng: np.random.Generator) -> Columns:
    """Measure a part and build its objects.

    Args:
        truth: what the generator knows.
        card: the detector.
        rng: source of all random numbers of this part.

    Returns:
        Collections by NanoAOD name (``Jet``, ``Muon``, ...) as records of type ``events * var``, and columns of one
        number per event (``MET_pt``, ``genWeight``, ...) of shape (events,). pt, mass in GeV; phi in [-pi, pi].
    """
    measured = measure(truth.particles, card, rng)
    reconstructed = _with_polar(measured)
    jets, generated_jets, shift = _jets(truth, measured, card, rng)
    met_px, met_py = (
        -ak.to_numpy(ak.sum(measured[axis], axis=1) + ak.sum(shift[axis], axis=1)) for axis in ("px", "py")
    )
    met = {"pt": np.hypot(met_px, met_py), "phi": np.arctan2(met_py, met_px)}
    zeros = np.zeros(len(truth.weights))
    return {
        "genWeight": truth.weights,
        **{f"{name}_{key}": value for name in ("MET", "PuppiMET") for key, value in met.items()},
        "GenMET_pt": np.hypot(truth.invisible_px, truth.invisible_py),
        "GenMET_phi": np.arctan2(truth.invisible_py, truth.invisible_px),
        "Pileup_nTrueInt": zeros,
        "PV_npvs": zeros.astype(np.int32) + 1,
        "Jet": jets,
        "GenJet": generated_jets,
        "Muon": _muons(reconstructed, card, rng),
        "Electron": _electrons(reconstructed, card, rng),
        "Photon": _photons(reconstructed, card, rng),
        "Tau": _taus(truth, jets, card, rng),
    }


def _with_polar(measured: ak.Array) -> ak.Array:
    return ak.zip(
        {
            **dict(zip(("pt", "eta", "phi", "mass", "E"), ak.unzip(polar(measured)), strict=True)),
            "kind": measured.kind,
            "charge": measured.charge,
        }
    )


def _jets(
    truth: Truth, measured: ak.Array, card: ResponseCard, rng: np.random.Generator
) -> tuple[ak.Array, ak.Array, ak.Array]:
    """Measured jets, generated jets, and the momentum that the extra smearing adds."""
    clustered, constituents = cluster(measured, radius=card.jet.radius, pt_min=card.jet.pt_min)
    composition = constituent_columns(clustered, constituents, measured)
    jets, composition, shift = _smeared(clustered, composition, card, rng)
    generated = truth.particles
    pt = np.hypot(generated.px, generated.py)
    in_acceptance = abs(generated.pz) < np.sinh(card.jet.eta_max) * pt
    generated_jets, _ = cluster(generated[in_acceptance], radius=card.jet.radius, pt_min=card.jet.generator_pt_min)
    flavour = _hadron_flavour(jets, truth.heavy_hadrons, cone=card.btag.cone)
    columns = {name: jets[name] for name in ("pt", "eta", "phi", "mass")} | composition
    columns["genJetIdx"] = nearest(jets, generated_jets, cone=card.jet.radius / 2)
    columns["hadronFlavour"] = flavour
    columns["btagDeepFlavB"] = _btag(jets, flavour, card, rng)
    return ak.zip(columns), generated_jets[["pt", "eta", "phi", "mass"]], shift


def _smeared(
    jets: ak.Array, composition: Columns, card: ResponseCard, rng: np.random.Generator
) -> tuple[ak.Array, Columns, ak.Array]:
    """Scale each jet by the card's extra resolution and sort anew; leptons and photons stay as they are."""
    rules, counts = card.jet, ak.num(jets)
    pt = ak.to_numpy(ak.flatten(jets.pt))
    factor = log_normal(
        np.hypot(rules.extra_stochastic / np.sqrt(pt), rules.extra_constant), rng.standard_normal(len(pt))
    )
    leptonic = composition["muEF"] + composition["chEmEF"] + composition["neEmEF"]
    factor[ak.to_numpy(ak.flatten(leptonic)) > rules.leptonic_fraction] = 1.0
    factors = ak.unflatten(factor, counts)
    added = (factors - 1) * jets.pt
    shift = ak.zip({"px": added * np.cos(jets.phi), "py": added * np.sin(jets.phi)})
    scaled = ak.zip({name: jets[name] * (factors if name in {"pt", "mass", "E"} else 1) for name in jets.fields})
    order = ak.argsort(scaled.pt, ascending=False)
    order = order[scaled.pt[order] > rules.pt_min]
    return scaled[order], {name: values[order] for name, values in composition.items()}, shift


def _hadron_flavour(jets: ak.Array, hadrons: ak.Array, *, cone: float) -> ak.Array:
    """Heaviest flavour among the hadrons in the cone: 5, 4 or 0."""
    close = delta_r2(jets, hadrons) < cone**2
    flavours, _ = ak.broadcast_arrays(hadrons.flavour[:, np.newaxis], close)
    return ak.values_astype(ak.fill_none(ak.max(ak.where(close, flavours, 0), axis=2), 0), np.int32)


def _btag(jets: ak.Array, flavour: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Draw the discriminant: the working points have the card's rates, between them it is uniform."""
    tag = card.btag
    flat = ak.to_numpy(ak.flatten(flavour))
    values = np.empty(len(flat))
    edges = np.array([0.0, *tag.thresholds, 1.0])
    quantile = rng.random(len(flat))
    for code, rates in ((5, tag.bottom), (4, tag.charm), (0, tag.light)):
        chosen = flat == code
        below = np.array([0.0, *(1 - np.asarray(rates)), 1.0])
        values[chosen] = np.interp(quantile[chosen], below, edges)
    values[np.abs(ak.to_numpy(ak.flatten(jets.eta))) > tag.eta_max] = -1.0
    return ak.unflatten(values, ak.num(jets))


def _isolation(candidates: ak.Array, particles: ak.Array, *, cone: float) -> ak.Array:
    """Scalar pt sum of other hadrons and photons in the cone over the candidate's pt, without the candidate."""
    others = particles[(particles.kind != ELECTRON) & (particles.kind != MUON)]
    distance2 = delta_r2(candidates, others)
    pt, _ = ak.broadcast_arrays(others.pt[:, np.newaxis], distance2)
    inside = (distance2 < cone**2) & (distance2 > 0)
    return ak.sum(ak.where(inside, pt, 0.0), axis=2) / candidates.pt


def _sorted(candidates: ak.Array) -> ak.Array:
    return candidates[ak.argsort(candidates.pt, ascending=False)]


def _kinematics(candidates: ak.Array, *, charge: bool) -> dict[str, ak.Array]:
    columns = {name: candidates[name] for name in ("pt", "eta", "phi", "mass")}
    return columns | {"charge": ak.values_astype(candidates.charge, np.int32)} if charge else columns


def _uniform(like: ak.Array, rng: np.random.Generator) -> ak.Array:
    counts = ak.num(like)
    return ak.unflatten(rng.random(int(ak.sum(counts))), counts)


def _working_points(like: ak.Array, efficiencies: tuple[float, ...], rng: np.random.Generator) -> ak.Array:
    """How many nested working points each candidate passes, loosest first."""
    quantile = _uniform(like, rng)
    return sum((ak.values_astype(quantile < efficiency, np.int32) for efficiency in efficiencies), start=0)


def _muons(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    muons = _sorted(particles[particles.kind == MUON])
    columns = _kinematics(muons, charge=True)
    columns["looseId"] = ak.ones_like(muons.pt, dtype=bool)
    columns["tightId"] = _uniform(muons, rng) < card.muon.tight_given_loose
    columns["pfRelIso04_all"] = _isolation(muons, particles, cone=MUON_ISOLATION_CONE)
    return ak.zip(columns)


def _electrons(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    electrons = _sorted(particles[particles.kind == ELECTRON])
    isolation = _isolation(electrons, particles, cone=card.electron.isolation_cone)
    columns = _kinematics(electrons, charge=True)
    passed = _working_points(electrons, card.electron.identification, rng)
    columns["cutBased"] = passed * (isolation < card.electron.isolation_max)
    columns["pfRelIso03_all"] = isolation
    return ak.zip(columns)


def _photons(particles: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    rules = card.photon
    chosen = (particles.kind == PHOTON) & (particles.pt > rules.pt_min) & (abs(particles.eta) < rules.eta_max)
    photons = _sorted(particles[chosen])
    isolation = _isolation(photons, particles, cone=rules.isolation_cone)
    columns = _kinematics(photons, charge=False)
    columns["cutBased"] = _working_points(photons, rules.identification, rng) * (isolation < rules.isolation_max)
    columns["electronVeto"] = ak.ones_like(photons.pt, dtype=bool)
    return ak.zip(columns)


def _taus(truth: Truth, jets: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
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
        "pt": jets.pt,
        "eta": jets.eta,
        "phi": jets.phi,
        "mass": jets.mass,
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
