"""File lists: the many files of a dataset in a small JSON file of their own, read when they are needed.

The first lines give the part that all addresses have in common; then one line per file holds the rest of its address,
its size in bytes, its adler32 checksum and its number of events, with ``null`` for what is not known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from darkop_dist.config.datasets import DatasetFile, DatasetRecord
from darkop_dist.config.mistakes import mistakes_from
from darkop_dist.config.section import SECTION, Name
from darkop_dist.errors import DocumentError, InputFileError

SCHEMA_VERSION = 1

_Count = Annotated[int, Field(ge=0)] | None
_Adler32 = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None


class FileList(BaseModel):
    """A file list as it stands on disk."""

    model_config = SECTION

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    """Version of this layout: 1."""
    prefix: str = ""
    """Beginning of every address."""
    files: tuple[tuple[Name, _Count, _Adler32, _Count], ...]
    """Rest of the address, bytes, adler32 and events of each file."""


def with_files(record: DatasetRecord) -> DatasetRecord:
    """A record whose files stand in it.

    Args:
        record: a record with ``files`` or with the absolute path of a ``file_list``.

    Returns:
        The record itself if it has no file list; otherwise a copy that holds its files and no list.

    Raises:
        InputFileError: the list is missing or unreadable, or holds another number of files than the record says.
        DocumentError: mistakes in the list.
    """
    if record.file_list is None:
        return record
    files = read_file_list(Path(record.file_list))
    if record.file_count is not None and len(files) != record.file_count:
        raise InputFileError(
            record.file_list,
            f"lists {len(files)} files where the record {record.name} says {record.file_count}",
            "Correct the list or the record.",
        )
    return record.model_copy(update={"files": files, "file_list": None})


def read_file_list(path: Path) -> tuple[DatasetFile, ...]:
    """The files of a list, in its order.

    Args:
        path: the JSON file; relative paths in it count from its directory.

    Raises:
        InputFileError: the list is missing, unreadable or no JSON.
        DocumentError: mistakes in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
    except (OSError, ValueError) as error:
        raise InputFileError(
            str(path), f"is no readable file list ({error})", "Check the path, or make it anew."
        ) from error
    try:
        listed = FileList.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise DocumentError(str(path), mistakes_from(error, FileList, data, {})) from error
    start = listed.prefix if "://" in listed.prefix else f"{path.parent.absolute()}/{listed.prefix}"
    return tuple(
        DatasetFile.model_construct(
            uri=rest if "://" in rest else start + rest, bytes=size, adler32=checksum, events=events
        )
        for rest, size, checksum, events in listed.files
    )


def format_file_list(files: Sequence[DatasetFile]) -> str:
    """A file list as text, one line per file.

    Args:
        files: the files; replicas cannot be listed.

    >>> print(format_file_list([DatasetFile(uri="root://h//a/1.root", bytes=3), DatasetFile(uri="root://h//a/2.root")]))
    {"schema_version": 1, "prefix": "root://h//a/", "files": [
    ["1.root", 3, null, null],
    ["2.root", null, null, null]
    ]}
    <BLANKLINE>
    """
    first, last = min(file.uri for file in files), max(file.uri for file in files)
    same = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    common = first[: first.rfind("/", 0, min(same, len(first) - 1)) + 1]
    rows = (json.dumps([file.uri.removeprefix(common), file.bytes, file.adler32, file.events]) for file in files)
    head = f'{{"schema_version": {SCHEMA_VERSION}, "prefix": {json.dumps(common)}, "files": [\n'
    return head + ",\n".join(rows) + "\n]}\n"
