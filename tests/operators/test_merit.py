from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from darkop_dist.errors import InputValueError
from darkop_dist.operators.merit import working_point


def test_normal_scores_have_the_efficiency_of_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    background, signal = rng.normal(0.0, 1.0, 200_000), rng.normal(1.5, 1.0, 50_000)
    for efficiency in (1e-2, 1e-3):
        found = working_point(background, signal, efficiency)
        assert found is not None
        expected = stats.norm.sf(stats.norm.isf(efficiency) - 1.5) / math.sqrt(efficiency)
        assert found.background_left == round(efficiency * 200_000)
        assert found.sic_low < found.sic < found.sic_high
        width = found.sic_high - found.sic_low
        assert found.sic == pytest.approx(expected, abs=3.0 * width)


def test_the_interval_covers() -> None:
    """200 trials of 2000 events; the interval covers at least 68%, 5 standard errors below are allowed."""
    rng, covered = np.random.default_rng(2), 0
    expected = stats.norm.sf(stats.norm.isf(0.01) - 1.0) / 0.1
    for _ in range(200):
        found = working_point(rng.normal(0.0, 1.0, 2000), rng.normal(1.0, 1.0, 2000), 0.01)
        assert found is not None
        covered += found.sic_low <= expected <= found.sic_high
    assert covered / 200 > 0.68 - 5 * math.sqrt(0.68 * 0.32 / 200)


def test_without_background_left_nothing_is_said() -> None:
    assert working_point(np.arange(999.0), [2000.0], 1e-3) is None
    found = working_point(np.arange(1000.0), [2000.0, 1.0], 1e-3)
    assert found is not None
    assert (found.background_left, found.threshold, found.signal_efficiency) == (1, 999.0, 0.5)


def test_ties_at_the_cut_are_all_kept_and_counted() -> None:
    found = working_point(np.repeat([0.0, 1.0], [90, 10]), [1.0], 0.05)
    assert found is not None
    assert found.background_left == 10
    assert found.sic == pytest.approx(1.0 / math.sqrt(0.1))


def test_bad_scores_are_refused() -> None:
    with pytest.raises(InputValueError, match="not finite"):
        working_point([1.0, np.nan], [1.0], 0.5)
    with pytest.raises(InputValueError, match="between 0 and 1"):
        working_point([1.0, 2.0], [1.0], 1.5)
