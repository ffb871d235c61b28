"""Dead and noisy parts: every change of the hardware's numbers against the scales, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from level1_events import random_inputs

from darkop_dist.events.level1 import input_ranges, load_scales
from darkop_dist.trigger.detector import Seen
from darkop_dist.trigger.faults import FAULTS, dead_sector, no_electrons, noisy_tower

MET, EGAMMA, MUON, JET = 0, 1, 5, 9
"""Places of the first object of each kind among the 19."""

KINDS = ((EGAMMA, MUON), (MUON, JET), (JET, 19))


def seen(*objects: tuple[int, int, int, int]) -> Seen:
    """One crossing with objects of (place, pt, eta, phi), in steps, and regions of 7 steps."""
    inputs = np.zeros((1, 19, 3), dtype=np.int16)
    for place, *steps in objects:
        inputs[0, place] = steps
    return Seen(inputs.reshape(1, 57), np.full((1, 14, 18), 7, dtype=np.uint16))


def after(change: Seen) -> np.ndarray:
    return change.inputs.reshape(19, 3)


def azimuth(step: int) -> float:
    """Of a step of missing momentum, in degrees."""
    return (step + 0.5) * 360 / load_scales().met.phi_steps


def test_a_dead_sector_ends_at_60_degrees_for_every_kind() -> None:
    found = after(dead_sector(seen((EGAMMA, 9, 1, 23), (EGAMMA + 1, 8, 1, 24), (MUON, 9, 1, 95), (MUON + 1, 8, 1, 96))))
    assert found[EGAMMA : EGAMMA + 2].tolist() == [[8, 1, 24], [0, 0, 0]], "what is left moves up"
    assert found[MUON : MUON + 2].tolist() == [[8, 1, 96], [0, 0, 0]], "muons have steps of 0.625 degrees"
    assert found[MET].tolist() == [0, 0, 0], "without a lost jet missing momentum stays, to the last step"


def test_missing_momentum_gains_a_lost_jet() -> None:
    found = after(dead_sector(seen((JET, 200, 3, 12), (JET + 1, 100, 5, 84))))
    assert found[JET : JET + 2].tolist() == [[100, 5, 84], [0, 0, 0]]
    assert found[MET].tolist() == [200, 0, 12], "100 GeV at 31.25 degrees"
    balanced = after(dead_sector(seen((MET, 200, 0, 84), (JET, 200, 3, 12))))
    assert balanced[MET, 0] == 0, "what was missing opposite to the jet is no longer"


def test_the_calorimeters_regions_die_too() -> None:
    regions = dead_sector(seen()).regions[0]
    assert (regions[:, :3] == 0).all()
    assert (regions[:, 3:] == 7).all()


def test_no_electrons() -> None:
    before = seen((EGAMMA, 9, 1, 50), (JET, 30, 1, 50), (MET, 5, 0, 3))
    found = after(no_electrons(before))
    assert found[EGAMMA].tolist() == [0, 0, 0]
    assert found[[JET, MET]].tolist() == [[30, 1, 50], [5, 0, 3]], "the towers are there"


def test_a_noisy_tower_is_an_electron_a_jet_and_missing_momentum() -> None:
    """50 GeV are 100 steps; the tower reaches from 0.435 to 0.522 and from 90 to 95 degrees: steps 11 and 37."""
    scales = load_scales()
    assert scales.towers.eta_edges[5:7] == (0.435, 0.522)
    found = after(noisy_tower(seen((JET, 300, 0, 0), (JET + 1, 50, 0, 9), (EGAMMA, 120, 2, 2))))
    assert found[EGAMMA : EGAMMA + 2].tolist() == [[120, 2, 2], [100, 11, 37]]
    assert found[JET : JET + 3].tolist() == [[300, 0, 0], [100, 11, 37], [50, 0, 9]]
    assert found[MET, 0] * scales.met.pt_lsb_gev == pytest.approx(50.0, abs=0.5)
    assert azimuth(found[MET, 2]) == pytest.approx(272.5, abs=1.3)
    regions = noisy_tower(seen()).regions[0]
    assert regions[8, 4] == 107, "positive pseudorapidity from the eighth ring on, 80 to 100 degrees"
    assert regions.sum() == 7 * 14 * 18 + 100


def test_ten_harder_jets_hide_a_noisy_tower() -> None:
    objects = [(JET + place, 400 - place, 4, 5) for place in range(10)]
    found = after(noisy_tower(seen(*objects)))
    assert found[JET:, 0].tolist() == list(range(400, 390, -1))
    assert found[EGAMMA].tolist() == [100, 11, 37]


def test_objects_stay_in_order() -> None:
    objects = random_inputs(300).astype(np.int16).reshape(300, 19, 3)
    for first, last in KINDS:
        order = np.argsort(-objects[:, first:last, 0], axis=1)
        objects[:, first:last] = np.take_along_axis(objects[:, first:last], order[..., None], axis=1)
    before = Seen(objects.reshape(300, 57), np.ones((300, 14, 18), dtype=np.uint16))
    for fault in FAULTS:
        found = fault.apply(before).inputs.reshape(300, 19, 3)
        for first, last in KINDS:
            assert (np.diff(found[:, first:last, 0], axis=1) <= 0).all()


def test_nothing_leaves_the_scales() -> None:
    low, high = input_ranges()
    inputs = random_inputs(500).astype(np.int16)
    regions = np.full((500, 14, 18), 1000, dtype=np.uint16)
    before = Seen(inputs.copy(), regions.copy())
    for fault in FAULTS:
        found = fault.apply(before)
        assert ((found.inputs >= low) & (found.inputs <= high)).all()
        assert found.regions.max() <= 1023
        assert (found.inputs.dtype, found.regions.dtype) == (np.int16, np.uint16)
    assert (before.inputs == inputs).all()
    assert (before.regions == regions).all()
