"""The classifier on samples whose separation is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.classifier import ClassifierSettings, discriminate

QUICK = ClassifierSettings(width=16, epochs=20, batch_size=200, learning_rate=2e-3)


def normal(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, 3)).astype(np.float32)


def test_shifted_normals_have_the_auc_of_the_likelihood_ratio() -> None:
    """The best AUC for a shift d of length sqrt(3) is Phi(d / sqrt 2) = 0.890; 800 test rows of each give 0.008."""
    found = discriminate(normal(4000, 1), normal(4000, 2, 1.0), seed=3, settings=QUICK)
    assert found.auc == pytest.approx(norm.cdf(np.sqrt(1.5)), abs=0.03)
    assert 0.3 < found.jsd < 0.5
    assert found.tested == 800
    assert found.auc_error == pytest.approx(0.008, abs=0.003)


def test_equal_samples_cannot_be_told_apart() -> None:
    """800 test rows of each leave a standard error of 0.0144 at an AUC of one half; five of them are allowed."""
    found = discriminate(normal(4000, 1), normal(4000, 2), seed=3, settings=QUICK)
    assert abs(found.auc - 0.5) < 0.072
    assert found.jsd < 0.02


def test_samples_that_do_not_overlap_end_the_training() -> None:
    found = discriminate(normal(400, 1), normal(400, 2, 20.0), seed=3, settings=QUICK)
    assert (found.auc, found.jsd) == pytest.approx((1.0, 1.0), abs=1e-3)


def test_the_seed_decides() -> None:
    short = replace(QUICK, epochs=2)
    first, again, other = (discriminate(normal(200, 1), normal(200, 2), seed=s, settings=short) for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_samples_of_other_sizes_are_refused() -> None:
    with pytest.raises(InputValueError, match="Give samples of equal size"):
        discriminate(normal(200, 1), normal(100, 2), seed=1, settings=QUICK)
    with pytest.raises(InputValueError, match="of 10 showers or more"):
        discriminate(normal(9, 1), normal(9, 2), seed=1, settings=QUICK)
