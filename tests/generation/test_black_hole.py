"""Black holes: cross section, radiation, conservation laws, colour flow, and the process that uses them."""

from __future__ import annotations

import math
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import pythia8mc
from scipy.integrate import dblquad
from scipy.special import zeta
from scipy.stats import kstest

from darkop_dist.errors import InputValueError
from darkop_dist.generation.black_hole import (
    GEV2_PB,
    MEAN_ENERGY_IN_T,
    PARTONS,
    BlackHole,
    Collision,
    black_hole_of,
    collisions,
    evaporate,
    expected_multiplicity,
    hawking_temperature,
    horizon,
    production,
)
from darkop_dist.generation.black_hole_events import HoleEvent, make_event, on_shell, quantum_numbers
from darkop_dist.generation.process import load_process, pythia_lines
from darkop_dist.generation.pythia_run import PartRequest
from darkop_dist.generation.truth import generate_truth

HOLE = BlackHole(dimensions=4, planck_mass=3000.0, minimum_mass=6000.0, last_mass=3000.0)
MANY = BlackHole(dimensions=6, planck_mass=10.0, minimum_mass=10.0, last_mass=10.0)
XF = pythia8mc.Pythia("", False).getPDFPtr(2212).xf


@pytest.fixture(scope="module")
def events() -> list[HoleEvent]:
    rng = np.random.default_rng(3)
    return [make_event(HOLE, one, rng) for one in collisions(HOLE, production(HOLE, XF), 400, rng)]


def test_both_conventions_of_the_fundamental_scale_give_one_horizon() -> None:
    """M_P^(n+2) = 1 / G and M_D^(n+2) = (2 pi)^n / (8 pi G)."""
    for n in range(2, 8):
        ratio = (8 * math.pi / (2 * math.pi) ** n) ** (1 / (n + 2))  # M_P over M_D
        pdg = BlackHole(n, 2000.0, 6000.0, 2000.0)
        other = BlackHole(n, 2000.0 * ratio, 60000.0, 2000.0, convention="DL", energy=1e6)
        assert horizon(pdg, 6000.0) == pytest.approx(horizon(other, 6000.0))
        assert 4 * math.pi * hawking_temperature(pdg, 6000.0) * horizon(pdg, 6000.0) == pytest.approx(n + 1)


def test_the_cross_section_is_the_integral_over_both_momentum_fractions() -> None:
    """In x_1 and x_2 rather than mass and rapidity, by another rule of integration."""

    def integrand(log_second: float, log_first: float) -> float:
        first, second = math.exp(log_first), math.exp(log_second)
        mass2 = first * second * HOLE.energy**2
        together = [sum(XF(kind, x, mass2) for kind in PARTONS) for x in (first, second)]
        return float(math.pi * horizon(HOLE, math.sqrt(mass2)) ** 2 * GEV2_PB * together[0] * together[1])

    least = (HOLE.minimum_mass / HOLE.energy) ** 2
    expected, _ = dblquad(integrand, math.log(least), 0.0, lambda first: math.log(least) - first, 0.0, epsrel=1e-4)
    assert production(HOLE, XF).xsec_pb == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("scale", "dimensions", "published_pb"), [(2000.0, 7, 500.0), (6000.0, 3, 0.120)])
def test_cross_sections_of_dimopoulos_and_landsberg(scale: float, dimensions: int, published_pb: float) -> None:
    """hep-ph/0106295: 0.5 nb for M_P = 2 TeV, n = 7, to 120 fb for 6 TeV, n = 3, holes above M_P at 14 TeV.

    They have parton densities of 1993 (MRSD-'), which differ by tens of percent at momentum fractions near one half;
    a factor pi, 2 or 4 in the formula would be seen.
    """
    hole = BlackHole(dimensions, scale, scale, scale, convention="DL", energy=14000.0)
    assert 0.5 < production(hole, XF).xsec_pb / published_pb < 1.5


