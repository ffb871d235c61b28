"""Workspaces from patches on one of the backgrounds: pyhf's patchsets, and ATLAS's archives of single patches."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import jsonpatch
import pyhf

from darkop_dist.errors import InputFileError, UnknownNameError
from darkop_dist.limits.backend import quiet_schema
from darkop_dist.limits.interchange.asimov import observed_in
from darkop_dist.limits.interchange.patchset import BACKGROUND, PATCHES
from darkop_dist.limits.workspace import Workspace, require_schema

PREFIX, SUFFIX = "patch.", ".json"

Json = Any


def load_patchset(
    background: Path, patches: Path | None = None, *, region: str | None = None, names: list[str] | None = None
) -> dict[str, Workspace]:
    """Read a workspace for each signal.

    Args:
        background: ``BkgOnly.json``; or a directory or tar archive that holds it beside ``patchset.json`` or one
            ``patch.NAME.json`` per signal, as ATLAS publishes them.
        patches: ``patchset.json`` or a single patch, where ``background`` is a file.
        region: folder in the directory or archive, where several have a ``BkgOnly.json``.
        names: the signals to read; all by default.

    Returns:
        Workspaces by the names of the patches, in the order of the file.

    Raises:
        InputFileError: a file is missing, no JSON, no patchset, made for other backgrounds, or its patch does not fit.
        UnknownNameError: a region or name that is not there.
    """
    if patches is not None:
        base, content = (_json(str(path), _text(path)) for path in (background, patches))
        is_one = isinstance(content, list)
        found = {_patch_name(patches.name) or patches.stem: content} if is_one else _of_set(str(patches), content, base)
        return _workspaces(str(patches), base, found, names)
    with _members(background) as members:
        folder = _folder(background, members, region)
        base = _json(str(background), members[str(folder / BACKGROUND)]())
        if str(folder / PATCHES) in members:
            origin = f"{background}:{folder / PATCHES}"
            found = _of_set(origin, _json(origin, members[str(folder / PATCHES)]()), base)
        else:
            paths = {_patch_name(path): path for path in members if PurePosixPath(path).parent == folder}
            paths = {name: path for name, path in paths.items() if name}
            _require_names(names, paths)
            found = {n: _json(p, members[p]()) for n, p in paths.items() if names is None or n in names}
        return _workspaces(str(background), base, found, names)


def _of_set(origin: str, content: Json, background: Json) -> dict[str, Json]:
    """The patches of a patchset whose digests are those of the backgrounds."""
    try:
        with quiet_schema():
            patchset = pyhf.PatchSet(content)
            patchset.verify(pyhf.Workspace(background, validate=False))
    except pyhf.exceptions.PatchSetVerificationError as error:
        problem = "was made for other backgrounds: its digest is not theirs"
        raise InputFileError(origin, problem, "Give the BkgOnly.json that came with it.") from error
    except (pyhf.exceptions.InvalidSpecification, pyhf.exceptions.InvalidPatchSet) as error:
        problem = f"is no patchset of pyhf ({str(error).splitlines()[0]})"
        raise InputFileError(origin, problem, "Give a patchset.json.") from error
    return {patch.name: patch.patch for patch in patchset}


def _workspaces(
    origin: str, background: Json, patches: Mapping[str, Json], names: list[str] | None
) -> dict[str, Workspace]:
    _require_names(names, patches)
    found = {}
    for name, patch in patches.items():
        if names is None or name in names:
            try:
                spec = jsonpatch.JsonPatch(patch).apply(background)
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                problem = f"the patch {name} does not fit the backgrounds ({error})"
                raise InputFileError(origin, problem, "Give the backgrounds that it was made for.") from error
            require_schema(spec, f"{origin}, patch {name}")
            found[name] = Workspace(name, spec, observed_in(spec))
    return found


def _require_names(names: list[str] | None, known: Mapping[str, Json]) -> None:
    for name in names or []:
        if name not in known:
            raise UnknownNameError("patch", name, known, f"There are {len(known)}, from {min(known)} to {max(known)}.")


@contextmanager
def _members(place: Path) -> Iterator[Mapping[str, Any]]:
    """What a directory or archive holds: for each JSON file a function that reads it."""
    if place.is_dir():
        yield {str(path.relative_to(place)): path.read_bytes for path in sorted(place.rglob("*.json"))}
        return
    try:
        with tarfile.open(place) as archive:
            files = [member for member in archive.getmembers() if member.isfile() and member.name.endswith(SUFFIX)]
            yield {str(PurePosixPath(member.name)): _reader(archive, member) for member in files}
    except (OSError, tarfile.TarError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "is neither a directory nor a tar archive"
        raise InputFileError(str(place), reason, f"Give {BACKGROUND} and a patchset, or what holds them.") from error


def _reader(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    def read() -> bytes:
        stream = archive.extractfile(member)
        return b"" if stream is None else stream.read()

    return read


def _folder(place: Path, members: Mapping[str, Any], region: str | None) -> PurePosixPath:
    folders = [PurePosixPath(path).parent for path in members if PurePosixPath(path).name == BACKGROUND]
    if not folders:
        raise InputFileError(str(place), f"holds no {BACKGROUND}", "Give the workspace of the backgrounds.")
    chosen = [folder for folder in folders if region is None or str(folder) == region or folder.name == region]
    if len(chosen) != 1:
        known = [str(folder) for folder in folders]
        raise UnknownNameError("region", region or "", known, f"Choose one of {', '.join(known)}.")
    return chosen[0]


def _patch_name(path: str) -> str:
    """The name in ``patch.NAME.json``; empty for other files."""
    file = PurePosixPath(path).name
    is_patch = file.startswith(PREFIX) and file.endswith(SUFFIX)
    return file[len(PREFIX) : -len(SUFFIX)] if is_patch else ""


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputFileError(str(path), f"cannot be read ({error.strerror})", "Give a JSON file.") from error


def _json(origin: str, text: bytes) -> Json:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputFileError(origin, f"is not JSON ({error})", "Give a workspace or patches in JSON.") from error
