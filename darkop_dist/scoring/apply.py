"""Scoring the events of a chunk and filling what follows from the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.events.phases import SCORE, phase
from darkop_dist.events.representations import represent
from darkop_dist.events.split import CALIBRATE, CHECK, SPLITS
from darkop_dist.events.weights import Numbers
from darkop_dist.histograms.booking import NOMINAL, Observable
from darkop_dist.histograms.candidates import candidates_of
from darkop_dist.histograms.output import OutputBuilder
from darkop_dist.scoring.contract import Scorer

GROUPED = (SPLITS[CALIBRATE], SPLITS[CHECK])
"""Splits whose scores are counted by file and run."""


def score_events(scorer: Scorer, events: ak.Array) -> npt.NDArray[np.float32]:
    """Anomaly scores of events, shape (events,): representation, then the model."""
    batch = {spec.name: represent(events, spec.representation, spec.settings) for spec in scorer.inputs}
    with phase(SCORE):
        return scorer.score(batch)


@dataclass(frozen=True)
class ScoredRegion:
    """The events of one region of a chunk, in the order of the scores.

    Attributes:
        region: name of the region.
        numbers: what finds each event again.
        weights: generator weights, shape (events,).
        parts: index into ``SPLITS`` of each event.
        observables: columns that candidates show besides their score.
        categories: the column by which p-values are asked for, if any: integers, shape (events,).
    """

    region: str
    numbers: Numbers
    weights: npt.NDArray[np.float64]
    parts: npt.NDArray[np.int8]
    observables: Mapping[str, npt.NDArray[np.float64]]
    categories: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)


def output_builder(
    events: ak.Array, observables: Sequence[Observable], scorer: Scorer | None, most_candidates: int
) -> OutputBuilder:
    """What a processor fills for a chunk; the score's histograms are booked if there is a scorer."""
    dataset = str(events.metadata["dataset"])
    if scorer is None:
        return OutputBuilder(dataset, observables, most_candidates=most_candidates)
    axis = scorer.score_axis
    return OutputBuilder(dataset, observables, axis.edges, axis.label, most_candidates)


def fill_scores(builder: OutputBuilder, label: str, scores: npt.NDArray[np.float32], scored: ScoredRegion) -> None:
    """Fill the scores of one region: histogram, counts and weights per split, groups by file and run, candidates.

    Args:
        builder: what the chunk fills.
        label: names the file on every machine.
        scores: shape (events,).
        scored: the events that were scored.
    """
    if not len(scores):
        return
    builder.fill("score", scored.region, NOMINAL, scores, scored.weights)
    for part, split in enumerate(SPLITS):
        chosen = scored.parts == part
        if chosen.any():
            builder.count_scores(scored.region, split, scores[chosen])
            builder.weigh_scores(scored.region, split, scores[chosen], scored.weights[chosen])
            for category, values in scored.categories.items():
                builder.categorise_scores(scored.region, split, scores[chosen], category, values[chosen])
            if split in GROUPED:
                builder.group_scores(scored.region, split, label, scored.numbers["run"][chosen], scores[chosen])
    builder.keep(
        candidates_of(
            dataset=builder.dataset,
            region=scored.region,
            file=label,
            splits=np.asarray(SPLITS)[scored.parts],
            numbers=scored.numbers,
            scores=scores,
            weights=scored.weights,
            observables=dict(scored.observables) | {n: v.astype(np.float64) for n, v in scored.categories.items()},
            most=builder.most_candidates,
        )
    )
