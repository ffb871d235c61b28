"""Joint p-values of strongly correlated scorers keep their promise; the smallest of single ones does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from darkop_dist.conformal import JointCalibration, calibrate_jointly, fix_fusion, unbinned_from_scores
from darkop_dist.conformal.fusion import STRATEGIES
from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError

LEVELS = 10.0 ** -np.arange(1, 5)
FINITE = st.floats(-50, 50)


def background(rng: np.random.Generator, events: int, correlation: float = 0.9) -> list[np.ndarray]:
    """Scores of three scorers that see mostly the same: normal, exponential and Cauchy, one with ten levels."""
    common = rng.normal(size=events)
    single = [correlation * common + np.sqrt(1 - correlation**2) * rng.normal(size=events) for _ in range(3)]
    return [single[0], np.floor(-3 * stats.norm.logsf(single[1])), np.tan(np.pi * (stats.norm.cdf(single[2]) - 0.5))]


def joint(strategy: str, reference: list[np.ndarray], calibrating: list[np.ndarray]) -> JointCalibration:
    fusion = fix_fusion(reference, strategy=strategy, fingerprints=["a", "b", "c"][: len(reference)])
    return calibrate_jointly(fusion, calibrating, source="background")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_validity_down_to_1e_4(strategy: str) -> None:
    """100 calibrations of n = 9999, 10 000 events each, seed 5: P(p <= a) <= a over calibration and event together.

    Given its calibration the rate is a Beta(a (n + 1), (1 - a) (n + 1)) variable for continuous scores, so that the
    counts are Beta-Binomial: their sum over calibrations may exceed its mean by five of its standard deviations. Joint
    scores hardly tie: down to 1e-3 the promise is also reached, to within as much and 2%.
    """
    rng, n, events, trials = np.random.default_rng(5), 9999, 10_000, 100
    seen = np.zeros(len(LEVELS))
    for _ in range(trials):
        p_values = joint(strategy, background(rng, 2000), background(rng, n)).p_values(background(rng, events))
        seen += np.sum(p_values[:, None] <= LEVELS * (1 + 1e-12), axis=0)
    ranks = np.round(LEVELS * (n + 1))
    spread = np.sqrt(trials * stats.betabinom.var(events, ranks, n + 1 - ranks))
    assert np.all(seen <= trials * events * LEVELS + 5 * spread)
    assert np.all(seen[:3] >= trials * events * LEVELS[:3] - 5 * spread[:3] - 0.02 * trials * events * LEVELS[:3])


def test_the_smallest_single_p_value_breaks_the_promise() -> None:
    """Three scorers of correlation 0.9: min p <= a more than 1.5 times as often as a, at every level, 200 000 events."""
    rng = np.random.default_rng(6)
    single = [unbinned_from_scores(x, source="b", fingerprint="f") for x in background(rng, 200_000)]
    tested = background(rng, 200_000)
    least = np.min([one.p_values(x) for one, x in zip(single, tested, strict=True)], axis=0)
    for level in LEVELS[:3]:
        assert np.sum(least <= level) > 1.5 * level * 200_000
    ours = joint("max", background(rng, 20_000), background(rng, 200_000)).p_values(tested)
    for level in LEVELS[:3]:
        assert np.sum(ours <= level) <= 200_000 * level + 5 * np.sqrt(2 * 200_000 * level)


def test_fisher_against_its_usual_law_breaks_it_too() -> None:
    rng = np.random.default_rng(7)
    single = [unbinned_from_scores(x, source="b", fingerprint="f") for x in background(rng, 100_000)]
    p_values = [one.p_values(x) for one, x in zip(single, background(rng, 100_000), strict=True)]
    naive = stats.chi2.sf(-2 * np.sum(np.log(p_values), axis=0), 6)
    assert np.sum(naive <= 1e-3) > 5 * 1e-3 * 100_000


@pytest.mark.parametrize(
    ("strategy", "shift"), [("max", (6.0, 0.0)), ("fisher", (2.5, 2.5)), ("rank-mean", (1.5, 1.5))]
)
def test_strategies_see_what_they_are_for(strategy: str, shift: tuple[float, float]) -> None:
    """Two independent scorers, one alarmed or both a little: more events at p <= 0.01 than the first scorer or another strategy."""
    rng = np.random.default_rng(8)

    def normal(events: int) -> list[np.ndarray]:
        return [rng.normal(size=events), rng.normal(size=events)]

    reference, calibrating = normal(5000), normal(20_000)
    signal = [x + by for x, by in zip(normal(4000), shift, strict=True)]
    found = {name: np.mean(joint(name, reference, calibrating).p_values(signal) <= 0.01) for name in STRATEGIES}
    other = "rank-mean" if strategy == "max" else "max"
    alone = unbinned_from_scores(calibrating[1], source="b", fingerprint="f").p_values(signal[1])
    assert found[strategy] > np.mean(alone <= 0.01) + 0.05
    assert strategy == "rank-mean" or found[strategy] > found[other] + 0.03


def test_by_hand() -> None:
    """Reference 1 2 3: surprises log(4/4), log(4/3), log(4/2); beyond 3 the mean excess over 1, (0 + 1 + 2)/3, is one."""
    fusion = fix_fusion([[3.0, 1.0, 2.0]], strategy="max", fingerprints=["a"])
    found = fusion.joint_scores([[0.0, 1.0, 1.5, 2.0, 3.0, 4.0, np.inf, -np.inf]])
    log = np.log
    assert found == pytest.approx([0, 0, log(4 / 3) / 2, log(4 / 3), log(2), log(2) + 1, np.inf, 0])
    two = fix_fusion([[3.0, 1.0, 2.0]] * 2, strategy="fisher", fingerprints=["a", "b"])
    assert two.joint_scores([[2.0], [3.0]]) == pytest.approx([log(4 / 3) + log(2)])
    mean = fix_fusion([[3.0, 1.0, 2.0]] * 2, strategy="rank-mean", fingerprints=["a", "b"])
    assert mean.joint_scores([[2.0], [3.0]]) == pytest.approx([(0.25 + 0.5) / 2])
    harmonic = fix_fusion([[3.0, 1.0, 2.0]] * 2, strategy="harmonic-mean", fingerprints=["a", "b"])
    assert harmonic.joint_scores([[2.0], [3.0]]) == pytest.approx([log(4 / 3 + 2)])


@given(
    reference=hnp.arrays(np.float64, st.integers(1, 30), elements=FINITE),
    scores=hnp.arrays(np.float64, st.integers(0, 30), elements=FINITE | st.just(np.inf)),
    strategy=st.sampled_from(list(STRATEGIES)),
)
def test_joint_scores_rise_with_each_score(reference: np.ndarray, scores: np.ndarray, strategy: str) -> None:
    """Also from a reference that is one number again and again; rounding apart."""
    fusion = fix_fusion([reference, reference], strategy=strategy, fingerprints=["a", "b"])
    found = fusion.joint_scores([np.sort(scores), np.zeros(len(scores))])
    assert not np.isnan(found).any()
    assert np.all(found[1:] >= found[:-1] - 1e-12)


def test_merge_is_joint_calibration() -> None:
    rng = np.random.default_rng(9)
    first, second, tested = (background(rng, 50) for _ in range(3))
    one = joint("fisher", background(rng, 100), first)
    both = one + calibrate_jointly(one.fusion, second, source="background")
    whole = calibrate_jointly(
        one.fusion, [np.append(x, y) for x, y in zip(first, second, strict=True)], source="background"
    )
    assert both.calibration == whole.calibration
    assert np.array_equal(both.p_values(tested), whole.p_values(tested))
    assert "whatever the dependence" in both.guarantee
    with pytest.raises(StatisticsError, match="two fusions cannot be added"):
        one + joint("fisher", second, first)


def test_refusals() -> None:
    good = [[1.0, 2.0], [3.0, 4.0]]
    fusion = fix_fusion(good, strategy="max", fingerprints=["a", "b"])
    with pytest.raises(UnknownNameError, match=r"unknown fusion strategy 'fischer'\. Did you mean fisher"):
        fix_fusion(good, strategy="fischer", fingerprints=["a", "b"])
    with pytest.raises(StatisticsError, match="there is no scorer"):
        fix_fusion([], strategy="max", fingerprints=[])
    with pytest.raises(StatisticsError, match="2 scorers have 1 fingerprints"):
        fix_fusion(good, strategy="max", fingerprints=["a"])
    with pytest.raises(StatisticsError, match="no reference events fix the map of a"):
        fix_fusion([[], []], strategy="max", fingerprints=["a", "b"])
    with pytest.raises(InputValueError, match="a: a reference score is infinite"):
        fix_fusion([[np.inf]], strategy="max", fingerprints=["a"])
    with pytest.raises(StatisticsError, match=r"scored \[2, 1\] events"):
        fusion.joint_scores([[1.0, 2.0], [3.0]])
    with pytest.raises(InputValueError, match="scores of scorer 1: 1 of 2 scores are NaN"):
        fusion.joint_scores([[1.0, 2.0], [3.0, np.nan]])
    with pytest.raises(StatisticsError, match="1 scorers cannot be joined by a fusion of 2"):
        fusion.joint_scores([[1.0]])
