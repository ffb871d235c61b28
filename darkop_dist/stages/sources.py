"""What a run was made from, kept with it: the document as written, the user's code and the files that both name.

RUN/sources/
document.yml   the document as it was written
code/N/...     the processor's file and the user's modules that it imports, with the files that they name, as they lie
               to each other; N counts the folders that they are imported from
files/N/...    files that the document names outside of its datasets: corrections, lists of runs
sources.json   where the processor is among them, and what could not be kept
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from darkop_dist.config import parse_processor
from darkop_dist.errors import InputFileError
from darkop_dist.execution.keys import named_files, own_sources
from darkop_dist.execution.state import HASHED_BYTES, LONGEST_PATH
from darkop_dist.runs import RunDirectory, read_json, write_json
from darkop_dist.stages.code_version import CodeVersion, code_version
from darkop_dist.stages.search import Search

SCHEMA = "darkop.sources/1"
FILE = "sources.json"
WORKING_DIRECTORY = "code/begin"
NOT_FILES = ("name", "description", "datasets", "catalogue", "processor", "operator", "execution", "output", "report")
"""Sections of the document whose texts are no files, or files that are kept in another way."""


@dataclass(frozen=True)
class Sources:
    """What was kept.

    Attributes:
        processor: ``code/N/path.py:Class`` below the folder, or ``package.module:Class``.
        python_path: folders that the processor's modules are imported from.
        files: by their text in the document, files that it names.
        code: commit of the processor's own repository.
        begins_in: whether files were named relative to the directory where the run began; they are in ``code/begin``.
        notes: what could not be kept, in sentences.
    """

    processor: str
    python_path: tuple[str, ...]
    files: dict[str, str]
    code: CodeVersion
    begins_in: bool
    notes: tuple[str, ...]


@dataclass
class _Group:
    """Files that lie to each other as they did.

    Attributes:
        root: folder that modules are imported from.
        files: the files.
    """

    root: Path
    files: set[Path] = field(default_factory=set)

    @property
    def top(self) -> Path:
        """The folder that holds all of them."""
        return Path(os.path.commonpath([self.root, *(file.parent for file in self.files)]))


def keep_sources(search: Search, run: RunDirectory) -> Sources:
    """Copy what a run is made from into its directory.

    Args:
        search: the search, its processor imported.
        run: the run.
    """
    reference = parse_processor(search.document.processor)
    own = own_sources(search.processor.__module__)
    groups: dict[Path, _Group] = {}
    for path in {*own, *_parents(own)}:
        root = path.parent if path == reference.file else _import_root(path)
        groups.setdefault(root, _Group(root)).files.add(path)
    notes = list(_add_named(groups, own))
    begin = {path for group in groups.values() for path in group.files if not path.is_absolute()}
    for group in groups.values():
        group.files -= begin
    ordered = [groups[root] for root in sorted(groups)]
    folder = run.sources
    processor = search.document.processor
    for number, group in enumerate(ordered):
        for file in sorted(group.files):
            place = f"code/{number}/{file.relative_to(group.top).as_posix()}"
            _copy(file, folder / place)
            if file == reference.file:
                processor = f"{place}:{reference.name}"
    for file in sorted(begin):
        _copy(file, folder / WORKING_DIRECTORY / file)
    files, more = _keep_document_files(search, folder)
    _copy(search.loaded.source, folder / "document.yml")
    kept = Sources(
        processor=processor,
        python_path=tuple(
            (Path(f"code/{number}") / group.root.relative_to(group.top)).as_posix()
            for number, group in enumerate(ordered)
            if any(file.suffix == ".py" and file != reference.file for file in group.files)
        ),
        files=files,
        code=code_version(Path(own[0]) if reference.file is None and own else reference.file or Path("/")),
        begins_in=bool(begin),
        notes=(*notes, *more),
    )
    write_json(folder / FILE, SCHEMA, asdict(kept))
    return kept


def load_sources(folder: Path) -> Sources:
    """Read what ``keep_sources`` wrote.

    Args:
        folder: the folder ``sources`` of a run, or the same of a package.

    Raises:
        InputFileError: the file is missing or damaged.
    """
    body = read_json(folder / FILE, SCHEMA)
    try:
        return TypeAdapter(Sources).validate_python({key: body.get(key) for key in Sources.__dataclass_fields__})
    except ValidationError as error:
        raise InputFileError(str(folder / FILE), f"is damaged ({error})", "Run the search again.") from error


def _parents(sources: Sequence[Path]) -> set[Path]:
    """The ``__init__.py`` of the packages that hold a source, without which it could not be imported."""
    found = set()
    for source in sources:
        for folder in source.parents:
            if not (folder / "__init__.py").exists():
                break
            found.add(folder / "__init__.py")
    return found


def _import_root(path: Path) -> Path:
    """The folder that a module was, or would be, imported from."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(path):
            depth = name.count(".") + (path.name == "__init__.py")
            return path.parents[depth]
    entries = [Path(entry).absolute() for entry in sys.path]
    holding = [entry for entry in entries if path.is_relative_to(entry)]
    return max(holding, key=lambda entry: len(entry.parts), default=path.parent)


def _add_named(groups: dict[Path, _Group], own: Sequence[Path]) -> Iterator[str]:
    """Add the files that sources name to the groups of these sources; yields what cannot be kept."""
    for source, path, _ in named_files(own):
        group = next(group for group in groups.values() if source in group.files)
        beside = path.is_relative_to(source.parent)
        if path.is_absolute() and not beside:
            yield f"{source.name} names the file {path.name} by its absolute path: it is not kept"
        elif path.stat().st_size > HASHED_BYTES:
            yield f"{source.name} names {path.name}, which is larger than {HASHED_BYTES >> 20} MiB: it is not kept"
        elif beside:
            group.files.add(Path(os.path.normpath(path)))
        elif ".." in path.parts:
            yield f"{source.name} names {path.name} above the directory where the run began: it is not kept"
        else:
            group.files.add(path)


def _keep_document_files(search: Search, folder: Path) -> tuple[dict[str, str], list[str]]:
    """Copy the files that the document names outside of its datasets and its operator.

    Returns:
        Place in the folder by text in the document, and what could not be kept.
    """
    kept: dict[str, str] = {}
    notes = []
    data = {key: value for key, value in search.loaded.data.items() if key not in NOT_FILES}
    for text in dict.fromkeys(_texts(data)):
        path = _existing(text, search.loaded.source.parent)
        if path is None:
            continue
        if path.stat().st_size > HASHED_BYTES:
            notes.append(f"the document names {path.name}, which is larger than {HASHED_BYTES >> 20} MiB: not kept")
            continue
        kept[text] = f"files/{len(kept)}/{path.name}"
        _copy(path, folder / kept[text])
    return kept, notes


def _existing(text: str, directory: Path) -> Path | None:
    if "\n" in text or len(text) >= LONGEST_PATH or not ("." in text or "/" in text):
        return None
    return next((path for path in (directory / text, Path(text)) if path.is_file()), None)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
