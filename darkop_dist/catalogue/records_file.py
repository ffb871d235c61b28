"""Record files: JSON or TOML with a list ``records`` of dataset records, the package's own and a user's."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.config.load import resolve_record
from darkop_dist.config.mistakes import mistakes_from
from darkop_dist.config.section import SECTION
from darkop_dist.errors import DocumentError, InputFileError, Mistake

SCHEMA_VERSION = 1
RECORDS = Path(__file__).parent / "records"


class RecordFile(BaseModel):
    """A file of dataset records."""

    model_config = SECTION

    schema_version: int = SCHEMA_VERSION
    """Version of this layout: 1."""
    provenance: str = ""
    """Where the facts come from."""
    built_by: str = ""
    """The command that wrote the file."""
    sources: dict[str, str] = {}
    """SHA-256 of the files that hold the facts."""
    records: tuple[DatasetRecord, ...]
    """The datasets."""


def read_records(path: Path) -> tuple[DatasetRecord, ...]:
    """Read a user's record file.

    Args:
        path: a ``.toml`` or ``.json`` file with a list ``records``; relative files in it count from its directory.

    Returns:
        The records with absolute paths, in the order of the file.

    Raises:
        InputFileError: the file is missing, unreadable or neither TOML nor JSON.
        DocumentError: all mistakes in the records.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(str(path), f"cannot be read ({error})", "Check the path of the record file.") from error
    return tuple(resolve_record(record, path.parent) for record in _parse(text, path))


def packaged_records() -> Iterator[DatasetRecord]:
    """The records that come with the package, file by file; their file lists are not read."""
    for path in sorted(RECORDS.glob("*.json")):
        for record in _parse(path.read_text(encoding="utf-8"), path):
            yield record if record.file_list is None else resolve_record(record, RECORDS)


def _parse(text: str, path: Path) -> tuple[DatasetRecord, ...]:
    data: Any
    try:
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise InputFileError(
            str(path), f"is not valid {kind} ({error})", "Correct it; a record file is TOML or JSON."
        ) from error
    try:
        parsed = RecordFile.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise DocumentError(str(path), mistakes_from(error, RecordFile, data, {})) from error
    if parsed.schema_version != SCHEMA_VERSION:
        message = f"this version reads {SCHEMA_VERSION} only: install a newer darkop-dist, or rewrite the file"
        raise DocumentError(str(path), [Mistake(None, "schema_version", str(parsed.schema_version), message)])
    return parsed.records
