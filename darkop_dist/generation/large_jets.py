"""Jets of radius 0.8 and their substructure: soft drop mass and N-subjettiness."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np
import numpy.typing as npt

from darkop_dist.generation.card import ResponseCard
from darkop_dist.generation.clustering import cluster, constituent_columns, flat_index
from darkop_dist.generation.cones import nearest
from darkop_dist.generation.jet_calibration import calibrated
from darkop_dist.generation.jets import RAW_SHARE, generated_jets, rescaled
from darkop_dist.generation.soft_drop import soft_drop_mass
from darkop_dist.generation.truth import Truth

SUBJETS = (1, 2, 3)
WHOLE_EVENT = 100.0  # a radius beyond which nothing lies: all that is given becomes one jet
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredLargeJets:
    """Large jets of a part.

    Attributes:
        columns: ``events * var * {pt, eta, phi, mass, msoftdrop, tau1, ...}`` by falling pt, in GeV.
        constituents: indices in the measured particles, ``events * var * var * int``.
        generated: large jets of the generator's particles, ``events * var * {pt, eta, phi, mass}`` in GeV.
    """

    columns: ak.Array
    constituents: ak.Array
    generated: ak.Array


def measured_large_jets(
    truth: Truth, particles: ak.Array, card: ResponseCard, rng: np.random.Generator
) -> MeasuredLargeJets:
    """Anti-kt jets of radius 0.8 from measured particles with their pile-up weights, as in CMS NanoAOD.

    Args:
        truth: what the generator knows.
        particles: measured particles, see `reconstruct.reconstruct`.
        card: the detector.
        rng: source of random numbers.

    Returns:
        The jets above the card's threshold with ``msoftdrop`` in GeV (beta 0, z above 0.1; JHEP 05 (2014) 146,
        arXiv:1402.2657) and ``tau1`` to ``tau3`` (beta 1, one-pass kt axes; JHEP 03 (2011) 015, arXiv:1011.2268).
    """
    rules = card.jet.large
    generated = generated_jets(truth, radius=rules.radius, pt_min=rules.generator_pt_min, eta_max=rules.eta_max)
    weighted = ak.zip(
        {**{axis: particles[axis] * particles.puppi for axis in ("px", "py", "pz", "E")}, "kind": particles.kind}
    )
    found, constituents = cluster(
        weighted, chosen=particles.puppi > 0, radius=rules.radius, pt_min=RAW_SHARE * rules.pt_min
    )
    columns = {**{name: found[name] for name in found.fields}, **constituent_columns(found, constituents, weighted)}
    pt, eta = (ak.to_numpy(ak.flatten(found[name])) for name in ("pt", "eta"))
    factors = calibrated(pt, eta, rules.calibration or card.jet.calibration, rng)
    jets, _, order = rescaled(ak.zip(columns), factors, card.jet, pt_min=rules.pt_min)
    constituents = constituents[order]
    structure = substructure(jets, constituents, weighted, radius=rules.radius)
    structure["msoftdrop"] = structure["msoftdrop"] * jets.pt / found.pt[order]
    for name, values in structure.items():
        jets = ak.with_field(jets, values, name)
    jets = ak.with_field(jets, nearest(jets, generated, cone=rules.radius / 2), "genJetAK8Idx")
    return MeasuredLargeJets(jets, constituents, generated)


def substructure(jets: ak.Array, constituents: ak.Array, particles: ak.Array, *, radius: float) -> dict[str, ak.Array]:
    """Soft drop mass and N-subjettiness of jets.

    Args:
        jets: ``events * var``, for their number.
        constituents: indices of their constituents in ``particles``, ``events * var * var * int``.
        particles: ``events * var * {px, py, pz, E}`` in GeV.
        radius: of the jets.

    Returns:
        ``msoftdrop`` in GeV and ``tau1`` to ``tau3``, each ``events * var``; tau_N is 0 with N constituents or fewer.
    """
    counts = ak.num(jets)
    if not ak.sum(counts):
        return {name: ak.zeros_like(jets.pt) for name in ("msoftdrop", *(f"tau{n}" for n in SUBJETS))}
    rows = _one_row_per_jet(constituents, particles)
    taus = {f"tau{n}": values for n, values in zip(SUBJETS, _subjettiness(rows, radius).T, strict=True)}
    flat: dict[str, Floats] = {"msoftdrop": soft_drop_mass(rows), **taus}
    return {name: ak.unflatten(values, counts) for name, values in flat.items()}


def _subjettiness(rows: ak.Array, radius: float) -> Floats:
    jets = fastjet.ClusterSequence(rows, fastjet.JetDefinition(fastjet.cambridge_algorithm, WHOLE_EVENT))
    found = jets.njettiness(njets=list(SUBJETS), axes_definition="OnePass_KT_Axes", beta=1.0, R0=radius)
    return np.asarray(ak.to_numpy(found), dtype=np.float64).reshape(-1, len(SUBJETS))


def _one_row_per_jet(constituents: ak.Array, particles: ak.Array) -> ak.Array:
    """The momenta of the constituents, ``jets * var``; groomers take one jet of each row."""
    index = flat_index(constituents, particles)
    momenta = {axis: ak.to_numpy(ak.flatten(particles[axis]))[index] for axis in ("px", "py", "pz", "E")}
    return ak.unflatten(ak.zip(momenta, with_name="Momentum4D"), ak.to_numpy(ak.flatten(ak.num(constituents, axis=2))))
