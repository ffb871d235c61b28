"""The Gaussian mixture against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from darkop_dist.errors import FitError, InputValueError
from darkop_dist.operators.density import DensitySettings, fit_mixture, score_mixture, weight_shapes


def sample(events: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first = rng.multivariate_normal([500.0, 1.0], [[900.0, 20.0], [20.0, 1.0]], events)
    second = rng.multivariate_normal([800.0, -2.0], [[400.0, 0.0], [0.0, 0.2]], events)
    return np.where(rng.random((events, 1)) < 0.7, first, second)


def test_the_score_is_that_of_scikit_learn() -> None:
    features, settings = sample(600), DensitySettings(components=2)
    weights = fit_mixture(features, settings, seed=4)
    assert {name: array.shape for name, array in weights.items()} == weight_shapes(settings, 2)
    mixture = GaussianMixture(2, n_init=3, max_iter=500, reg_covar=1e-4, random_state=4)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    tested = sample(100, seed=2).astype(np.float32)
    expected = -mixture.fit(standard).score_samples((tested - features.mean(axis=0)) / features.std(axis=0))
    np.testing.assert_allclose(score_mixture(tested, weights), expected, rtol=1e-5)


def test_one_component_is_a_normal_distribution() -> None:
    features = np.random.default_rng(3).normal(10.0, 2.0, (5000, 1))
    weights = fit_mixture(features, DensitySettings(components=1), seed=1)
    x = np.linspace(0.0, 20.0, 11, dtype=np.float32)[:, None]
    z = (x[:, 0] - features.mean()) / features.std()
    np.testing.assert_allclose(score_mixture(x, weights), -stats.norm.logpdf(z), rtol=1e-3)


def test_far_away_the_score_stays_finite_and_grows() -> None:
    weights = fit_mixture(sample(500), DensitySettings(components=2), seed=1)
    far = np.array([[1e3, 0.0], [1e5, 0.0], [1e10, 0.0]], dtype=np.float32)
    scores = score_mixture(far, weights)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()


def test_an_event_does_not_depend_on_the_events_beside_it() -> None:
    weights = fit_mixture(sample(500), DensitySettings(components=3), seed=1)
    tested = sample(100, seed=3).astype(np.float32)
    scores = score_mixture(tested, weights)
    np.testing.assert_array_equal(
        np.concatenate([score_mixture(tested[i : i + 7], weights) for i in range(0, 100, 7)]), scores
    )


def test_what_cannot_be_fitted_is_refused() -> None:
    constant = np.column_stack([np.arange(300.0), np.full(300, 7.0)])
    with pytest.raises(InputValueError, match="column 1: it is constant"):
        fit_mixture(constant, DensitySettings(), seed=1)
    with pytest.raises(InputValueError, match="3 events for 4 components"):
        fit_mixture(sample(3), DensitySettings(), seed=1)
    with pytest.raises(FitError, match="did not converge in 1 iterations"):
        fit_mixture(sample(300), DensitySettings(iterations=1, starts=1), seed=1)
