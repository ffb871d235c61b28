from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.generation.card import load_card
from darkop_dist.generation.jet_calibration import jet_factors


def test_a_card_without_tables_has_its_two_terms() -> None:
    rules = load_card("simple").jet
    factors = jet_factors(np.full(50_000, 100.0), np.zeros(50_000), rules, np.random.default_rng(1))
    assert factors.mean() == pytest.approx(1, abs=0.002)
    assert factors.std() == pytest.approx(np.hypot(0.073, 0.036), rel=0.03)


@pytest.mark.parametrize("name", ["cms", "atlas"])
def test_the_cards_have_tables(name: str) -> None:
    rules = load_card(name).jet
    assert rules.calibration is not None
    assert "[fitted here: python -m darkop_dist.generation.jet_fit" in rules.calibration.source
    response = np.asarray(rules.calibration.response.values)
    assert 0.7 < response.min() < response.max() < 1.2
    factors = jet_factors(np.full(5, 50.0), np.linspace(-4, 4, 5), rules, np.random.default_rng(1))
    assert len(set(factors)) == 5


def test_hardly_a_jet_is_lost_however_wide() -> None:
    """Factors are Gaussian around 1 and stay positive; where they are cut is rare at a width of 0.38, the largest."""
    rules = load_card("cms").jet
    factors = jet_factors(np.full(100_000, 15.0), np.full(100_000, 2.8), rules, np.random.default_rng(1))
    assert factors.min() > 0
    assert np.mean(factors < 0.06) < 0.02
    assert np.median(factors) == pytest.approx(1 / 0.98, abs=0.02)
