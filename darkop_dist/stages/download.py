"""A dataset by name to the disk: all of it, or the fewest files that hold so many events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from darkop_dist.catalogue.cache import FileCache, Lease
from darkop_dist.catalogue.files import resolve_files
from darkop_dist.catalogue.search import find_datasets, load_catalogue
from darkop_dist.config import DatasetRecord
from darkop_dist.config.access import Access, user_access
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import InputFileError, InputValueError, UnreachableFileError
from darkop_dist.events.read import inspect_file
from darkop_dist.events.remote import is_remote
from darkop_dist.runs import cache_directory
from darkop_dist.stages.cached import described, file_cache
from darkop_dist.stages.fetch_files import (
    WORKERS,
    DownloadMonitor,
    FetchedFiles,
    Fetching,
    Silent,
    fetch_to_cache,
    fetch_to_folder,
)


@dataclass(frozen=True)
class Download:
    """A dataset on the disk.

    Attributes:
        dataset: its name.
        files: paths, in the order of the record.
        events: entries in them; None if the record does not say.
        bytes: their size.
        moved: bytes that came over the network for them, now.
        lease: keeps the files in the cache as long as this object lives; None for a folder of the user's own.
    """

    dataset: str
    files: tuple[Path, ...]
    events: int | None
    bytes: int
    moved: int
    lease: Lease | None = field(default=None, repr=False, compare=False)


def download_dataset(
    name: str,
    *,
    cache_dir: str | Path | None = None,
    output: str | Path | None = None,
    max_events: int | None = None,
    workers: int = WORKERS,
    keep_going: bool = False,
    timeout_s: float | None = None,
    catalogue: Sequence[str | Path] = (),
    monitor: DownloadMonitor | None = None,
) -> Download:
    """Bring the files of a dataset to this machine; size and adler32 of each are compared while it is written.

    What was broken off goes on where it stopped. Files in the cache are used by ``darkop run --cached`` and
    ``load_opendata(..., cached=True)``; those unused for longest make room when the ceiling is reached.

    Args:
        name: name of a dataset, or a file.
        cache_dir: where the cache is; ``DARKOP_CACHE``, or the user's cache directory, by default.
        output: a folder for the files, instead of the cache.
        max_events: the fewest whole files that hold so many events; all files by default.
        workers: files at a time.
        keep_going: fetch all other files before a file that cannot be had becomes an error.
        timeout_s: longest silence of a server; that of the user's own file of access, or 60 s, by default.
        catalogue: own record files, TOML or JSON.
        monitor: is told how it goes.

    Returns:
        The files.

    Raises:
        UnknownNameError: the catalogue has no dataset of that name; gives the nearest ones.
        InputFileError: the record has no files, or a file cannot be had, from none of its addresses, whole and with the
            checksum of its record.
        InputValueError: the dataset is generated, or holds fewer events than are wanted.
        OutputError: the disk or the ceiling of the cache is too small, or the place cannot be written.
        StorageError: the disk is full in the middle; what was loaded is kept.
    """
    (record,) = find_datasets([name], load_catalogue([Path(path) for path in catalogue]))
    how = Fetching(workers, keep_going, reached(timeout_s), monitor=monitor or Silent())
    place = None if output is None else Path(output)
    cache = file_cache(None if cache_dir is None else Path(cache_dir))
    return download_record(record, cache, place, max_events, how)


def reached(timeout_s: float | None = None) -> Access:
    """How remote files are reached without a document: as the user's own file says.

    Args:
        timeout_s: longest silence of a server, in place of that file's.
    """
    access = user_access()
    return access if timeout_s is None else access.model_copy(update={"timeout_s": timeout_s})


def download_record(
    record: DatasetRecord, cache: FileCache, folder: Path | None, max_events: int | None, how: Fetching
) -> Download:
    """As ``download_dataset``, for a record."""
    if max_events is not None and max_events < 1:
        raise InputValueError("max_events", f"is {max_events}", "Ask for one event or more")
    files = files_to_fetch(record)
    if max_events is None:
        chosen = files
    elif all(file.events is not None for file in files):
        chosen = fewest_files(record.name, files, max_events)
    else:
        return _until_enough(record, files, cache, folder, max_events, how)
    if max_events is not None:
        told = f"{_events_of(chosen):,} events are in {len(chosen)} of its {len(files)} files"
        how.monitor.say(f"{record.name}: {max_events:,} events are wanted; {told}")
    return _download(record, chosen, cache, folder, how)


def files_to_fetch(record: DatasetRecord) -> tuple[DatasetFile, ...]:
    """The files of a dataset with what is known of each, sorted by address.

    Raises:
        InputValueError: the dataset is generated.
        InputFileError: the record has no files, or a local one is missing.
    """
    if record.generated is not None:
        problem = "is generated, not downloaded"
        raise InputValueError(f"dataset {record.name}", problem, "load_opendata and darkop run make it on demand")
    return described(record, resolve_files(record, Path.cwd(), cache_directory() / "archives"))


def fewest_files(name: str, files: Sequence[DatasetFile], max_events: int) -> tuple[DatasetFile, ...]:
    """The fewest whole files that hold so many events: the largest, in the order in which they were.

    Args:
        name: of the dataset.
        files: their events are known.
        max_events: how many events are wanted.

    Raises:
        InputValueError: all together hold fewer.
    """
    chosen: list[DatasetFile] = []
    for file in sorted(files, key=lambda file: -(file.events or 0)):
        if _events_of(chosen) >= max_events:
            break
        chosen.append(file)
    if _events_of(chosen) < max_events:
        raise _too_few(name, _events_of(chosen), max_events)
    return tuple(file for file in files if file in chosen)


def _until_enough(
    record: DatasetRecord,
    files: Sequence[DatasetFile],
    cache: FileCache,
    folder: Path | None,
    max_events: int,
    how: Fetching,
) -> Download:
    """One file after the other, each opened and counted, where the record does not say how many events it holds."""
    had: list[Download] = []
    events = 0
    for file in files:
        one = _download(record, [file], cache, folder, replace(how, keep_going=False))
        events += inspect_file(str(one.files[0]), record).entries
        had.append(one)
        how.monitor.say(f"{record.name}: {events:,} of {max_events:,} events with {len(had)} of its {len(files)} files")
        if events >= max_events:
            break
    else:
        raise _too_few(record.name, events, max_events)
    paths = tuple(path for one in had for path in one.files)
    again = fetch_to_cache(files[: len(had)], cache, how).lease if folder is None else None
    return Download(record.name, paths, events, sum(d.bytes for d in had), sum(d.moved for d in had), again)


def _download(
    record: DatasetRecord, files: Sequence[DatasetFile], cache: FileCache, folder: Path | None, how: Fetching
) -> Download:
    if folder is not None:
        found, here = fetch_to_folder(files, folder, how), {}
    else:
        local = [file.uri for file in files if not is_remote(file.uri)]  # used where they are
        here = {uri: Path(uri.removeprefix("file://")) for uri in local}
        found = fetch_to_cache([file for file in files if file.uri not in here], cache, how)
    if found.lost:
        raise _incomplete(record.name, files, found)
    paths = tuple(here.get(file.uri) or found.files[file.uri].path for file in files)
    events = None if any(file.events is None for file in files) else _events_of(files)
    moved = sum(fetched.moved for fetched in found.files.values())
    return Download(record.name, paths, events, sum(path.stat().st_size for path in paths), moved, found.lease)


def _incomplete(name: str, files: Sequence[DatasetFile], found: FetchedFiles) -> InputFileError:
    first = next(iter(found.lost.values()))
    told = f"{len(found.lost)} of {len(files)} files could not be downloaded; the first: {first.file}: {first.problem}"
    return UnreachableFileError(name, told, "The others are whole and stay; the same command tries these again.")


def _events_of(files: Sequence[DatasetFile]) -> int:
    return sum(file.events or 0 for file in files)


def _too_few(name: str, events: int, wanted: int) -> InputValueError:
    return InputValueError(f"dataset {name}", f"holds {events:,} events, not {wanted:,}", "Ask for fewer, or for all")
