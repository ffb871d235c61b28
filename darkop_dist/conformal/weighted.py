"""Conformal p-values from weighted background: simulation with weights, or one that was reweighted to the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.binning import bins_of, look_up
from darkop_dist.conformal.calibration import Calibration, Counts, Floats, from_counts, from_scores
from darkop_dist.errors import InputFileError, StatisticsError
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.weighted-calibration/1"
EXACT = (
    "P(p <= a) <= a holds exactly for background whose density is that of the calibration events times their weight, "
    "as long as no event under test would have a weight above {largest:.6g}"
)
NONE = "no guarantee: some weights are negative, and no weighted p-value is exact then"


@dataclass(frozen=True, eq=False)
class WeightedCalibration:
    """Sums of weights of background scores in bins. Build it with `weighted_from_scores`.

    An event of the calibration with weight w stands for w events of the background under test. The event under test
    has a weight too, which is not known for data: it gets the largest, w*, which makes p-values largest (Tibshirani et
    al., arXiv:1904.06019, with the weight of the test point bounded from above). p = (weights in the own bin or above +
    w*)/(all weights + w*), so ties and coarse bins count against the event. With unit weights these are the exact
    p-values of `Calibration`.

    Attributes:
        calibration: how many events lie in each bin; its edges, source and fingerprint are those of this one.
        sums: sum of weights in each bin, shape (bins + 2,).
        squares: sum of squared weights in each bin, shape (bins + 2,).
        largest: w*, the largest absolute weight, or the bound that was given.
        folded: there were negative weights, which were cancelled against positive ones.
    """

    calibration: Calibration
    sums: Floats
    squares: Floats
    largest: float
    folded: bool

    @property
    def effective_size(self) -> float:
        """Number of unweighted events that fluctuate as much, (sum w)^2 / sum w^2 (Kish)."""
        squares = float(self.squares.sum())
        return float(self.sums.sum()) ** 2 / squares if squares else 0.0

    @property
    def floor(self) -> float:
        """The smallest p-value that can occur, w*/(sum w + w*)."""
        return self.largest / (float(self.sums.sum()) + self.largest)

    @property
    def guarantee(self) -> str:
        """What the p-values promise, in a sentence."""
        return NONE if self.folded else EXACT.format(largest=self.largest)

    @property
    def bin_p_values(self) -> Floats:
        """The p-value of an event in each bin, shape (bins + 2,): underflow, bins, overflow.

        Where negative weights were folded, the sum above a bin is the largest of those of the bins above it and never
        negative, so that p-values never rise with the score, and at most 1.
        """
        tail = np.cumsum(self.sums[::-1])
        if self.folded:
            tail = np.maximum.accumulate(np.maximum(tail, 0.0))
        total = float(self.sums.sum())
        return np.minimum((tail[::-1] + self.largest) / (total + self.largest), 1.0)

    def p_values(self, scores: npt.ArrayLike) -> Floats:
        """The p-value of each event.

        Args:
            scores: any shape; larger is more anomalous.

        Raises:
            InputValueError: a score is NaN.
        """
        return look_up(self.bin_p_values, scores, self.calibration.edges, "scores under test")

    def require_alpha(self, alpha: float) -> None:
        """Refuse a level below the floor.

        Raises:
            StatisticsError: alpha lies below the floor, which is named with the effective number of events.
        """
        if not self.floor <= alpha <= 1.0:
            raise StatisticsError(
                f"alpha = {alpha:g} is not between {self.floor:.4g}, the smallest p-value that the weighted events of "
                f"{self.calibration.source} can give ({self.calibration.n} events, as good as "
                f"{self.effective_size:.4g} unweighted ones), and 1; calibrate with more events or raise alpha"
            )

    def __add__(self, other: WeightedCalibration) -> WeightedCalibration:
        """Both samples together: weights must be on one scale, such as cross section over sum of weights.

        Raises:
            StatisticsError: bins or models differ.
        """
        if not isinstance(other, WeightedCalibration):
            return NotImplemented
        return replace(
            self,
            calibration=self.calibration + other.calibration,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
            largest=max(self.largest, other.largest),
            folded=self.folded or other.folded,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WeightedCalibration):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.calibration, self.sums.tobytes(), self.squares.tobytes(), self.largest, self.folded))

    def to_dict(self) -> dict[str, object]:
        """As JSON-able values."""
        return {
            "calibration": self.calibration.to_dict(),
            "sums": self.sums.tolist(),
            "squares": self.squares.tolist(),
            "largest": self.largest,
            "folded": self.folded,
            "effective_size": self.effective_size,
            "floor": self.floor,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, origin: str = "calibration") -> WeightedCalibration:
        """Read what `to_dict` wrote.

        Args:
            content: the values.
            origin: what errors call them, such as the file's path.

        Raises:
            InputFileError: the values are not a weighted calibration.
        """
        try:
            counted = Calibration.from_dict(content["calibration"], origin=origin)
            return _checked(
                counted, content["sums"], content["squares"], float(content["largest"]), folded=bool(content["folded"])
            )
        except (KeyError, TypeError, ValueError, StatisticsError) as error:
            redo = "Run the calibration stage again."
            raise InputFileError(origin, f"is not a weighted calibration ({error})", redo) from error

    def save(self, path: Path) -> None:
        """Write to a JSON file: all of it or nothing.

        Raises:
            OutputError: the file cannot be written.
        """
        write_json(path, SCHEMA, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> WeightedCalibration:
        """Read what `save` wrote.

        Raises:
            InputFileError: the file is missing or holds no weighted calibration.
        """
        return cls.from_dict(read_json(path, SCHEMA), origin=str(path))


def weighted_from_scores(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike,
    *,
    edges: Sequence[float],
    source: str,
    fingerprint: str,
    largest: float | None = None,
    fold: bool = False,
) -> WeightedCalibration:
    """Calibrate with weighted background events.

    Args:
        scores: shape (events,).
        weights: of the events, on any common scale, shape (events,).
        edges: increasing bin edges, fixed on other events.
        source: which events these are.
        fingerprint: the scorer's fingerprint.
        largest: bound on the weight of any background event, seen or not; None for the largest of these.
        fold: take negative weights: they cancel positive ones in their bin and, where those are too few, in the bins
            below, and the guarantee is withdrawn. Else they are refused.

    Raises:
        StatisticsError: a weight is negative without `fold` or not finite, all add up to nothing, a weight exceeds
            `largest`, or there are not as many weights as scores.
        InputValueError: a score is NaN.
    """
    values, given = (np.asarray(array, dtype=np.float64).ravel() for array in (scores, weights))
    if values.shape != given.shape:
        raise StatisticsError(
            f"{values.size} scores and {given.size} weights of {source}: each event needs one of each"
        )
    if not np.all(np.isfinite(given)):
        raise StatisticsError(f"{np.sum(~np.isfinite(given))} weights of {source} are not finite")
    negative = int(np.sum(given < 0))
    if negative and not fold:
        raise StatisticsError(
            f"{negative} of {given.size} weights of {source} are negative: no weighted p-value is exact with them; "
            "take a sample without negative weights, or fold=True, which withdraws the guarantee"
        )
    if given.sum() <= 0:
        raise StatisticsError(f"the weights of {source} add up to {given.sum():.4g}; calibrate with background events")
    seen = float(np.abs(given).max())
    if largest is not None and seen > largest:
        raise StatisticsError(f"a weight of {source} is {seen:.6g}, above the bound {largest:.6g} that was given")
    counted = from_scores(values, edges=edges, source=source, fingerprint=fingerprint)
    place = bins_of(values, counted.edges, source)
    sums, squares = (_binned(place, values, len(counted.counts)) for values in (given, given**2))
    return WeightedCalibration(counted, sums, squares, seen if largest is None else largest, negative > 0)


def _binned(place: Counts, values: Floats, bins: int) -> Floats:
    return np.asarray(np.bincount(place, weights=values, minlength=bins), dtype=np.float64)


def weighted_from_histogram(
    counts: Counts,
    sums: Floats,
    squares: Floats,
    *,
    edges: Sequence[float],
    source: str,
    fingerprint: str,
    largest: float,
    fold: bool = False,
) -> WeightedCalibration:
    """Calibrate with a histogram of weighted scores.

    Args:
        counts: events per bin, integers, shape (bins + 2,): underflow, bins, overflow.
        sums: their sums of weights.
        squares: their sums of squared weights.
        edges: increasing bin edges, fixed on other events.
        source: which events these are.
        fingerprint: the scorer's fingerprint.
        largest: bound on the absolute weight of any background event.
        fold: some weights are negative; see `weighted_from_scores`. A histogram cannot tell.

    Raises:
        StatisticsError: the arrays differ in shape, are negative without `fold` or not finite, the weights add up to
            nothing, or a bin's sums could not come from so many weights up to the bound.
    """
    return _checked(from_counts(counts, edges, source, fingerprint), sums, squares, largest, folded=fold)


def _checked(
    counted: Calibration, sums: npt.ArrayLike, squares: npt.ArrayLike, largest: float, *, folded: bool
) -> WeightedCalibration:
    source = counted.source
    total, quadratic = np.asarray(sums, dtype=np.float64), np.asarray(squares, dtype=np.float64)
    for name, values in (("sums of weights", total), ("sums of squared weights", quadratic)):
        if values.shape != counted.counts.shape:
            raise StatisticsError(
                f"the {name} of {source} have shape {values.shape}, its counts {counted.counts.shape}"
            )
        if not np.all(np.isfinite(values) & ((values >= 0) | (folded and values is total))):
            raise StatisticsError(f"the {name} of {source} are negative or not finite in a bin: fill positive weights")
    if not total.sum() > 0:
        raise StatisticsError(f"the weights of {source} add up to nothing; calibrate with background events")
    room = 1 + 1e-9
    absolute = counted.counts * largest if folded else total
    if np.any(np.abs(total) > counted.counts * largest * room) or np.any(quadratic > absolute * largest * room):
        raise StatisticsError(f"weights of {source} exceed the bound {largest:.6g} that was given")
    return WeightedCalibration(counted, total, quadratic, largest, folded)
