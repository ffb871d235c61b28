"""The journal: a line for every chunk as it becomes known, so that a run can be read while it goes on or has died."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from darkop_dist.errors import InputFileError, StorageError
from darkop_dist.execution.chunk import Task
from darkop_dist.execution.keys import RunKey
from darkop_dist.execution.ledger import Ledger, LedgerEntry
from darkop_dist.execution.merge import content_of
from darkop_dist.execution.store import FULL, ChunkStore
from darkop_dist.execution.tree import Ref
from darkop_dist.histograms.output import Output, merge_outputs
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.store/1"
NAME = "journal.jsonl"


class Journal:
    """Writes the journal of a run; a new run begins a new one."""

    def __init__(self, store: Path) -> None:
        """Write beside the results."""
        self._path = store / NAME

    def __enter__(self) -> Self:
        try:
            self._stream = self._path.open("w", buffering=1)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error.strerror})") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # of a full disk, which has been said
            self._stream.close()

    def write(self, entry: LedgerEntry, key: str) -> None:
        """Write a line.

        Args:
            entry: the chunk's line of the ledger.
            key: of its result; empty if there is none.

        Raises:
            StorageError: the disk is full.
        """
        try:
            self._stream.write(json.dumps({"key": key, **asdict(entry)}) + "\n")
        except OSError as error:
            if error.errno in FULL:
                raise StorageError(
                    f"{self._path}: cannot be written ({error.strerror}). What was processed is kept: make room and "
                    "run again with --resume."
                ) from error
            raise


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        ledger: the chunks that are known by now, in the order of the plan.
        keys: keys of their results, in the same order; empty where there is none.
        planned: number of chunks of the plan, by dataset.
        entries: number of entries of the plan, by dataset.
    """

    ledger: Ledger
    keys: tuple[str, ...]
    planned: Mapping[str, int]
    entries: Mapping[str, int]

    @property
    def finished(self) -> bool:
        """Every chunk of the plan is known."""
        return len(self.ledger.entries) == sum(self.planned.values())


def write_plan(store: ChunkStore, key: RunKey, tasks: Sequence[Task]) -> None:
    """Write down what the results depend on and what the plan holds."""
    chunks: dict[str, int] = {}
    entries: dict[str, int] = {}
    files: dict[str, dict[str, str]] = {}
    for task in tasks:
        name = task.chunk.dataset
        chunks[name] = chunks.get(name, 0) + 1
        entries[name] = entries.get(name, 0) + task.chunk.stop - task.chunk.start
        files.setdefault(name, {})[task.chunk.label] = task.chunk.identity
    body = {"depends_on": dict(key.parts), "chunks": chunks, "entries": entries, "files": files}
    write_json(store.path / "store.json", SCHEMA, body)


def read_plan(store: Path) -> dict[str, Any] | None:
    """What ``write_plan`` wrote; None if there is nothing that can be read."""
    try:
        return read_json(store / "store.json", SCHEMA)
    except InputFileError:
        return None


def changes_since(plan: Mapping[str, Any], key: RunKey, tasks: Sequence[Task]) -> tuple[str, ...]:
    """Why results of an earlier run do not hold any more, in words.

    Args:
        plan: what ``read_plan`` gave for the earlier run.
        key: what results depend on now.
        tasks: the chunks of now.
    """
    found = list(key.changes(plan["depends_on"]))
    for dataset, label, identity in dict.fromkeys((t.chunk.dataset, t.chunk.label, t.chunk.identity) for t in tasks):
        earlier = plan["files"].get(dataset, {}).get(label)
        if earlier is not None and earlier != identity:
            found.append(f"file {label} of {dataset}")
    return tuple(found)


def read_progress(store: Path) -> Progress:
    """How far a run is, or was when it ended.

    Raises:
        InputFileError: the directory holds no results.
    """
    plan = read_json(store / "store.json", SCHEMA)
    found: dict[int, tuple[LedgerEntry, str]] = {}
    for line in _lines(store / NAME):
        key = line.pop("key")
        entry = LedgerEntry(**line)
        found[entry.index] = (entry, key)
    ordered = [found[index] for index in sorted(found)]
    chunks, entries = plan["chunks"], plan["entries"]
    assert isinstance(chunks, dict)  # noqa: S101  # what write_plan wrote
    assert isinstance(entries, dict)  # noqa: S101
    return Progress(Ledger(tuple(entry for entry, _ in ordered)), tuple(key for _, key in ordered), chunks, entries)


def tries_before(stores: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """What the journals of earlier runs say of results that took several tries, by key, for the ledger of this run."""
    found: dict[str, dict[str, Any]] = {}
    for store in stores:
        for line in _lines(store / NAME):
            if line.get("key") and line.get("status") == "retried":
                found[line["key"]] = {name: line[name] for name in ("status", "attempts", "reason")}
    return found


def partial_output(store: Path) -> Output | None:
    """Everything that is done by now, merged: the histograms of a run that still goes on, or that died.

    Sums add up from left to right, so that they may differ from the finished run's in the last bit.
    """
    total: Any = None
    for key in read_progress(store).keys:
        if key:
            content = content_of(Ref(key, leaf=True), store)["output"]
            total = content if total is None else merge_outputs(total, content)
    output: Output | None = total
    return output


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines; the last one may have been cut by the end of its writer."""
    if not path.exists():
        return
    with path.open() as stream:
        for line in stream:
            if line.endswith("\n"):
                yield json.loads(line)
