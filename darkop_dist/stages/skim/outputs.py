"""From parts to outputs: which parts go into which file, and what each file says of its inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.execution import Chunk, Ledger
from darkop_dist.stages.skim.chunk import part_name
from darkop_dist.stages.skim.input_file import open_input
from darkop_dist.stages.skim.part import Part, open_part
from darkop_dist.stages.skim.request import SkimRequest
from darkop_dist.stages.skim.side_trees import SideTree, blocks_of_events, joined_trees, runs_of_events, scaled_runs
from darkop_dist.stages.skim.write_events import same_layout, write_events
from darkop_dist.stages.skim.write_jets import write_jets

Numbers = Mapping[str, Mapping[str, int]]
_ENDING = re.compile(r"\.(root(\.[0-9]+)?|parquet|pq)$", re.IGNORECASE)


@dataclass(frozen=True)
class InputBook:
    """What became of one input file.

    Attributes:
        file: its path or address, as it was planned.
        identity: tells it from every other, see `events.identity`.
        entries: entries that it holds.
        kept: events that were kept.
        rejected: events that were not.
        lost: entries that could not be read.
        rows: rows that went into the output: events, or jets of a jet set.
    """

    file: str
    identity: str
    entries: int
    kept: int
    rejected: int
    lost: int
    rows: int


@dataclass(frozen=True)
class OutputBook:
    """What one output holds.

    Attributes:
        dataset: that it belongs to.
        file: relative to the skim's directory.
        rows: events, or jets of a jet set.
        inputs: in the order of their events.
        sum_weights: generated weight that it stands for; None for data.
    """

    dataset: str
    file: str
    rows: int
    inputs: tuple[InputBook, ...]
    sum_weights: float | None

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Input:
    """An input file with its parts.

    Attributes:
        book: what became of it.
        label: its shortest name.
        parts: in the order of its entries; none if it holds no events or all were lost.
        bytes: of the parts.
        is_empty: it holds no events, and none was lost.
    """

    book: InputBook
    label: str
    parts: tuple[Part, ...]
    bytes: int
    is_empty: bool

    @property
    def fraction(self) -> float:
        """Fraction of the entries that was processed."""
        return 1.0 - self.book.lost / self.book.entries if self.book.entries else 1.0


def write_outputs(
    request: SkimRequest,
    record: DatasetRecord,
    chunks: Sequence[Chunk],
    ledger: Ledger,
    numbers: Numbers,
    folder: Path,
    directory: Path,
    about: Mapping[str, Any],
) -> list[OutputBook]:
    """Write the outputs of one dataset.

    Args:
        request: the skim.
        record: the dataset.
        chunks: of the dataset, in the order of the plan.
        ledger: what became of them.
        numbers: what the chunks' results say of their parts.
        folder: where the parts are.
        directory: of the skim.
        about: kept in every file.

    Raises:
        OSError: a file cannot be written.
    """
    inputs = [_input_of(some, ledger, numbers, folder) for some in _by_file(chunks)]
    empty = next((part for one in inputs for part in one.parts), None)
    written: list[OutputBook] = []
    place = directory / record.name
    place.mkdir(parents=True, exist_ok=True)
    for group in _groups(inputs, request.merge_mb):
        usable = [one for one in group if one.parts or one.is_empty]
        if not usable or empty is None:
            continue
        name = _name(group, request, [Path(output.file).name for output in written])
        trees = _trees(usable, record)
        parts = [part for one in usable for part in one.parts]
        made = {**about, "inputs": [asdict(one.book) for one in usable]}
        sum_weights = _sum_weights(trees)
        if request.jets is None:
            write_events(place / name, request.layout, parts or [_no_rows(empty)], trees, tree=record.tree, about=made)
        else:
            made |= {"sum_weights": -1.0 if sum_weights is None else sum_weights}
            write_jets(place / name, request.layout, parts or [_no_rows(empty)], request.jets, about=made)
        books = tuple(one.book for one in usable)
        rows = sum(book.rows for book in books)
        written.append(OutputBook(record.name, f"{record.name}/{name}", rows, books, sum_weights))
    return written


def _by_file(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    found: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        found.setdefault(chunk.label, []).append(chunk)
    return list(found.values())


def _input_of(chunks: Sequence[Chunk], ledger: Ledger, numbers: Numbers, folder: Path) -> _Input:
    entries = {entry.index: entry for entry in ledger.entries}
    parts, kept, rows, size, processed = [], 0, 0, 0, 0
    for chunk in chunks:
        name = part_name(chunk.dataset, chunk.label, chunk.start, chunk.stop)
        if entries[chunk.index].status not in ("done", "retried"):
            continue
        found = numbers[name]
        parts.append(open_part(folder / name))
        kept, rows, size = kept + found["events"], rows + found["kept"], size + found["bytes"]
        processed += chunk.stop - chunk.start
    total = sum(chunk.stop - chunk.start for chunk in chunks)
    lost = sum(chunk.stop - chunk.start for chunk in chunks if entries[chunk.index].status == "failed")
    first = chunks[0]
    book = InputBook(first.path, first.identity, total, kept, processed - kept, lost, rows)
    is_empty = all(entries[chunk.index].status == "skipped" for chunk in chunks)
    return _Input(book, first.label, tuple(parts), size, is_empty)


def _groups(inputs: Sequence[_Input], merge_mb: int) -> list[list[_Input]]:
    """Inputs that go into one output: neighbours of the same branches, up to a size."""
    groups: list[list[_Input]] = []
    for one in inputs:
        group = groups[-1] if groups else []
        size = sum(found.bytes for found in group) + one.bytes
        fits = bool(group) and size <= merge_mb << 20
        if fits and same_layout([part for found in (*group, one) for part in found.parts]):
            group.append(one)
        else:
            groups.append([one])
    return groups


def _name(group: Sequence[_Input], request: SkimRequest, taken: Sequence[str]) -> str:
    """Name of an output: that of its input, with a number where another output has it already."""
    number = f"{len(taken):04d}"
    if request.merge_mb:
        return f"{number}{request.ending}"
    stem = _ENDING.sub("", group[0].label.replace("/", "_"))
    while f"{stem}{request.ending}" in taken:
        stem = f"{stem}-{number}"
    return f"{stem}{request.ending}"


def _trees(inputs: Sequence[_Input], record: DatasetRecord) -> dict[str, SideTree]:
    found: dict[str, list[SideTree]] = {}
    for one in inputs:
        for name, tree in _trees_of(one, record).items():
            found.setdefault(name, []).append(tree)
    return {name: joined_trees(trees) for name, trees in found.items()}


def _trees_of(one: _Input, record: DatasetRecord) -> dict[str, SideTree]:
    if not one.parts:  # a file without events never came to a worker
        return open_input(one.book.file, record.tree).side_trees()
    books = [part.book for part in one.parts]
    trees = dict(books[0].trees)
    seen = [book.seen for book in books if book.seen is not None]
    if seen and (books[0].made_blocks or one.book.lost):  # what a lost chunk held may not count as luminosity
        trees["LuminosityBlocks"] = _each_once(joined_trees(seen))
    if books[0].made_runs:
        weights = [book.sum_weights or 0.0 for book in books]
        squares = [book.sum_weights2 or 0.0 for book in books]
        run = int(trees["LuminosityBlocks"].columns["run"][0]) if "LuminosityBlocks" in trees else 1
        trees["Runs"] = runs_of_events(run, weights, squares, sum(book.entries for book in books))
    elif "Runs" in trees:
        trees["Runs"] = scaled_runs(trees["Runs"], one.fraction)
    return trees


def _each_once(blocks: SideTree) -> SideTree:
    return blocks_of_events(blocks.columns["run"], blocks.columns["luminosityBlock"])


def _sum_weights(trees: Mapping[str, SideTree]) -> float | None:
    runs = trees.get("Runs")
    for name in ("genEventSumw", "genEventSumw_"):
        if runs is not None and name in runs.columns:
            return float(sum(runs.columns[name].to_list()))
    return None


def _no_rows(part: Part) -> Part:
    """A part of the same columns without a row."""
    return Part(part.book, part.schema)
