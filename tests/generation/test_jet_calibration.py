from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.generation.card import load_card
from darkop_dist.generation.jet_calibration import calibrated


@pytest.mark.parametrize("name", ["cms", "atlas"])
def test_the_cards_have_tables(name: str) -> None:
    rules = load_card(name).jet
    assert "[fitted here: python -m darkop_dist.generation.jet_fit" in rules.calibration.source
    response = np.asarray(rules.calibration.response.values)
    assert 0.7 < response.min() < response.max() < 1.2
    factors = calibrated(np.full(5, 50.0), np.linspace(-4, 4, 5), rules.calibration, np.random.default_rng(1))
    assert len(set(factors)) == 5


def test_hardly_a_jet_is_lost_however_wide() -> None:
    """Factors are Gaussian around 1 and stay positive; where they are cut is rare at a width of 0.38, the largest."""
    rules = load_card("cms").jet
    factors = calibrated(np.full(100_000, 15.0), np.full(100_000, 2.8), rules.calibration, np.random.default_rng(1))
    assert factors.min() > 0
    assert np.mean(factors < 0.06) < 0.02
    assert np.median(factors) == pytest.approx(1 / 0.98, abs=0.02)
