"""What tells a file from every other, so that a result is never taken for that of a file which has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def root_identity(directory: Any) -> str:
    """Identity of an open ROOT file: its size and the identifier that ROOT wrote into it.

    Copies of a file have the same identity wherever they are.

    Args:
        directory: what ``uproot.open`` gave for the file.
    """
    return f"{directory.file.source.num_bytes}-{directory.file.uuid}"


def local_identity(path: str) -> str:
    """Identity of a local file of any kind: its size and the time of its last change; empty for an address."""
    if "://" in path:
        return ""
    found = Path(path).stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def identity_size(identity: str) -> int:
    """The file's size in bytes; 0 where the identity does not tell.

    >>> identity_size("1024-7f2c"), identity_size("")
    (1024, 0)
    """
    size, _, _ = identity.partition("-")
    return int(size) if size.isdigit() else 0
