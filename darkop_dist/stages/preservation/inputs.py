"""The inputs of a run as a package names them: addresses as they are, files of this machine by a label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from darkop_dist.config import DatasetRecord
from darkop_dist.config.datasets import DatasetFile, is_root_file
from darkop_dist.errors import InputFileError
from darkop_dist.events.identity import identity_size, local_identity
from darkop_dist.events.read import inspect_file
from darkop_dist.execution.plan import file_labels
from darkop_dist.runs import RunDirectory, file_sha256, read_json
from darkop_dist.stages.preservation.clean import without_secrets
from darkop_dist.stages.run_events import INPUTS_SCHEMA

LOCAL = "local:/"
GENERATED = "generated:/"
_MEMBER = re.compile(r".*/archives/(?P<sha256>[0-9a-f]{64})/files/(?P<member>.+)")
Say = Callable[[str], None]


@dataclass(frozen=True)
class LocalInput:
    """A file of this machine that a run read: an input file, or an archive of them.

    Attributes:
        name: how the package calls it: ``local:/`` and the shortest end of its path that no other one shares.
        datasets: names of the datasets that read it.
        bytes: its size.
        sha256: of its content; None where the file is not there any more.
        path: where it is on this machine.
    """

    name: str
    datasets: tuple[str, ...]
    bytes: int
    sha256: str | None
    path: Path


@dataclass(frozen=True)
class RunInputs:
    """All inputs of a run.

    Attributes:
        files: the run's own list, with the paths of this machine.
        local: files and archives of this machine, in the order in which they are read.
        names: what the package calls each path of an input, members of archives included.
    """

    files: tuple[Mapping[str, Any], ...]
    local: tuple[LocalInput, ...]
    names: Mapping[str, str]


def find_inputs(
    run: RunDirectory, records: Sequence[DatasetRecord], *, say: Say = lambda _: None
) -> tuple[RunInputs, tuple[str, ...]]:
    """List the inputs of a run; local ones are read once, to find their SHA-256.

    Args:
        run: the run.
        records: its datasets, with the paths of this machine.
        say: is told what takes long.

    Returns:
        The inputs, and what is uncertain about them, in sentences.

    Raises:
        InputFileError: a local file is not the one that the run read.
    """
    files: list[dict[str, Any]] = list(_listed(run))
    by_name = {record.name: record for record in records}
    archives: dict[str, str] = {}
    for record in records:
        if record.generated is None:
            archives |= {str(path): "" for path in _archives(record)}
    plain = {file["path"]: file for file in files if _is_plain(file["path"], by_name[file["dataset"]])}
    members = [match for file in files if (match := _MEMBER.fullmatch(file["path"]))]
    labels = file_labels([*archives, *plain])
    notes: list[str] = []
    local = []
    size = sum(Path(path.removeprefix("file://")).stat().st_size for path in labels if Path(path).is_file())
    say(f"reading {len(labels)} local input files once for their checksums, {size / 1e6:.1f} MB")
    for path in sorted([*archives, *plain]):
        readers = [r.name for r in records if path in map(str, _archives(r))] or [plain[path]["dataset"]]
        known = {match["sha256"] for match in members} if path in archives else None
        found = _local(path, LOCAL + labels[path], tuple(readers), plain.get(path), by_name, known)
        if found.sha256 is None:
            notes.append(f"{found.name} was not there any more when the package was made: its checksum is not known")
        archives |= {path: found.sha256 or ""} if path in archives else {}
        local.append(found)
    return RunInputs(tuple(files), tuple(local), _names(files, by_name, archives, labels)), tuple(notes)


def packaged_record(record: DatasetRecord, inputs: RunInputs) -> DatasetRecord:
    """A record as the package holds it: without paths of this machine, and with every local file by its name."""
    if record.generated is not None:
        return record.model_copy(update={"files": ()})
    told = {file.uri: file for file in record.files if isinstance(file, DatasetFile)}
    kept: list[str | DatasetFile] = []
    for uri in record.uris:
        if uri.startswith("tar://"):
            members, _, archive = uri.partition("::")
            kept.append(f"{members}::{inputs.names.get(archive, archive)}")
        elif "://" in uri and not uri.startswith("file://"):
            kept.append(_with_addresses(told[uri], without_secrets(uri)) if uri in told else without_secrets(uri))
    for local in inputs.local:
        path = str(local.path)
        if record.name in local.datasets and not any(u.endswith(f"::{path}") for u in record.uris):
            file = told.get(path) or told.get(f"file://{path}")
            kept.append(_with_addresses(file, local.name) if file else local.name)
    return record.model_copy(update={"files": tuple(kept)})


def _with_addresses(file: DatasetFile, uri: str) -> DatasetFile:
    remote = tuple(without_secrets(replica) for replica in file.replicas if "://" in replica)
    return file.model_copy(update={"uri": uri, "replicas": remote})


def _listed(run: RunDirectory) -> Iterable[dict[str, Any]]:
    if not run.inputs.exists():
        problem = "is absent: the run was made by a version that kept no list of its inputs"
        raise InputFileError(str(run.inputs), problem, "Run the search again.")
    body: dict[str, Any] = read_json(run.inputs, INPUTS_SCHEMA)
    return [dict(file) for file in body["files"]]


def _archives(record: DatasetRecord) -> list[Path]:
    return [Path(uri.partition("::")[2]) for uri in record.uris if uri.startswith("tar://")]


def _is_plain(path: str, record: DatasetRecord) -> bool:
    """Whether a path is a file of this machine that is neither generated nor a member of an archive."""
    return record.generated is None and "://" not in path.removeprefix("file://") and not _MEMBER.fullmatch(path)


def _local(
    path: str,
    name: str,
    datasets: tuple[str, ...],
    file: Mapping[str, Any] | None,
    records: Mapping[str, DatasetRecord],
    archives: set[str] | None,
) -> LocalInput:
    place = Path(path.removeprefix("file://"))
    if not place.is_file():
        size = identity_size(file["identity"]) if file else 0
        return LocalInput(name, datasets, size, None, place)
    sha256 = file_sha256(place)
    changed = archives is not None and sha256 not in archives
    if file is not None and file["identity"]:
        is_root = is_root_file(path)
        now = inspect_file(path, records[file["dataset"]]).identity if is_root else local_identity(path)
        changed = now != file["identity"]
    if changed:
        raise InputFileError(
            path, "has changed since the run", "Put the file of the run back, or run the search again with this one."
        )
    return LocalInput(name, datasets, place.stat().st_size, sha256, place)


def _names(
    files: Iterable[Mapping[str, Any]],
    records: Mapping[str, DatasetRecord],
    archives: Mapping[str, str],
    labels: Mapping[str, str],
) -> dict[str, str]:
    names = {path: LOCAL + label for path, label in labels.items()}
    of_hash = {sha256: path for path, sha256 in archives.items() if sha256}
    for file in files:
        path = file["path"]
        if records[file["dataset"]].generated is not None:
            names[path] = f"{GENERATED}{file['dataset']}/{PurePosixPath(path).name}"
        elif found := _MEMBER.fullmatch(path):
            archive = of_hash.get(found["sha256"])
            name = names[archive] if archive else f"{LOCAL}archive"
            names[path] = f"{name}/{found['member']}"
    return names
