"""Exact split-conformal calibration that keeps every score: no bins, no edges to fix, memory of one number per event.

The assumptions and the guarantee are those of ``calibration``. For more events than fit into memory, propose edges on
other events and calibrate with `from_chunks`: bins can only make p-values larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.binning import refuse_nan
from darkop_dist.conformal.calibration import (
    Calibration,
    Floats,
    from_scores,
    joined_source,
    require_alpha,
    require_one_fingerprint,
)
from darkop_dist.errors import InputValueError, StatisticsError

TAIL_REACH, TAIL_BINS = 100.0, 50


@dataclass(frozen=True, eq=False)
class UnbinnedCalibration:
    """The background scores themselves. Build it with `unbinned_from_scores`.

    Attributes:
        scores: float64, increasing, shape (n,); infinities are scores, NaN is none.
        source: which events calibrate.
        fingerprint: the scorer's fingerprint.
    """

    scores: Floats
    source: str
    fingerprint: str

    def __post_init__(self) -> None:
        checked = _sorted(self.scores, self.source)
        checked.setflags(write=False)
        object.__setattr__(self, "scores", checked)

    @property
    def n(self) -> int:
        """Number of calibration events."""
        return len(self.scores)

    @property
    def floor(self) -> float:
        """The smallest p-value that can occur, 1/(n + 1)."""
        return 1.0 / (self.n + 1)

    def p_values(self, scores: npt.ArrayLike) -> Floats:
        """The conformal p-value of each event.

        Args:
            scores: scores of the events, any shape; larger is more anomalous.

        Returns:
            (1 + number of calibration scores at least as large) / (n + 1), in the shape of the scores (Bates et al.,
            arXiv:2104.08279, section 1, with ties counted against the event).

        Raises:
            InputValueError: a score is NaN.
        """
        tested = np.asarray(scores, dtype=np.float64)
        refuse_nan(int(np.isnan(tested).sum()), tested.size, "scores under test")
        reached = self.n - np.searchsorted(self.scores, tested, side="left")
        return np.asarray((1.0 + reached) / (self.n + 1.0), dtype=np.float64)

    def require_alpha(self, alpha: float) -> None:
        """Refuse a significance level that this many calibration events cannot reach.

        Raises:
            StatisticsError: alpha lies below the floor 1/(n + 1), or is no probability.
        """
        require_alpha(alpha, self.n, self.source)

    def binned(self, edges: Sequence[float]) -> Calibration:
        """The same events in bins, to be written or added to others; p-values stay valid and can only become larger.

        Args:
            edges: increasing bin edges, fixed on other events.

        Raises:
            StatisticsError: the edges do not increase.
        """
        return from_scores(self.scores, edges=edges, source=self.source, fingerprint=self.fingerprint)

    def __add__(self, other: UnbinnedCalibration) -> UnbinnedCalibration:
        """The calibration of both samples together.

        Raises:
            StatisticsError: the fingerprints differ.
        """
        if not isinstance(other, UnbinnedCalibration):
            return NotImplemented
        require_one_fingerprint(self.fingerprint, other.fingerprint, (self.source, other.source))
        both = np.concatenate([self.scores, other.scores])
        return UnbinnedCalibration(both, joined_source(self.source, other.source), self.fingerprint)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UnbinnedCalibration):
            return NotImplemented
        same = self.source == other.source and self.fingerprint == other.fingerprint
        return same and np.array_equal(self.scores, other.scores)

    def __hash__(self) -> int:
        return hash((self.n, self.source, self.fingerprint))


def unbinned_from_scores(scores: npt.ArrayLike, *, source: str, fingerprint: str) -> UnbinnedCalibration:
    """Calibrate with the scores of background events, without bins.

    Args:
        scores: scores of the events, any order, shape (events,).
        source: which events these are.
        fingerprint: the scorer's fingerprint.

    Raises:
        InputValueError: a score is NaN.
    """
    return UnbinnedCalibration(np.asarray(scores), source, fingerprint)


def propose_edges(scores: npt.ArrayLike, *, share: float = 0.02) -> Floats:
    """Edges for a calibration in bins, from events that will neither calibrate nor be tested.

    Each bin holds about `share` of the sample's scores that lie in it or above, so that a p-value in bins is about
    1/(1 - share) times the unbinned one at most, down to single events of the sample. Above its largest score 50 more
    bins grow logarithmically in the distance to the median, up to 100 times that of the largest score, so that
    events far beyond still differ from each other. There the guarantee holds as everywhere, but bins are coarse: let
    the sample not be much smaller than the calibration.

    Args:
        scores: of background events, shape (events,).
        share: between 0 and 1; a tenth of it takes ten times the bins.

    Returns:
        Increasing edges, shape (bins + 1,), float64, each one a float32 number.

    Raises:
        InputValueError: a score is not finite.
        StatisticsError: share is none, there are fewer than 50 scores, or half of them are the largest one.
    """
    if not 0.0 < share < 1.0:
        raise StatisticsError(f"a share of {share} is not between 0 and 1; choose 0.02")
    values = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    if not np.isfinite(values).all():
        raise InputValueError("scores for edges", f"{np.sum(~np.isfinite(values))} are not finite", "Leave them out.")
    if len(values) < 50:
        raise StatisticsError(f"{len(values)} scores fix no edges; give at least 50")
    median, largest = values[len(values) // 2], values[-1]
    if largest == median:
        raise StatisticsError("half of the scores for the edges are the largest one; a score must tell events apart")
    steps = int(np.ceil(np.log(len(values)) / -np.log1p(-share)))
    above = np.unique(np.round(len(values) * (1.0 - share) ** np.arange(steps + 1)).astype(np.int64))
    bulk = values[len(values) - above[above > 0]]
    tail = median + np.geomspace(1.0, TAIL_REACH, TAIL_BINS + 1)[1:] * (largest - median)
    return np.unique(np.concatenate([bulk, tail]).astype(np.float32)).astype(np.float64)


def _sorted(scores: npt.ArrayLike, source: str) -> Floats:
    values = np.array(scores, dtype=np.float64).ravel()
    refuse_nan(int(np.isnan(values).sum()), values.size, source)
    values.sort(kind="stable")  # fast where the scores are sorted, or two sorted pieces
    return values
