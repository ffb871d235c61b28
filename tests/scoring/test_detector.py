"""The detector finds what is anomalous and keeps its promise on background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from scipy import stats

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.scoring import resolve
from darkop_dist.scoring.detector import Anomaly, ConformalDetector

MakeEvents = Callable[..., ak.Array]


@pytest.fixture(scope="module")
def detector(checkpoint_directory: Path, make_events: MakeEvents) -> ConformalDetector:
    return ConformalDetector(operator=checkpoint_directory, background_data=make_events(1999, seed=11), alpha=0.01)


def test_extra_jets_are_found(detector: ConformalDetector, make_events: MakeEvents) -> None:
    events = ak.concatenate([make_events(200, seed=12), make_events(20, seed=13, extra=3)])
    found = detector.find_anomalies(events)
    signal = [anomaly for anomaly in found if anomaly.index >= 200]
    assert len(signal) >= 10
    assert len(found) - len(signal) <= stats.binom.ppf(1 - 1e-6, 200, 0.01)
    assert found == sorted(found, key=lambda anomaly: (anomaly.p_value, anomaly.index))
    p_values = detector.p_values(events)
    assert [index for index, _ in found] == [
        int(index) for index in np.lexsort((np.arange(220), p_values)) if p_values[index] <= 0.01
    ]
    assert all(isinstance(anomaly, Anomaly) and anomaly.p_value <= 0.01 for anomaly in found)


def test_p_values_of_background_keep_their_promise(detector: ConformalDetector, make_events: MakeEvents) -> None:
    p_values = detector.p_values(make_events(4000, seed=14))
    assert detector.calibration.n == 1999
    assert p_values.min() >= detector.calibration.floor == 1 / 2000
    for alpha in (0.01, 0.1, 0.5):
        # given the calibration, P(p <= alpha) fluctuates by sqrt(alpha (1 - alpha) / 1999); 4 sigma of both samples
        spread = np.sqrt(alpha * (1 - alpha) * (1 / 1999 + 1 / 4000))
        assert np.mean(p_values <= alpha) < alpha + 4 * spread


def test_several_samples_are_one(
    detector: ConformalDetector, checkpoint_directory: Path, make_events: MakeEvents
) -> None:
    events = make_events(1999, seed=11)
    several = ConformalDetector(resolve(checkpoint_directory), [events[:500], events[500:500], events[500:]], 0.01)
    assert several.calibration == detector.calibration


def test_no_events_give_no_anomalies(detector: ConformalDetector, make_events: MakeEvents) -> None:
    assert detector.find_anomalies(make_events(3, seed=1)[:0]) == []


def test_alpha_below_the_floor_is_refused(checkpoint_directory: Path, make_events: MakeEvents) -> None:
    with pytest.raises(StatisticsError, match=r"alpha = 0\.001 lies below .* n = 99"):
        ConformalDetector(checkpoint_directory, make_events(99, seed=1), alpha=1e-3)
    ConformalDetector(checkpoint_directory, make_events(99, seed=1), alpha=0.01)


@pytest.mark.parametrize("nothing", ["empty list", "empty array"])
def test_no_background_is_refused(checkpoint_directory: Path, make_events: MakeEvents, nothing: str) -> None:
    background = [] if nothing == "empty list" else make_events(1, seed=1)[:0]
    with pytest.raises(InputValueError, match="background_data: there are no events"):
        ConformalDetector(checkpoint_directory, background, alpha=0.5)
