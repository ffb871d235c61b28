"""The chunks of a run: which entries of which file, known before anything is processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.read import inspect_file


@dataclass(frozen=True)
class Chunk:
    """A range of entries of one file.

    Attributes:
        index: place in the plan; outputs merge in this order.
        dataset: name of the dataset.
        path: the file.
        start: first entry.
        stop: one past the last entry.
        file_entries: entries of the whole file.
        file_sum_weights: sum of weights generated for the whole file, where the file says so.
        bytes: share of the file's size.
        label: shortest end of the path that no other file of the dataset shares; the same on every machine.
    """

    index: int
    dataset: str
    path: str
    start: int
    stop: int
    file_entries: int
    file_sum_weights: float | None
    bytes: int
    label: str

    @property
    def name(self) -> str:
        """How messages name the chunk."""
        return f"{self.dataset}: {self.path} [{self.start}:{self.stop}]"


@dataclass(frozen=True)
class DatasetFiles:
    """A dataset with its files found.

    Attributes:
        record: what is known of the dataset.
        paths: files in a reproducible order.
    """

    record: DatasetRecord
    paths: tuple[str, ...]


def plan_chunks(datasets: Sequence[DatasetFiles], *, chunk_events: int, whole_files: bool) -> tuple[Chunk, ...]:
    """Open every file once and divide it into chunks.

    Args:
        datasets: the datasets of the run.
        chunk_events: most entries of a chunk.
        whole_files: keep each file in one chunk, for processors whose events span rows.

    Returns:
        Chunks by dataset, file and entry. A file without rows, where its record allows that, gives one chunk of
        zero entries, so that the ledger names it.

    Raises:
        InputFileError: a file cannot be used, or a dataset holds no entries at all.
    """
    chunks: list[Chunk] = []
    for dataset in datasets:
        entries = 0
        labels = file_labels(dataset.paths)
        for path in dataset.paths:
            facts = inspect_file(path, dataset.record)
            entries += facts.entries
            step = max(facts.entries, 1) if whole_files else chunk_events
            count = max(-(-facts.entries // step), 1)
            for part in range(count):
                start, stop = part * facts.entries // count, (part + 1) * facts.entries // count
                share = (stop - start) / facts.entries if facts.entries else 1.0
                chunks.append(
                    Chunk(
                        index=len(chunks),
                        dataset=dataset.record.name,
                        path=path,
                        start=start,
                        stop=stop,
                        file_entries=facts.entries,
                        file_sum_weights=facts.sum_weights,
                        bytes=round(facts.bytes * share),
                        label=labels[path],
                    )
                )
        if entries == 0:
            raise InputFileError(
                dataset.record.name,
                f"none of the {len(dataset.paths)} files of the dataset holds an event",
                "Correct its files in the document.",
            )
    return tuple(chunks)


def file_labels(paths: Sequence[str]) -> dict[str, str]:
    """The shortest end of each path that no other path shares: mostly the file's name.

    >>> file_labels(["data/0000/nano_1.root", "data/0001/nano_1.root"])["data/0001/nano_1.root"]
    '0001/nano_1.root'
    """
    parts = {path: PurePosixPath(path).parts for path in paths}
    depth = 1
    longest = max(map(len, parts.values()), default=0)
    while depth < longest and len({found[-depth:] for found in parts.values()}) < len(parts):
        depth += 1
    return {path: "/".join(found[-depth:]) for path, found in parts.items()}
