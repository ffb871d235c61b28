"""The p-values are valid, exactly, for any binning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from darkop_dist.conformal import Calibration, from_counts, from_scores
from darkop_dist.errors import InputFileError, InputValueError, OutputError, StatisticsError

EDGES = (0.0, 1.0, 2.0, 3.0)
SCORES = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(-1, 4, allow_nan=False))


def calibration_of(scores: np.ndarray, source: str = "background") -> Calibration:
    return from_scores(scores, edges=EDGES, source=source, fingerprint="abc")


def test_p_values_by_hand() -> None:
    calibration = calibration_of(np.array([-5.0, 0.5, 0.5, 1.0, 2.5, 9.0]))
    assert calibration.counts.tolist() == [1, 2, 1, 1, 1]
    assert calibration.n == 6
    assert calibration.floor == pytest.approx(1 / 7)
    # own bin and above: underflow 6, [0,1) 5, [1,2) 3, [2,3) 2, overflow (the last edge is in it) 1
    p_values = calibration.p_values([-1.0, 0.0, 1.0, 2.999, 3.0, np.inf])
    assert p_values == pytest.approx(np.array([7, 6, 4, 3, 2, 2]) / 7)


@pytest.mark.parametrize("bins", [1, 10, 1000])
def test_validity_over_repeated_experiments(bins: int) -> None:
    """P(p <= a) <= a over calibration and test event together.

    20 000 independent experiments of n = 39 calibration events and one test event, seed 7. At each a = r/40 the number
    of p <= a may exceed the binomial expectation only by what has probability 1e-6.
    """
    trials, n = 20_000, 39
    rng = np.random.default_rng(7)
    scores = rng.exponential(size=(trials, n + 1))
    edges = np.linspace(0.0, 5.0, bins + 1)
    p_values = np.array(
        [
            from_scores(row[:n], edges=edges, source="background", fingerprint="abc").p_values(row[n:])[0]
            for row in scores
        ]
    )
    for r in (1, 2, 4, 10, 20, 30):
        level = r / (n + 1)
        assert np.sum(p_values <= level + 1e-12) <= stats.binom.isf(1e-6, trials, level)
    if bins == 1000:  # nearly no ties: then the level is also reached, not only kept
        assert np.sum(p_values <= 0.25 + 1e-12) >= stats.binom.ppf(1e-6, trials, 0.22)


def test_ties_make_p_values_larger_never_smaller() -> None:
    """Ten levels of score: the coarse p-value is at least the one of the exact ranks."""
    rng = np.random.default_rng(3)
    background, tested = rng.uniform(size=500), rng.uniform(size=200)
    coarse = from_scores(background, edges=np.linspace(0, 1, 11), source="b", fingerprint="f").p_values(tested)
    ranks = (1 + np.sum(background[None, :] >= tested[:, None], axis=1)) / 501
    assert np.all(coarse >= ranks)
    assert len(np.unique(coarse)) <= 10


@given(first=SCORES, second=SCORES)
def test_merge_is_joint_calibration(first: np.ndarray, second: np.ndarray) -> None:
    assert calibration_of(first) + calibration_of(second) == calibration_of(np.concatenate([first, second]))


@given(background=SCORES, tested=SCORES)
def test_p_values_fall_with_the_score_and_keep_their_range(background: np.ndarray, tested: np.ndarray) -> None:
    calibration = calibration_of(background)
    p_values = calibration.p_values(np.sort(tested))
    assert np.all(np.diff(p_values) <= 0)
    assert np.all((p_values >= calibration.floor) & (p_values <= 1))


@given(background=SCORES)
def test_save_and_load_is_identity(tmp_path_factory: pytest.TempPathFactory, background: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("calibration") / "calibration.json"
    calibration = calibration_of(background)
    calibration.save(path)
    assert Calibration.load(path) == calibration
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_hundred_million_events_stay_exact() -> None:
    counts = np.array([0, 99_999_999, 0, 1, 0], dtype=np.int64)
    calibration = from_counts(counts, EDGES, "background", "abc")
    assert (calibration + calibration).n == 200_000_000
    assert calibration.p_values([1.5])[0] == pytest.approx(2 / 100_000_001, rel=1e-15)


def test_alpha_below_the_floor_is_refused_with_the_number_needed() -> None:
    calibration = calibration_of(np.zeros(99))
    calibration.require_alpha(0.01)
    with pytest.raises(StatisticsError, match=r"below 0\.01.* n = 99 .*at least 9999 events"):
        calibration.require_alpha(1e-4)


@pytest.mark.parametrize("alpha", [0.1, 1e-3, 1e-7, 3e-7, 0.3, 2.867e-7])
def test_the_number_said_to_be_needed_is_the_smallest_that_works(alpha: float) -> None:
    with pytest.raises(StatisticsError) as refused:
        calibration_of(np.zeros(0)).require_alpha(alpha)
    needed = int(str(refused.value).split("at least ")[1].split()[0])
    from_counts([0, needed, 0, 0, 0], EDGES, "background", "abc").require_alpha(alpha)
    with pytest.raises(StatisticsError, match=f"at least {needed} events"):
        from_counts([0, needed - 1, 0, 0, 0], EDGES, "background", "abc").require_alpha(alpha)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, float("nan")])
def test_alpha_must_be_a_probability(alpha: float) -> None:
    with pytest.raises(StatisticsError, match="not a probability"):
        calibration_of(np.zeros(9)).require_alpha(alpha)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(InputValueError, match="QCD: 1 of 3 scores are NaN"):
        calibration_of(np.array([0.0, np.nan, 1.0]), "QCD")
    with pytest.raises(InputValueError, match="1 of 2 scores are NaN"):
        calibration_of(np.zeros(3)).p_values([np.nan, 1.0])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.array([0.0, 1.5, 0, 0, 0]), "weighted"),
        (np.array([0, 1, -1, 0, 0]), "negative in 1 bins"),
        (np.array([1, 1, 1]), r"need \(5,\)"),
    ],
)
def test_unusable_counts_are_refused(counts: np.ndarray, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        from_counts(counts, EDGES, "background", "abc")


@pytest.mark.parametrize("edges", [(1.0,), (0.0, 0.0), (1.0, 0.0), (0.0, float("nan"))])
def test_edges_must_increase(edges: tuple[float, ...]) -> None:
    with pytest.raises(StatisticsError, match="increasing"):
        from_scores([0.0], edges=edges, source="background", fingerprint="abc")


def test_only_like_is_added_to_like() -> None:
    calibration = calibration_of(np.zeros(3))
    with pytest.raises(StatisticsError, match="different models"):
        calibration + from_counts(calibration.counts, EDGES, "background", "other")
    with pytest.raises(StatisticsError, match="different bins"):
        calibration + from_counts(calibration.counts, (0.0, 1.0, 2.0, 4.0), "background", "abc")
    with pytest.raises(StatisticsError, match=r"shape \(3,\) has no p-values"):
        calibration.p_values_of_counts([1, 2, 3])


def test_p_values_of_counts_are_those_of_the_bins() -> None:
    calibration = calibration_of(np.array([0.5, 1.5, 1.5]))
    of_bins = calibration.p_values_of_counts(np.zeros(5, dtype=int))
    assert of_bins == pytest.approx(calibration.p_values([-1, 0.5, 1.5, 2.5, 3.5]))


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(InputFileError, match=r"calibration\.json: no such file"):
        Calibration.load(path)
    path.write_text("{")
    with pytest.raises(InputFileError, match="cannot be read as JSON"):
        Calibration.load(path)
    path.write_text('{"schema": "darkop.calibration/99"}')
    with pytest.raises(InputFileError, match=r"darkop\.calibration/99"):
        Calibration.load(path)
    content = calibration_of(np.zeros(3)).to_dict()
    with pytest.raises(InputFileError, match="says n = 4, its counts add up to 3"):
        Calibration.from_dict({**content, "n": 4})
    with pytest.raises(InputFileError, match=r"is not a calibration .*weighted"):
        Calibration.from_dict({**content, "counts": [0, 0.5, 0, 0, 0]})
    with pytest.raises(OutputError, match="cannot be written"):
        calibration_of(np.zeros(3)).save(tmp_path / "absent" / "calibration.json")
