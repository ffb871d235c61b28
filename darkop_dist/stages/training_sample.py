"""The events of a training as model inputs, with every chunk that they come from accounted for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
from coffea.processor import column_accumulator

from darkop_dist.errors import ChunkError
from darkop_dist.events.representations import represent
from darkop_dist.events.split import SplitRule
from darkop_dist.execution import LedgerEntry, Task
from darkop_dist.execution.backend import Inline
from darkop_dist.execution.driver import Driver
from darkop_dist.execution.store import ChunkStore
from darkop_dist.operators.card import ModelInput

Inputs = npt.NDArray[np.float32]
MERGE_MB = 1000


@dataclass(frozen=True)
class Sample:
    """Model inputs of some datasets.

    Attributes:
        inputs: shape (events, ...).
        entries: what became of each chunk.
    """

    inputs: Inputs
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True)
class Collector:
    """Makes model inputs of the events that a search's operator sees.

    Attributes:
        search: the search's processor.
        rule: which events train, calibrate and check.
        spec: the model input.
        part: the part of the split that is wanted; all if None.
    """

    search: Any
    rule: SplitRule
    spec: ModelInput
    part: int | None

    def process(self, events: ak.Array) -> dict[str, Any]:
        """The model inputs of a chunk."""
        told = events.metadata
        events = self.search.scored_events(events)
        if self.part is not None:
            entry = np.asarray(ak.to_numpy(events["entry"]))
            events = events[self.rule.assign(told["dataset"], told["file_label"], entry) == self.part]
        if not len(events):
            return {"inputs": column_accumulator(_none(self.spec))}
        return {"inputs": column_accumulator(represent(events, self.spec.representation, self.spec.settings))}


def collect_sample(tasks: Sequence[Task], collector: Collector) -> Sample:
    """Model inputs of the events of some chunks, in the order of the plan.

    Chunks are tried again, and from other copies of their file, as in the pass over the events; one that is lost all
    the same is missing in the sample, and its entry says so.

    Raises:
        UserError: the values of a file cannot be used.
        ChunkError: the processor failed.
    """
    if not tasks:
        return Sample(_none(collector.spec), ())
    with tempfile.TemporaryDirectory(prefix="darkop-training-", ignore_cleanup_errors=True) as folder:
        store = ChunkStore(Path(folder))
        store.create()
        driver = Driver(tasks, Inline(None, collector), store, "training", merge_mb=MERGE_MB)
        try:
            done = driver.run()
        except ChunkError as error:  # its number is not that of the same chunk in the pass over the events
            raise ChunkError(f"while events were collected for the training: {error.problem}") from error
    inputs = _none(collector.spec) if done.output is None else done.output["inputs"].value
    return Sample(inputs, done.ledger.entries)


def joined(samples: Iterable[Sample]) -> tuple[LedgerEntry, ...]:
    """One entry per chunk that several samples were collected from: the one that failed, if one did."""
    found: dict[int, LedgerEntry] = {}
    for entry in (entry for sample in samples for entry in sample.entries):
        if entry.index not in found or entry.status == "failed":
            found[entry.index] = entry
    return tuple(found[index] for index in sorted(found))


def _none(spec: ModelInput) -> Inputs:
    return np.empty((0, *spec.shape), dtype=np.float32)
