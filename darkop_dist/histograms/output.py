"""What a processor returns for a chunk, and how two of them become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.histograms.booking import BinSums, Observable, book_counts, book_split, filled
from darkop_dist.histograms.candidates import Candidates, empty_candidates
from darkop_dist.histograms.filling import add_events
from darkop_dist.histograms.groups import ScoreGroups, groups_of, no_groups
from darkop_dist.histograms.weight_sizes import sizes_of

Output = dict[str, Any]
"""A coffea accumulatable with the keys ``histograms``, ``score_counts``, ``score_weights``, ``weight_sizes``,
``category_counts``, ``score_groups``, ``cutflow``, ``notes``, ``tallies`` and ``candidates``."""
MOST_CATEGORIES = 64


@dataclass
class OutputBuilder:
    """Collects what one chunk fills; a processor makes one per call.

    Attributes:
        dataset: name of the dataset of the chunk.
        observables: what is histogrammed.
        score_edges: bin edges of the score; empty without an operator.
        score_label: axis label of the score.
        most_candidates: how many candidates are kept per region.
    """

    dataset: str
    observables: Sequence[Observable]
    score_edges: tuple[float, ...] = ()
    score_label: str = "score"
    most_candidates: int = 100
    _booked: dict[str, Observable] = field(init=False)
    _edges: dict[str, npt.NDArray[np.float64]] = field(init=False)
    _slices: dict[str, dict[tuple[str, str], BinSums]] = field(init=False)
    _counts: hist.Hist | None = field(init=False)
    _cutflow: dict[str, dict[str, npt.NDArray[np.float64]]] = field(init=False, default_factory=dict)
    _notes: dict[str, int] = field(init=False, default_factory=dict)
    _tallies: dict[str, float] = field(init=False, default_factory=dict)
    _candidates: Candidates = field(init=False)
    _groups: ScoreGroups = field(init=False, default_factory=no_groups)
    _weights: hist.Hist | None = field(init=False, default=None)
    _sizes: dict[str, dict[str, dict[str, int]]] = field(init=False, default_factory=dict)
    _categories: hist.Hist | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Book the histograms."""
        self._booked = {observable.name: observable for observable in self.observables}
        if self.score_edges:
            self._booked["score"] = Observable("score", self.score_edges, self.score_label)
        self._edges = {name: np.asarray(observable.edges) for name, observable in self._booked.items()}
        self._slices = {name: {} for name in self._booked}
        self._counts = book_counts(self.score_edges, self.score_label) if self.score_edges else None
        self._candidates = empty_candidates(self.most_candidates)

    def fill(
        self,
        observable: str,
        region: str,
        variation: str,
        values: npt.NDArray[np.floating],
        weights: npt.NDArray[np.float64],
    ) -> None:
        """Fill values of one region and variation with generator weights; both of shape (events,).

        Without events the region and variation are still known to the histogram afterwards.

        Raises:
            InputValueError: a value is not a number; it would end in the overflow.
        """
        bad = int(np.isnan(values).sum())
        if bad:
            raise InputValueError(
                f"dataset {self.dataset}",
                f"{bad} of {len(values)} values of {observable} in region {region} are not numbers",
                "Correct the files, or select events where it is known",
            )
        self._add(observable, region, variation, values, weights, np.arange(len(values)))

    def fill_known(
        self,
        region: str,
        variation: str,
        columns: Mapping[str, npt.NDArray[np.floating]],
        weights: npt.NDArray[np.float64],
        chosen: npt.NDArray[np.int64],
    ) -> None:
        """Fill several observables of one region and variation with chosen events.

        An event is left out of an observable whose value is not a number, such as the mass of a pair that it lacks.

        Args:
            region: name of the region.
            variation: name of the variation.
            columns: values by name of the observable, each of shape (events,).
            weights: generator weights, shape (events,).
            chosen: positions of the events of the region.
        """
        for observable, values in columns.items():
            self._add(observable, region, variation, values, weights, chosen)

    def _add(
        self,
        observable: str,
        region: str,
        variation: str,
        values: npt.NDArray[np.floating],
        weights: npt.NDArray[np.float64],
        chosen: npt.NDArray[np.int64],
    ) -> None:
        edges, slices = self._edges[observable], self._slices[observable]
        if (region, variation) not in slices:
            slices[region, variation] = np.zeros((len(edges) + 1, 2))
        add_events(slices[region, variation], edges, values, weights, chosen)

    def count_scores(self, region: str, split: str, scores: npt.NDArray[np.float32]) -> None:
        """Count scores of one region and split as integers."""
        if self._counts is None:
            raise ValueError("scores are counted only with an operator")
        self._counts.fill(self.dataset, region, split, scores)

    def weigh_scores(
        self, region: str, split: str, scores: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]
    ) -> None:
        """Sum the weights of scores of one region and split, and note how large they are (`sizes_of`)."""
        if self._weights is None:
            self._weights = book_split(self.score_edges, self.score_label)
        self._weights.fill(self.dataset, region, split, scores, weight=weights)
        found = self._sizes.setdefault(region, {}).setdefault(split, {})
        for size, events in sizes_of(weights).items():
            found[size] = found.get(size, 0) + events

    def categorise_scores(
        self,
        region: str,
        split: str,
        scores: npt.NDArray[np.float32],
        category: str,
        values: npt.NDArray[np.int64],
    ) -> None:
        """Count scores of one region and split by an integer.

        Raises:
            InputValueError: it has too many values to calibrate each.
        """
        if self._categories is None:
            self._categories = book_split(self.score_edges, self.score_label, category)
        found = np.unique(values)
        if len(found) > MOST_CATEGORIES:
            raise InputValueError(
                f"dataset {self.dataset}",
                f"{category} has {len(found)} values, from {found[0]} to {found[-1]}, each to be calibrated by itself",
                f"Take a category of at most {MOST_CATEGORIES} values",
            )
        for value in found:
            self._categories.fill(self.dataset, region, split, category_name(category, value), scores[values == value])

    def group_scores(
        self, region: str, split: str, file: str, runs: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
    ) -> None:
        """Count scores of one region and split by file and by run; runs and scores of shape (events,)."""
        edges = self._edges["score"]
        places = np.searchsorted(edges, scores.astype(np.float64), side="right")
        self._groups += groups_of(
            dataset=self.dataset, region=region, split=split, file=file, runs=runs, places=places, bins=len(edges) + 1
        )

    def cut(self, region: str | Sequence[str], step: str, weights: npt.NDArray[np.float64]) -> None:
        """Record the events that are left after a step of the selection.

        Args:
            region: name of the region, or of several that share this step and all before it.
            step: name of the step.
            weights: weights of the events, shape (events,).
        """
        left = np.array([len(weights), weights.sum()])
        for name in [region] if isinstance(region, str) else region:
            self._cutflow.setdefault(name, {})[step] = left.copy()

    def note(self, text: str, events: int) -> None:
        """Record what the reader of the result must know, such as a cut that could not be applied."""
        self._notes[text] = self._notes.get(text, 0) + events

    def tally(self, name: str, value: float) -> None:
        """Add to a sum over all events read, such as the weights after pile-up reweighting."""
        self._tallies[name] = self._tallies.get(name, 0.0) + float(value)

    def keep(self, candidates: Candidates) -> None:
        """Keep candidates."""
        self._candidates = self._candidates + candidates

    def output(self) -> Output:
        """The accumulatable."""
        return {
            "histograms": {
                name: filled(observable, self.dataset, self._slices[name]) for name, observable in self._booked.items()
            },
            "score_counts": self._counts,
            "score_weights": self._weights,
            "weight_sizes": {self.dataset: self._sizes},
            "category_counts": self._categories,
            "score_groups": self._groups if self.score_edges else None,
            "cutflow": {self.dataset: self._cutflow},
            "notes": {self.dataset: self._notes},
            "tallies": {self.dataset: self._tallies},
            "candidates": self._candidates,
        }


def category_name(category: str, value: int) -> str:
    """How a category of an integer is called.

    >>> category_name("n_jets", 2)
    'n_jets = 2'
    """
    return f"{category} = {value}"


def merge_outputs(first: Output, second: Output) -> Output:
    """Two outputs as one.

    Counts and candidates merge exactly in any order. Sums of weights are floating-point sums: equal to the last bit
    only if the order is the same, which is why the executors merge in the order of the chunks.
    """
    merged = dict(first)
    for key, value in second.items():
        merged[key] = _merge(first[key], value) if key in first else value
    return merged


def _merge(first: Any, second: Any) -> Any:
    if first is None:
        return second
    if second is None:
        return first
    if isinstance(first, Mapping):
        merged = dict(first)
        for key, value in second.items():
            merged[key] = _merge(first[key], value) if key in first else value
        return merged
    return first + second
