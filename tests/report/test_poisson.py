from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from darkop_dist.report.poisson import ONE_SIGMA, garwood_errors


@given(st.integers(min_value=1, max_value=10_000))
def test_the_ends_invert_the_poisson_law(count: int) -> None:
    # Definition of the central interval: P(N >= n | lower) = P(N <= n | upper) = (1 - coverage) / 2.
    low, high = garwood_errors([count])
    tail = (1.0 - ONE_SIGMA) / 2.0
    assert stats.poisson.sf(count - 1, count - low[0]) == pytest.approx(tail, rel=1e-6)
    assert stats.poisson.cdf(count, count + high[0]) == pytest.approx(tail, rel=1e-6)


def test_numbers_agree_with_the_closed_form_and_the_published_table() -> None:
    # CMS statistics committee, "Poisson error bars": 0: 0 +1.841, 1: -0.827 +2.300, 2: -1.292 +2.638, 10: -3.108 +4.267.
    low, high = garwood_errors([0, 1, 2, 10])
    np.testing.assert_allclose(low, [0.0, 0.827, 1.292, 3.108], atol=1e-3)
    np.testing.assert_allclose(high, [1.841, 2.300, 2.638, 4.267], atol=1e-3)
    assert high[0] == pytest.approx(-np.log((1.0 - ONE_SIGMA) / 2.0))


def test_intervals_cover_at_least_as_often_as_stated() -> None:
    counts = np.arange(200)
    low, high = garwood_errors(counts)
    for mean in (0.3, 1.7, 4.0, 11.5):
        inside = (counts - low <= mean) & (mean <= counts + high)
        assert stats.poisson.pmf(counts, mean)[inside].sum() >= ONE_SIGMA
