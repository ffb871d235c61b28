"""Opening a package: every file is compared with the size and the SHA-256 that its metadata give."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

from darkop_dist.errors import InputFileError, OutputError
from darkop_dist.runs import file_sha256, read_json
from darkop_dist.stages.preservation.crate import METADATA
from darkop_dist.stages.preservation.inputs import LOCAL
from darkop_dist.stages.preservation.package import SCHEMA

PAGE = "results/report/"
AGAIN = "Get the package again from where it came from."
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError)
"""What a zip file raises that is cut, corrupt, encrypted or of an unknown compression."""


@dataclass(frozen=True)
class OpenPackage:
    """A package whose files are those that its metadata list.

    Attributes:
        path: the directory that holds them.
        shown: what messages call it.
        sha256: of its metadata.
        told: ``package.json``.
        inputs: ``inputs.json``.
        notes: changes that do not matter, in sentences.
    """

    path: Path
    shown: str
    sha256: str
    told: Mapping[str, Any]
    inputs: Mapping[str, Any]
    notes: tuple[str, ...]


@contextmanager
def open_package(path: Path) -> Iterator[OpenPackage]:
    """Open and check a package; a zip file is unpacked for as long as this lasts.

    Args:
        path: a directory or a zip file.

    Raises:
        InputFileError: it is no package, is damaged, or holds other files than its metadata list. A page that was
            changed is only noted.
        OutputError: there is no room to unpack it.
    """
    if path.is_dir():
        yield _checked(path, str(path))
        return
    if not path.exists():
        raise InputFileError(
            str(path), "no such package", "Name a directory or a zip file of darkop export --to rocrate."
        )
    with TemporaryDirectory(prefix="darkop-package-") as folder:
        _unpack(path, Path(folder))
        yield _checked(Path(folder), str(path))


def _checked(folder: Path, shown: str) -> OpenPackage:
    place = folder / METADATA
    if not place.is_file():
        problem = f"holds no {METADATA}: it is no package"
        raise InputFileError(shown, problem, "Name a directory or a zip file of darkop export --to rocrate.")
    listed = _listed(place, shown)
    notes = []
    for name, (size, sha256) in listed.items():
        problem = _problem(folder / name, size, sha256)
        if problem and name.startswith(PAGE):
            notes.append(f"{name} {problem}; it is only the page")
        elif problem:
            raise InputFileError(f"{shown}: {name}", problem, AGAIN)
    for found in sorted(folder.rglob("*")):
        name = found.relative_to(folder).as_posix()
        if found.is_symlink() or (found.is_file() and name not in listed and name != METADATA):
            problem = "is a link" if found.is_symlink() else "is not among the files that the metadata list"
            raise InputFileError(f"{shown}: {name}", problem, f"Remove it. {AGAIN}")
    for name in ("package.json", "inputs.json", "document/search.json", "results/ledger.json"):
        if name not in listed:
            raise InputFileError(f"{shown}: {name}", "is missing: it is no package of darkop export", AGAIN)
    told = read_json(folder / "package.json", SCHEMA)
    inputs: Mapping[str, Any] = read_json(folder / "inputs.json", "darkop.packaged-inputs/1")
    for file in inputs["local"]:
        _require_inside(str(file["name"]).removeprefix(LOCAL), shown)
    return OpenPackage(folder, shown, file_sha256(place), told, inputs, tuple(notes))


def _listed(place: Path, shown: str) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 by path of every file that the metadata say is in the package."""
    try:
        graph = json.loads(place.read_text(encoding="utf-8"))["@graph"]
        files = [entity for entity in graph if entity["@type"] == "File" and "sha256" in entity]
        listed = {unquote(file["@id"]): (int(file["contentSize"]), str(file["sha256"])) for file in files}
    except (ValueError, KeyError, TypeError) as error:
        problem = f"is damaged ({type(error).__name__}: {error})"
        raise InputFileError(f"{shown}: {METADATA}", problem, AGAIN) from error
    for name in listed:
        _require_inside(name, shown)
    return listed


def _problem(path: Path, size: int, sha256: str) -> str:
    if not path.is_file():
        return "is missing"
    found = path.stat().st_size
    if found != size:
        return f"has {found} bytes instead of {size}"
    return "" if file_sha256(path) == sha256 else "has been changed: its SHA-256 is not the one in the metadata"


def _require_inside(name: str, shown: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name:
        raise InputFileError(shown, f"names {name!r}, which is not inside the package", "Do not use it.")


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a zip file, nothing of it outside of the folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            for member in members:
                _require_inside(member.filename, str(path))
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise InputFileError(str(path), f"holds the link {member.filename!r}", "Do not use it.")
                if names.count(member.filename) > 1:
                    raise InputFileError(str(path), f"holds {member.filename!r} twice", "Do not use it.")
            free = shutil.disk_usage(folder).free
            wanted = sum(member.file_size for member in members)
            if wanted > free:
                problem = f"{wanted / 1e6:.0f} MB to unpack, {free / 1e6:.0f} MB free in {folder.parent}"
                raise OutputError(f"{path}: {problem}. Unpack it elsewhere and name the directory.")
            archive.extractall(folder)
    except _DAMAGE as error:
        raise InputFileError(str(path), f"is damaged or no zip file ({error})", AGAIN) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be unpacked in {folder} ({error.strerror}).") from error
