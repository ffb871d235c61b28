"""From a record to the files that are read: globs are expanded, local files checked, archives unpacked once."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from darkop_dist.catalogue.archive import unpack_archive
from darkop_dist.catalogue.file_lists import with_files
from darkop_dist.config.datasets import FILE_SUFFIXES, DatasetFile, DatasetRecord, is_pattern, is_root_file
from darkop_dist.errors import InputFileError


@dataclass(frozen=True)
class ResolvedFile:
    """One file that can be opened.

    Attributes:
        path_or_url: absolute local path, or address.
        member_of: archive that the file was unpacked from; None for plain files.
        member: name within that archive; None for plain files.
        events: number of entries that the record promises; None where it does not.
        replicas: other addresses of the same file.
    """

    path_or_url: str
    member_of: Path | None = None
    member: str | None = None
    events: int | None = None
    replicas: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What people call the file: the same on every machine for members of archives."""
        return self.path_or_url if self.member_of is None else f"{self.member_of.name}::{self.member}"


def resolve_files(record: DatasetRecord, base: Path, cache: Path) -> tuple[ResolvedFile, ...]:
    """The files of a dataset.

    Args:
        record: the dataset; not one that is generated on demand. A file list is read here if it has not been yet.
        base: directory that relative local paths count from.
        cache: directory in which archives are unpacked.

    Returns:
        Each file once, sorted by path or address. Addresses are not opened.

    Raises:
        InputFileError: a file that is missing, of another type, of another size than the record says or named twice; a
            pattern without a match; an archive that is damaged or has no matching member; a record without files.
        OutputError: the cache cannot be written.
    """
    record = with_files(record)
    if not record.files:
        raise InputFileError(record.name, "the dataset has no files", how_to_list(record))
    found: dict[str, ResolvedFile] = {}
    for entry in record.files:
        file = DatasetFile(uri=entry) if isinstance(entry, str) else entry
        for resolved in _resolve(file, base, cache):
            if resolved.path_or_url in found:
                raise InputFileError(
                    resolved.label,
                    f"the dataset {record.name} names this file twice, so its events would count twice",
                    "Make its patterns disjoint.",
                )
            found[resolved.path_or_url] = resolved
    return tuple(found[path] for path in sorted(found))


def how_to_list(record: DatasetRecord) -> str:
    """What to do about a record without files: how the portal can be asked for them, or where they are."""
    if record.generated:
        return "Make it first: darkop generate."
    own = "or write `files` into a record of your own."
    if record.dsid is not None:
        asked, made = f"atlas {record.dsid}", f"atlas-2024r-pp-{record.dsid}"
    elif record.recid is not None:
        asked, made = f"cern {record.recid}", f"cern-{record.recid}"
    else:
        return f"Download them from https://doi.org/{record.doi} and {own[3:]}" if record.doi else f"W{own[4:]}"
    place = "" if record.recid is None else f"They are in record {record.recid} of the CERN Open Data portal. "
    return (
        f"{place}With a network, `darkop datasets query {asked} --output {made}.json` writes them: name that file "
        f"under `catalogue` and the dataset {made}; {own}"
    )


def _resolve(file: DatasetFile, base: Path, cache: Path) -> Iterator[ResolvedFile]:
    if file.uri.startswith("tar://"):
        yield from _members(file.uri, base, cache)
    elif "://" in file.uri:
        yield ResolvedFile(file.uri, events=file.events, replicas=_replicas(file, base))
    else:
        paths = _local_paths(file.uri, base)
        if len(paths) > 1 and file.replicas:
            raise InputFileError(file.uri, "is a pattern and cannot have replicas", "List its files one by one.")
        for path in paths:
            if path.exists() or not file.replicas:
                _check_file(path, file.bytes if len(paths) == 1 else None)
            events = file.events if len(paths) == 1 else None
            yield ResolvedFile(str(path), events=events, replicas=_replicas(file, base))


def _replicas(file: DatasetFile, base: Path) -> tuple[str, ...]:
    return tuple(uri if "://" in uri else str(Path(base.absolute(), uri)) for uri in file.replicas)


def _local_paths(uri: str, base: Path) -> list[Path]:
    path = Path(base.absolute(), uri)
    if not is_pattern(uri) or path.exists():
        return [path]
    matches = sorted(glob.glob(uri, root_dir=base, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise InputFileError(str(path), "no file matches this pattern", "Check the path and the pattern.")
    return [Path(base.absolute(), match) for match in matches]


def _check_file(path: Path, size: int | None) -> None:
    if not path.exists():
        raise InputFileError(str(path), "no such file", "Check the path, or download the dataset again.")
    if not path.is_file():
        raise InputFileError(str(path), "is not a file", f"Name the files in it, such as {path}/*.root.")
    if path.suffix.lower() not in FILE_SUFFIXES and not is_root_file(path.name):
        raise InputFileError(
            str(path), "is of an unknown type", f"Files must end in one of {', '.join(FILE_SUFFIXES)}."
        )
    found = path.stat().st_size
    if size is not None and found != size:
        raise InputFileError(str(path), f"has {found} bytes instead of {size}", "Download it again.")


def _members(uri: str, base: Path, cache: Path) -> Iterator[ResolvedFile]:
    pattern, separator, name = uri.removeprefix("tar://").partition("::")
    if not separator or not pattern or not name:
        raise InputFileError(uri, "is not of the form tar://MEMBERS::ARCHIVE", "Such as tar://*.csv::data/files.tgz.")
    archive = Path(base.absolute(), name)
    if not archive.is_file():
        raise InputFileError(str(archive), "no such archive", "Check the path, or download it again.")
    unpacked = unpack_archive(archive, cache)
    members = [member for member in unpacked.members if _matches(member, pattern)]
    if not members:
        shown = ", ".join(unpacked.members[:3]) or "nothing"
        raise InputFileError(str(archive), f"no member matches {pattern!r}", f"The archive holds {shown}, ...")
    for member in members:
        path = unpacked.directory / member
        _check_file(path, None)
        yield ResolvedFile(str(path), member_of=archive, member=member)


def _matches(member: str, pattern: str) -> bool:
    """A pattern without a slash is compared with the last part of the member's name."""
    return fnmatchcase(member if "/" in pattern else member.rsplit("/", maxsplit=1)[-1], pattern)
