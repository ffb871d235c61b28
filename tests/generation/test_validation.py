from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.errors import UnknownNameError
from darkop_dist.generation.card import load_card
from darkop_dist.generation.comparison import QUANTITIES, Comparison
from darkop_dist.generation.published import load_published
from darkop_dist.generation.validation import _gun_comparison, validate
from darkop_dist.generation.validation_events import MissingMomenta, gun, matched_jets, missing_momenta


def test_agreement_is_the_tolerance_and_two_standard_deviations() -> None:
    one = Comparison(
        "jet_response", "", "", 0.1, (1.0,) * 4, (1.09, 1.15, 1.25, 0.8), (0.01, 0.03, 0.03, 0.01), (1.0,) * 4
    )
    assert one.agrees == (True, True, False, False)


@pytest.mark.parametrize("name", ["cms", "atlas"])
def test_guns_find_what_is_published(name: str) -> None:
    """Every curve of single particles agrees at every point: efficiencies, momenta, impact parameters."""
    card, rng = load_card(name), np.random.default_rng(8)
    curves = load_published(card).curve
    assert {curve.quantity for curve in curves} <= set(QUANTITIES)
    assert len(curves) >= 6
    wrong = [
        (curve.quantity, curve.label, found.ours, curve.y)
        for curve in curves
        if not all((found := _gun_comparison(curve, card, rng)).agrees)
    ]
    assert wrong == []


def test_a_worse_tracker_is_found_out() -> None:
    card = load_card("cms")
    assert card.tracker.resolution is not None
    worse = card.tracker.resolution.model_copy(
        update={"values": tuple(tuple(1.5 * x for x in row) for row in card.tracker.resolution.values)}
    )
    broken = card.model_copy(update={"tracker": card.tracker.model_copy(update={"resolution": worse})})
    curve = next(curve for curve in load_published(card).curve if curve.quantity == "track_resolution")
    assert not any(_gun_comparison(curve, broken, np.random.default_rng(1)).agrees)


def test_a_gun_shoots_from_the_radius() -> None:
    particles = gun(211, 1.0, np.array([5.0, 5.0]), np.array([0.0, 1.0]), radius_mm=100.0)
    assert particles.x.to_list() == [[100.0], [100.0]]
    assert particles.z.to_list() == [[0.0], [pytest.approx(100 * np.sinh(1.0))]]


def test_events_do_not_depend_on_the_number_of_workers() -> None:
    one, two = (
        matched_jets("cms", radii=(0.4,), events=260, seed=4, workers=workers, pt_min=20.0)[0] for workers in (1, 2)
    )
    assert len(one.pt) > 200
    assert np.array_equal(one.measured, two.measured)
    ratio = one.measured / one.pt
    assert 0.9 < np.median(ratio) < 1.05
    assert np.histogram(one.pt, [20, 60, 200, 2000])[0].min() > 30


def test_missing_momenta_come_in_pairs() -> None:
    found = missing_momenta("atlas", events=100, seed=4)
    error = found.errors("MET")
    assert error.shape == (200,)
    assert found.sum_et.shape == (100,)
    assert abs(np.mean(error)) < 5 * np.std(error) / np.sqrt(200)
    assert 2 < np.std(error) < 40


def test_an_error_across_is_perpendicular_to_the_z_boson() -> None:
    true, away = np.array([[3.0], [4.0]]), np.array([[-4.0], [3.0]]) / 5  # away: the perpendicular unit vector
    found = MissingMomenta({"MET": 1.5 * true - 2.0 * away}, true, np.array([50.0]), np.array([1.0]))
    assert found.across("MET") == pytest.approx([2.0])
    assert found.errors("MET") == pytest.approx([1.5 + 1.6, 2.0 - 1.2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cms", "atlas"])
def test_jets_have_response_one_and_the_published_resolution(name: str) -> None:
    """With events that the fit has not seen: nine points of ten agree, where 95% are expected and all did at first."""
    found = validate(name, events=1500, seed=3)
    for quantity in ("jet_response", "jet_resolution"):
        points = [agrees for one in found if one.quantity == quantity for agrees in one.agrees]
        assert len(points) > 25
        assert np.mean(points) > 0.9


def test_an_unknown_card_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown response card 'lhcb'"):
        validate("lhcb", events=1, seed=1)
