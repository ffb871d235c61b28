"""A package on the disk, as a directory or a zip file: all of it or nothing, the same bytes for the same content."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from darkop_dist.errors import OutputError

ZIP = ".zip"
FILE_MODE = 0o644
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file knows."""
Content = Mapping[str, bytes | Path]


def require_free(output: Path) -> None:
    """Check that nothing is replaced, before work is spent.

    Raises:
        OutputError: there is something at that place already.
    """
    if output.exists():
        raise OutputError(f"{output}: exists already. Choose another output.")


def write_files(output: Path, content: Content, made: str) -> None:
    """Write a package to a directory, or to a zip file if the output ends in ``.zip``.

    Args:
        output: where.
        content: bytes, or files to copy, by path below the package.
        made: when the run was made (ISO 8601): the time of all files in a zip file.

    Raises:
        OutputError: it cannot be written, or a file to copy cannot be read.
    """
    with _renamed(output) as unfinished:
        if output.suffix == ZIP:
            _write_zip(unfinished, content, made)
        else:
            _write_directory(unfinished, content)


def _write_directory(folder: Path, content: Content) -> None:
    for name, source in content.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            place.write_bytes(source)
        else:
            shutil.copyfile(source, place)
    folder.chmod(0o755)


def _write_zip(folder: Path, content: Content, made: str) -> None:
    moment = max(EARLIEST, datetime.fromisoformat(made).timetuple()[:6])
    with zipfile.ZipFile(folder / "package", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sorted(content.items()):
            entry = zipfile.ZipInfo(name, moment)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = FILE_MODE << 16
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            with archive.open(entry, "w", force_zip64=size >= zipfile.ZIP64_LIMIT) as out:
                if isinstance(source, bytes):
                    out.write(source)
                else:
                    with source.open("rb") as stream:
                        shutil.copyfileobj(stream, out)


@contextmanager
def _renamed(output: Path) -> Iterator[Path]:
    """A directory beside the output, which takes its name at the end; of a zip file, the file ``package`` in it."""
    rename: Callable[[Path], Path] = lambda place: place / "package" if output.suffix == ZIP else place  # noqa: E731
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror}). Choose another place.") from error
    try:
        yield unfinished
        os.sync()
        require_free(output)
        rename(unfinished).rename(output)
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written ({error.strerror}). Make room, or choose another place."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
