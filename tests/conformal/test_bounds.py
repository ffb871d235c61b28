"""p-values that hold given the calibration: closed forms, and how often a calibration breaks them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from darkop_dist.conformal import clopper_pearson, conditional_p_values, from_counts, from_scores
from darkop_dist.conformal.bounds import Band
from darkop_dist.errors import StatisticsError

EDGES = np.linspace(0, 1, 1001)


def test_the_smallest_are_closed_forms() -> None:
    """No event above: 1 - delta^(1/n) pointwise, 1 - delta^(2/n) by Simes with k = n/2, and by DKW 1/n + its width."""
    n, delta = 1000, 0.1
    calibration = from_scores(np.zeros(n), edges=[0.0, 0.5, 1.0], source="b", fingerprint="f")
    found = {
        band: conditional_p_values(calibration, band=band, confidence_level=0.9)[-1]
        for band in ("pointwise", "simes", "dkw")
    }
    assert found["pointwise"] == pytest.approx(1 - delta ** (1 / n))
    assert found["pointwise"] == pytest.approx(clopper_pearson([0], n, 1 - 2 * delta)[1][0])
    assert found["simes"] == pytest.approx(1 - delta ** (2 / n))
    assert found["dkw"] == pytest.approx(1 / n + math.sqrt(math.log(2 / delta) / (2 * n)))


def test_simes_is_its_product() -> None:
    """b_(n+1-i) = 1 - delta^(1/k) (i ... (i-k+1) / (n ... (n-k+1)))^(1/k), multiplied out for n = 12, k = 6."""
    calibration = from_counts(np.ones(12, dtype=np.int64), np.arange(11.0).tolist(), "b", "f")
    found = conditional_p_values(calibration, band="simes", confidence_level=0.8)

    def by_hand(rank: int) -> float:
        i = 13 - rank
        return 1 - (0.2 * math.prod((i - j) / (12 - j) for j in range(6))) ** (1 / 6) if i >= 6 else 1.0

    ranks = 1 + np.arange(12, 0, -1)
    assert found == pytest.approx([1.0 if rank > 12 else by_hand(int(rank)) for rank in ranks])


@pytest.mark.parametrize("band", ["simes", "dkw", "pointwise"])
def test_a_calibration_seldom_breaks_them(band: Band) -> None:
    """2000 calibrations of 200 uniform scores: true tails exceed a band, or one bin fixed beforehand, in at most 10%."""
    rng, trials = np.random.default_rng(5), 2000
    tails = 1 - np.concatenate([[0.0], EDGES])  # of under- and overflow too: P(score in this bin or above)
    broken = 0
    for _ in range(trials):
        calibration = from_scores(rng.uniform(size=200), edges=EDGES.tolist(), source="b", fingerprint="f")
        bound = conditional_p_values(calibration, band=band, confidence_level=0.9)
        too_small = tails > bound + 1e-12
        broken += bool(too_small[950] if band == "pointwise" else too_small.any())
    assert broken <= stats.binom.isf(1e-6, trials, 0.1)
    if band != "dkw":
        assert broken > 0.02 * trials  # and they are no wider than they must be


def test_they_stand_for_large_samples() -> None:
    """N = 10**9: the band is near the pointwise bound of no event, -2 log(delta)/n, with six digits."""
    counts = np.array([0, 10**9, 0])
    found = conditional_p_values(from_counts(counts, [0.0, 1.0], "b", "f"), confidence_level=0.95)
    assert found[-1] == pytest.approx(-2 * math.log(0.05) / 1e9, rel=1e-6)
    assert np.all(np.diff(found) <= 0)


def test_bad_input_is_named() -> None:
    empty = from_counts(np.zeros(3, dtype=np.int64), [0.0, 1.0], "b", "f")
    with pytest.raises(StatisticsError, match="without events bounds nothing"):
        conditional_p_values(empty)
    with pytest.raises(StatisticsError, match=r"confidence level of 1\.0"):
        conditional_p_values(empty, confidence_level=1.0)
    with pytest.raises(StatisticsError, match="no band 'simess'; choose pointwise, simes or dkw"):
        conditional_p_values(from_counts([1, 1, 1], [0.0, 1.0], "b", "f"), band="simess")  # type: ignore[arg-type]
