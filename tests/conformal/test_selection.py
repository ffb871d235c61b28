"""The false discovery rate is kept, and too few calibration events are told what they need."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.conformal import benjamini_hochberg, from_scores
from darkop_dist.errors import StatisticsError


def test_by_hand() -> None:
    """Five p-values at a rate of 0.1: 0.01 <= .02, 0.03 <= .04, 0.05 <= .06, 0.2 > .08, 0.9 > .1."""
    found = benjamini_hochberg([0.05, 0.9, 0.01, 0.2, 0.03], rate=0.1, n=99)
    assert found.selected.tolist() == [True, False, True, False, True]
    assert found.adjusted == pytest.approx([0.05 * 5 / 3, 0.9, 0.05, 0.25, 0.03 * 5 / 2])
    assert found.fewest == 1


def test_the_condition_on_the_calibration() -> None:
    """With n = 99 and m = 1000 at a rate of 0.1, 100 events with the smallest p-value are selected and 99 are not."""
    for anomalous in (99, 100):
        p_values = np.concatenate([np.full(anomalous, 0.01), np.linspace(0.5, 1, 1000 - anomalous)])
        found = benjamini_hochberg(p_values, rate=0.1, n=99)
        assert found.fewest == 100
        assert found.selected.sum() == (anomalous if anomalous >= found.fewest else 0)


def test_the_rate_is_kept() -> None:
    """500 calibrations of 2000; 300 events, 40 of them anomalous: mean false fraction below 0.2 * 260/300 + 4 errors."""
    rng, edges = np.random.default_rng(3), np.linspace(-5, 10, 15_001).tolist()
    false, true = [], []
    for _ in range(500):
        calibration = from_scores(rng.normal(size=2000), edges=edges, source="b", fingerprint="f")
        scores = np.concatenate([rng.normal(size=260), rng.normal(4.0, 1.0, size=40)])
        selected = benjamini_hochberg(calibration.p_values(scores), rate=0.2, n=2000).selected
        false.append(selected[:260].sum() / max(selected.sum(), 1))
        true.append(selected[260:].mean())
    error = np.std(false) / np.sqrt(len(false))
    assert np.mean(false) <= 0.2 * 260 / 300 + 4 * error
    assert np.mean(true) > 0.9


def test_bad_input_is_named() -> None:
    with pytest.raises(StatisticsError, match=r"rate of 1\.5 is not between"):
        benjamini_hochberg([0.5], rate=1.5, n=99)
    with pytest.raises(StatisticsError, match="without NaN"):
        benjamini_hochberg([np.nan], rate=0.1, n=99)
    with pytest.raises(StatisticsError, match=r"0.001 lies below 1/\(n \+ 1\) = 0.01"):
        benjamini_hochberg([0.001], rate=0.1, n=99)
    with pytest.raises(StatisticsError, match=r"can select nothing.*at least 99, and with 199 to be"):
        benjamini_hochberg([0.5, 0.5], rate=0.01, n=9)
    assert benjamini_hochberg([], rate=0.1, n=99).selected.size == 0
