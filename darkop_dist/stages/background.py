"""Which events calibrate, and their scores: counted, weighted, or by category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import hist
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from darkop_dist.config import CONTROL_REGION, DatasetRecord
from darkop_dist.config.anomaly import REGION, YEAR
from darkop_dist.conformal import (
    Calibration,
    MondrianCalibration,
    WeightedCalibration,
    from_counts,
    weighted_from_histogram,
)
from darkop_dist.errors import InputFileError, StatisticsError, UnknownNameError
from darkop_dist.events.split import SPLITS
from darkop_dist.histograms import category_name, largest_of
from darkop_dist.stages.context import RunContext
from darkop_dist.stages.settings import choosing_datasets

Counts = npt.NDArray[np.int64]
CALIBRATE, CHECK = "calibrate", "check"


@dataclass(frozen=True)
class Background:
    """The events that calibrate and check.

    Attributes:
        records: their datasets.
        region: the region that they come from.
        category: what they are divided by; None if they are one sample.
    """

    records: tuple[DatasetRecord, ...]
    region: str
    category: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the datasets."""
        return tuple(record.name for record in self.records)

    @property
    def source(self) -> str:
        """The events in words."""
        where = "their own region" if self.category == REGION else f"region {self.region}"
        return f"{', '.join(self.names)} in {where}"


def background_of(context: RunContext) -> Background:
    """The background that the document names.

    Raises:
        UnknownNameError: the document names a region that the processor does not have.
        StatisticsError: the background is the control region, and the processor has none.
    """
    section = context.document.anomaly_detection
    names = section.background if section else ()
    in_control = CONTROL_REGION in names
    if in_control:
        records = tuple(record for record in context.records if record.kind == "data")
    else:
        records = tuple(r for r in context.records if r.name in names or r.sample_name in names)
    region = (section.region if section else None) or (_control_region(context) if in_control else "signal")
    if region not in context.regions:
        raise UnknownNameError("region", region, context.regions, f"The processor has {', '.join(context.regions)}.")
    return Background(records, region, section.category if section else None)


def _control_region(context: RunContext) -> str:
    if len(context.regions) < 2:
        raise StatisticsError(
            "the background is the control region, but the processor has none: name datasets in "
            "anomaly_detection.background instead."
        )
    return context.regions[1]


def score_counts(counts: hist.Hist, datasets: tuple[str, ...], region: str, split: str) -> Counts:
    """Integer counts of some datasets, one region and one split, shape (bins + 2,) with under- and overflow."""
    total = np.zeros(counts.axes["score"].size + 2, dtype=np.int64)
    for dataset in datasets:
        found = _cells(counts, (dataset, region, split))
        if found is not None:
            total += np.asarray(found, dtype=np.int64)
    return total


def counts_by_category(
    context: RunContext, datasets: Sequence[DatasetRecord], category: str, region: str, splits: Sequence[str]
) -> dict[str, Counts]:
    """Integer counts of some datasets by category; those without an event are left out.

    Args:
        context: the run.
        datasets: which.
        category: ``region``, ``year`` or the column that the pass counted by.
        region: the region; with the category ``region``, every region.
        splits: which splits.
    """
    counts = context.histograms.score_counts
    found: dict[str, Counts] = {}
    for record in datasets:
        for split in splits:
            if category == REGION and counts is not None:
                parts = {name: score_counts(counts, (record.name,), name, split) for name in context.regions}
            elif category == YEAR and counts is not None:
                parts = {_year(record): score_counts(counts, (record.name,), region, split)}
            else:
                parts = _by_column(context, record.name, region, split)
            for name, part in parts.items():
                found[name] = found.get(name, 0) + part
    return {name: found[name] for name in sorted(found) if found[name].sum()}


def _by_column(context: RunContext, dataset: str, region: str, split: str) -> dict[str, Counts]:
    counts = context.histograms.category_counts
    if counts is None:
        redo = "Run the search again with this document."
        raise InputFileError(str(context.run.histograms), "holds no counts by category", redo)
    names = list(counts.axes[3])
    parts = {name: _cells(counts, (dataset, region, split, name)) for name in names}
    return {name: np.asarray(part, dtype=np.int64) for name, part in parts.items() if part is not None}


