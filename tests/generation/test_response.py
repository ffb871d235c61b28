from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from darkop_dist.generation.card import ResponseCard, load_card
from darkop_dist.generation.response import (
    CHARGED_HADRON,
    ELECTRON,
    MUON,
    NEUTRAL_HADRON,
    PHOTON,
    log_normal,
    measure,
)

CARD = load_card()
COUNT = 20_000


def particles(pdg: int, charge: float, pt: float, eta: float) -> ak.Array:
    """Many equal massless particles, one per event."""
    one = {"px": pt, "py": 0.0, "pz": pt * np.sinh(eta), "E": pt * np.cosh(eta), "id": pdg, "charge": charge}
    return ak.zip({name: ak.unflatten(np.full(COUNT, value), 1) for name, value in one.items()})


def measured(pdg: int, charge: float, pt: float, eta: float) -> ak.Array:
    return ak.flatten(measure(particles(pdg, charge, pt, eta), CARD, np.random.default_rng(1)))


def binomial(rate: float) -> float:
    """Four standard deviations of a rate measured with COUNT particles."""
    return 4 * float(np.sqrt(rate * (1 - rate) / COUNT))


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "sigma"),
    [
        (22, 50.0, 0.5, np.hypot(0.028 / np.sqrt(50 * np.cosh(0.5)), np.hypot(0.12 / (50 * np.cosh(0.5)), 0.011))),
        (130, 40.0, 1.0, np.hypot(1.10 / np.sqrt(40 * np.cosh(1.0)), 0.09)),
        (130, 20.0, 4.0, np.hypot(2.80 / np.sqrt(20 * np.cosh(4.0)), 0.11)),
    ],
)
def test_calorimeters_have_the_resolution_of_the_papers(pdg: int, pt: float, eta: float, sigma: float) -> None:
    """Mean within 4 sigma/sqrt(N); standard deviation within 4%, four times its uncertainty with this N and shape."""
    ratio = ak.to_numpy(measured(pdg, 0.0, pt, eta).E) / (pt * np.cosh(eta))
    assert len(ratio) == COUNT
    assert ratio.mean() == pytest.approx(1, abs=4 * sigma / np.sqrt(COUNT))
    assert ratio.std() == pytest.approx(sigma, rel=0.04)


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "kind", "rate"),
    [
        (211, 5.0, 0.5, CHARGED_HADRON, 0.94),
        (211, 5.0, 2.0, CHARGED_HADRON, 0.85),
        (211, 5.0, 3.0, CHARGED_HADRON, 0.0),
        (13, 30.0, 1.0, MUON, 0.99),
        (11, 30.0, 1.0, ELECTRON, 0.97),
    ],
)
def test_tracks_have_the_efficiency_of_the_card(pdg: int, pt: float, eta: float, kind: int, rate: float) -> None:
    found = measured(pdg, 1.0, pt, eta)
    assert float(ak.sum(found.kind == kind)) / COUNT == pytest.approx(rate, abs=binomial(rate) + 1e-12)
    without = found[found.kind != kind]
    assert ak.all(without.charge == 0)
    assert ak.all(without.kind == {13: -1, 11: PHOTON}.get(pdg, NEUTRAL_HADRON))


@pytest.mark.parametrize(
    ("pdg", "charge", "pt", "eta"),
    [(22, 0.0, 50.0, 5.2), (13, 1.0, 50.0, 2.6), (22, 0.0, 0.3, 0.0), (130, 0.0, 0.5, 0.0), (211, 1.0, 0.1, 0.0)],
)
def test_nothing_is_measured_outside_the_acceptance(pdg: int, charge: float, pt: float, eta: float) -> None:
    assert len(measured(pdg, charge, pt, eta)) == 0


def test_smearing_keeps_the_mean_however_wide() -> None:
    factors = log_normal(np.full(400_000, 0.8), np.random.default_rng(3).standard_normal(400_000))
    assert factors.min() > 0
    assert factors.mean() == pytest.approx(1, abs=4 * 0.8 / np.sqrt(400_000))
    assert factors.std() == pytest.approx(0.8, rel=0.02)


def one(card: str, seed: int = 5, **columns: object) -> ak.Array:
    """One event of particles, measured; what is not given is that of photons from the hard collision."""
    size = len(np.atleast_1d(columns["px"]))
    given = {"py": 0.0, "pz": 0.0, "id": 22, "charge": 0.0, "x": 0.0, "y": 0.0, "z": 0.0, "vertex": 0} | columns
    flat = {name: np.broadcast_to(np.asarray(value), (size,)) for name, value in given.items()}
    flat.setdefault("E", np.sqrt(flat["px"] ** 2 + flat["py"] ** 2 + flat["pz"] ** 2))
    event = ak.zip({name: ak.unflatten(values, size) for name, values in flat.items()})
    return measure(event, load_card(card), np.random.default_rng(seed))[0]


def exact(card: ResponseCard) -> ResponseCard:
    """The card without any error of the calorimeters."""
    change: dict[str, object] = {}
    for name in ("hadron_calorimeter", "electromagnetic_calorimeter"):
        part = getattr(card, name)
        nothing = (0.0,) * len(part.constant)
        cells = part.cells.model_copy(update={"position": 0.0})
        change[name] = part.model_copy(
            update={"stochastic": nothing, "noise": nothing, "constant": nothing, "cells": cells}
        )
    return card.model_copy(update=change)


