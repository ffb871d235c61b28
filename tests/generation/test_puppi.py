"""Removal of pile-up: charged-hadron subtraction, PUPPI weights, density; on real overlaid events."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from darkop_dist.generation.card import load_card
from darkop_dist.generation.jets import UNDERLYING_DENSITY
from darkop_dist.generation.part import request_of
from darkop_dist.generation.pileup import load_pool, overlay
from darkop_dist.generation.pileup_profile import read_profile
from darkop_dist.generation.plan import plan_parts
from darkop_dist.generation.puppi import DENSITY_EDGES, density, is_primary, reconstructed_vertices
from darkop_dist.generation.reconstruct import measured_particles, reconstruct
from darkop_dist.generation.response import CHARGED_HADRON, NEUTRAL_HADRON
from darkop_dist.generation.truth import Truth, generate_truth

CARD = load_card("cms")
MEAN, POOL_EVENTS = 30, 100


@pytest.fixture(scope="module")
def hard() -> Truth:
    return generate_truth(request_of(plan_parts("z-nunu-jets", 250, seed=6, settings={})[0]))


@pytest.fixture(scope="module")
def crossed(hard: Truth, pool_cache: Path) -> Truth:
    pool = load_pool(POOL_EVENTS, pool_cache)
    rng = np.random.default_rng(1)
    return overlay(hard, read_profile(str(MEAN)), pool, beam_spot_mm=CARD.beam_spot_mm, rng=rng)


def _met_error(truth: Truth, name: str) -> float:
    columns = reconstruct(truth, CARD, np.random.default_rng(5))
    found = columns[f"{name}_pt"] * np.cos(columns[f"{name}_phi"])
    return float(np.std(found - columns["GenMET_pt"] * np.cos(columns["GenMET_phi"])))


def test_tracks_of_other_collisions_are_removed_unless_they_are_close() -> None:
    particles = ak.Array(
        [
            [
                {"kind": CHARGED_HADRON, "vertex": 0, "dz": 5.0},  # a long-lived particle's
                {"kind": CHARGED_HADRON, "vertex": 1, "dz": 5.0},
                {"kind": CHARGED_HADRON, "vertex": 1, "dz": 0.05},
                {"kind": NEUTRAL_HADRON, "vertex": -1, "dz": 0.0},
            ]
        ]
    )
    assert is_primary(particles).to_list() == [[True, False, True, True]]


def test_without_pileup_everything_counts_in_full(hard: Truth) -> None:
    particles = measured_particles(hard, CARD, np.random.default_rng(5))
    assert ak.all(particles.primary)
    assert ak.all(particles.puppi == 1)
    assert ak.all(reconstructed_vertices(particles) == 1)


def test_weights_keep_the_hard_collision_and_drop_the_others(hard: Truth, crossed: Truth) -> None:
    before, after = (measured_particles(truth, CARD, np.random.default_rng(5)) for truth in (hard, crossed))
    tracks = after[(after.vertex > 0) & (abs(after.eta) < 2.5)]
    assert ak.mean(tracks.puppi) < 0.05
    assert ak.all(after.puppi[(after.vertex == 0) & (abs(after.eta) < 2.5)] == 1)
    neutral = [p[(p.vertex < 0) & (abs(p.eta) < 2.5)] for p in (before, after)]
    once, unweighted, weighted = (
        float(ak.sum(x)) for x in (neutral[0].pt, neutral[1].pt, neutral[1].pt * neutral[1].puppi)
    )
    assert unweighted > 3 * once
    assert weighted == pytest.approx(once, rel=0.35)


def test_density_grows_with_the_number_of_collisions(hard: Truth, crossed: Truth) -> None:
    before, after = (measured_particles(truth, CARD, np.random.default_rng(5)) for truth in (hard, crossed))
    found = [float(np.mean(density(p, (0.0, 2.5)))) for p in (before, after)]
    assert 0.3 < (found[1] - found[0]) / MEAN < 1.3  # GeV per collision; CMS measures about 0.6
    assert np.mean(reconstructed_vertices(after)) == pytest.approx(MEAN * 0.9, rel=0.1)


def test_density_of_a_uniform_field_is_its_momentum_over_its_area() -> None:
    rng = np.random.default_rng(2)
    count = 40_000
    particles = ak.Array(
        {"pt": np.full(count, 0.5), "eta": rng.uniform(-2.5, 2.5, count), "phi": rng.uniform(-np.pi, np.pi, count)}
    )
    found = density(ak.unflatten(particles, [count]), (0.0, 1.0, 2.5))
    assert found[0] == pytest.approx(0.5 * count / (5 * 2 * np.pi), rel=0.05)


def test_the_density_that_jets_keep_is_that_of_events_without_pileup() -> None:
    """400 events have a statistical error of 0.09 GeV per area at most, and the constant is rounded by 0.05 at most."""
    rng = np.random.default_rng(5)
    found = []
    for process in ("qcd-dijets", "z-nunu-jets"):
        truth = generate_truth(request_of(plan_parts(process, 200, seed=9, settings={})[0]))
        particles = measured_particles(truth, CARD, rng)
        found.append(density(particles[particles.primary], DENSITY_EDGES))
    assert np.mean(found, axis=(0, 1)) == pytest.approx(UNDERLYING_DENSITY, abs=0.3)


def test_jets_keep_their_energy_under_pileup(crossed: Truth) -> None:
    columns = reconstruct(crossed, CARD, np.random.default_rng(5))
    jets, generated = columns["Jet"], columns["GenJet"]
    matched = jets[jets.genJetIdx >= 0]
    ratio = ak.to_numpy(ak.flatten(matched.pt / generated[matched.genJetIdx].pt))
    pt = ak.to_numpy(ak.flatten(generated[matched.genJetIdx].pt))
    assert np.median(ratio[(pt > 40)]) == pytest.approx(1, abs=0.05)
    large, generated = columns["FatJet"], columns["GenJetAK8"]
    matched = large[large.genJetAK8Idx >= 0]
    assert ak.mean(matched.pt / generated[matched.genJetAK8Idx].pt) == pytest.approx(1, abs=0.05)


def test_scalar_sums_are_those_of_the_candidates_and_of_the_weighted_ones(crossed: Truth) -> None:
    columns = reconstruct(crossed, CARD, np.random.default_rng(5), candidates=True)
    candidates = columns["PFCands"]
    for name, pt in (("MET", candidates.pt), ("PuppiMET", candidates.pt * candidates.puppiWeight)):
        assert columns[f"{name}_sumEt"] == pytest.approx(ak.to_numpy(ak.sum(pt, axis=1)), rel=1e-9)
    assert np.all(columns["PuppiMET_sumEt"] < 0.9 * columns["MET_sumEt"])


def test_weighted_missing_momentum_is_better_under_pileup(hard: Truth, crossed: Truth) -> None:
    alone, plain, weighted = _met_error(hard, "MET"), _met_error(crossed, "MET"), _met_error(crossed, "PuppiMET")
    assert alone < weighted < plain
    assert plain == pytest.approx(25, abs=5)  # CMS, arXiv:1903.06078: 13.9 and 3.8 per root of a collision
