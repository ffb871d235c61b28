"""Substructure of large jets against a plain computation, and W bosons that become one jet."""

from __future__ import annotations

import itertools
import math
from typing import Any

import awkward as ak
import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from darkop_dist.generation.card import load_card
from darkop_dist.generation.clustering import cluster, polar
from darkop_dist.generation.large_jets import measured_large_jets, substructure
from darkop_dist.generation.pythia_run import PartRequest
from darkop_dist.generation.reconstruct import measured_particles
from darkop_dist.generation.truth import generate_truth

W_MASS_GEV, RADIUS = 80.4, 0.8
BOOSTED_W_PAIRS = (
    "Beams:eCM = 13000.",
    "WeakDoubleBoson:ffbar2WW = on",
    "PhaseSpace:pTHatMin = 400.",
    "24:onMode = off",
    "24:onIfAny = 1 2 3 4",
    "PartonLevel:MPI = off",
)
Momentum = tuple[float, float, float, float]


def _massless(pt: float, eta: float, phi: float) -> dict[str, float]:
    return {"px": pt * math.cos(phi), "py": pt * math.sin(phi), "pz": pt * math.sinh(eta), "E": pt * math.cosh(eta)}


def _jets_of(*directions: tuple[tuple[float, float, float], ...]) -> tuple[ak.Array, ak.Array, ak.Array]:
    """One jet in each event from massless particles of given pt, eta, phi."""
    particles = ak.Array([[_massless(*one) for one in event] for event in directions])
    jets, constituents = cluster(particles, radius=RADIUS, pt_min=10.0)
    assert ak.all(ak.num(jets) == 1)
    return jets, constituents, particles


def _distance(one: Momentum, other: Momentum) -> float:
    y = [0.5 * math.log((p[3] + p[2]) / (p[3] - p[2])) for p in (one, other)]
    d_phi = abs(math.atan2(one[1], one[0]) - math.atan2(other[1], other[0]))
    return math.hypot(y[0] - y[1], min(d_phi, 2 * math.pi - d_phi))


def _soft_drop_mass(particles: list[Momentum]) -> float:
    """Cambridge/Aachen by hand, then undone until the softer branch has a tenth of the momentum."""
    trees: list[Any] = [(p, None) for p in particles]
    while len(trees) > 1:
        pairs = itertools.combinations(range(len(trees)), 2)
        i, j = min(pairs, key=lambda pair: _distance(trees[pair[0]][0], trees[pair[1]][0]))
        merged = tuple(np.add(trees[i][0], trees[j][0]).tolist())
        trees = [tree for k, tree in enumerate(trees) if k not in {i, j}] + [(merged, (trees[i], trees[j]))]
    node = trees[0]
    while node[1] is not None:
        branches = sorted(node[1], key=lambda tree: -math.hypot(tree[0][0], tree[0][1]))
        soft, hard = (math.hypot(*tree[0][:2]) for tree in (branches[1], branches[0]))
        if soft / (soft + hard) > 0.1:
            break
        node = branches[0]
    px, py, pz, energy = node[0]
    return math.sqrt(max(energy**2 - px**2 - py**2 - pz**2, 0.0))


def test_soft_drop_mass_is_that_of_a_plain_computation() -> None:
    rng = np.random.default_rng(3)
    events = tuple(
        tuple(zip(rng.exponential(20, n) + 0.5, rng.normal(0, 0.2, n), rng.normal(1, 0.2, n), strict=True))
        for n in rng.integers(1, 12, 25)
    )
    particles = ak.Array([[_massless(*one) for one in event] for event in events])
    jets, constituents = cluster(particles, radius=RADIUS, pt_min=0.1)
    found = substructure(jets, constituents, particles, radius=RADIUS)["msoftdrop"]
    compared = 0
    for event in range(len(particles)):
        for place, members in enumerate(constituents[event].to_list()):
            momenta = [tuple(float(particles[axis][event][k]) for axis in ("px", "py", "pz", "E")) for k in members]
            assert found[event][place] == pytest.approx(_soft_drop_mass(momenta), rel=1e-6, abs=1e-4)
            compared += 1
    assert compared >= 25


def test_soft_drop_removes_what_is_soft_and_wide() -> None:
    jets, constituents, particles = _jets_of(((100, 0, 0), (4, 0.5, 0)), ((100, 0, 0), (40, 0.5, 0)))
    found = substructure(jets, constituents, particles, radius=RADIUS)["msoftdrop"]
    assert found[0][0] == pytest.approx(0, abs=1e-4)
    assert found[1][0] == pytest.approx(float(jets.mass[1][0]), rel=1e-6)


def test_subjettiness_of_two_prongs_is_their_distance_to_the_axes() -> None:
    jets, constituents, particles = _jets_of(((100, -0.2, 0), (100, 0.2, 0)))
    found = substructure(jets, constituents, particles, radius=RADIUS)
    assert found["tau1"][0][0] == pytest.approx(0.2 / RADIUS, rel=1e-6)
    assert [float(found[f"tau{n}"][0][0]) for n in (2, 3)] == pytest.approx([0, 0], abs=1e-9)


def test_there_may_be_no_large_jet_at_all() -> None:
    particles = ak.Array([[], [{"px": 1.0, "py": 0.0, "pz": 0.0, "E": 1.0}]])
    jets, constituents = cluster(particles, radius=RADIUS, pt_min=100.0)
    assert ak.num(substructure(jets, constituents, particles, radius=RADIUS)["tau2"]).to_list() == [0, 0]


def test_boosted_w_bosons_have_their_mass_and_two_prongs() -> None:
    truth = generate_truth(PartRequest("ww", BOOSTED_W_PAIRS, own_matrix_elements=False, seed=4, events=150))
    card, rng = load_card(), np.random.default_rng(2)
    particles = measured_particles(truth, card, rng)
    jets = measured_large_jets(truth, particles, card, rng).columns
    leading = ak.firsts(jets[jets.pt > 350])
    mass, tau21 = (ak.to_numpy(ak.drop_none(x)) for x in (leading.msoftdrop, leading.tau2 / leading.tau1))
    assert len(mass) > 100
    assert np.median(mass) == pytest.approx(W_MASS_GEV, abs=5)
    assert np.mean(np.abs(mass - W_MASS_GEV) < 20) > 0.6
    assert np.median(tau21) < 0.4
    assert ak.mean(leading.genJetAK8Idx >= 0) > 0.95


def test_constituents_add_up_to_the_jet_before_calibration() -> None:
    jets, constituents, particles = _jets_of(((100, -0.2, 0), (50, 0.2, 0.3), (3, 0.0, 0.4)))
    members = particles[constituents[:, 0]]
    total = polar(ak.zip({axis: ak.sum(members[axis], axis=1, keepdims=True) for axis in ("px", "py", "pz", "E")}))
    assert total.pt[0][0] == pytest.approx(float(jets.pt[0][0]))
