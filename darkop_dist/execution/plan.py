"""The chunks of a run: which entries of which file, known before anything is processed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import DamagedFileError, InputFileError, UnreachableFileError
from darkop_dist.events.declared import Ranges
from darkop_dist.events.read import FileFacts, inspect_file
from darkop_dist.events.remote import DEFAULT

FIRST_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
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
        identity: tells the file from every other, and from itself after a change.
        replicas: other addresses of the same file.
        lost: why the file could not be planned; empty for all that can be read. Such a chunk stands for a whole file.
        declared: of a file of collision data without events, the luminosity sections that it was made from.
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
    identity: str = ""
    replicas: tuple[str, ...] = ()
    lost: str = ""
    declared: Ranges = ()

    @property
    def name(self) -> str:
        """How messages name the chunk."""
        return f"{self.dataset}: {self.path} [{self.start}:{self.stop}]"

    @property
    def sum_weights(self) -> float | None:
        """Generated weight that the chunk stands for, where the file says so."""
        if self.file_sum_weights is None or self.stop - self.start == self.file_entries:
            return self.file_sum_weights  # not rounded, so that a file and its skim are normalised alike
        return self.file_sum_weights * (self.stop - self.start) / self.file_entries


@dataclass(frozen=True)
class DatasetFiles:
    """A dataset with its files found.

    Attributes:
        record: what is known of the dataset.
        paths: files in a reproducible order.
        replicas: other addresses of a file, by path.
        promised: number of entries that the record promises, by path.
        local: a copy on this machine that is read before all others, by path.
        access: how remote files are reached.
    """

    record: DatasetRecord
    paths: tuple[str, ...]
    replicas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    promised: Mapping[str, int] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    access: Access = field(default=DEFAULT, kw_only=True)

    def copies(self, path: str) -> tuple[str, ...]:
        """Where a file is looked for, in this order: here, its mirrors, itself, its replicas with theirs."""
        here = (self.local[path],) if path in self.local else ()
        return (*here, *self.access.addresses((path, *self.replicas.get(path, ()))))


@dataclass(frozen=True)
class FileQuestion:
    """A file to be looked at before the run.

    Attributes:
        copies: its addresses, the preferred one first.
        record: its dataset.
        promised: number of entries that the record promises; None where it does not.
        retries: how often a copy that does not answer is asked again.
        access: how remote files are reached.
    """

    copies: tuple[str, ...]
    record: DatasetRecord
    promised: int | None
    retries: int
    access: Access = DEFAULT


@dataclass(frozen=True)
class LostFile:
    """A file of which no copy can be read.

    Attributes:
        error: what is wrong with the last copy.
    """

    error: InputFileError


Look = Callable[[Sequence[FileQuestion]], Sequence[FileFacts | LostFile]]


def look_here(questions: Sequence[FileQuestion]) -> list[FileFacts | LostFile]:
    """Look at all files, one after the other, in this process."""
    return [look_at(question) for question in questions]


def look_at(question: FileQuestion) -> FileFacts | LostFile:
    """Open a file, or the first of its copies that can be read, and see what it holds.

    Raises:
        InputFileError: no copy exists, or the file is whole but not what the record says.
    """
    problem: InputFileError | None = None
    for copy in question.copies:
        for attempt in range(question.retries + 1):
            try:
                facts = inspect_file(copy, question.record, question.access)
            except UnreachableFileError as error:
                problem = error
                if attempt < question.retries:
                    time.sleep(FIRST_WAIT_S * 2**attempt)
                continue
            except InputFileError as error:
                problem = error
                break
            if question.promised in (None, facts.entries):
                return facts
            told = f"holds {facts.entries} entries instead of the {question.promised} of its record"
            problem = DamagedFileError(copy, told, "Download it again, or correct the record.")
            break
    if isinstance(problem, DamagedFileError | UnreachableFileError):
        return LostFile(problem)
    raise problem or ValueError("a file without an address")


def plan_chunks(
    datasets: Sequence[DatasetFiles], *, chunk_events: int, whole_files: bool, retries: int = 0, look: Look = look_here
) -> tuple[Chunk, ...]:
    """Open every file once and divide it into chunks.

    A file that cannot be read, among others that can, gives one chunk that is lost from the start, so that the ledger
    names it and stays open.

    Args:
        datasets: the datasets of the run.
        chunk_events: most entries of a chunk.
        whole_files: keep each file in one chunk, for processors whose events span rows.
        retries: how often a file that does not answer is asked again.
        look: opens the files; here and one after the other by default.

    Returns:
        Chunks by dataset, file and entry. A file without rows, where its record allows that, gives one chunk of
        zero entries, so that the ledger names it.

    Raises:
        InputFileError: a file cannot be used, no file of a dataset can be read, or a dataset holds no entries at all.
    """
    questions = [
        FileQuestion(dataset.copies(path), dataset.record, dataset.promised.get(path), retries, dataset.access)
        for dataset in datasets
        for path in dataset.paths
    ]
    answers = iter(look(questions))
    chunks: list[Chunk] = []
    for dataset in datasets:
        found = [next(answers) for _ in dataset.paths]
        _require_entries(dataset, found)
        labels = file_labels(dataset.paths)
        for path, facts in zip(dataset.paths, found, strict=True):
            if isinstance(facts, LostFile):
                chunks.append(_lost(len(chunks), dataset, path, labels[path], facts))
            else:
                step = max(facts.entries, 1) if whole_files else chunk_events
                chunks += _divide(len(chunks), dataset, path, labels[path], facts, step)
    return tuple(chunks)


def _require_entries(dataset: DatasetFiles, found: Sequence[FileFacts | LostFile]) -> None:
    readable = [facts for facts in found if isinstance(facts, FileFacts)]
    if not readable:
        raise next(facts.error for facts in found if isinstance(facts, LostFile))
    if not any(facts.entries for facts in readable):
        raise InputFileError(
            dataset.record.name,
            f"none of the {len(dataset.paths)} files of the dataset holds an event",
            "Correct its files in the document.",
        )


def _lost(index: int, dataset: DatasetFiles, path: str, label: str, file: LostFile) -> Chunk:
    entries = dataset.promised.get(path, 0)
    return Chunk(
        index=index,
        dataset=dataset.record.name,
        path=path,
        start=0,
        stop=entries,
        file_entries=entries,
        file_sum_weights=None,
        bytes=0,
        label=label,
        lost=f"{file.error.file}: {file.error.problem}",
    )


def _divide(first: int, dataset: DatasetFiles, path: str, label: str, facts: FileFacts, step: int) -> list[Chunk]:
    count = max(-(-facts.entries // step), 1)
    copies = dataset.copies(path)
    chunks = []
    for part in range(count):
        start, stop = part * facts.entries // count, (part + 1) * facts.entries // count
        share = (stop - start) / facts.entries if facts.entries else 1.0
        chunks.append(
            Chunk(
                index=first + part,
                dataset=dataset.record.name,
                path=facts.path,
                start=start,
                stop=stop,
                file_entries=facts.entries,
                file_sum_weights=facts.sum_weights,
                bytes=round(facts.bytes * share),
                label=label,
                identity=facts.identity,
                replicas=tuple(copy for copy in copies if copy != facts.path),
                declared=facts.declared,
            )
        )
    return chunks


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
