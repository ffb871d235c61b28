"""The generator's history: mothers and flags of real Pythia events, read through coffea."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from darkop_dist.generation import generate

EVENTS = 150


@pytest.fixture(scope="module")
def top_pairs(tmp_path_factory: pytest.TempPathFactory, open_with_coffea: Callable[[Path], Any]) -> Any:
    """Events of top pairs as coffea sees them."""
    return open_with_coffea(_generated("ttbar", tmp_path_factory))


@pytest.fixture(scope="module")
def displaced(tmp_path_factory: pytest.TempPathFactory, open_with_coffea: Callable[[Path], Any]) -> Any:
    """Events with long-lived neutral particles as coffea sees them."""
    return open_with_coffea(_generated("displaced-vertices", tmp_path_factory))


def _generated(process: str, factory: pytest.TempPathFactory) -> Path:
    return generate(process, EVENTS, factory.mktemp(process) / "events.root", seed=5, settings={"mpi": "off"}).file


def test_each_event_has_two_hard_tops_that_decay_to_w_and_quark(top_pairs: Any) -> None:
    tops = top_pairs.GenPart[abs(top_pairs.GenPart.pdgId) == 6]
    hard = tops[tops.hasFlags("isHardProcess")]
    assert ak.all(ak.num(hard) == 2)
    last = tops[tops.hasFlags("isLastCopy", "fromHardProcess")]
    assert ak.all(ak.num(last) == 2)
    daughters = abs(last.children.pdgId)
    assert ak.all(ak.any(daughters == 24, axis=2))
    assert ak.all(ak.any((daughters == 5) | (daughters == 3) | (daughters == 1), axis=2))


def test_w_decays_add_up_to_its_mass(top_pairs: Any) -> None:
    w = top_pairs.GenPart[abs(top_pairs.GenPart.pdgId) == 24]
    w = w[w.hasFlags("isLastCopy")]
    products = w.children
    chosen = ak.num(products, axis=2) == 2
    assert ak.sum(chosen) > EVENTS
    total = products[chosen].sum(axis=-1)
    assert np.allclose(ak.to_numpy(ak.flatten(total.mass)), ak.to_numpy(ak.flatten(w[chosen].mass)), rtol=2e-3)


def test_leptons_of_w_are_prompt_and_those_of_taus_are_not(top_pairs: Any) -> None:
    particles = top_pairs.GenPart
    lepton = (abs(particles.pdgId) == 11) | (abs(particles.pdgId) == 13)
    mother = abs(particles.distinctParent.pdgId)
    from_w = particles[lepton & ak.fill_none(mother == 24, value=False)]
    assert ak.sum(ak.num(from_w)) > 50
    assert ak.all(from_w.hasFlags("isPrompt", "fromHardProcess"))
    from_tau = particles[lepton & ak.fill_none(mother == 15, value=False)]
    assert ak.sum(ak.num(from_tau)) > 5
    assert not ak.any(from_tau.hasFlags("isPrompt"))
    assert ak.all(from_tau.hasFlags("isTauDecayProduct"))
    prompt = from_tau.distinctParent.hasFlags("isPrompt")  # others are taus of bottom hadrons
    assert ak.all(from_tau.hasFlags("isPromptTauDecayProduct") == prompt)
    assert ak.any(prompt)
    assert ak.mean(from_tau.hasFlags("isDirectTauDecayProduct")) > 0.8  # others come from pions that are not kept


def test_every_particle_comes_from_the_hard_process_or_has_no_mother(top_pairs: Any) -> None:
    particles = top_pairs.GenPart
    index = particles.genPartIdxMother
    assert ak.all(index < ak.num(particles))
    assert ak.all(index != ak.local_index(index, axis=1))
    incoming = particles.status == 21
    assert ak.all(ak.sum(incoming, axis=1) == 2)
    assert ak.all(index[incoming] == -1)


def test_decayed_taus_and_hadrons_have_status_two(top_pairs: Any) -> None:
    particles = top_pairs.GenPart
    decayed = particles[particles.hasFlags("isDecayedLeptonHadron", "isLastCopy")]
    assert ak.sum(ak.num(decayed)) > EVENTS
    assert ak.all(decayed.status == 2)
    muons = particles[(abs(particles.pdgId) == 13) & particles.hasFlags("isLastCopy", "isPrompt")]
    assert ak.all(muons.status == 1)


def test_daughters_of_long_lived_particles_start_away_from_the_collision(displaced: Any) -> None:
    particles = displaced.GenPart
    bottom = particles[(particles.pdgId // 100 % 10 == 5) | (abs(particles.pdgId) // 100 % 10 == 5)]
    dark = bottom[ak.fill_none(bottom.distinctParent.pdgId == 4900111, value=False)]
    assert ak.sum(ak.num(dark)) > 20
    radius = np.hypot(ak.to_numpy(ak.flatten(dark.vx)), ak.to_numpy(ak.flatten(dark.vy)))
    assert np.median(radius) > 0.1  # cm
    hard = particles[particles.status == 22]
    assert ak.max(np.hypot(hard.vx, hard.vy)) < 1e-6
