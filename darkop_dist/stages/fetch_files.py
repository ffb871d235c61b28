"""Many files at a time to the cache or to a folder: asked for, room made, fetched in parallel."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from shutil import disk_usage
from typing import Protocol

from darkop_dist.catalogue.cache import SPARE_BYTES, FileCache, Lease, name_of, shown_size
from darkop_dist.catalogue.fetch import Fetched, Listener, Patience, Seen, Stopped, checked, fetch_file, part_of
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import InputFileError, OutputError
from darkop_dist.events.remote import DEFAULT
from darkop_dist.events.transfer import RemoteTransport
from darkop_dist.execution.plan import file_labels

WORKERS = 4
FetchOne = Callable[[DatasetFile], Fetched]


class DownloadMonitor(Protocol):
    """Whoever watches a download; it is called from several threads."""

    def say(self, text: str) -> None:
        """Something the user should know."""

    def expected(self, sizes: Mapping[Path, int]) -> None:
        """These files will be brought; bytes by place."""

    def moved(self, path: Path, size: int) -> None:
        """So many bytes of a file are on the disk."""


@dataclass(frozen=True)
class Silent:
    """Watches without a word."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def expected(self, sizes: Mapping[Path, int]) -> None:
        """Say nothing."""

    def moved(self, path: Path, size: int) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Fetching:
    """How files are fetched.

    Attributes:
        workers: files at a time.
        keep_going: go on with the others when one cannot be had.
        access: how remote files are reached.
        patience: with servers that do not answer.
        monitor: is told how it goes.
    """

    workers: int = WORKERS
    keep_going: bool = False
    access: Access = DEFAULT
    patience: Patience = field(default_factory=Patience)
    monitor: DownloadMonitor = field(default_factory=Silent)


@dataclass(frozen=True)
class FetchedFiles:
    """What was had, and what not.

    Attributes:
        files: by address.
        lost: why a file could not be had, by address.
        lease: keeps them in the cache; None for a folder of the user's own.
    """

    files: Mapping[str, Fetched]
    lost: Mapping[str, InputFileError]
    lease: Lease | None = None


def fetch_to_cache(files: Sequence[DatasetFile], cache: FileCache, how: Fetching) -> FetchedFiles:
    """Bring files to the cache, or find them there.

    A file without a checksum in its record is compared with what its server says of it now.

    Args:
        files: the files.
        cache: the cache; it makes room first.
        how: how many at a time, and what happens when one fails.

    Raises:
        InputFileError: a file cannot be had, unless the others shall go on.
        OutputError: the cache is too small, or cannot be written.
        StorageError: the disk is full; what was loaded is kept.
    """
    if not files:
        return FetchedFiles({}, {})
    stop = threading.Event()
    transport, listener = _transport(how, stop)
    there = {file.uri for file in files if cache.place(file).exists()}
    asked = _ask(files, there, transport, stop, how)
    sizes = {file.uri: _size(file, asked) for file in files}
    lease = cache.lease(files, sizes)
    how.monitor.expected({lease.paths[uri]: size for uri, size in sizes.items()})

    def one(file: DatasetFile) -> Fetched:
        found, now = cache.find(file), asked.get(file.uri)
        if found and now and found.source == _mirrored(file, how).uri and Seen(found.bytes, found.version) != now:
            how.monitor.say(f"{file.uri}: has changed on the server since it was downloaded; it is fetched again")
            found.path.unlink(missing_ok=True)
            found = None
        while found is None:
            place, note = lease.paths[file.uri], functools.partial(cache.keep, file)
            fetched = fetch_file(_mirrored(file, how), place, transport, listener, how.patience, note=note)
            found = fetched if fetched.source else cache.find(file)  # another process may have brought it
        how.monitor.moved(found.path, found.bytes)
        return found

    try:
        files_had, lost = _fetch_all(files, one, stop, how)
    except BaseException:
        lease.close()
        raise
    return FetchedFiles(files_had, lost, lease)


def fetch_to_folder(files: Sequence[DatasetFile], folder: Path, how: Fetching) -> FetchedFiles:
    """Bring files to a folder, under their own names; where names are the same, with the folders that tell them apart.

    Args:
        files: the files.
        folder: where they go. A file that is there is read and compared with its record.
        how: how many at a time, and what happens when one fails.

    Raises:
        InputFileError: a file cannot be had, unless the others shall go on.
            Or an address leads out of the folder, or two lead to one name in it.
        OutputError: another file of that name is there, the disk is too small, or it cannot be written.
        StorageError: the disk is full; what was loaded is kept.
    """
    stop = threading.Event()
    transport, listener = _transport(how, stop)
    places = _places(files, folder)
    asked = _ask(files, set(), transport, stop, how)
    sizes = {file.uri: _size(file, asked) for file in files}
    _require_room(folder, {places[uri]: size for uri, size in sizes.items()})
    how.monitor.expected({places[uri]: size for uri, size in sizes.items()})

    def one(file: DatasetFile) -> Fetched:
        if file.bytes is None and places[file.uri].exists():  # what the server says is all there is to compare with
            return checked(places[file.uri], file.model_copy(update={"bytes": sizes[file.uri] or None}))
        found = fetch_file(_mirrored(file, how), places[file.uri], transport, listener, how.patience)
        how.monitor.moved(found.path, found.bytes)
        return found

    return FetchedFiles(*_fetch_all(files, one, stop, how))


