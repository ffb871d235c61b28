"""Calibrations by category: each event is compared with its own kind. Validity is in test_validity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darkop_dist.conformal import Calibration, MondrianCalibration, from_scores
from darkop_dist.errors import InputFileError, StatisticsError, UnknownNameError


def of(scores: list[float], fingerprint: str = "f") -> Calibration:
    return from_scores(scores, edges=[0, 1, 2, 3], source="b", fingerprint=fingerprint)


def test_by_hand_and_merged() -> None:
    mondrian = MondrianCalibration({"run G": of([0.5, 1.5, 2.5]), "run H": of([2.5])})
    assert mondrian.p_values([2.5, 2.5, 3.5], ["run G", "run H", "run H"]) == pytest.approx([0.5, 1.0, 0.5])
    assert mondrian.floors == {"run G": 0.25, "run H": 0.5}
    merged = mondrian + MondrianCalibration({"run H": of([0.5, 0.5]), "run F": of([])})
    assert {name: calibration.n for name, calibration in merged.categories.items()} == {
        "run G": 3,
        "run H": 3,
        "run F": 0,
    }
    assert merged.p_values(np.array([2.5]), np.array(["run H"])) == pytest.approx([0.5])


def test_bad_input_is_named() -> None:
    mondrian = MondrianCalibration({"two jets": of([0.5] * 99), "three jets": of([0.5])})
    with pytest.raises(UnknownNameError, match="four jets"):
        mondrian.p_values([1.0], ["four jets"])
    with pytest.raises(StatisticsError, match="2 scores and 1 categories"):
        mondrian.p_values([1.0, 2.0], ["two jets"])
    with pytest.raises(StatisticsError, match=r"category three jets: alpha = 0.02 lies below 0.5.*at least 49 events"):
        mondrian.require_alpha(0.02)
    with pytest.raises(StatisticsError, match="different models"):
        MondrianCalibration({"a": of([1.0], "f"), "b": of([1.0], "g")})
    with pytest.raises(StatisticsError, match="at least one category"):
        MondrianCalibration({})


def test_written_and_read(tmp_path: Path) -> None:
    mondrian = MondrianCalibration({"run G": of([0.5, 1.5, 2.5]), "run H": of([2.5])})
    mondrian.save(tmp_path / "c.json")
    assert MondrianCalibration.load(tmp_path / "c.json") == mondrian
    with pytest.raises(InputFileError, match=r"holds no calibrations by category .*categories"):
        MondrianCalibration.from_dict({})
    broken = mondrian.to_dict()
    broken["categories"]["run H"]["n"] = 7  # type: ignore[index]
    with pytest.raises(InputFileError, match=r"c\.json, run H: says n = 7, its counts add up to 1"):
        MondrianCalibration.from_dict(broken, origin="c.json")