def test_masses_and_partons_are_those_of_the_cross_section() -> None:
    made = production(HOLE, XF)
    drawn = collisions(HOLE, made, 4000, np.random.default_rng(5))
    masses = np.array([one.mass for one in drawn])
    assert masses.min() >= HOLE.minimum_mass
    per_log = np.trapezoid(made.density, made.rapidities, axis=1)
    cumulative = np.concatenate(([0.0], np.cumsum((per_log[1:] + per_log[:-1]) / 2 * np.diff(np.log(made.masses)))))
    grid = np.log(made.masses)
    assert kstest(np.log(masses), lambda m: np.interp(m, grid, cumulative / cumulative[-1])).pvalue > 1e-3
    boosts = np.array([math.log(one.energies[0] / one.energies[1]) / 2 for one in drawn])
    assert abs(boosts.mean()) < 4 * boosts.std() / math.sqrt(len(boosts))
    kinds = np.array([one.partons for one in drawn])
    up, down = np.mean(kinds == 2), np.mean(kinds == 1)
    assert 1.5 < up / down < 6.0  # two valence quarks to one, and harder
    assert np.mean(kinds == 2) > 20 * np.mean(kinds == -2)
    assert max(max(one.energies) for one in drawn) <= HOLE.energy / 2 * 1.02


def test_the_mass_spectrum_falls(events: list[HoleEvent]) -> None:
    numbers, _ = np.histogram([one.collision.mass for one in events], [6000, 6500, 7000, 7500, 8000, 13000])
    assert (np.diff(numbers) < 0).all()


@pytest.mark.parametrize("temperature", ["falling", "fixed"])
def test_the_number_of_particles_is_that_of_a_black_body(temperature: str) -> None:
    """Hundreds of particles: the integral of dM / <E>, with <E> = 2.70 T for bosons and 3.15 T for fermions."""
    hole = BlackHole(6, 10.0, 10.0, 10.0, temperature=temperature)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    numbers = np.array([len(evaporate(hole, 3000.0, rng).momenta) for _ in range(40)])
    expected = expected_multiplicity(hole, 3000.0)
    assert expected > 100
    assert abs(numbers.mean() - expected) < 0.01 * expected + 4 * numbers.std() / math.sqrt(len(numbers))
    bosons, fermions = math.pi**4 / (30 * zeta(3)), 7 * math.pi**4 / (180 * zeta(3))
    assert bosons < MEAN_ENERGY_IN_T < fermions


def test_radiation_adds_up_to_the_hole_and_has_no_direction() -> None:
    rng = np.random.default_rng(2)
    found = [evaporate(MANY, 1000.0, rng) for _ in range(20)]
    for one in found:
        assert one.momenta.sum(axis=0) == pytest.approx([0, 0, 0, 1000.0], abs=1e-8)
        assert np.linalg.norm(one.momenta[:, :3], axis=1) == pytest.approx(one.momenta[:, 3], rel=1e-6)
    cosines = np.concatenate([one.momenta[:, 2] / one.momenta[:, 3] for one in found])
    assert abs(cosines.mean()) < 4 / math.sqrt(3 * len(cosines))


def test_momentum_charge_baryon_and_lepton_number_are_conserved(events: list[HoleEvent]) -> None:
    for one in events:
        first, second = one.collision.energies
        assert one.momenta.sum(axis=0) == pytest.approx([0, 0, first - second, first + second], abs=1e-6)
        masses2 = one.momenta[:, 3] ** 2 - np.sum(one.momenta[:, :3] ** 2, axis=1)
        assert masses2 == pytest.approx(one.masses**2, abs=1e-3 * one.collision.mass)
        (*charges, leptons), (*wanted, _) = quantum_numbers(one.ids), quantum_numbers(one.collision.partons)
        assert charges == wanted
        assert leptons % 2 == 0


