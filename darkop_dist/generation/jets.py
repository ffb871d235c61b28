"""Jets of radius 0.4 as NanoAOD has them: energy, composition, flavour and b-tag."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.generation.card import JetResponse, ResponseCard
from darkop_dist.generation.clustering import cluster, constituent_columns, flat_index
from darkop_dist.generation.cones import largest_in_cone, nearest
from darkop_dist.generation.jet_calibration import calibrated
from darkop_dist.generation.puppi import DENSITY_EDGES, density
from darkop_dist.generation.truth import Truth

RAW_SHARE = 0.6
"""Jets are looked for above this share of the threshold that holds after their calibration."""

UNDERLYING_DENSITY = np.array([1.5, 1.9, 1.5, 1.3, 0.6])
"""GeV per area that jets without pile-up keep, in the regions of `puppi.DENSITY_EDGES`: the mean of `puppi.density` of
primary particles with the card cms, in 1200 events each of qcd-dijets and z-nunu-jets without pile-up, with statistical
errors below 0.04. Where there are tracks dijets have 0.3 to 0.5 more than Z bosons."""


@dataclass(frozen=True)
class Jets:
    """Measured jets of a part.

    Attributes:
        columns: ``events * var * {pt, eta, phi, mass, ...}`` by falling pt, in GeV.
        constituents: indices in the measured particles, ``events * var * var * int``.
        shift: momentum that corrections and smearing added to the event, ``events * var * {px, py}`` in GeV.
        hard_shift: the same with each jet weighed by the share of its momentum that PUPPI keeps.
    """

    columns: ak.Array
    constituents: ak.Array
    shift: ak.Array
    hard_shift: ak.Array


def measured_jets(
    truth: Truth, particles: ak.Array, generated: ak.Array, card: ResponseCard, rng: np.random.Generator
) -> Jets:
    """Jets of measured particles, without tracks of pile-up collisions and less the pile-up's mean density.

    Args:
        truth: what the generator knows.
        particles: measured particles, see `reconstruct.reconstruct`.
        generated: jets of the generator's particles.
        card: the detector.
        rng: source of random numbers.
    """
    rules, raw_pt_min = card.jet, RAW_SHARE * card.jet.pt_min
    found, constituents = cluster(particles, chosen=particles.primary, radius=rules.radius, pt_min=raw_pt_min)
    columns = {**{name: found[name] for name in found.fields}, **constituent_columns(found, constituents, particles)}
    jets = ak.zip(columns)
    if truth.collisions is not None:
        jets = without_density(jets, particles, radius=rules.radius)
        jets, constituents = jets[jets.pt > 0], constituents[jets.pt > 0]
    pt, eta = (ak.to_numpy(ak.flatten(jets[name])) for name in ("pt", "eta"))
    jets, shift, order = rescaled(jets, calibrated(pt, eta, rules.calibration, rng), rules, pt_min=rules.pt_min)
    flavour = hadron_flavour(jets, truth.heavy_hadrons, cone=card.btag.cone)
    jets = ak.with_field(jets, nearest(jets, generated, cone=card.jet.radius / 2), "genJetIdx")
    jets = ak.with_field(jets, flavour, "hadronFlavour")
    jets = ak.with_field(jets, btag(jets, flavour, card, rng), "btagDeepFlavB")
    hard = _puppi_share(constituents[order], particles)
    return Jets(jets, constituents[order], shift, ak.zip({axis: hard * shift[axis] for axis in ("px", "py")}))


def _puppi_share(constituents: ak.Array, particles: ak.Array) -> ak.Array:
    """The share of each jet's scalar momentum that PUPPI keeps, ``events * var``."""
    sizes = ak.to_numpy(ak.flatten(ak.num(constituents, axis=2)))
    owner, index = np.repeat(np.arange(len(sizes)), sizes), flat_index(constituents, particles)
    pt, puppi = (ak.to_numpy(ak.flatten(particles[name]))[index] for name in ("pt", "puppi"))
    total, kept = (np.bincount(owner, weights=weights, minlength=len(sizes)) for weights in (pt, pt * puppi))
    return ak.unflatten(kept / np.maximum(total, 1e-9), ak.num(constituents))


