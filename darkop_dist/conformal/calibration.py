"""Exact binned split-conformal calibration.

Assumptions:
    The calibration events and the events under test are exchangeable if the latter are background, and the bins were
    fixed without looking at either. Then P(p <= a) <= a for every a and every sample size, whatever the score's
    distribution, its ties or the number of bins (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World,
    2005, chapter 2; Bates et al., arXiv:2104.08279, section 1). The probability is over
    calibration and test events together. The guarantee is void if simulation calibrates data that it does not
    describe, and p-values that share a calibration depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.binning import count_scores, look_up
from darkop_dist.errors import InputFileError, StatisticsError
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.calibration/1"

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """The background scores, as integer counts per bin.

    Bins hold their lower edge and not their upper one, as in hist. Build it with `from_scores` or `from_counts`.

    Attributes:
        edges: increasing bin edges, float64, shape (bins + 1,).
        counts: unweighted events, int64, shape (bins + 2,): underflow, bins, overflow.
        source: which events calibrate.
        fingerprint: the scorer's fingerprint.
    """

    edges: Floats
    counts: Counts
    source: str
    fingerprint: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", _checked_edges(self.edges))
        object.__setattr__(self, "counts", _checked_counts(self.counts, len(self.edges) - 1, self.source))

    @property
    def n(self) -> int:
        """Number of calibration events, under- and overflow included."""
        return int(self.counts.sum())

    @property
    def floor(self) -> float:
        """The smallest p-value that can occur, 1/(n + 1)."""
        return 1.0 / (self.n + 1)

    @property
    def reached(self) -> Counts:
        """Events in each bin or above it, shape (bins + 2,): underflow, bins, overflow."""
        return np.asarray(np.cumsum(self.counts[::-1])[::-1], dtype=np.int64)

    @property
    def bin_p_values(self) -> Floats:
        """The p-value of an event in each bin, shape (bins + 2,): underflow, bins, overflow."""
        return np.asarray((1.0 + self.reached) / (self.n + 1.0), dtype=np.float64)

    def p_values(self, scores: npt.ArrayLike) -> Floats:
        """The conformal p-value of each event.

        Args:
            scores: scores of the events, any shape; larger is more anomalous.

        Returns:
            (1 + number of calibration events in the event's own bin or above) / (n + 1), in the shape of the scores
            (Bates et al., arXiv:2104.08279, section 1, with ties counted against the event).

        Raises:
            InputValueError: a score is NaN.
        """
        return look_up(self.bin_p_values, scores, self.edges, "scores under test")

    def p_values_of_counts(self, counts: npt.ArrayLike) -> Floats:
        """The p-value of each bin of a histogram of scores, for plots: repeat it by the bin's counts.

        Args:
            counts: histogram with this calibration's bins, shape (bins + 2,): underflow, bins, overflow.

        Returns:
            p-values, shape (bins + 2,).

        Raises:
            StatisticsError: the histogram has other bins.
        """
        shape = np.shape(counts)
        if shape != self.counts.shape:
            raise StatisticsError(
                f"a histogram of shape {shape} has no p-values in a calibration with {len(self.counts)} bins "
                "(under- and overflow included); fill it with the score axis of the same checkpoint"
            )
        return self.bin_p_values

    def require_alpha(self, alpha: float) -> None:
        """Refuse a significance level that this many calibration events cannot reach.

        Args:
            alpha: the level at which p-values are to be cut, 0 < alpha <= 1.

        Raises:
            StatisticsError: alpha lies below the floor 1/(n + 1), or is no probability.
        """
        require_alpha(alpha, self.n, self.source)

    def __add__(self, other: Calibration) -> Calibration:
        """The calibration of both samples together.

        Raises:
            StatisticsError: the bins or the fingerprints differ.
        """
        if not isinstance(other, Calibration):
            return NotImplemented
        require_one_fingerprint(self.fingerprint, other.fingerprint, (self.source, other.source))
        if self.edges is not other.edges and not np.array_equal(self.edges, other.edges):
            raise StatisticsError(
                f"calibrations with different bins cannot be added: {self.source} and {other.source}; "
                "fill both with the score axis of the checkpoint"
            )
        # Both were checked, and their sum needs no check: that would take longer than the sum.
        merged, counts = copy(self), self.counts + other.counts
        counts.setflags(write=False)
        object.__setattr__(merged, "counts", counts)
        object.__setattr__(merged, "source", joined_source(self.source, other.source))
        return merged

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.edges.tobytes(), self.counts.tobytes(), self.source, self.fingerprint))

    def to_dict(self) -> dict[str, object]:
        """As JSON-able values."""
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "n": self.n,
            "floor": self.floor,
            "edges": self.edges.tolist(),
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, object], *, origin: str = "calibration") -> Calibration:
        """Read what `to_dict` wrote.

        Args:
            content: the values.
            origin: what errors call them, such as the file's path.

        Raises:
            InputFileError: the values are not a calibration.
        """
        redo = "Run the calibration stage again."
        try:
            edges, counts = np.asarray(content["edges"], dtype=np.float64), np.asarray(content["counts"])
            calibration = cls(edges, counts, str(content["source"]), str(content["fingerprint"]))
        except (KeyError, TypeError, ValueError, StatisticsError) as error:
            raise InputFileError(origin, f"is not a calibration ({error})", redo) from error
        if content.get("n") != calibration.n:
            raise InputFileError(origin, f"says n = {content.get('n')}, its counts add up to {calibration.n}", redo)
        return calibration

    def save(self, path: Path) -> None:
        """Write to a JSON file: all of it or nothing.

        Raises:
            OutputError: the file cannot be written.
        """
        write_json(path, SCHEMA, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            InputFileError: the file is missing or holds no calibration.
        """
        return cls.from_dict(read_json(path, SCHEMA), origin=str(path))


def from_scores(scores: npt.ArrayLike, *, edges: Sequence[float], source: str, fingerprint: str) -> Calibration:
    """Calibrate with the scores of background events.

    Args:
        scores: scores of the events, shape (events,).
        edges: increasing bin edges, fixed on other events.
        source: which events these are.
        fingerprint: the scorer's fingerprint.

    Raises:
        InputValueError: a score is NaN.
        StatisticsError: the edges do not increase.
    """
    checked = _checked_edges(edges)
    return Calibration(checked, count_scores(scores, checked, source), source, fingerprint)


def from_chunks(
    chunks: Iterable[npt.ArrayLike], *, edges: Sequence[float], source: str, fingerprint: str
) -> Calibration:
    """Calibrate with scores that come in pieces and are not kept: memory holds one piece and the bins.

    Args:
        chunks: scores of shape (events,) each, such as a generator that reads files.
        edges: increasing bin edges, fixed on other events.
        source: which events these are.
        fingerprint: the scorer's fingerprint.

    Returns:
        What `from_scores` gives for all of them at once.

    Raises:
        InputValueError: a score is NaN; the chunk is named, counted from 0.
        StatisticsError: the edges do not increase.
    """
    checked = _checked_edges(edges)
    counts = np.zeros(len(checked) + 1, dtype=np.int64)
    for number, chunk in enumerate(chunks):
        counts += count_scores(chunk, checked, f"{source}, chunk {number}")
    return Calibration(checked, counts, source, fingerprint)


def from_counts(counts: npt.ArrayLike, edges: Sequence[float], source: str, fingerprint: str) -> Calibration:
    """Calibrate with a histogram of unweighted scores of background events.

    Args:
        counts: events per bin, integer type, shape (bins + 2,): underflow, bins, overflow.
        edges: increasing bin edges, fixed on other events.
        source: which events these are.
        fingerprint: the scorer's fingerprint.

    Raises:
        StatisticsError: the counts are weighted, negative or of another shape, or the edges do not increase.
    """
    return Calibration(np.asarray(edges, dtype=np.float64), np.asarray(counts), source, fingerprint)


def require_alpha(alpha: float, n: int, source: str) -> None:
    """Refuse a significance level that n calibration events cannot reach.

    Args:
        alpha: the level at which p-values are to be cut, 0 < alpha <= 1.
        n: number of calibration events.
        source: which events calibrate, for the error.

    Raises:
        StatisticsError: alpha lies below the floor 1/(n + 1), or is no probability.
    """
    if not (math.isfinite(alpha) and 0.0 < alpha <= 1.0):
        raise StatisticsError(f"alpha = {alpha} is not a probability between 0 and 1; choose for example 1e-3")
    exact = Fraction(repr(float(alpha)))
    if exact * (n + 1) < 1:
        needed = math.ceil(1 / exact) - 1
        raise StatisticsError(
            f"alpha = {alpha:g} lies below {1 / (n + 1):.4g}, the smallest p-value that the n = {n} "
            f"calibration events of {source} can give; calibrate with at least {needed} events or raise alpha"
        )


def require_one_fingerprint(first: str, second: str, sources: tuple[str, str]) -> None:
    """Refuse to add scores of different models.

    Raises:
        StatisticsError: the fingerprints differ.
    """
    if first != second:
        raise StatisticsError(
            f"calibrations of different models cannot be added: {sources[0]} has fingerprint {first!r} and "
            f"{sources[1]} {second!r}; score both with one checkpoint"
        )


def joined_source(first: str, second: str) -> str:
    """Both samples, each once, in order."""
    return first if first == second else " + ".join(dict.fromkeys([*first.split(" + "), *second.split(" + ")]))


def _checked_edges(edges: npt.ArrayLike) -> Floats:
    checked = np.array(edges, dtype=np.float64)
    if checked.ndim != 1 or len(checked) < 2 or not np.all(np.isfinite(checked)) or not np.all(np.diff(checked) > 0):
        raise StatisticsError("the edges of a score axis must be at least two finite, increasing numbers")
    checked.setflags(write=False)
    return checked


def _checked_counts(counts: npt.ArrayLike, bins: int, source: str) -> Counts:
    given = np.asarray(counts)
    if given.dtype.kind not in "iu":
        raise StatisticsError(
            f"the score counts of {source} are weighted (type {given.dtype}); exact p-values need the integer counts "
            "of unweighted events, from a histogram with Int64 storage"
        )
    if given.shape != (bins + 2,):
        raise StatisticsError(
            f"the score counts of {source} have shape {given.shape}; {bins} bins with under- and overflow "
            f"need ({bins + 2},)"
        )
    checked = np.array(given, dtype=np.int64)
    if np.any(checked < 0):
        raise StatisticsError(f"the score counts of {source} are negative in {np.sum(checked < 0)} bins; count events")
    checked.setflags(write=False)
    return checked
