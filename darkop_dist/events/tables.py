"""Flat tables: CSV and Parquet, local or fetched whole from a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from darkop_dist.config.access import Access
from darkop_dist.errors import InputFileError
from darkop_dist.events.identity import content_identity, local_identity
from darkop_dist.events.remote import DEFAULT, fetch, is_remote

FLAT_SUFFIXES = (".csv", ".parquet", ".pq", ".root")


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
        frame: its columns, a pandas DataFrame of numbers.
        identity: of the file, as it was when it was read.
    """

    frame: Any
    identity: str


def read_table(path: str, access: Access = DEFAULT) -> Table:
    """Read a table.

    Args:
        path: local path or address.
        access: how remote files are reached.

    Raises:
        InputFileError: the file is of another kind, or a column holds text.
        OSError: the file cannot be reached.
        ValueError: the file is damaged.
    """
    import pandas as pd

    if not path.endswith(FLAT_SUFFIXES):
        raise InputFileError(path, "is of a kind that is not read", f"Use one of {', '.join(FLAT_SUFFIXES)}.")
    source: Any = path
    if is_remote(path):
        source = fetch(path, access)
        identity = content_identity(source.getbuffer())
    else:
        identity = local_identity(path)
    frame = pd.read_csv(source) if path.endswith(".csv") else pd.read_parquet(source)
    words = [str(name) for name in frame.columns if frame[name].dtype.kind not in "iufb" and len(frame)]
    if words:
        raise InputFileError(path, f"column {words[0]} holds text, not numbers", "Correct the file.")
    return Table(frame, identity)