def rescaled(
    jets: ak.Array, factors: npt.NDArray[np.float64], rules: JetResponse, *, pt_min: float
) -> tuple[ak.Array, ak.Array, ak.Array]:
    """Jets with their energy times a factor, by falling pt; leptons and photons among the jets stay as they are.

    Args:
        jets: ``events * var * {pt, eta, phi, mass, E, muEF, ...}``.
        factors: shape (jets,).
        rules: of the card.
        pt_min: jets below it, in GeV, are left out.

    Returns:
        The jets, the momentum that is added to the event, ``events * var * {px, py}``, and the places that the jets
        had.
    """
    leptonic = ak.to_numpy(ak.flatten(jets.muEF + jets.chEmEF + jets.neEmEF)) > rules.leptonic_fraction
    scaled, shift = scaled_by(jets, ak.unflatten(np.where(leptonic, 1.0, factors), ak.num(jets)))
    order = ak.argsort(scaled.pt, ascending=False)
    order = order[scaled.pt[order] > pt_min]
    return scaled[order], shift[order], order


def without_density(jets: ak.Array, particles: ak.Array, *, radius: float) -> ak.Array:
    """Jets less the mean density of pile-up in their area, as in JINST 12 (2017) P02014, arXiv:1607.03663.

    The area is that of a circle; the density of the underlying event stays in the jet.

    Args:
        jets: ``events * var * {pt, eta, phi, mass, E, ...}`` in GeV.
        particles: measured particles, for the density.
        radius: of the jets.
    """
    found = np.maximum(density(particles[particles.primary], DENSITY_EDGES) - UNDERLYING_DENSITY, 0.0)
    region = np.searchsorted(DENSITY_EDGES[1:-1], np.abs(ak.to_numpy(ak.flatten(jets.eta))))
    event = np.repeat(np.arange(len(jets)), ak.to_numpy(ak.num(jets)))
    taken = found[event, region] * np.pi * radius**2
    factors = np.maximum(1 - taken / ak.to_numpy(ak.flatten(jets.pt)), 0.0)
    return scaled_by(jets, ak.unflatten(factors, ak.num(jets)))[0]


def generated_jets(truth: Truth, *, radius: float, pt_min: float, eta_max: float) -> ak.Array:
    """Jets of the stable visible particles of the hard collision, ``events * var * {pt, eta, phi, mass}`` in GeV."""
    particles = truth.particles
    pt = np.hypot(particles.px, particles.py)
    chosen = (abs(particles.pz) < np.sinh(eta_max) * pt) & (particles.vertex == 0)
    jets, _ = cluster(particles, chosen=chosen, radius=radius, pt_min=pt_min)
    return jets[["pt", "eta", "phi", "mass"]]


def scaled_by(jets: ak.Array, factors: ak.Array) -> tuple[ak.Array, ak.Array]:
    """Jets with pt, mass and energy times a factor, and the momentum that this adds."""
    added = (factors - 1) * jets.pt
    shift = ak.zip({"px": added * np.cos(jets.phi), "py": added * np.sin(jets.phi)})
    fields = {name: jets[name] * (factors if name in {"pt", "mass", "E"} else 1) for name in jets.fields}
    return ak.zip(fields), shift


def hadron_flavour(jets: ak.Array, hadrons: ak.Array, *, cone: float) -> ak.Array:
    """Heaviest flavour among the hadrons in the cone: 5, 4 or 0."""
    return ak.values_astype(largest_in_cone(jets, hadrons, hadrons.flavour, cone=cone), np.int32)


def btag(jets: ak.Array, flavour: ak.Array, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
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
