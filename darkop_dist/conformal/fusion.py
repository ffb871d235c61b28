"""One p-value from several scorers: exact, whatever the dependence between them.

The scores of one event hang together, so that the smallest of their p-values, or Fisher's sum against its usual law, is
no p-value. Here each scorer's scores become surprises, -log of the probability to be exceeded, by a map that is fixed
on reference events; a strategy joins the surprises of an event into one number; and that number is calibrated like any
score, on other events.

Assumptions:
    Those of ``calibration``, and the reference events neither calibrate nor are tested. The map and the strategy are
    then one more fixed function of the event: P(p <= a) <= a for every a and every sample size, whatever scorers they
    join and however well the map describes them. What a strategy decides is the power, not the guarantee.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.binning import refuse_nan
from darkop_dist.conformal.calibration import Floats
from darkop_dist.conformal.unbinned import UnbinnedCalibration, unbinned_from_scores
from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError

TAIL_EVENTS = 100  # largest reference scores whose mean excess continues a map beyond them
GUARANTEE = "P(p <= a) <= a exactly, whatever the dependence between the scorers, by calibration of the joint score"

STRATEGIES: Mapping[str, Callable[[Floats], Floats]] = {
    "max": lambda surprises: np.max(surprises, axis=0),
    "fisher": lambda surprises: np.sum(surprises, axis=0),
    "rank-mean": lambda surprises: np.mean(-np.expm1(-surprises), axis=0),
    "harmonic-mean": lambda surprises: np.logaddexp.reduce(surprises, axis=0),
}
"""How surprises, shape (scorers, events), become one score, shape (events,): "max" is led by the scorer that is alarmed
most, "fisher" by all together, "rank-mean" by scorers that agree in the bulk, "harmonic-mean" (of the probabilities)
lies between max and fisher."""


@dataclass(frozen=True, eq=False)
class SurpriseMap:
    """Scores of one scorer to surprises, continuous and never falling.

    Attributes:
        scores: distinct reference scores, increasing, shape (knots,).
        surprises: -log((1 + reference scores at least as large)/(1 + n)) at each, shape (knots,).
        tail: what a surprise of 1 takes beyond the largest reference score, in units of the score.
    """

    scores: Floats
    surprises: Floats
    tail: float

    def __call__(self, scores: Floats) -> Floats:
        """Linear between the reference scores; beyond the largest one of an exponential tail; 0 below the smallest."""
        beyond = np.maximum(scores - self.scores[-1], 0.0) / self.tail
        return np.asarray(np.interp(scores, self.scores, self.surprises, left=0.0) + beyond, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Fusion:
    """Scores of several scorers to one, fixed on reference events. Build it with `fix_fusion`.

    Attributes:
        strategy: one of `STRATEGIES`.
        maps: one for each scorer, in order.
        fingerprint: the scorers' fingerprints, joined.
    """

    strategy: str
    maps: tuple[SurpriseMap, ...]
    fingerprint: str

    def joint_scores(self, scores: Sequence[npt.ArrayLike]) -> Floats:
        """One score for each event, larger is more anomalous, shape (events,).

        Args:
            scores: of the scorers in their order, shape (events,) each.

        Raises:
            StatisticsError: there are not as many scorers, or not as many events for each.
            InputValueError: a score is NaN.
        """
        columns = _columns(scores, "scores")
        if len(columns) != len(self.maps):
            raise StatisticsError(f"scores of {len(columns)} scorers cannot be joined by a fusion of {len(self.maps)}")
        return STRATEGIES[self.strategy](np.stack([one(x) for one, x in zip(self.maps, columns, strict=True)]))


@dataclass(frozen=True, eq=False)
class JointCalibration:
    """Joint conformal p-values of several scorers.

    Attributes:
        fusion: from scores to the joint score.
        calibration: of the joint score.
    """

    fusion: Fusion
    calibration: UnbinnedCalibration

    @property
    def guarantee(self) -> str:
        """What the p-values promise, in a sentence; the same for every strategy."""
        return GUARANTEE

    def p_values(self, scores: Sequence[npt.ArrayLike]) -> Floats:
        """The joint conformal p-value of each event, shape (events,), at least 1/(n + 1).

        Args:
            scores: of the scorers in their order, shape (events,) each.

        Raises:
            StatisticsError: there are not as many scorers, or not as many events for each.
            InputValueError: a score is NaN.
        """
        return self.calibration.p_values(self.fusion.joint_scores(scores))

    def __add__(self, other: JointCalibration) -> JointCalibration:
        """The calibration of both samples together, of one and the same fusion.

        Raises:
            StatisticsError: the fusions were fixed each for itself.
        """
        if not isinstance(other, JointCalibration):
            return NotImplemented
        if self.fusion is not other.fusion:
            raise StatisticsError("joint calibrations of two fusions cannot be added; calibrate both with one fusion")
        return JointCalibration(self.fusion, self.calibration + other.calibration)


def fix_fusion(reference: Sequence[npt.ArrayLike], *, strategy: str, fingerprints: Sequence[str]) -> Fusion:
    """Fix how scores are joined, on events that neither calibrate nor are tested.

    Args:
        reference: scores of background events by the scorers in their order, shape (events,) each.
        strategy: one of `STRATEGIES`.
        fingerprints: of the scorers, in their order.

    Raises:
        UnknownNameError: there is no such strategy.
        StatisticsError: there is no scorer or no event, or not as many events for each scorer, or fingerprints.
        InputValueError: a score is not finite.
    """
    if strategy not in STRATEGIES:
        raise UnknownNameError("fusion strategy", strategy, STRATEGIES, f"There are {', '.join(STRATEGIES)}.")
    columns = _columns(reference, "reference scores")
    if len(columns) != len(fingerprints):
        raise StatisticsError(f"{len(columns)} scorers have {len(fingerprints)} fingerprints: each needs one")
    maps = tuple(_surprise_map(values, fingerprint) for values, fingerprint in zip(columns, fingerprints, strict=True))
    return Fusion(strategy, maps, "+".join([strategy, *fingerprints]))


def calibrate_jointly(fusion: Fusion, scores: Sequence[npt.ArrayLike], *, source: str) -> JointCalibration:
    """Calibrate the joint score.

    Args:
        fusion: fixed on other events.
        scores: of background events by the scorers in their order, shape (events,) each.
        source: which events these are.

    Raises:
        StatisticsError: there are not as many scorers as the fusion joins, or not as many events for each.
        InputValueError: a score is NaN.
    """
    joint = fusion.joint_scores(scores)
    return JointCalibration(fusion, unbinned_from_scores(joint, source=source, fingerprint=fusion.fingerprint))


def _columns(scores: Sequence[npt.ArrayLike], source: str) -> list[Floats]:
    columns = [np.asarray(values, dtype=np.float64).ravel() for values in scores]
    if not columns:
        raise StatisticsError("there is no scorer to join; give at least one")
    sizes = [len(values) for values in columns]
    if len(set(sizes)) > 1:
        raise StatisticsError(f"the scorers scored {sizes} events: let each score the same events")
    for number, values in enumerate(columns):
        refuse_nan(int(np.isnan(values).sum()), values.size, f"{source} of scorer {number}")
    return columns


def _surprise_map(values: Floats, fingerprint: str) -> SurpriseMap:
    if not len(values):
        raise StatisticsError(f"no reference events fix the map of {fingerprint}; give background events")
    if not np.all(np.isfinite(values)):
        raise InputValueError(
            fingerprint, "a reference score is infinite", "Look at the model's inputs of these events."
        )
    knots, counts = np.unique(values, return_counts=True)
    reached = np.cumsum(counts[::-1])[::-1]
    surprises = np.log((1.0 + len(values)) / (1.0 + reached))
    highest = np.sort(values)[-TAIL_EVENTS - 1 :]
    excess = float(np.mean(highest - highest[0]))
    # A score that is always the same has no scale: any positive number continues the map.
    return SurpriseMap(knots, surprises, excess or max(abs(float(knots[-1])), 1.0))
