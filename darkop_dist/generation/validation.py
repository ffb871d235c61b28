"""What a response card gives beside what the collaboration has published, in numbers."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import awkward as ak
import numpy as np

from darkop_dist.generation.card import Floats, ResponseCard, load_card
from darkop_dist.generation.comparison import Comparison
from darkop_dist.generation.jet_calibration import calibrated
from darkop_dist.generation.jet_fit import LARGE_PT_NODES, MIN_ENTRIES, PT_NODES, bin_edges, core_of
from darkop_dist.generation.published import Crowded, Curve, JetResolution, MissingMomentum, load_published
from darkop_dist.generation.response import CHARGED_HADRON, ELECTRON, MUON, PHOTON, UM_PER_CM, measure
from darkop_dist.generation.validation_events import (
    MatchedJets,
    MissingMomenta,
    gun,
    matched_jets,
    missing_momenta,
)

GUN_PARTICLES = 4000
GUN_PT_GEV = 5.0
OTHER_SEEDS = 1_000_000
"""Away from the seeds of fits, so that a calibration is tested with events that it has not seen."""

RESPONSE_TOLERANCE = 0.02
COLLISION_EDGES = (2, 12, 22, 32, 42, 52, 70)
SUM_ET_EDGES_GEV = (60.0, 100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 1000.0)


_GUNS = {
    "track": (211, 1.0, CHARGED_HADRON),
    "displaced": (211, 1.0, CHARGED_HADRON),
    "d0": (211, 1.0, CHARGED_HADRON),
    "dz": (211, 1.0, CHARGED_HADRON),
    "muon": (13, -1.0, MUON),
    "electron": (11, -1.0, ELECTRON),
    "photon": (22, 0.0, PHOTON),
}


def validate(card_name: str, *, events: int, seed: int, workers: int = 1) -> tuple[Comparison, ...]:
    """Measure what a card gives and set it beside what is published.

    Args:
        card_name: name of the response card.
        events: number of QCD dijet events, and of events with a Z boson.
        seed: seed, 0 or above; the numbers depend on it, the events and the card alone.
        workers: number of processes.

    Raises:
        UnknownNameError: there is no such card, or nothing is published about it.
    """
    card = load_card(card_name)
    published = load_published(card)
    large, large_goal = card.jet.large, published.jets.large
    radii = [card.jet.radius, *([] if large.calibration is None or large_goal is None else [large.radius])]
    jets = matched_jets(card_name, radii=radii, events=events, seed=seed + OTHER_SEEDS, workers=workers)
    rng = np.random.default_rng(seed)
    small = calibrated(jets[0].measured, jets[0].eta, card.jet.calibration, rng)
    found = list(_jet_comparisons(jets[0], small, published.jets.small, PT_NODES))
    if large.calibration is not None and large_goal is not None:
        factors = calibrated(jets[1].measured, jets[1].eta, large.calibration, rng)
        found += _jet_comparisons(jets[1], factors, large_goal, LARGE_PT_NODES)
    of_z = partial(missing_momenta, card_name, seed=seed + OTHER_SEEDS, workers=workers)
    found.append(_met_comparison(of_z(events=events), published.met))
    if published.crowded:
        crowded = of_z(events=events // 2, crowded=True)
        found += [_crowded_comparison(crowded, known) for known in published.crowded]
    found += [_gun_comparison(curve, card, rng) for curve in published.curve]
    return tuple(comparison for comparison in found if comparison.x)


def _jet_comparisons(
    jets: MatchedJets, factor: Floats, published: JetResolution, nodes: tuple[float, ...]
) -> tuple[Comparison, ...]:
    ratio, goal = factor * jets.measured / jets.pt, published.at(jets.pt, jets.eta)
    found = []
    for low, high in pairwise(published.bins):
        label = f"{published.title}, {low:g} < |η| < {high:g}" if low else f"{published.title}, |η| < {high:g}"
        band = (np.abs(jets.eta) >= low) & (np.abs(jets.eta) < high)
        rows = []
        for start, end in pairwise(bin_edges(nodes)):
            chosen = band & (jets.pt >= start) & (jets.pt < end)
            if chosen.sum() >= MIN_ENTRIES:
                rows.append((float(jets.pt[chosen].mean()), core_of(ratio[chosen]), float(np.mean(goal[chosen] ** 2))))
        x = tuple(row[0] for row in rows)
        found.append(
            Comparison(
                "jet_response", label, "1, as after the corrections of the experiments", RESPONSE_TOLERANCE, x,
                tuple(core.mean for _, core, _ in rows), tuple(core.mean_error for _, core, _ in rows),
                (1.0,) * len(rows),
            )
        )  # fmt: skip
        found.append(
            Comparison(
                "jet_resolution", label, published.source, published.tolerance, x,
                tuple(core.sigma / core.mean for _, core, _ in rows),
                tuple(core.sigma_error / core.mean for _, core, _ in rows),
                tuple(float(np.sqrt(variance)) for _, _, variance in rows),
            )
        )  # fmt: skip
    return tuple(found)


def _met_comparison(momenta: MissingMomenta, published: MissingMomentum) -> Comparison:
    rows, errors, sum_et = [], momenta.errors("MET"), np.tile(momenta.sum_et, 2)
    for low, high in pairwise(SUM_ET_EDGES_GEV):
        chosen = (sum_et >= low) & (sum_et < high)
        if chosen.sum() >= MIN_ENTRIES:
            rows.append((float(sum_et[chosen].mean()), core_of(errors[chosen])))
    return Comparison(
        "met_resolution", published.title, published.source, published.tolerance,
        tuple(x for x, _ in rows), tuple(core.sigma for _, core in rows), tuple(core.sigma_error for _, core in rows),
        tuple(published.stochastic * float(np.sqrt(x)) for x, _ in rows),
    )  # fmt: skip


def _crowded_comparison(momenta: MissingMomenta, published: Crowded) -> Comparison:
    rows, across = [], momenta.across(published.column)
    for low, high in pairwise(COLLISION_EDGES):
        chosen = (momenta.collisions >= low) & (momenta.collisions < high)
        if chosen.sum() >= MIN_ENTRIES:
            mean = float(momenta.collisions[chosen].mean())
            rows.append((mean, core_of(across[chosen]), float(published.at(np.array(mean)))))
    return Comparison(
        "crowded_resolution", published.title, published.source, published.tolerance,
        tuple(x for x, _, _ in rows), tuple(core.sigma for _, core, _ in rows),
        tuple(core.sigma_error for _, core, _ in rows), tuple(known for _, _, known in rows),
    )  # fmt: skip


def _gun_comparison(curve: Curve, card: ResponseCard, rng: np.random.Generator) -> Comparison:
    points = [_shot(curve, x, card, rng) for x in curve.x]
    ours, errors = tuple(point[0] for point in points), tuple(point[1] for point in points)
    return Comparison(curve.quantity, curve.label, curve.source, curve.tolerance, curve.x, ours, errors, curve.y)


def _shot(curve: Curve, x: float, card: ResponseCard, rng: np.random.Generator) -> tuple[float, float]:
    """The quantity and its uncertainty at one point."""
    family, what = curve.quantity.split("_")
    pdg, charge, kind = _GUNS[family]
    eta = rng.uniform(*curve.eta, GUN_PARTICLES)
    pt = np.full(GUN_PARTICLES, GUN_PT_GEV if family == "displaced" else x)
    particles = gun(pdg, charge, pt, eta, radius_mm=x if family == "displaced" else 0.0)
    candidates = ak.flatten(measure(particles, card, rng))
    candidates = candidates[candidates.kind == kind]
    if what == "efficiency":
        rate = len(candidates) / GUN_PARTICLES
        return rate, float(np.sqrt(max(rate * (1 - rate), 1 / GUN_PARTICLES) / GUN_PARTICLES))
    if not len(candidates):
        return 0.0, 0.0
    values = ak.to_numpy(candidates[family]) * UM_PER_CM if family in {"d0", "dz"} else None
    core = core_of(np.hypot(candidates.px, candidates.py).to_numpy() / x if values is None else values)
    return core.sigma, core.sigma_error
