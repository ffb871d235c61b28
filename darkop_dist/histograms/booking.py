"""Histograms as every search books them: dataset, region, variation, then one observable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any

import hist
import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from darkop_dist.histograms.state import with_numbers

NOMINAL = "nominal"

BinSums = npt.NDArray[np.float64]
"""Sums of weights and of squared weights of shape (bins + 2, 2), with under- and overflow at the ends."""


def _increasing(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError("bin edges must increase")
    return edges


Edges = Annotated[tuple[float, ...], Field(min_length=2), AfterValidator(_increasing)]
"""Bin edges in a processor's parameters: two or more, increasing."""


@dataclass(frozen=True)
class Observable:
    """A quantity that is histogrammed.

    Attributes:
        name: name of the axis.
        edges: increasing bin edges, in the unit.
        label: axis label with LaTeX between dollar signs, without unit.
        unit: unit, such as GeV; empty for pure numbers.
    """

    name: str
    edges: tuple[float, ...]
    label: str
    unit: str = ""

    @property
    def title(self) -> str:
        """The label with its unit, as it stands on an axis."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    def axis(self) -> hist.axis.Variable:
        """The axis; under- and overflow are kept. A histogram copies it, so it is made once."""
        return _axis(self)


@lru_cache(maxsize=256)
def _axis(observable: Observable) -> hist.axis.Variable:
    return hist.axis.Variable(observable.edges, name=observable.name, label=observable.title)


def book(observable: Observable) -> hist.Hist:
    """An empty histogram of one observable.

    Returns:
        Axes dataset, region, variation (growing categories) and the observable; storage of weights and squared weights.
    """
    return hist.Hist(
        hist.axis.StrCategory([], growth=True, name="dataset"),
        hist.axis.StrCategory([], growth=True, name="region"),
        hist.axis.StrCategory([], growth=True, name="variation"),
        observable.axis(),
        storage=hist.storage.Weight(),
    )


def filled(observable: Observable, dataset: str, slices: Mapping[tuple[str, str], BinSums]) -> hist.Hist:
    """The histogram of one observable and dataset.

    Args:
        observable: the quantity.
        dataset: name of the dataset.
        slices: content by region and variation; their order is that of the categories.

    Returns:
        As ``book``, and empty if there are no slices.
    """
    if not slices:
        return book(observable)
    regions = list(dict.fromkeys(region for region, _ in slices))
    variations = list(dict.fromkeys(variation for _, variation in slices))
    template = _booked(observable, dataset, tuple(regions), tuple(variations))
    content = np.zeros((*template.axes.extent, 2))
    for (region, variation), sums in slices.items():
        content[0, regions.index(region), variations.index(variation)] = sums
    return with_numbers(template, content)


@lru_cache(maxsize=256)
def _booked(observable: Observable, dataset: str, regions: tuple[str, ...], variations: tuple[str, ...]) -> hist.Hist:
    """An empty histogram with categories, to be copied."""
    categories = {"dataset": (dataset,), "region": regions, "variation": variations}
    axes = [hist.axis.StrCategory(names, growth=True, name=name) for name, names in categories.items()]
    return hist.Hist(*axes, observable.axis(), storage=hist.storage.Weight())


def book_counts(score_edges: tuple[float, ...], label: str) -> hist.Hist:
    """An empty histogram that counts scores as integers, for calibration.

    Returns:
        Axes dataset, region, split (growing categories) and score; integer storage.
    """
    return hist.Hist(
        hist.axis.StrCategory([], growth=True, name="dataset"),
        hist.axis.StrCategory([], growth=True, name="region"),
        hist.axis.StrCategory([], growth=True, name="split"),
        hist.axis.Variable(score_edges, name="score", label=label),
        storage=hist.storage.Int64(),
    )


def book_split(score_edges: tuple[float, ...], label: str, category: str | None = None) -> hist.Hist:
    """An empty histogram of scores as `book_counts` books it, for what depends on more than the score.

    Args:
        score_edges: bin edges of the score.
        label: axis label of the score.
        category: name of a category axis before the score, for integer counts by category; None for sums of weights.

    Returns:
        Axes dataset, region, split, perhaps the category, and score; integers, or weights with their squares.
    """
    axes: list[Any] = [hist.axis.StrCategory([], growth=True, name=name) for name in ("dataset", "region", "split")]
    if category is not None:
        axes.append(hist.axis.StrCategory([], growth=True, name=category))
    score = hist.axis.Variable(score_edges, name="score", label=label)
    return hist.Hist(*axes, score, storage=hist.storage.Weight() if category is None else hist.storage.Int64())


def slice_of(
    histogram: hist.Hist, dataset: str, region: str, variation: str = NOMINAL
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Sums of weights and of squared weights of one dataset, region and variation.

    Returns:
        Two arrays of shape (bins + 2,) with under- and overflow at the ends, or None if nothing was filled there.
    """
    axes = histogram.axes
    for axis, name in zip(axes[:3], (dataset, region, variation), strict=True):
        if name not in list(axis):
            return None
    view = histogram.view(flow=True)[axes[0].index(dataset), axes[1].index(region), axes[2].index(variation)]
    return np.asarray(view["value"], dtype=np.float64), np.asarray(view["variance"], dtype=np.float64)
