"""Which events to call anomalous when the background is reweighted: the false discovery rate under covariate shift.

Weighted p-values of one calibration need not depend positively on each other, so that nothing proves that Benjamini and
Hochberg's procedure keeps its rate with them. Weighted conformal selection does (Jin and Candes, arXiv:2307.09291,
algorithm 1).

Assumptions:
    Calibration and tested events are independent. Background under test has the density of the calibration events
    times a weight that is a known function of the event, fixed without looking at either: each tested event has its
    own weight too. With weights that were estimated, or that leave out part of the shift, nothing is proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError

Floats = npt.NDArray[np.float64]
Pruning = Literal["deterministic", "heterogeneous", "homogeneous"]

ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class WeightedSelection:
    """Events that are called anomalous, with what led to it.

    Attributes:
        selected: whether each event is, shape (events,).
        p_values: weighted conformal p-values, shape (events,).
        sizes: R_j, how many the auxiliary p-values of event j select; 0 where its p-value exceeds the rate.
        first: events that pass p <= rate sizes/events, of which pruning keeps the selected ones, shape (events,).
        rate: bound on the expected fraction of background among the selected.
        pruning: how they were pruned.
    """

    selected: npt.NDArray[np.bool_]
    p_values: Floats
    sizes: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]
    rate: float
    pruning: Pruning


def weighted_conformal_selection(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    *,
    calibration_scores: npt.ArrayLike,
    calibration_weights: npt.ArrayLike,
    rate: float,
    pruning: Pruning = "deterministic",
    rng: np.random.Generator | None = None,
) -> WeightedSelection:
    """Select events so that the expected fraction of background among them is at most a rate, under known weights.

    For event j let p_l(j) be the p-value of event l where j stands in for itself among the calibration events, and
    p_j(j) = 0; R_j is how many Benjamini and Hochberg select of these. Event j passes if p_j <= rate R_j/m. Of those
    that pass, the ones with u_j R_j <= r remain, where r is the largest number for which at least r do:

    - "deterministic": u_j = 1. The same answer each time; with unit weights it is Benjamini and Hochberg's.
    - "heterogeneous": each u_j uniform in [0, 1] by itself; selects at least as many, and others with another seed.
    - "homogeneous": one uniform u for all; the same.

    Time grows as the number of tested events times that of those with p_j <= rate.

    Args:
        scores: of the m events under test, shape (events,); larger is more anomalous. Ties count against events.
        weights: of the same events, positive, shape (events,).
        calibration_scores: of background, shape (background,).
        calibration_weights: on the same scale, not negative, shape (background,).
        rate: false discovery rate, between 0 and 1.
        pruning: see above.
        rng: source of the u_j, which only random pruning needs.

    Raises:
        StatisticsError: the rate is none, arrays differ in length, weights are negative, not finite or all zero, there
            is no calibration, or random pruning has no rng.
        InputValueError: a score is NaN.
        UnknownNameError: there is no such pruning.
    """
    if not 0.0 < rate < 1.0:
        raise StatisticsError(f"a false discovery rate of {rate} is not between 0 and 1; choose for example 0.1")
    tested, own = _checked(scores, weights, "events under test")
    known, given = _checked(calibration_scores, calibration_weights, "calibration events")
    if np.any(own == 0):
        raise StatisticsError("the weight of an event under test is 0: no background of the calibration is like it")
    if given.sum() <= 0:
        raise StatisticsError("the calibration events have no weight; calibrate with background events")
    order = np.argsort(-tested, kind="stable")
    above, total = _weight_reached(known, given, tested)
    p_values = (above + own) / (total + own)
    sizes = np.zeros(len(tested), dtype=np.int64)
    for j in np.flatnonzero(p_values <= rate * (1 + ROUNDING)):
        sizes[j] = _auxiliary_size(tested, above, total, j=int(j), weight=float(own[j]), order=order, rate=rate)
    first = (sizes > 0) & (p_values * len(tested) <= rate * sizes * (1 + ROUNDING))
    selected = first & _kept(sizes, first, _draws(pruning, len(tested), rng))
    return WeightedSelection(selected, p_values, sizes, first, rate, pruning)


def _checked(scores: npt.ArrayLike, weights: npt.ArrayLike, source: str) -> tuple[Floats, Floats]:
    values, given = (np.asarray(array, dtype=np.float64).ravel() for array in (scores, weights))
    if values.shape != given.shape:
        raise StatisticsError(f"{values.size} scores and {given.size} weights of {source}: each needs one of each")
    missing = int(np.isnan(values).sum())
    if missing:
        raise InputValueError(source, f"{missing} of {values.size} scores are NaN", "Look for NaN in the inputs.")
    wrong = int(np.sum(~(np.isfinite(given) & (given >= 0))))
    if wrong:
        raise StatisticsError(
            f"{wrong} of {given.size} weights of {source} are negative or not finite: nothing is proved"
        )
    return values, given


def _weight_reached(known: Floats, given: Floats, tested: Floats) -> tuple[Floats, float]:
    """Sum of the calibration weights whose score is at least that of each tested event, and of all: rounded alike."""
    order = np.argsort(known, kind="stable")
    sums = np.append(np.cumsum(given[order][::-1])[::-1], 0.0)
    return sums[np.searchsorted(known[order], tested, side="left")], float(sums[0])


def _auxiliary_size(
    tested: Floats, above: Floats, total: float, *, j: int, weight: float, order: npt.NDArray[np.intp], rate: float
) -> int:
    """R_j. Auxiliary p-values fall with the score: those by falling score, after the 0 of j, are sorted."""
    others = order[order != j]
    sorted_p = (above[others] + weight * (tested[j] >= tested[others])) / (total + weight)
    ranks = np.arange(2, len(tested) + 1)
    passed = np.flatnonzero(sorted_p * len(tested) <= rate * ranks * (1 + ROUNDING))
    return int(passed[-1]) + 2 if len(passed) else 1


def _draws(pruning: Pruning, events: int, rng: np.random.Generator | None) -> Floats:
    if pruning not in get_args(Pruning):
        raise UnknownNameError("pruning", pruning, get_args(Pruning), f"There are {', '.join(get_args(Pruning))}.")
    if pruning == "deterministic":
        return np.ones(events)
    if rng is None:
        raise StatisticsError(f"{pruning} pruning draws numbers: give rng=numpy.random.default_rng(SEED)")
    return rng.uniform(size=events) if pruning == "heterogeneous" else np.full(events, rng.uniform())


def _kept(sizes: npt.NDArray[np.int64], first: npt.NDArray[np.bool_], draws: Floats) -> npt.NDArray[np.bool_]:
    """The events with u R <= r, for the largest r that at least r of those in the first step keep."""
    values = draws * sizes
    increasing = np.sort(values[first])
    enough = np.flatnonzero(increasing <= np.arange(1, len(increasing) + 1))
    largest = enough[-1] + 1 if len(enough) else 0
    return np.asarray(values <= largest, dtype=np.bool_)
