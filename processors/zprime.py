"""Boosted tt resonance in muon + jets: the candidates of the CMS 2016 G+H selection, as flat columns.

The columns are ``mtt``, ``mu_pt``, ``mu_abseta``, ``pileup``, ``weight`` and the sums of weights of the file. One event
stands in as many consecutive rows as it has b-tagged jets, since each of them gives a candidate for m(tt). Rows of one
event share the muon, so a fit that takes rows for independent events counts events twice; ``candidate: first``
keeps the first row of each event (the hardest b-tagged jet), ``candidate: all`` keeps every row.
"""

from __future__ import annotations

from typing import Annotated, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt
from coffea import processor
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.events.read import require_columns
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.weights import event_numbers, generator_weights
from darkop_dist.histograms import NOMINAL, Edges, Observable, Output, OutputBuilder
from darkop_dist.scoring.apply import ScoredRegion, fill_scores, output_builder, score_events
from darkop_dist.scoring.contract import Scorer

COLUMNS = ("mtt", "mu_pt", "mu_abseta")


class ZPrimeParameters(BaseModel):
    """What the document sets.

    Attributes:
        mtt_bins: bin edges of m(tt) in GeV.
        mu_pt_min: smallest muon pT in GeV, exclusive.
        mu_abseta_max: largest absolute muon pseudorapidity, exclusive.
        candidate: ``first`` takes one candidate per event, ``all`` every row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mtt_bins: Edges
    mu_pt_min: Annotated[float, Field(ge=0)] = 55.0
    mu_abseta_max: Annotated[float, Field(gt=0)] = 2.4
    candidate: Literal["first", "all"] = "first"


class ZPrime(processor.ProcessorABC):  # type: ignore[misc]
    """Fills the m(tt) spectrum and the scores of the signal region."""

    Parameters = ZPrimeParameters
    whole_files = True
    regions = ("signal",)
    region_columns = COLUMNS
    categories = ("b_jets",)

    def __init__(self, settings: SearchSettings[ZPrimeParameters], scorer: Scorer | None = None) -> None:
        """Prepare for any number of chunks.

        Args:
            settings: settings of the search.
            scorer: scores the events; None for a search without an operator.
        """
        self.settings = settings
        self.scorer = scorer
        self.observables = (
            Observable("mtt", settings.parameters.mtt_bins, r"$m_{t\bar{t}}$", "GeV"),
            Observable("mu_pt", tuple(np.linspace(55.0, 655.0, 31)), r"muon $p_T$", "GeV"),
            Observable("mu_abseta", tuple(np.linspace(0.0, 2.4, 13)), r"muon $|\eta|$"),
        )

    def scored_events(self, events: ak.Array) -> ak.Array:
        """The events that the operator sees, with the entry of each event's first row in the field ``entry``."""
        chosen, _ = self._select(events, OutputBuilder(str(events.metadata["dataset"]), ()))
        return ak.with_field(events, event_entries(events), "entry")[chosen]

    def process(self, events: ak.Array) -> Output:
        """Fill one chunk, which must be a whole file: rows of one event must not be torn apart."""
        builder = output_builder(events, self.observables, self.scorer, self.settings.candidates)
        chosen, columns = self._select(events, builder)
        weights = generator_weights(events)[chosen]
        values = {name: column[chosen] for name, column in columns.items()}
        for observable in self.observables:
            builder.fill(observable.name, "signal", NOMINAL, values[observable.name], weights)
        if self.scorer is not None:
            numbers = {name: column[chosen] for name, column in event_numbers(events).items()}
            label = str(events.metadata["file_label"])
            parts = self.settings.split.assign(builder.dataset, label, event_entries(events)[chosen])
            scores = score_events(self.scorer, events[chosen])
            asked = self.settings.category
            categories = {asked: b_jets(events)[chosen]} if asked else {}
            fill_scores(builder, label, scores, ScoredRegion("signal", numbers, weights, parts, values, categories))
        return builder.output()

    def postprocess(self, accumulator: Output) -> Output:
        """Nothing is left to do."""
        return accumulator

    def _select(
        self, events: ak.Array, builder: OutputBuilder
    ) -> tuple[npt.NDArray[np.bool_], dict[str, npt.NDArray[np.float64]]]:
        require_columns(events, COLUMNS)
        parameters = self.settings.parameters
        weights = generator_weights(events)
        columns = {name: np.asarray(ak.to_numpy(events[name]), dtype=np.float64) for name in COLUMNS}
        steps = {
            "muon pT": columns["mu_pt"] > parameters.mu_pt_min,
            "muon |eta|": columns["mu_abseta"] < parameters.mu_abseta_max,
        }
        if parameters.candidate == "first":
            steps = {"first candidate of the event": first_of_event(events), **steps}
        if self.settings.signal_region is not None:
            steps["signal region"] = self.settings.signal_region.evaluate(columns)
        passed = np.ones(len(events), dtype=np.bool_)
        builder.cut("signal", "candidates read", weights)
        for step, mask in steps.items():
            passed &= mask
            builder.cut("signal", step, weights[passed])
        return passed, columns


def first_of_event(events: ak.Array) -> npt.NDArray[np.bool_]:
    """Whether a row is the first of its event: neighbours with the same muon, pile-up and weight are one event.

    Returns:
        Shape (rows,).
    """
    names = [name for name in ("mu_pt", "mu_abseta", "pileup", "weight") if name in ak.fields(events)]
    first = np.ones(len(events), dtype=np.bool_)
    if len(events) > 1:
        keys = np.stack([np.asarray(ak.to_numpy(events[name]), dtype=np.float64) for name in names])
        first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    return first


def event_entries(events: ak.Array) -> npt.NDArray[np.int64]:
    """The entry of the first row of each row's event, so that all rows of an event train, calibrate or check.

    Returns:
        Shape (rows,).
    """
    entries = event_numbers(events)["entry"]
    return np.asarray(np.maximum.accumulate(np.where(first_of_event(events), entries, 0)), dtype=np.int64)


def b_jets(events: ak.Array) -> npt.NDArray[np.int64]:
    """Number of b-tagged jets of each row's event, which is its number of rows; 2 stands for more as well.

    Returns:
        Shape (rows,).
    """
    event = np.cumsum(first_of_event(events)) - 1
    return np.asarray(np.minimum(np.bincount(event)[event], 2), dtype=np.int64)