@pytest.mark.parametrize("name", ["cms", "atlas"])
def test_cells_keep_energy_and_momentum(name: str) -> None:
    """Thousands of photons in few cells: sums stay, and each cell has one candidate."""
    rng = np.random.default_rng(2)
    counts = np.array([3000, 0, 2000])
    size = int(counts.sum())
    pt, eta, phi = rng.uniform(1, 5, size), rng.uniform(-2.9, 2.9, size), rng.uniform(-np.pi, np.pi, size)
    flat = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "E": pt * np.cosh(eta)}
    flat |= {"id": np.full(size, 22), "charge": np.zeros(size)}
    particles = ak.zip({key: ak.unflatten(values, counts) for key, values in flat.items()})
    card = exact(load_card(name))
    found = measure(particles, card, rng)
    assert len(found) == 3
    assert ak.num(found)[1] == 0
    assert 0 < ak.sum(ak.num(found)) < size
    for axis in ("px", "py", "pz", "E"):
        assert ak.to_list(ak.sum(found[axis], axis=1)) == pytest.approx(ak.to_list(ak.sum(particles[axis], axis=1)))
    assert ak.all(found.vertex == -1)


def test_photons_of_one_cell_are_one_candidate_and_of_two_events_are_not() -> None:
    near = 50 * np.array([1.0, 1.0])
    assert len(one("cms", px=near, pz=near * np.sinh([0.010, 0.012]))) == 1
    assert len(one("cms", px=near, pz=near * np.sinh([0.010, 0.030]))) == 2
    two = ak.zip({name: ak.Array([[value], [value]]) for name, value in {"px": 9.0, "py": 0.0, "pz": 0.1}.items()})
    two = ak.with_field(ak.with_field(ak.with_field(two, 9.1, "E"), 22, "id"), 0.0, "charge")
    assert ak.to_list(ak.num(measure(two, load_card("cms"), np.random.default_rng(1)))) == [1, 1]


def test_impact_parameters_are_those_of_straight_lines() -> None:
    """A muon along x from (20, 3, 5) mm: d0 = y, dz = z - 20 sinh(eta), in cm, within five standard deviations."""
    found = one(
        "cms", px=np.full(400, 40.0), pz=np.full(400, 40 * np.sinh(0.5)), id=13, charge=-1.0, x=20.0, y=3.0, z=5.0,
        vertex=4,
    )  # fmt: skip
    assert len(found) > 300
    assert ak.all(found.vertex == 4)
    assert 0 < found.d0_error[0] < 0.002
    assert ak.to_numpy(found.d0 - 0.3) == pytest.approx(0, abs=5 * found.d0_error[0])
    assert ak.to_numpy(found.dz - (0.5 - 2 * np.sinh(0.5))) == pytest.approx(0, abs=5 * found.dz_error[0])
    assert float(np.std(found.d0)) == pytest.approx(found.d0_error[0], rel=0.2)


def test_the_sign_of_d0_is_that_of_nanoaod() -> None:
    """NanoAOD has dxy = (-x py + y px) / pt: a muon along y from x = 1 mm has d0 = -0.1 cm."""
    found = one("cms", px=np.zeros(100), py=np.full(100, 40.0), id=13, charge=-1.0, x=1.0)
    assert float(np.mean(found.d0)) == pytest.approx(-0.1, abs=0.001)


def test_neutral_candidates_have_no_vertex_and_no_impact_parameter() -> None:
    found = one("cms", px=np.full(50, 30.0), pz=np.linspace(-40, 40, 50), id=22, x=1.0, z=30.0, vertex=7)
    assert len(found) > 10
    for name in ("d0", "dz", "d0_error", "dz_error", "charge"):
        assert ak.all(found[name] == 0)
    assert ak.all(found.vertex == -1)


def test_a_displaced_photon_points_from_the_hard_collision_to_where_it_arrives() -> None:
    """Along x from z = 400 mm to the crystals at r = 1290 mm: seen at tan(lambda) = 400 / 1290 with all its energy."""
    found = one("cms", px=np.full(1, 200.0), z=400.0)
    assert float(found.pz[0] / np.hypot(found.px[0], found.py[0])) == pytest.approx(400 / 1290, abs=0.01)
    assert float(found.E[0]) == pytest.approx(200, rel=0.06)


@pytest.mark.parametrize(("x", "z"), [(3000.0, 0.0), (0.0, 6000.0)])
def test_what_decays_behind_the_calorimeters_is_not_seen(x: float, z: float) -> None:
    assert len(one("cms", px=np.full(20, 100.0), id=130, x=x, z=z)) == 0


def test_displaced_tracks_are_lost_as_the_card_says() -> None:
    """Half of the pions that are produced 300 mm from the beam; within four binomial standard deviations."""
    size = 20_000
    event = one("cms", px=np.full(size, 5.0), pz=0.1, id=211, charge=1.0, x=300.0)
    rate = 0.94 * 0.5
    expected = pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / size))
    assert float(ak.sum(event.kind == CHARGED_HADRON)) / size == expected


def test_tracks_come_before_neutral_candidates_of_their_event() -> None:
    found = one("cms", px=np.array([20.0, 20.0, 20.0]), py=np.array([1.0, 5.0, 9.0]), id=[22, 13, 22], charge=[0, 1, 0])
    assert ak.to_list(found.kind) == [MUON, PHOTON, PHOTON]
