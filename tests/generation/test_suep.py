"""The thermal decay: conservation, spectrum, multiplicity; and the process that uses it."""

from __future__ import annotations

import itertools

import awkward as ak
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from darkop_dist.errors import InputValueError
from darkop_dist.generation.process import load_process, pythia_lines
from darkop_dist.generation.pythia_run import PartRequest
from darkop_dist.generation.suep import (
    Suep,
    boosted,
    decay_mediators,
    mean_energy,
    thermal_decay,
    thermal_momenta,
    two_body,
)
from darkop_dist.generation.truth import generate_truth

EVENTS = 2000
SECTOR = Suep(temperature=3.0, meson_mass=3.0, photon_mass=0.7, electrons=0.15, muons=0.15)


def mediators(mass: float, events: int = EVENTS, seed: int = 2) -> np.ndarray:
    momenta = np.random.default_rng(seed).normal(0.0, 100.0, (events, 3))
    return np.column_stack([momenta, np.sqrt(mass**2 + np.sum(momenta**2, axis=1))])


def sums(momenta: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(momenta, np.concatenate(([0], np.cumsum(counts)[:-1])), axis=0)


@pytest.mark.parametrize(("mass", "meson", "temperature"), [(400, 3, 3), (125, 2, 1), (1000, 2, 4), (100, 0.5, 10)])
def test_energy_and_momentum_are_conserved_and_the_number_of_mesons_is_the_thermal_one(
    mass: float, meson: float, temperature: float
) -> None:
    found, numbers = thermal_decay(mediators(mass), meson, temperature, np.random.default_rng(1))
    assert np.abs(sums(found, numbers) - mediators(mass)).max() < 1e-8 * mass
    assert np.sqrt(found[:, 3] ** 2 - np.sum(found[:, :3] ** 2, axis=1)) == pytest.approx(meson, rel=1e-5)
    assert numbers.min() >= 2
    error = numbers.std() / np.sqrt(EVENTS)
    assert abs(numbers.mean() - mass / mean_energy(meson, temperature)) < 0.25 + 4 * error


@pytest.mark.parametrize(("mass", "temperature"), [(3.0, 3.0), (8.0, 0.5), (0.5, 10.0)])
def test_momenta_have_the_boltzmann_spectrum(mass: float, temperature: float) -> None:
    def density(p: float) -> float:
        return float(p**2 * np.exp(-(np.hypot(p, mass) - mass) / temperature))

    momenta = thermal_momenta(mass, temperature, 4000, np.random.default_rng(3))
    edges = np.linspace(0.0, 60 * temperature + mass, 600)
    pieces = [quad(density, low, high)[0] for low, high in itertools.pairwise(edges)]
    cumulative = np.concatenate(([0.0], np.cumsum(pieces))) / sum(pieces)
    assert kstest(momenta, lambda p: np.interp(p, edges, cumulative)).pvalue > 1e-3
    energies = np.hypot(momenta, mass)
    assert abs(energies.mean() - mean_energy(mass, temperature)) < 4 * energies.std() / np.sqrt(len(energies))


def test_mesons_have_no_direction_in_the_rest_frame_of_the_mediator() -> None:
    rest = np.tile([0.0, 0.0, 0.0, 400.0], (EVENTS, 1))
    found, _ = thermal_decay(rest, 3.0, 3.0, np.random.default_rng(4))
    cosine = found[:, 2] / np.sqrt(np.sum(found[:, :3] ** 2, axis=1))
    phi = np.arctan2(found[:, 1], found[:, 0])
    assert abs(cosine.mean()) < 0.01
    assert (cosine**2).mean() == pytest.approx(1 / 3, abs=0.01)
    assert abs(np.exp(1j * phi).mean()) < 0.01


def test_decays_to_two_bodies_conserve_and_keep_masses() -> None:
    rng = np.random.default_rng(5)
    parents = mediators(3.0, seed=6)
    one, two = two_body(parents, np.full(EVENTS, 0.7), rng)
    assert np.abs(one + two - parents).max() < 1e-9
    for daughter in (one, two):
        mass = np.sqrt(daughter[:, 3] ** 2 - np.sum(daughter[:, :3] ** 2, axis=1))
        assert mass == pytest.approx(0.7, rel=1e-4)
    assert boosted(np.tile([0.0, 0.0, 0.0, 3.0], (EVENTS, 1)), parents) == pytest.approx(parents)


def test_final_states_have_the_branching_fractions_and_no_charge() -> None:
    found = decay_mediators(mediators(400.0), SECTOR, np.random.default_rng(7))
    assert found.counts.tolist() == (4 * found.mesons).tolist()
    assert sums(found.charges[:, None], found.counts) == pytest.approx(0.0)
    assert np.abs(sums(found.momenta, found.counts) - mediators(400.0)).max() < 1e-6
    total = len(found.ids)
    for code, fraction in ((11, 0.15), (13, 0.15), (211, 0.7)):
        number = np.sum(np.abs(found.ids) == code)
        assert abs(number - fraction * total) < 4 * np.sqrt(2 * fraction * (1 - fraction) * total)
    assert set(found.charges[found.ids == 11]) == {-1.0}
    assert set(found.charges[found.ids == 211]) == {1.0}


def test_the_process_replaces_the_mediator_by_its_decay() -> None:
    lines = pythia_lines(load_process("suep"), {"mpi": "off", "temperature": 2.0, "meson_mass": 2.0})
    truth = generate_truth(PartRequest("suep", lines, own_matrix_elements=False, seed=3, events=100))
    again = generate_truth(PartRequest("suep", lines, own_matrix_elements=False, seed=3, events=100))
    assert ak.array_equal(truth.particles, again.particles)
    assert not ak.any(truth.particles.id == 25)
    assert ak.to_numpy(ak.sum(truth.particles.px, axis=1)) + truth.invisible_px == pytest.approx(0, abs=0.05)
    charged = ak.to_numpy(ak.sum(truth.particles.charge != 0, axis=1))
    assert charged.mean() > 4 * 400 / mean_energy(2.0, 2.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"photon_mass": 1.6}, r"photon_mass: 1\.6 GeV is not below half of meson_mass, 3 GeV"),
        ({"electrons": 0.7, "muons": 0.6}, r"branching fractions 0\.7 and 0\.6 add up to more than 1"),
        ({"photon_mass": 0.2}, r"0\.2 GeV is too light for its decays. Raise it above 0\.279"),
    ],
)
def test_a_dark_sector_that_cannot_decay_is_refused(settings: dict[str, float], message: str) -> None:
    lines = pythia_lines(load_process("suep"), settings)
    with pytest.raises(InputValueError, match=message):
        generate_truth(PartRequest("suep", lines, own_matrix_elements=False, seed=3, events=10))
