"""Weighted calibrations: by hand, merged, with negative weights, and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darkop_dist.conformal import (
    WeightedCalibration,
    check_uniformity,
    check_weighted_uniformity,
    from_scores,
    weighted_from_histogram,
    weighted_from_scores,
)
from darkop_dist.errors import InputFileError, InputValueError, StatisticsError

EDGES = [0.0, 1.0, 2.0, 3.0]


def calibrated(scores: list[float], weights: list[float], **options: object) -> WeightedCalibration:
    return weighted_from_scores(scores, weights, edges=EDGES, source="W+jets", fingerprint="f", **options)  # type: ignore[arg-type]


def test_by_hand() -> None:
    found = calibrated([0.5, 1.5, 2.5], [1.0, 2.0, 0.5])
    # w* = 2, sum 3.5: overflow 2/5.5, [2,3) 2.5/5.5, [1,2) 4.5/5.5, the rest 1
    assert found.bin_p_values == pytest.approx([1.0, 1.0, 4.5 / 5.5, 2.5 / 5.5, 2 / 5.5])
    assert found.p_values([2.9, 3.0, -7.0]) == pytest.approx([2.5 / 5.5, 2 / 5.5, 1.0])
    assert found.floor == pytest.approx(2 / 5.5)
    assert found.effective_size == pytest.approx(3.5**2 / 5.25)
    assert "exactly" in found.guarantee
    assert "above 2" in found.guarantee


def test_unit_weights_are_the_unweighted_p_values() -> None:
    rng = np.random.default_rng(1)
    scores, tested = rng.uniform(0, 3.3, 400), rng.uniform(-0.5, 3.5, 50)
    unweighted = from_scores(scores, edges=EDGES, source="b", fingerprint="f")
    weighted = weighted_from_scores(scores, np.ones(400), edges=EDGES, source="b", fingerprint="f")
    assert weighted.p_values(tested) == pytest.approx(unweighted.p_values(tested), rel=1e-14)
    assert weighted.effective_size == pytest.approx(400)


def test_the_scale_of_the_weights_does_not_matter() -> None:
    one, other = (calibrated([0.5, 1.5, 2.5], [s * w for w in (1.0, 2.0, 0.5)]) for s in (1.0, 1e-7))
    assert one.bin_p_values == pytest.approx(other.bin_p_values)


def test_parts_add_up() -> None:
    rng = np.random.default_rng(2)
    scores, weights = rng.uniform(0, 3.3, 400), rng.exponential(size=400)
    parts = [
        weighted_from_scores(scores[i::3], weights[i::3], edges=EDGES, source="b", fingerprint="f") for i in range(3)
    ]
    whole = weighted_from_scores(scores, weights, edges=EDGES, source="b", fingerprint="f")
    merged = parts[0] + parts[1] + parts[2]
    assert merged.bin_p_values == pytest.approx(whole.bin_p_values)
    assert (merged.largest, merged.calibration.n) == (whole.largest, 400)
    of_histogram = weighted_from_histogram(
        whole.calibration.counts,
        whole.sums,
        whole.squares,
        edges=EDGES,
        source="b",
        fingerprint="f",
        largest=whole.largest,
    )
    assert of_histogram.bin_p_values == pytest.approx(whole.bin_p_values)


def test_negative_weights_are_refused_or_withdraw_the_guarantee() -> None:
    scores, weights = [0.5, 1.5, 1.6, 2.5, 2.6], [3.0, 1.0, 1.0, 1.0, -1.5]
    with pytest.raises(StatisticsError, match=r"1 of 5 weights of W\+jets are negative.*fold=True"):
        calibrated(scores, weights)
    folded = calibrated(scores, weights, fold=True)
    # tails from above: -0.5 counts as 0, then 1.5, then 4.5; w* = 3
    assert folded.bin_p_values == pytest.approx([1.0, 1.0, 4.5 / 7.5, 3 / 7.5, 3 / 7.5])
    assert folded.guarantee.startswith("no guarantee")
    assert (folded + calibrated([0.5], [1.0])).guarantee.startswith("no guarantee")
    assert not calibrated([0.5], [1.0], fold=True).folded


def test_bad_input_is_named() -> None:
    for scores, weights, options, message in (
        ([0.5], [1.0, 2.0], {}, "1 scores and 2 weights"),
        ([0.5], [np.nan], {}, "1 weights of W\\+jets are not finite"),
        ([0.5], [0.0], {}, "add up to 0"),
        ([], [], {}, "add up to 0"),
        ([0.5], [2.0], {"largest": 1.0}, "is 2, above the bound 1 "),
    ):
        with pytest.raises(StatisticsError, match=message):
            calibrated(scores, weights, **options)
    with pytest.raises(InputValueError, match="1 of 1 scores are NaN"):
        calibrated([np.nan], [1.0])
    with pytest.raises(InputValueError, match="under test"):
        calibrated([0.5], [1.0]).p_values([np.nan])
    with pytest.raises(StatisticsError, match=r"alpha = 0.001 is not between 0.5.*as good as 1 unweighted"):
        calibrated([0.5], [1.0]).require_alpha(1e-3)
    with pytest.raises(StatisticsError, match=r"exceed the bound 1 "):
        weighted_from_histogram(
            np.array([0, 1, 0]),
            np.array([0, 2.0, 0]),
            np.array([0, 4.0, 0]),
            edges=[0, 1],
            source="b",
            fingerprint="f",
            largest=1.0,
        )
    with pytest.raises(StatisticsError, match="negative or not finite"):
        weighted_from_histogram(
            np.array([0, 1, 0]),
            np.array([0, -2.0, 0]),
            np.array([0, 4.0, 0]),
            edges=[0, 1],
            source="b",
            fingerprint="f",
            largest=3.0,
        )


def test_negative_weights_in_a_histogram_withdraw_the_guarantee() -> None:
    scores, weights = [0.5, 1.5, 1.6, 2.5, 2.6], [3.0, 1.0, 1.0, 1.0, -1.5]
    folded = calibrated(scores, weights, fold=True)
    counts, bins = folded.calibration.counts, {"edges": EDGES, "source": "W+jets", "fingerprint": "f"}
    again = weighted_from_histogram(counts, folded.sums, folded.squares, largest=3.0, fold=True, **bins)  # type: ignore[arg-type]
    assert again == folded
    assert again.guarantee.startswith("no guarantee")
    with pytest.raises(StatisticsError, match="negative or not finite in a bin"):
        weighted_from_histogram(counts, folded.sums, folded.squares, largest=3.0, **bins)  # type: ignore[arg-type]
    with pytest.raises(StatisticsError, match=r"exceed the bound 1 "):
        weighted_from_histogram(counts, folded.sums, folded.squares, largest=1.0, fold=True, **bins)  # type: ignore[arg-type]


def test_written_and_read(tmp_path: Path) -> None:
    found = calibrated([0.5, 1.5, 2.5], [1.0, 2.0, -0.5], fold=True)
    found.save(tmp_path / "c.json")
    again = WeightedCalibration.load(tmp_path / "c.json")
    assert again == found
    assert hash(again) == hash(found)
    with pytest.raises(InputFileError, match=r"c\.json: is not a weighted calibration .*exceed the bound 0.1"):
        WeightedCalibration.from_dict(found.to_dict() | {"largest": 0.1}, origin="c.json")
    with pytest.raises(InputFileError, match=r"is not a weighted calibration .*sums"):
        WeightedCalibration.from_dict({"calibration": found.calibration.to_dict()})


def test_the_check_of_unit_weights_is_the_unweighted_one() -> None:
    rng = np.random.default_rng(3)
    scores, held_out = rng.uniform(0, 3.3, 900), rng.uniform(0, 3.3, 400)
    weighted = [
        weighted_from_scores(s, np.full(len(s), 0.3), edges=EDGES, source="b", fingerprint="f")
        for s in (scores, held_out)
    ]
    plain, counted = (from_scores(s, edges=EDGES, source="b", fingerprint="f") for s in (scores, held_out))
    one, other = check_weighted_uniformity(*weighted), check_uniformity(plain, counted.counts)
    for name in ("levels", "fraction", "low", "high", "expected_sigma", "max_deviation_p_value"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9), name
    with pytest.raises(StatisticsError, match="binned differently"):
        check_weighted_uniformity(
            weighted[0], weighted_from_scores([1], [1], edges=[0, 9], source="b", fingerprint="f")
        )
    with pytest.raises(StatisticsError, match="confidence level of 2"):
        check_weighted_uniformity(*weighted, confidence_level=2)
