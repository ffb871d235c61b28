"""Downloaded files kept on this machine: found again, counted, and the ones unused for longest removed above a ceiling.

CACHE/downloads/
settings.json              the ceiling, if it was set
lock                       held while the cache is counted, claimed or emptied: never for longer
users/ID.json              what a running process uses or brings; locked by it, so that it ends with the process
files/KEY/NAME             a file, checked when it was written
files/KEY/entry.json       what it is, and its time of change: as long as that holds, it is not read again to be checked
files/KEY/NAME.part        a file that is not whole; see ``darkop_dist.catalogue.fetch``

KEY tells files apart by name, size and checksum where the record has them, so that all addresses of a file share one
copy; otherwise by the address.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from darkop_dist.catalogue.fetch import Fetched, adler32_of
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import InputFileError, OutputError
from darkop_dist.runs import read_json, write_json

LIMIT_BYTES = 100 * 10**9
SPARE_BYTES = 100 * 10**6
"""What is left free on the disk."""
SETTINGS_SCHEMA = "darkop.cache-settings/1"
ENTRY_SCHEMA = "darkop.cache-entry/1"
USER_SCHEMA = "darkop.cache-user/1"


@dataclass(frozen=True)
class Entry:
    """A file of the cache, or the part of one.

    Attributes:
        key: its folder.
        name: name of the file; empty if there is neither a file nor a part.
        bytes: on the disk.
        whole: whether it is complete.
        used_s: when it was last used, in seconds since 1970.
        address: where it came from.
        in_use: whether a running process uses or brings it.
    """

    key: str
    name: str
    bytes: int
    whole: bool
    used_s: float
    address: str
    in_use: bool


@dataclass
class Lease:
    """Files that stay in the cache as long as this object, or its process, lives.

    Attributes:
        paths: where each file is or will be, by its address.
    """

    paths: Mapping[str, Path]
    _record: Path
    _stream: IO[str] = field(repr=False)
    _process: int = field(default_factory=os.getpid)

    def close(self) -> None:
        """Let the files go."""
        if not self._stream.closed:
            if os.getpid() == self._process:  # a fork has only a copy of this
                self._record.unlink(missing_ok=True)
            self._stream.close()

    def __del__(self) -> None:
        """The same."""
        with suppress(OSError):
            self.close()


@dataclass(frozen=True)
class FileCache:
    """The downloaded files below a directory.

    Attributes:
        folder: the directory.
    """

    folder: Path

    @property
    def limit_bytes(self) -> int:
        """The ceiling in bytes.

        Raises:
            InputFileError: the settings are damaged.
        """
        path = self.folder / "settings.json"
        if not path.exists():
            return LIMIT_BYTES
        limit = read_json(path, SETTINGS_SCHEMA).get("limit_bytes")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise InputFileError(str(path), "has no ceiling in it", "Set one: darkop datasets cache --limit 100GB.")
        return limit

    def place(self, file: DatasetFile) -> Path:
        """Where a file is kept."""
        name = name_of(file.uri)
        known = file.bytes is not None and file.adler32 is not None
        identity = f"{name}:{file.bytes}:{file.adler32}" if known else file.uri
        return self.folder / "files" / hashlib.sha256(identity.encode()).hexdigest()[:20] / name

    def find(self, file: DatasetFile) -> Fetched | None:
        """A file that is there, whole, and unchanged since it was checked; one that has changed is checked again.

        A file that is no longer what it was is removed. Whoever asks holds a lease, so that it stays.
        """
        path = self.place(file)
        try:
            found = path.stat()
        except OSError:
            return None
        known = self._note_of(path)
        if known.get("bytes") == found.st_size and known.get("mtime_ns") == found.st_mtime_ns:
            with suppress(PermissionError):  # a cache that is shared, and another's
                os.utime(_note(path))
            return Fetched(path, found.st_size, str(known["adler32"]), *_origin(known))
        with suppress(FileNotFoundError):  # another process has removed it since
            size, adler = adler32_of(path)
            expected = file.adler32 or known.get("adler32")
            if expected == adler and file.bytes in (None, size):
                return self.keep(file, Fetched(path, size, adler, *_origin(known)))
            if os.path.samestat(path.stat(), found):  # else another process has brought it anew
                path.unlink()
        return None

    def keep(self, file: DatasetFile, fetched: Fetched, time_ns: int | None = None) -> Fetched:
        """Note that a file has been checked.

        Args:
            file: what its record says.
            fetched: the file.
            time_ns: its time of change in nanoseconds since 1970, if it is not at its place yet.
        """
        stamp = fetched.path.stat().st_mtime_ns if time_ns is None else time_ns
        facts = {"bytes": fetched.bytes, "adler32": fetched.adler32, "mtime_ns": stamp, "version": fetched.version}
        write_json(_note(fetched.path), ENTRY_SCHEMA, {"address": fetched.source or file.uri, **facts})
        return fetched

    def lease(self, files: Sequence[DatasetFile], sizes: Mapping[str, int]) -> Lease:
        """Claim room for files, and keep those that are there; others that were unused for longest make room.

        Args:
            files: what is to be used.
            sizes: their sizes in bytes by address, where known.

        Raises:
            OutputError: the ceiling or the disk is too small, with what the files in use leave; or the cache cannot be
                written. Nothing is removed then.
        """
        paths = {file.uri: self.place(file) for file in files}
        wanted = {path.parent.name: sizes.get(address, 0) for address, path in paths.items()}
        with self._alone():
            self._make_room(wanted)
            return self._claim(paths, wanted)

    def entries(self) -> tuple[Entry, ...]:
        """What is there, the unused for longest first.

        Raises:
            OutputError: the cache cannot be written, or locked.
        """
        if not self.folder.exists():
            return ()
        with self._alone():
            return self._entries()

    def _entries(self) -> tuple[Entry, ...]:
        claimed = self._claimed()
        folders = []
        for folder in sorted((self.folder / "files").glob("*")):
            if folder.name not in claimed:
                with suppress(OSError):  # it holds something; if not, a file could not be had
                    folder.rmdir()
                    continue
            folders.append(folder)
        return tuple(sorted((_entry(path, path.name in claimed) for path in folders), key=lambda entry: entry.used_s))

    def clear(self) -> tuple[Entry, ...]:
        """Remove everything that no running process uses.

        Returns:
            What was removed.
        """
        if not self.folder.exists():
            return ()
        with self._alone():
            removed = [entry for entry in self._entries() if not entry.in_use]
            self._remove(removed)
        return tuple(removed)

    def set_limit(self, limit_bytes: int) -> tuple[Entry, ...]:
        """Set the ceiling; what was unused for longest goes at once.

        Returns:
            What was removed.

        Raises:
            OutputError: the cache cannot be written.
        """
        with self._alone():
            write_json(self.folder / "settings.json", SETTINGS_SCHEMA, {"limit_bytes": limit_bytes})
            entries = self._entries()
            removed = _surplus(entries, sum(entry.bytes for entry in entries) - limit_bytes)
            self._remove(removed)
        return tuple(removed)

    def _make_room(self, wanted: Mapping[str, int]) -> None:
        entries = {entry.key: entry for entry in self._entries()}
        claims = self._claimed()
        for key, size in wanted.items():
            claims[key] = max(size, claims.get(key, 0))
        there = {key: entries[key].bytes if key in entries else 0 for key in claims}
        held = sum(max(size, there[key]) for key, size in claims.items())
        missing = sum(max(size - there[key], 0) for key, size in claims.items())
        limit, free = self.limit_bytes, shutil.disk_usage(self.folder).free - SPARE_BYTES
        idle = [entry for entry in entries.values() if entry.key not in claims]
        loose = sum(entry.bytes for entry in idle)
        if held > limit:
            told = f"{shown_size(missing)} are missing; with what is there and in use that makes {shown_size(held)}"
            raise OutputError(
                f"{self.folder}: {told}, above the ceiling of {shown_size(limit)}. Raise it with darkop datasets cache "
                "--limit SIZE, give --output, or ask for fewer events with --max-events."
            )
        if missing > free + loose:
            room = shown_size(max(free + loose, 0))
            told = f"{shown_size(missing)} are missing, but only {room} can be had on this disk"
            raise OutputError(
                f"{self.folder}: {told}. Choose another with --cache-dir or DARKOP_CACHE, or ask for fewer events with "
                "--max-events."
            )
        self._remove(_surplus(idle, max(held + loose - limit, missing - free)))

    def _claim(self, paths: Mapping[str, Path], wanted: Mapping[str, int]) -> Lease:
        folder = self.folder / "users"
        folder.mkdir(exist_ok=True)
        record = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
        write_json(record, USER_SCHEMA, {"files": dict(wanted)})
        stream = record.open("r")
        fcntl.flock(stream, fcntl.LOCK_SH)
        return Lease(paths, record, stream)

    def _claimed(self) -> dict[str, int]:
        """Bytes that running processes use or will need, by key; the records of dead ones are removed."""
        claims: dict[str, int] = {}
        for record in (self.folder / "users").glob("*.json"):
            try:
                with record.open() as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                record.unlink(missing_ok=True)
            except BlockingIOError:
                with suppress(InputFileError):
                    files = read_json(record, USER_SCHEMA)["files"]
                    for key, size in files.items() if isinstance(files, dict) else ():
                        claims[key] = max(int(size), claims.get(key, 0))
            except FileNotFoundError:
                continue
        return claims

    def _remove(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            shutil.rmtree(self.folder / "files" / entry.key, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("a") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise OutputError(
                f"{self.folder}: the cache cannot be written ({error.strerror}). Set DARKOP_CACHE to another directory."
            ) from error

    def _note_of(self, path: Path) -> Mapping[str, object]:
        try:
            return read_json(_note(path), ENTRY_SCHEMA)
        except InputFileError:
            return {}


def name_of(address: str) -> str:
    """The name of a file, without the folders and the query of its address.

    >>> name_of("root://eospublic.cern.ch//eos/cms/a%20b.root?x=1"), name_of("/data/f.root"), name_of("https://h/a/..")
    ('a b.root', 'f.root', 'file')
    """
    path = urlsplit(address).path if "://" in address else address
    name = PurePosixPath(unquote(path)).name
    return name if name.strip(".") else "file"


def _origin(note: Mapping[str, object]) -> tuple[str, str]:
    return str(note.get("address") or ""), str(note.get("version") or "")


def _note(path: Path) -> Path:
    return path.with_name("entry.json")


def _entry(folder: Path, in_use: bool) -> Entry:  # noqa: FBT001  # a field, no switch
    note = folder / "entry.json"
    try:
        address = str(read_json(note, ENTRY_SCHEMA)["address"])
    except (InputFileError, KeyError):
        address = ""
    files = [path for path in folder.glob("*") if path.is_file()]
    data = [path for path in files if path != note and not path.name.endswith(".part.json")]
    whole = [path for path in data if not path.name.endswith(".part")]
    chosen = (whole or data or [note])[0]
    times = [path.stat().st_mtime for path in (note, chosen) if path.exists()]
    size = sum(path.stat().st_size for path in files if path.exists())
    return Entry(folder.name, chosen.name if data else "", size, bool(whole), max(times, default=0.0), address, in_use)


def _surplus(entries: Sequence[Entry], excess: int) -> list[Entry]:
    """The entries that go, the unused for longest first, until so many bytes are free."""
    removed: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: entry.used_s):
        if excess <= 0:
            break
        if not entry.in_use:
            removed.append(entry)
            excess -= entry.bytes
    return removed


def shown_size(size: int) -> str:
    """Bytes as people read them.

    >>> shown_size(1_500_000_000), shown_size(2_500_000), shown_size(900)
    ('1.50 GB', '2.50 MB', '0.9 kB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size / 1e3:.1f} kB"
