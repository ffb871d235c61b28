"""Tar archives, unpacked once into a cache and found again by the archive's own SHA-256."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from darkop_dist.errors import InputFileError, OutputError

_INVENTORY = "inventory.json"
_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)


@dataclass(frozen=True)
class UnpackedArchive:
    """An archive's files on disk.

    Attributes:
        directory: where they are.
        members: names of the regular files within the archive, sorted; links and devices are never unpacked.
    """

    directory: Path
    members: tuple[str, ...]


def unpack_archive(archive: Path, cache: Path) -> UnpackedArchive:
    """Unpack a tar archive, or find it unpacked.

    The directory appears in one step, so an interrupted or parallel run leaves nothing half-written. An unpacked
    archive in which a file is missing or has another size is unpacked again; changed content of equal size is not seen.

    Args:
        archive: plain or compressed tar archive.
        cache: directory below which one directory per archive is kept, named by the SHA-256 of the archive.

    Returns:
        The files.

    Raises:
        InputFileError: the archive is unreadable, damaged, or names files outside of itself.
        OutputError: the cache cannot be written.
    """
    target = cache / _sha256(archive)
    sizes = _read_inventory(target)
    if sizes is None:
        sizes = _unpack_into(archive, target)
    return UnpackedArchive(target / "files", tuple(sorted(sizes)))


def _sha256(archive: Path) -> str:
    try:
        with archive.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputFileError(str(archive), f"cannot be read ({error.strerror})", "Check its permissions.") from error


def _read_inventory(target: Path) -> Mapping[str, int] | None:
    """Sizes in bytes by member, or None if the directory is absent or damaged."""
    try:
        sizes: dict[str, int] = json.loads((target / _INVENTORY).read_text(encoding="utf-8"))
        whole = all((target / "files" / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return sizes if whole else None


def _unpack_into(archive: Path, target: Path) -> Mapping[str, int]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpacking-") as name:
            work = Path(name) / "archive"
            sizes = _extract(archive, work / "files")
            (work / _INVENTORY).write_text(json.dumps(sizes), encoding="utf-8")
            if _read_inventory(target) is None:  # else another process was faster
                shutil.rmtree(target, ignore_errors=True)
                work.rename(target)
    except OSError as error:
        present = _read_inventory(target)
        if present is not None:
            return present
        message = f"{target}: cannot unpack {archive} here ({error}). Make the cache writable, or choose another."
        raise OutputError(message) from error
    return sizes


def _extract(archive: Path, directory: Path) -> dict[str, int]:
    """Write every regular file of an archive below a directory; the sizes in bytes by name."""
    sizes: dict[str, int] = {}
    directory.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isreg() else None
                if source is None:
                    continue
                name = _safe_name(archive, member.name)
                destination = directory / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                with source, destination.open("wb") as out:
                    shutil.copyfileobj(source, out)
                sizes[name] = member.size
    except _DAMAGE as error:
        raise InputFileError(str(archive), f"is damaged or no tar archive ({error})", "Download it again.") from error
    except OSError as error:
        if error.errno is None:  # bz2 reports a damaged stream like this
            raise InputFileError(str(archive), f"is damaged ({error})", "Download it again.") from error
        raise
    return sizes


def _safe_name(archive: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputFileError(
            str(archive), f"holds the unsafe name {name!r}", "Do not use archives from unknown sources."
        )
    return str(path)
