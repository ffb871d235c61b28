from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from darkop_dist.errors import UnknownNameError
from darkop_dist.generation.response import (
    CHARGED_HADRON,
    ELECTRON,
    MUON,
    NEUTRAL_HADRON,
    PHOTON,
    load_card,
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
        (22, 50.0, 0.5, np.hypot(0.028 / np.sqrt(50 * np.cosh(0.5)), np.hypot(0.12 / (50 * np.cosh(0.5)), 0.003))),
        (130, 40.0, 1.0, np.hypot(1.10 / np.sqrt(40 * np.cosh(1.0)), 0.09)),
        (130, 20.0, 4.0, np.hypot(2.80 / np.sqrt(20 * np.cosh(4.0)), 0.11)),
    ],
)
def test_calorimeters_have_the_resolution_of_the_papers(pdg: int, pt: float, eta: float, sigma: float) -> None:
    """Mean within 4 sigma/sqrt(N); standard deviation within 4%, four times its uncertainty with this N and shape."""
    ratio = ak.to_numpy(measured(pdg, 0.0, pt, eta).px) / pt
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


def test_an_unknown_card_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown response card 'simpel'\. Did you mean simple\?"):
        load_card("simpel")