def _cells(counts: hist.Hist, names: tuple[str, ...]) -> npt.NDArray[np.void] | None:
    axes = counts.axes[: len(names)]
    if not all(name in list(axis) for name, axis in zip(names, axes, strict=True)):
        return None
    return np.asarray(counts.view(flow=True)[tuple(axis.index(n) for n, axis in zip(names, axes, strict=True))])


def unweighted(context: RunContext, background: Background, split: str) -> Calibration:
    """The background's events, each counted once."""
    counts = score_counts(_booked(context), background.names, background.region, split)
    return from_counts(counts, _edges(context), background.source, context.histograms.fingerprint or "")


def by_category(context: RunContext, background: Background, split: str) -> MondrianCalibration:
    """The background's events by category. A category in which only others have events has none, and the floor 1."""
    category, region = background.category or REGION, background.region
    found = counts_by_category(context, background.records, category, region, [split])
    every = counts_by_category(context, context.records, category, region, SPLITS)
    if not found:
        raise StatisticsError(f"no event of {background.source} is in a category: name another background.")
    empty = np.zeros_like(next(iter(found.values())))
    edges, fingerprint = _edges(context), context.histograms.fingerprint or ""
    return MondrianCalibration(
        {
            name: from_counts(found.get(name, empty), edges, f"{background.source}, {name}", fingerprint)
            for name in every
        }
    )


def weighted(context: RunContext, background: Background, split: str) -> WeightedCalibration | None:
    """The background's events by weight, generator weight times the dataset's normalisation; None without events.

    Of a dataset that trained or chose the operator, the rest stands for all. The bound on the weights is that of all
    events of the region, whatever their split.

    Raises:
        InputFileError: the pass over the events summed no weights.
    """
    sums = context.histograms.score_weights
    if sums is None:
        redo = "Run the search again with this document."
        raise InputFileError(str(context.run.histograms), "holds no sums of weights of scores", redo)
    parts = []
    for record in background.records:
        name = record.name
        counts = score_counts(_booked(context), (name,), background.region, split)
        cells = _cells(sums, (name, background.region, split))
        if not counts.sum() or cells is None:
            continue
        largest, negative = _sizes(context, name, background.region)
        scale = context.scales[name] / _left(context, record)
        parts.append(
            weighted_from_histogram(
                counts,
                scale * cells["value"],
                scale**2 * cells["variance"],
                edges=_edges(context),
                source=f"{name} in region {background.region}",
                fingerprint=context.histograms.fingerprint or "",
                largest=scale * largest,
                fold=negative > 0,
            )
        )
    return reduce(add, parts) if parts else None


def _left(context: RunContext, record: DatasetRecord) -> float:
    """Probability that an event of a dataset neither trains nor chooses."""
    operator, left = context.document.operator, 1.0
    if operator is None:
        return left
    if operator.train and not {record.name, record.sample_name}.isdisjoint(operator.train.datasets):
        left -= operator.train.fraction
    if record.name in choosing_datasets(context.document, context.records):
        left *= 1.0 - operator.choose_fraction
    return left


def _sizes(context: RunContext, dataset: str, region: str) -> tuple[float, int]:
    found: dict[str, int] = {}
    for sizes in context.histograms.weight_sizes.get(dataset, {}).get(region, {}).values():
        for size, events in sizes.items():
            found[size] = found.get(size, 0) + events
    return largest_of(found)


def candidate_categories(context: RunContext, table: pa.Table, category: str) -> list[str]:
    """The category of each candidate."""
    if category == REGION:
        return [str(name) for name in table["region"].to_pylist()]
    if category == YEAR:
        years = {record.name: _year(record) for record in context.records}
        return [years[name] for name in table["dataset"].to_pylist()]
    return [category_name(category, int(value)) for value in table[category].to_pylist()]


def _year(record: DatasetRecord) -> str:
    return "no year" if record.year is None else str(record.year)


def _booked(context: RunContext) -> hist.Hist:
    counts = context.histograms.score_counts
    if counts is None:
        raise StatisticsError("no event of this run has a score: add the section operator.")
    return counts


def _edges(context: RunContext) -> list[float]:
    edges: list[float] = _booked(context).axes["score"].edges.tolist()
    return edges
