"""The area under the ROC curve against scikit-learn, and its error against the spread of toys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from darkop_dist.errors import InputValueError
from darkop_dist.operators.auc import evaluate_auc


@given(seed=st.integers(0, 1000), n_b=st.integers(1, 60), n_s=st.integers(1, 60), weighted=st.booleans())
def test_the_value_is_that_of_scikit_learn(seed: int, n_b: int, n_s: int, *, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    background, signal = rng.integers(0, 8, n_b), rng.integers(2, 10, n_s)  # many ties
    weights = rng.uniform(0.5, 2.0, n_b + n_s) if weighted else np.ones(n_b + n_s)
    expected = roc_auc_score(np.repeat([0, 1], [n_b, n_s]), np.concatenate([background, signal]), sample_weight=weights)
    found = evaluate_auc(background, signal, background_weights=weights[:n_b], signal_weights=weights[n_b:])
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert (found.n_background, found.n_signal) == (n_b, n_s)


def test_the_uncertainty_is_the_spread_of_toys() -> None:
    rng = np.random.default_rng(3)
    toys = [evaluate_auc(rng.normal(size=200), rng.normal(0.7, size=100)) for _ in range(400)]
    spread = np.std([toy.value for toy in toys])
    # the spread of 400 toys is known to 3.5%; Hanley and McNeil's exponential model is good to some per cent here
    assert np.mean([toy.uncertainty for toy in toys]) == pytest.approx(spread, rel=0.15)


def test_equal_weights_change_nothing() -> None:
    rng = np.random.default_rng(4)
    background, signal = rng.normal(size=50), rng.normal(1.0, size=40)
    plain = evaluate_auc(background, signal)
    scaled = evaluate_auc(background, signal, background_weights=np.full(50, 3.0), signal_weights=np.full(40, 0.1))
    assert scaled.value == pytest.approx(plain.value)
    assert scaled.uncertainty == pytest.approx(plain.uncertainty)


def test_bad_samples_are_refused() -> None:
    with pytest.raises(InputValueError, match="signal scores: shape"):
        evaluate_auc([1.0], [])
    with pytest.raises(InputValueError, match="background scores: scores or weights are not finite"):
        evaluate_auc([np.nan], [1.0])
    with pytest.raises(InputValueError, match="total weight is not positive"):
        evaluate_auc([1.0, 2.0], [1.0], background_weights=[1.0, -1.0])
