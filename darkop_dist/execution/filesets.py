"""Filesets as coffea's users write them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.config import Execution as Settings
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.remote import DEFAULT
from darkop_dist.execution.chunk import Task
from darkop_dist.execution.plan import Chunk, FileQuestion, Look, LostFile, file_labels, look_here

UNNAMED = "events"
WITH_TREE = re.compile(r"(.+\.root(?:\.\d+)?):([^:/][^:]*)")
RESERVED = frozenset({"dataset", "filename", "treename", "entrystart", "entrystop", "fileuuid"})


@dataclass(frozen=True)
class FileOf:
    """A file of a fileset.

    Attributes:
        dataset: name of its dataset.
        path: local path or address.
        tree: the tree in it.
        steps: ranges of entries to be processed; None for all, in portions.
        entries: number of entries that the fileset promises; None if it does not.
        uuid: the file's identifier as the fileset has it; empty if it has none.
        replicas: other addresses of the same file.
        local: a copy on this machine that is read before all others; empty if there is none.
    """

    dataset: str
    path: str
    tree: str
    steps: tuple[tuple[int, int], ...] | None = None
    entries: int | None = None
    uuid: str = ""
    replicas: tuple[str, ...] = ()
    local: str = ""

    def copies(self, access: Access) -> tuple[str, ...]:
        """Where it can be read, the best place first: here, at its mirrors, at itself, at its replicas with theirs."""
        return (*((self.local,) if self.local else ()), *access.addresses((self.path, *self.replicas)))


def files_of(fileset: Any, treename: str | None) -> tuple[tuple[FileOf, ...], dict[str, dict[str, Any]]]:
    """All files of a fileset, and the metadata of its datasets.

    Args:
        fileset: a list of files; a mapping from dataset to a list of files, to a mapping from file to tree, or to a
            mapping with ``files`` and perhaps ``treename`` and ``metadata``; instead of the name of a tree, coffea's
            ``{"object_path": ..., "steps": ..., "num_entries": ..., "uuid": ...}``; or the path of such a JSON file.
        treename: the tree of files for which the fileset names none.

    Raises:
        InputValueError: the fileset has another form, a file has no tree or stands there twice.
    """
    if isinstance(fileset, str | Path):
        fileset = _from_json(Path(fileset))
    if isinstance(fileset, Sequence):
        fileset = {UNNAMED: list(fileset)}
    if not isinstance(fileset, Mapping):
        raise _wrong("the fileset", f"is a {type(fileset).__name__}")
    files: list[FileOf] = []
    metadata: dict[str, dict[str, Any]] = {}
    for dataset, content in fileset.items():
        told = dict(content) if isinstance(content, Mapping) and "files" in content else {"files": content}
        tree = told.get("treename") or treename
        metadata[dataset] = dict(told.get("metadata") or {})
        clash = sorted(RESERVED & metadata[dataset].keys())
        if clash:
            problem = f"has metadata of the reserved name {clash[0]}"
            raise InputValueError(f"dataset {dataset}", problem, "Give it another name")
        found = [_file(dataset, path, value, tree) for path, value in _pairs(dataset, told["files"])]
        _require_distinct(dataset, found)
        files += found
    return tuple(files), metadata


def plan_fileset(
    files: Sequence[FileOf], settings: Settings, look: Look = look_here, *, access: Access = DEFAULT
) -> tuple[Task, ...]:
    """The chunks of a fileset, in its order.

    A file without entries gives one chunk that is skipped, one that cannot be read a chunk that is lost from the start.

    Args:
        files: from ``files_of``.
        settings: size of the chunks, where the fileset gives no steps, retries and time-out.
        look: opens the files.
        access: how remote files are reached.

    Raises:
        InputFileError: a file does not exist, has no such tree, or is not the one that the fileset describes.
    """
    records = {
        # not validated: the datasets of others may have any name
        (file.dataset, file.tree): DatasetRecord.model_construct(
            name=file.dataset, kind="data", tree=file.tree, allow_empty=True
        )
        for file in files
    }
    questions = [
        FileQuestion(f.copies(access), records[f.dataset, f.tree], f.entries, settings.retries, access) for f in files
    ]
    labels = {name: file_labels([f.path for f in files if f.dataset == name]) for name in {f.dataset for f in files}}
    tasks: list[Task] = []
    for file, facts in zip(files, look(questions), strict=True):
        lost = f"{facts.error.file}: {facts.error.problem}" if isinstance(facts, LostFile) else ""
        path = file.path if isinstance(facts, LostFile) else facts.path
        entries = (file.entries or 0) if isinstance(facts, LostFile) else facts.entries
        identity = "" if isinstance(facts, LostFile) else facts.identity
        if identity and file.uuid and file.uuid not in identity:
            what = f"is another file than the fileset describes (its uuid is {identity.partition('-')[2]})"
            raise InputFileError(file.path, what, "Make the fileset again.")
        for start, stop in _ranges(file, entries, max(entries, 1) if lost else settings.chunk_events):
            chunk = Chunk(
                index=len(tasks),
                dataset=file.dataset,
                path=path,
                start=start,
                stop=stop,
                file_entries=entries,
                file_sum_weights=None,
                bytes=0 if isinstance(facts, LostFile) else round(facts.bytes * (stop - start) / max(entries, 1)),
                label=labels[file.dataset][file.path],
                identity=identity,
                replicas=tuple(copy for copy in file.copies(access) if copy != path),
                lost=lost,
            )
            record = records[file.dataset, file.tree]
            tasks.append(Task(chunk, record, settings.retries, None, settings.chunk_timeout_s, access))
    return tuple(tasks)


def _ranges(file: FileOf, entries: int, step: int) -> Iterable[tuple[int, int]]:
    if file.steps is not None:
        for start, stop in file.steps:
            if not 0 <= start <= stop <= entries:
                told = f"has {entries} entries, so that the fileset's step [{start}, {stop}] does not fit"
                raise InputFileError(file.path, told, "Make the fileset again.")
        ordered = sorted(file.steps)
        for (_, stop), (start, _) in itertools.pairwise(ordered):
            if start < stop:
                told = f"has steps that overlap at entry {start}: its events would count twice"
                raise InputFileError(file.path, told, "Make the fileset again.")
        return file.steps or ((0, 0),)
    count = max(-(-entries // step), 1)
    return [(part * entries // count, (part + 1) * entries // count) for part in range(count)]


def _from_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputFileError(str(path), "no such file", "Give the path of a fileset in JSON.") from error
    except json.JSONDecodeError as error:
        raise InputFileError(str(path), f"is no JSON ({error})", "Correct it.") from error


def _pairs(dataset: str, files: Any) -> list[tuple[str, Any]]:
    if isinstance(files, str | Path):
        return [(str(files), None)]
    if isinstance(files, Mapping):
        return [(str(path), value) for path, value in files.items()]
    if isinstance(files, Sequence):
        return [(str(path), None) for path in files]
    raise _wrong(f"dataset {dataset}", f"has a {type(files).__name__} in place of files")


def _file(dataset: str, path: str, value: Any, tree: str | None) -> FileOf:
    written = WITH_TREE.fullmatch(path)
    if written:
        path, tree = written[1], written[2]
    if isinstance(value, Mapping):
        steps = value.get("steps")
        return FileOf(
            dataset,
            path,
            _tree(dataset, path, value.get("object_path") or tree),
            None if steps is None else tuple((int(start), int(stop)) for start, stop in steps),
            value.get("num_entries"),
            str(value.get("uuid") or ""),
            tuple(map(str, value.get("replicas") or ())),
        )
    if value is not None and not isinstance(value, str):
        raise _wrong(f"dataset {dataset}", f"has a {type(value).__name__} in place of the tree of {path}")
    return FileOf(dataset, path, _tree(dataset, path, value or tree))


def _tree(dataset: str, path: str, tree: Any) -> str:
    if not tree:
        raise InputValueError(f"dataset {dataset}", f"names no tree for {path}", "Give treename")
    return str(tree)


def _require_distinct(dataset: str, files: Sequence[FileOf]) -> None:
    seen: set[str] = set()
    for file in files:
        if file.path in seen:
            problem = f"holds {file.path} twice: its events would count twice"
            raise InputValueError(f"dataset {dataset}", problem, "Remove one")
        seen.add(file.path)


def _wrong(thing: str, problem: str) -> InputValueError:
    return InputValueError(thing, problem, "Write {dataset: [files]} or {dataset: {'files': ..., 'metadata': ...}}")
