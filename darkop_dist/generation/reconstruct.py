"""From the truth and a response card to the columns of a NanoAOD file."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from darkop_dist.generation.candidates import candidate_columns
from darkop_dist.generation.card import ResponseCard
from darkop_dist.generation.clustering import polar
from darkop_dist.generation.jets import generated_jets, measured_jets
from darkop_dist.generation.large_jets import measured_large_jets
from darkop_dist.generation.leptons import electrons, muons, photons, taus
from darkop_dist.generation.links import linked
from darkop_dist.generation.puppi import density, is_primary, puppi_weights, reconstructed_vertices
from darkop_dist.generation.response import measure
from darkop_dist.generation.truth import Truth

WHOLE_DETECTOR = (0.0, 5.0)
Columns = dict[str, Any]


def reconstruct(truth: Truth, card: ResponseCard, rng: np.random.Generator, *, candidates: bool = False) -> Columns:
    """Measure a part and build its objects.

    Jets are built without tracks of other collisions and less the mean density of pile-up, large jets from particles
    with their PUPPI weights; ``MET`` is that of all particles, ``PuppiMET`` that of the weighted ones. ``MET_sumEt``
    and ``PuppiMET_sumEt`` are the scalar sums of their transverse momenta, before jets are calibrated.

    Args:
        truth: what the generator knows.
        card: the detector.
        rng: source of all random numbers of this part.
        candidates: also the measured particles themselves, as in PFNano.

    Returns:
        Collections by NanoAOD name (``Jet``, ``Muon``, ...) as records of type ``events * var``, and columns of one
        number per event (``MET_pt``, ``genWeight``, ...) of shape (events,). pt, mass in GeV; phi in [-pi, pi].
    """
    particles = measured_particles(truth, card, rng)
    pt_min = card.jet.generator_pt_min
    generated = generated_jets(truth, radius=card.jet.radius, pt_min=pt_min, eta_max=card.jet.eta_max)
    jets = measured_jets(truth, particles, generated, card, rng)
    large_jets = measured_large_jets(truth, particles, card, rng)
    none = np.zeros(len(truth.weights))
    collisions = none if truth.collisions is None else truth.collisions
    columns: Columns = {
        "genWeight": truth.weights,
        **_missing_momentum("MET", particles, jets.shift, weight=1.0),
        **_missing_momentum("PuppiMET", particles, jets.hard_shift, weight=particles.puppi),
        "GenMET_pt": np.hypot(truth.invisible_px, truth.invisible_py),
        "GenMET_phi": np.arctan2(truth.invisible_py, truth.invisible_px),
        "Pileup_nTrueInt": none if truth.mean_collisions is None else truth.mean_collisions,
        "Pileup_nPU": collisions,
        **dict.fromkeys(("PV_x", "PV_y", "PV_z"), none),  # the hard collision is the origin
        **dict.fromkeys(("PV_npvs", "PV_npvsGood"), reconstructed_vertices(particles)),
        "fixedGridRhoFastjetAll": density(particles, WHOLE_DETECTOR)[:, 0],
        "GenPart": truth.history,
        "Jet": jets.columns,
        "GenJet": generated,
        "FatJet": large_jets.columns,
        "GenJetAK8": large_jets.generated,
        "Muon": muons(particles, card, rng),
        "Electron": electrons(particles, card, rng),
        "Photon": photons(particles, card, rng),
        "Tau": taus(truth, jets.columns, card, rng),
    }
    if candidates:
        columns |= candidate_columns(particles, jets.constituents, large_jets.constituents)
    return linked(columns)


def measured_particles(truth: Truth, card: ResponseCard, rng: np.random.Generator) -> ak.Array:
    """Measured particles with what the objects are built from.

    Returns:
        What `response.measure` gives, with pt, mass in GeV, eta, phi, ``primary`` (charged-hadron subtraction keeps it)
        and ``puppi`` (weight), of type ``events * var``.
    """
    measured = measure(truth.particles, card, rng)
    shape = polar(measured)
    fields = {**{name: measured[name] for name in measured.fields}, **{name: shape[name] for name in shape.fields}}
    particles = ak.zip({**fields, "primary": is_primary(measured)})
    return ak.with_field(particles, puppi_weights(particles), "puppi")


def _missing_momentum(name: str, particles: ak.Array, shift: ak.Array, *, weight: Any) -> Columns:
    """Minus the sum of all particles and of what the corrections of jets add; ``sumEt`` is without the corrections."""
    px, py = (
        -ak.to_numpy(ak.sum(particles[axis] * weight, axis=1) + ak.sum(shift[axis], axis=1)) for axis in ("px", "py")
    )
    sum_et = ak.to_numpy(ak.sum(np.hypot(particles.px, particles.py) * weight, axis=1))
    return {f"{name}_pt": np.hypot(px, py), f"{name}_phi": np.arctan2(py, px), f"{name}_sumEt": sum_et}
