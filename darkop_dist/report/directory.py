"""A directory that appears complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkop_dist.errors import OutputError


def require_free(directory: Path, *, force: bool = False) -> None:
    """Check that a directory can be made, before work is spent on what belongs into it.

    Raises:
        OutputError: the directory exists and ``force`` is not given, or its parent does not exist.
    """
    if directory.exists() and not force:
        raise OutputError(f"{directory}: exists already. Choose another directory or write with --force.")
    if not directory.parent.is_dir():
        raise OutputError(f"{directory}: the folder {directory.parent} does not exist. Make it first.")


@contextmanager
def finished_directory(directory: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a directory to write into, which takes its place when nothing has failed.

    Args:
        directory: the directory to make.
        force: replace an existing directory.

    Raises:
        OutputError: the directory exists and ``force`` is not given, its parent does not exist, or it cannot be
            written.
    """
    require_free(directory, force=force)
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written ({error.strerror}). Choose another place.") from error
    try:
        yield unfinished
        unfinished.chmod(0o755)
        _put_in_place(unfinished, directory)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written ({error.strerror}). Choose another place.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _put_in_place(unfinished: Path, directory: Path) -> None:
    if not directory.exists():
        unfinished.rename(directory)
        return
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-old-", dir=directory.parent) as old:
        moved = directory.rename(Path(old) / directory.name)
        try:
            unfinished.rename(directory)
        except OSError:
            moved.rename(directory)
            raise
