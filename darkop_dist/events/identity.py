"""What tells a file from every other, so that a result is never taken for that of a file which has changed."""

from __future__ import annotations

import hashlib
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
    """Identity of a local file of any kind, by its path or ``file://`` address: its size and time of last change."""
    found = Path(path.removeprefix("file://")).stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def content_identity(content: bytes | memoryview) -> str:
    """Identity of a remote file that was fetched whole: its size and SHA-256.

    Servers may tell of a change with an ETag or a time, or say nothing; the content tells in any case, and tables are
    fetched whole.

    >>> content_identity(b"abc")[:20]
    '3-sha256:ba7816bf8f0'
    """
    return f"{len(content)}-sha256:{hashlib.sha256(content).hexdigest()}"


def may_be_copies(first: str, second: str) -> bool:
    """Whether files with these two identities may hold the same, as far as they tell: copies differ in their times.

    >>> may_be_copies("3-1700000000", "3-sha256:ba78"), may_be_copies("3-sha256:ba78", "3-sha256:cb00")
    (True, False)
    """
    if identity_size(first) != identity_size(second):
        return False
    return first == second or not all("-sha256:" in identity for identity in (first, second))


def identity_size(identity: str) -> int:
    """The file's size in bytes; 0 where the identity does not tell.

    >>> identity_size("1024-7f2c"), identity_size("")
    (1024, 0)
    """
    size, _, _ = identity.partition("-")
    return int(size) if size.isdigit() else 0
