"""What is done with one chunk: select, take the columns, write the part. It runs wherever a processor runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from darkop_dist.config.access import Access
from darkop_dist.errors import InputFileError, StorageError
from darkop_dist.events.jet_sets import JetSet, JetSetRules, make_jet_set
from darkop_dist.events.remote import DEFAULT
from darkop_dist.events.weights import event_numbers, generator_weights
from darkop_dist.stages.skim.columns import ColumnRules
from darkop_dist.stages.skim.input_file import InputFile, open_input
from darkop_dist.stages.skim.layout import table_of
from darkop_dist.stages.skim.part import PartBook, write_part
from darkop_dist.stages.skim.selection import EventSelection
from darkop_dist.stages.skim.side_trees import blocks_of_events

COLUMNS_AT_ONCE = 64
EVENTS_OF_JETS = 10_000
SEEN = "seen"
PARTS = "parts"


@dataclass(frozen=True)
class SkimChunk:
    """A processor whose result is the part that it has written.

    Attributes:
        folder: where the parts go; every worker has to see it.
        token: what the file ``seen`` in it says.
        trees: name of the tree of events, by dataset.
        selection: which events.
        columns: which branches.
        required: branches that every file must have, by dataset.
        jets: the jets to write in place of events; None for a skim.
        access: how remote files are reached.
    """

    folder: Path
    token: str
    trees: Mapping[str, str]
    selection: EventSelection
    columns: ColumnRules
    required: Mapping[str, tuple[str, ...]]
    jets: JetSetRules | None = None
    access: Access = DEFAULT

    def process(self, events: ak.Array) -> dict[str, Any]:
        """Write the part of a chunk.

        Returns:
            ``{"parts": {NAME: {"entries", "events", "kept", "bytes", "adler32"}}}``, all integers; ``kept`` are rows.

        Raises:
            StorageError: this worker does not see the folder, or cannot write to it.
            UserError: the file lacks a column, or the selection cannot be used.
        """
        self._require_seen()
        about: Mapping[str, Any] = events.metadata
        dataset, start = str(about["dataset"]), int(about["entrystart"])
        stop = start + len(events)
        file = open_input(str(about["filename"]), self.trees[dataset], self.access)
        mask = self.selection.mask(events, file, start, stop)
        name = part_name(dataset, str(about["file_label"]), start, stop)
        if self.jets is None:
            self._require(file, dataset)
            names = self.columns.choose(file.names, file.counters)
            layout = file.layout(names)
            tables = iter([table_of(_kept(file, names, start, stop, mask), layout, counters=False)])
        else:
            layout = None
            tables = _jet_tables(events, file, start, mask, self.jets)
        book = _book(events, file, start, stop, layout)
        rows, size, check = write_part(self.folder / name, book, tables)
        numbers = {"entries": len(events), "events": int(mask.sum()), "kept": rows, "bytes": size, "adler32": check}
        return {PARTS: {name: numbers}}

    def postprocess(self, output: Any) -> Any:
        """Nothing is left to be done."""
        return output

    def _require(self, file: InputFile, dataset: str) -> None:
        missing = [name for name in self.required[dataset] if name not in file.names]
        if missing:
            told = f"lacks {', '.join(missing)}, which the first file of dataset {dataset} has"
            raise InputFileError(file.path, told, "Name it by a pattern, such as HLT_*, if a file may do without it.")

    def _require_seen(self) -> None:
        try:
            seen = (self.folder / SEEN).read_text() == self.token
        except OSError:
            seen = False
        if not seen:
            raise StorageError(
                f"a worker does not see {self.folder}, where its part of the skim goes. Choose an output on a file "
                "system that all workers share."
            )


def part_name(dataset: str, label: str, start: int, stop: int) -> str:
    """The file of a chunk's part, the same for every run over the same files."""
    return hashlib.sha256(json.dumps([dataset, label, start, stop]).encode()).hexdigest()[:32] + ".arrow"


def _kept(
    file: InputFile, names: Sequence[str], start: int, stop: int, mask: npt.NDArray[np.bool_]
) -> dict[str, ak.Array]:
    """Branches of the kept events; some at a time, since those of all events would not fit into memory."""
    chosen: dict[str, ak.Array] = {}
    for first in range(0, len(names), COLUMNS_AT_ONCE):
        some = names[first : first + COLUMNS_AT_ONCE]
        for name, array in file.read(some, start, stop).items():
            chosen[name] = array if mask.all() else ak.to_packed(array[mask])
    return chosen


def _book(events: ak.Array, file: InputFile, start: int, stop: int, layout: Any) -> PartBook:
    trees = file.side_trees()
    weights = None
    if "genWeight" in file.names and not events.metadata["is_data"]:
        weights = generator_weights(events)
    seen = None
    if {"run", "luminosityBlock"} <= set(file.names):
        numbers = file.read(["run", "luminosityBlock"], start, stop)
        seen = blocks_of_events(numbers["run"], numbers["luminosityBlock"])
    return PartBook(
        layout=layout,
        entries=stop - start,
        sum_weights=None if weights is None else float(np.sum(weights)),
        sum_weights2=None if weights is None else float(np.sum(weights**2)),
        trees=trees,
        made_runs="Runs" not in trees and weights is not None,
        made_blocks="LuminosityBlocks" not in trees and seen is not None,
        seen=seen,
    )


def _jet_tables(
    events: ak.Array, file: InputFile, start: int, mask: npt.NDArray[np.bool_], rules: JetSetRules
) -> Iterator[pa.Table]:
    """Jets of some events at a time: fixed shapes take 7 kB a jet."""
    names = rules.columns(frozenset(file.names))
    missing = [name for name in names if name not in file.names]
    if missing:
        some = ", ".join(missing[:6])
        raise InputFileError(
            file.path,
            f"lacks what jets with constituents are made of: {some}",
            "Use PFNano, or files generated with darkop generate --candidates.",
        )
    numbers = event_numbers(events)
    weights = generator_weights(events) if events.metadata["is_data"] or "genWeight" in file.names else None
    for first in range(0, max(len(mask), 1), EVENTS_OF_JETS):
        here = mask[first : first + EVENTS_OF_JETS]
        columns = file.read(names, start + first, start + first + len(here))
        jets = make_jet_set({name: array[here] for name, array in columns.items()}, rules)
        entry = np.flatnonzero(here)[jets.entry] + first
        about: dict[str, npt.NDArray[Any]] = {
            name: values[entry] for name, values in numbers.items() if name != "entry"
        }
        about["weight"] = np.ones(len(entry)) if weights is None else weights[entry]
        yield _jet_table(about, jets, rules)


def _jet_table(about: Mapping[str, npt.NDArray[Any]], jets: JetSet, rules: JetSetRules) -> pa.Table:
    columns: dict[str, Any] = {name: pa.array(values) for name, values in about.items()}
    columns |= {"jet_index": pa.array(jets.jet_index), "jet_nparticles": pa.array(jets.counts)}
    columns |= {f"jet_{name}": pa.array(np.ascontiguousarray(values)) for name, values in jets.jets.items()}
    size = rules.constituents
    fixed = {**{f"part_{name}": values for name, values in jets.features.items()}, "part_mask": jets.mask}
    for name, values in fixed.items():
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size)
    return pa.table(columns)
