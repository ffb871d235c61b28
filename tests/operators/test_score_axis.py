"""The score axis: increasing whatever the scores, quantiles in the bulk, far reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.errors import InputValueError
from darkop_dist.operators.score_axis import fix_score_axis


@given(seed=st.integers(0, 1000), events=st.integers(50, 3000), offset=st.floats(-1e3, 1e3), width=st.floats(1e-2, 1e4))
def test_edges_increase_and_fill_evenly(seed: int, events: int, offset: float, width: float) -> None:
    scores = (offset + width * np.random.default_rng(seed).exponential(size=events)).astype(np.float32)
    edges = np.array(fix_score_axis(scores, label="score", sample="toy").edges)
    assert (np.diff(edges) > 0).all()
    assert (edges.astype(np.float32) == edges).all()
    assert edges[-1] > scores.max()
    assert len(edges) <= 201


def test_the_bulk_is_quantiles_and_the_tail_is_fine() -> None:
    rng = np.random.default_rng(1)
    edges = fix_score_axis(rng.exponential(size=20_000).astype(np.float32), label="score", sample="toy").edges
    assert len(edges) == 201
    fresh = rng.exponential(size=100_000)
    counts, _ = np.histogram(fresh, edges)
    # 150 bins hold 95%: 633 events each, with the fluctuations of both samples (133 events fixed each bin)
    assert abs(counts[:150] / (0.95 * 100_000 / 150) - 1.0).max() < 6 * np.sqrt(1 / 133 + 1 / 633)
    assert sum(edge > 10.0 for edge in edges) > 20
    assert edges[-1] == pytest.approx(100 * fresh.max(), rel=0.5)


def test_negative_scores_are_fine() -> None:
    scores = np.random.default_rng(2).normal(-10.0, 1.0, 1000).astype(np.float32)
    edges = fix_score_axis(scores, label="score", sample="toy").edges
    assert edges[0] == pytest.approx(scores.min())


def test_useless_scores_are_refused() -> None:
    with pytest.raises(InputValueError, match="49 events are too few"):
        fix_score_axis(np.arange(49, dtype=np.float32), label="s", sample="toy")
    with pytest.raises(InputValueError, match="more than 45%"):
        fix_score_axis(np.ones(100, dtype=np.float32), label="s", sample="toy")
    with pytest.raises(InputValueError, match="scores are not finite"):
        fix_score_axis(np.full(100, np.nan, dtype=np.float32), label="s", sample="toy")