def test_lepton_number_is_conserved_on_request(events: list[HoleEvent]) -> None:
    rng = np.random.default_rng(4)
    hole = replace(HOLE, lepton_number="conserved")
    found = [make_event(hole, one.collision, rng) for one in events[:100]]
    assert {quantum_numbers(one.ids)[2] for one in found} == {0}
    assert {quantum_numbers(one.ids)[2] for one in events} >= {-2, 0, 2}


def test_colour_flows_from_the_partons_to_what_comes_out(events: list[HoleEvent]) -> None:
    for one in events:
        every = [*one.collision.partons, *one.ids]
        for kind, (colour, anticolour) in zip(every, one.colours, strict=True):
            assert (colour > 0) == (kind == 21 or 1 <= kind <= 6)
            assert (anticolour > 0) == (kind == 21 or -6 <= kind <= -1)
            assert colour == 0 or colour != anticolour
        sources = [*one.colours[:2, 0], *one.colours[2:, 1]]
        ends = [*one.colours[:2, 1], *one.colours[2:, 0]]
        assert sorted(line for line in sources if line) == sorted(line for line in ends if line)
        assert len({line for line in sources if line}) == sum(line > 0 for line in sources)


def test_all_degrees_of_freedom_count_alike_where_there_are_many_particles() -> None:
    """Rates of a black body: 72 x 3/4 for quarks, 18 x 3/4 for leptons, 16 for gluons, 2 for photons, of 95.5."""
    hole = BlackHole(6, 1000.0, 1000.0, 1000.0, energy=1e6)
    rng = np.random.default_rng(6)
    found = [make_event(hole, Collision((2, 21), (2e5, 2e5)), rng) for _ in range(8)]
    ids = np.abs(np.concatenate([one.ids for one in found]))
    assert len(ids) > 2000
    for chosen, rate in ((ids <= 6, 54), ((ids >= 11) & (ids <= 16), 13.5), (ids == 21, 16), (ids == 22, 2)):
        share = rate / 95.5
        assert abs(np.mean(chosen) - share) < 0.03 * share + 4 * math.sqrt(share * (1 - share) / len(ids))


def test_masses_are_put_in_by_scaling_momenta() -> None:
    back_to_back = np.array([[0.0, 0.0, 500.0, 500.0], [0.0, 0.0, -500.0, 500.0]])
    found = on_shell(back_to_back, np.array([172.5, 172.5]), 1000.0)
    assert found[0] == pytest.approx([0, 0, math.sqrt(500.0**2 - 172.5**2), 500.0])


def test_pythia_showers_them_without_a_failure() -> None:
    lines = pythia_lines(load_process("black-holes"), {"mpi": "off", "planck_mass": 2000, "last_mass": 2000})
    truth = generate_truth(PartRequest("black-holes", lines, own_matrix_elements=False, seed=4, events=80))
    again = generate_truth(PartRequest("black-holes", lines, own_matrix_elements=False, seed=4, events=80))
    assert ak.array_equal(truth.particles, again.particles)
    assert truth.cross_section.failed <= 1
    assert ak.to_numpy(ak.sum(truth.particles.px, axis=1)) + truth.invisible_px == pytest.approx(0, abs=0.05)
    energy = ak.to_numpy(ak.sum(np.hypot(truth.particles.px, truth.particles.py), axis=1))
    assert np.median(energy) > 3000.0
    hole = black_hole_of(lines)
    assert hole is not None
    assert truth.cross_section.pb == pytest.approx(production(hole, XF).xsec_pb, rel=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimensions": 2.5}, r"dimensions: 2\.5 is no whole number"),
        ({"planck_mass": 8000}, r"minimum_mass: 6000 GeV is below the fundamental scale or the last mass, 8000 GeV"),
    ],
)
def test_a_model_without_black_holes_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputValueError, match=message):
        black_hole_of(pythia_lines(load_process("black-holes"), settings))


def test_a_hole_may_carry_the_charge_of_two_up_quarks() -> None:
    event = make_event(HOLE, Collision((2, 2), (3500.0, 3500.0)), np.random.default_rng(8))
    assert quantum_numbers(event.ids)[:2] == (4 / 3, 2 / 3)
