"""Record files that this package writes for a user: what a service answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import OutputError
from darkop_dist.runs import write_atomically


def write_record_file(
    path: Path, records: Sequence[DatasetRecord], *, provenance: str, built_by: str, replace: bool = False
) -> None:
    """Write a record file whole or not at all; ``catalogue: [FILE]`` in a document takes it up.

    Args:
        path: the JSON file.
        records: the datasets, with their files.
        provenance: where the facts come from.
        built_by: the command that wrote it.
        replace: whether a file that exists already may be replaced.

    Raises:
        OutputError: the file exists already, does not end in .json, or cannot be written.
    """
    if path.suffix != ".json":
        raise OutputError(f"{path}: a record file that is written here is JSON. Give it a name that ends in .json.")
    if path.exists() and not replace:
        raise OutputError(f"{path}: exists already. Choose another name, or give --force to replace it.")
    content = {
        "schema_version": 1,
        "provenance": provenance,
        "built_by": built_by,
        "records": [record.model_dump(mode="json", exclude_defaults=True) for record in records],
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")