def _places(files: Sequence[DatasetFile], folder: Path) -> dict[str, Path]:
    """Where each file goes, by address."""
    places: dict[Path, str] = {}
    for uri, label in file_labels([file.uri for file in files]).items():
        above = [part for part in PurePosixPath(label).parts[:-1] if part.strip("/")]
        if ".." in above:
            raise InputFileError(uri, "leads out of the folder with its '..'", "Write the address without it.")
        place = folder.joinpath(*above, name_of(uri))
        if place in places:
            what = "Leave --output out: the cache tells them apart."
            raise InputFileError(uri, f"has the name of {places[place]} in the folder", what)
        places[place] = uri
    return {uri: place for place, uri in places.items()}


def _mirrored(file: DatasetFile, how: Fetching) -> DatasetFile:
    """The file with the addresses where it is looked for, in this order."""
    first, *others = how.access.addresses((file.uri, *file.replicas))
    return file.model_copy(update={"uri": first, "replicas": tuple(others)})


def _transport(how: Fetching, stop: threading.Event) -> tuple[RemoteTransport, Listener]:
    return RemoteTransport(how.access, stop), Listener(how.monitor.say, how.monitor.moved, stop)


def _size(file: DatasetFile, asked: Mapping[str, Seen]) -> int:
    seen = asked.get(file.uri)
    return file.bytes if file.bytes is not None else seen.size if seen else 0


def _ask(
    files: Sequence[DatasetFile], there: set[str], transport: RemoteTransport, stop: threading.Event, how: Fetching
) -> dict[str, Seen]:
    """What the servers say of files whose size or checksum is not known; nothing of those that do not answer."""
    unknown = [file for file in files if file.bytes is None or (file.adler32 is None and file.uri in there)]

    def ask(file: DatasetFile) -> Seen | None:
        try:
            return transport.ask(_mirrored(file, how).uri)
        except OSError as error:  # the fetching will say so
            if file.uri in there:
                how.monitor.say(f"{file.uri}: {error.strerror or error}; the copy in the cache is used as it is")
        return None

    with ThreadPoolExecutor(how.workers) as pool:
        try:
            answers = list(pool.map(ask, unknown))
        except BaseException:
            stop.set()
            raise
    return {file.uri: seen for file, seen in zip(unknown, answers, strict=True) if seen}


def _fetch_all(
    files: Sequence[DatasetFile], one: FetchOne, stop: threading.Event, how: Fetching
) -> tuple[dict[str, Fetched], dict[str, InputFileError]]:
    had: dict[str, Fetched] = {}
    lost: dict[str, InputFileError] = {}

    def unless_stopped(file: DatasetFile) -> Fetched:
        """The thread that fails stops the others itself: it would begin the next file before anyone looks."""
        if stop.is_set():
            raise Stopped
        try:
            return one(file)
        except BaseException as error:
            if not (how.keep_going and isinstance(error, InputFileError)):
                stop.set()
            raise

    with ThreadPoolExecutor(how.workers) as pool:
        waiting: dict[Future[Fetched], DatasetFile] = {pool.submit(unless_stopped, file): file for file in files}
        try:
            for answer in as_completed(waiting):
                file = waiting[answer]
                with suppress(Stopped):
                    try:
                        had[file.uri] = answer.result()
                    except InputFileError as error:
                        lost[file.uri] = error
                        if how.keep_going:
                            how.monitor.say(f"lost: {error}")
        except BaseException:
            stop.set()
            raise
    if lost and not how.keep_going:
        first = next(iter(lost.values()))
        first.add_note(f"{len(had)} of {len(files)} files are whole and stay; the same command goes on with the others")
        raise first
    return had, lost


def _require_room(folder: Path, sizes: Mapping[Path, int]) -> None:
    """Refuse what the disk cannot hold, before anything is fetched."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    missing = sum(max(size - _present(path), 0) for path, size in sizes.items())
    free = disk_usage(there).free - SPARE_BYTES
    if missing > free:
        raise OutputError(
            f"{folder}: {shown_size(missing)} are missing, but only {shown_size(max(free, 0))} are free on this disk. "
            "Choose another, or fewer events with --max-events."
        )


def _present(path: Path) -> int:
    for found in (path, part_of(path)):
        if found.exists():
            return found.stat().st_size
    return 0
