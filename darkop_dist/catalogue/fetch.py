"""One file from a server to the disk: resumed where it stopped, checked while it is written, whole or not at all.

pooch neither resumes nor reads xrootd, and fsspec's file cache knows no checksums, locks or disk space: hence own code.

A file NAME is written as ``NAME.part``, with ``NAME.part.json`` beside it that says of which state of which server's
file it is. The part is the lock too: who writes it holds it with ``flock``, which ends with the process, however that
ends; who comes later waits, and finds the file in its place. It gets its name when size and adler32 are right.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import DamagedFileError, InputFileError, OutputError, StorageError, UnreachableFileError
from darkop_dist.runs import write_atomically

BLOCK_BYTES = 8 * 2**20
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FINAL = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR}
LATER = "What was loaded is kept: the same command goes on from there."
LONG_WAIT_S = 5.0
T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """What a server says of a file.

    Attributes:
        size: bytes.
        version: entity tag, or time of change: another one means another file; empty where the server says nothing.
    """

    size: int
    version: str


class Transport(Protocol):
    """How bytes come from a server.

    What fails is an OSError with a number, and with ``retry_after_s`` where the server says how long to wait.
    """

    def ask(self, address: str) -> Seen:
        """Size and version of a file."""

    def read(self, address: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of a file."""


@dataclass(frozen=True)
class Patience:
    """How long a server that does not answer is asked.

    Attributes:
        tries: how often in a row without a byte.
        first_wait_s: pause after the first failure; it doubles with each.
        longest_wait_s: a server that asks for a longer pause (Retry-After) is given up.
    """

    tries: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 300.0


@dataclass(frozen=True)
class Listener:
    """Who is told how a download goes on, and ends it.

    Attributes:
        say: is told what the user should know.
        moved: is told the bytes of a file that are on the disk, after each block; fewer than before if it begins again.
        stop: set to end the download after the present block.
    """

    say: Callable[[str], None]
    moved: Callable[[Path, int], None]
    stop: threading.Event


class Stopped(Exception):  # noqa: N818  # it is no error
    """The download was ended on request; what was loaded is kept."""


@dataclass(frozen=True)
class Fetched:
    """A file that is whole.

    Attributes:
        path: where it is.
        bytes: its size.
        adler32: its checksum, eight hexadecimal digits.
        source: the address it came from; empty if that is not known.
        version: what the server said of its state.
        moved: bytes that came over the network for it, now.
    """

    path: Path
    bytes: int
    adler32: str
    source: str = ""
    version: str = ""
    moved: int = 0


Note = Callable[[Fetched, int], object]
"""Is told of a file and of its time of change in nanoseconds since 1970."""


@dataclass
class _Part:
    """The part of a file, held open and locked, with what it is."""

    stream: IO[bytes]
    target: Path
    size: int = 0
    adler: int = 1

    @property
    def path(self) -> Path:
        return part_of(self.target)

    @property
    def state(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def begin(self) -> None:
        self.stream.truncate(0)
        self.size, self.adler = 0, 1

    def write(self, block: bytes) -> None:
        left = memoryview(block)
        while left:  # a disk that fills up takes less than it is given before it complains
            left = left[self.stream.write(left) :]
        self.size += len(block)
        self.adler = zlib.adler32(block, self.adler)

    def remove(self) -> None:
        self.state.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def fetch_file(
    file: DatasetFile,
    target: Path,
    transport: Transport,
    listener: Listener,
    patience: Patience | None = None,
    *,
    note: Note = lambda _fetched, _time_ns: None,
) -> Fetched:
    """Bring a file to its place, from the first of its addresses that gives it whole.

    Args:
        file: address, replicas, and size and adler32 where known.
        target: its place. If another process brings the same file there, it is waited for.
        transport: brings the bytes.
        listener: is told how it goes.
        patience: with servers that do not answer.
        note: is told of the file that was brought and of its time of change before the file is at its place, so that
            nobody finds it there who does not find the note.

    Returns:
        The file, size and checksum compared.

    Raises:
        InputFileError: no address gives it: absent, refused, another size or checksum, changed on the way, no answer.
        OutputError: at that place is another file, or it cannot be written.
        StorageError: the disk is full; what was loaded is kept.
        Stopped: the listener ended it; what was loaded is kept.
    """
    try:
        with _held_part(target, listener) as part:
            if part is None:
                return checked(target, file)
            return _fetch_from_any(file, target, part, _Way(transport, listener, patience or Patience(), note))
    except (OSError, OutputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in FULL:
            raise StorageError(f"{target}: the disk is full ({cause.strerror}). {LATER}") from error
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{target}: cannot be written ({error.strerror}). Choose another directory.") from error


def part_of(target: Path) -> Path:
    """Where a file is written before it is whole."""
    return target.with_name(f"{target.name}.part")


def checked(path: Path, file: DatasetFile) -> Fetched:
    """A file that is there, read and compared with what is known of it.

    Raises:
        OutputError: it is another one.
        OSError: it cannot be read.
    """
    size, adler = adler32_of(path)
    problem = _difference(size, adler, file)
    if problem:
        raise OutputError(f"{path}: is there already, but {problem}. Move it away, or choose another directory.")
    return Fetched(path, size, adler)


def adler32_of(path: Path) -> tuple[int, str]:
    """Size and adler32 of a file."""
    size, adler = 0, 1
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            size, adler = size + len(block), zlib.adler32(block, adler)
    return size, f"{adler:08x}"


@dataclass(frozen=True)
class _Way:
    """What all steps of a download need."""

    transport: Transport
    listener: Listener
    patience: Patience
    note: Note


def _fetch_from_any(file: DatasetFile, target: Path, part: _Part, way: _Way) -> Fetched:
    problems: list[InputFileError] = []
    for source in (file.uri, *file.replicas):
        if problems:
            way.listener.say(f"{problems[-1].file}: {problems[-1].problem}; the next copy is tried: {source}")
        try:
            return _fetch_from(source, file, target, part, way)
        except InputFileError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    told = "; ".join(f"{error.file}: {error.problem}" for error in problems)
    kind = UnreachableFileError if any(isinstance(e, UnreachableFileError) for e in problems) else DamagedFileError
    raise kind(target.name, f"none of its {len(problems)} copies can be used: {told}", problems[-1].what_to_do)


def _fetch_from(source: str, file: DatasetFile, target: Path, part: _Part, way: _Way) -> Fetched:
    """From one address; a file that changes on the way is begun again once."""
    for _ in range(2):
        seen = _ask(source, file, way)
        _resume(part, source, seen, way.listener)
        had = part.size
        _read_all(source, seen, part, way)
        now = seen
        problem = _difference(part.size, f"{part.adler:08x}", file)
        if problem or file.adler32 is None:
            now = _ask(source, file, way)
        if not problem and now == seen:
            fetched = Fetched(target, part.size, f"{part.adler:08x}", source, seen.version, part.size - had)
            os.fsync(part.stream.fileno())
            way.note(fetched, os.fstat(part.stream.fileno()).st_mtime_ns)
            part.path.replace(target)  # the lock goes with it: who waits for it finds the file
            part.state.unlink(missing_ok=True)
            return fetched
        part.begin()
        part.state.unlink(missing_ok=True)
        way.listener.moved(target, 0)
        if now == seen and not had:
            raise DamagedFileError(source, problem, "Tell who serves it, or correct the record.")
        told = "changed on the server while it was loaded" if now != seen else f"{problem} with what was there before"
        way.listener.say(f"{source}: {told}; it is begun again")
    raise DamagedFileError(source, "changed on the server while it was loaded, twice", "Try again later.")


def _ask(source: str, file: DatasetFile, way: _Way) -> Seen:
    seen: Seen = patiently(lambda: way.transport.ask(source), source, way.listener, way.patience)
    if file.bytes is not None and seen.size != file.bytes:
        told = f"has {seen.size} bytes on the server instead of the {file.bytes} of its record"
        raise DamagedFileError(source, told, "Tell who serves it, or correct the record.")
    return seen


def _resume(part: _Part, source: str, seen: Seen, listener: Listener) -> None:
    """Go on with what is there if it is of the same file, or begin."""
    state = {"source": source, **asdict(seen)}
    try:
        found = json.loads(part.state.read_text())
    except (OSError, ValueError):
        found = None
    size = os.fstat(part.stream.fileno()).st_size
    if found == state and size <= seen.size:
        _, adler = adler32_of(part.path)
        part.size, part.adler = size, int(adler, 16)
    else:
        if size and isinstance(found, dict) and found.get("source") == source:
            listener.say(f"{source}: has changed on the server since its first {size} bytes were loaded; begun again")
        part.begin()
        write_atomically(part.state, json.dumps(state))
    if part.size:
        listener.say(f"{source}: goes on from byte {part.size} of {seen.size}")
    listener.moved(part.target, part.size)


def _read_all(source: str, seen: Seen, part: _Part, way: _Way) -> None:
    while part.size < seen.size:
        start, stop = part.size, min(part.size + BLOCK_BYTES, seen.size)
        read = functools.partial(_block, source, start, stop, way.transport)
        part.write(patiently(read, source, way.listener, way.patience))
        way.listener.moved(part.target, part.size)


def _block(source: str, start: int, stop: int, transport: Transport) -> bytes:
    data = transport.read(source, start, stop)
    if len(data) != stop - start:
        raise OSError(errno.EIO, f"{len(data)} bytes came where {stop - start} were asked for", source)
    return data


def patiently(call: Callable[[], T], source: str, listener: Listener, patience: Patience) -> T:
    """The answer to a request that is made again after a pause, as long as that may help.

    Raises:
        InputFileError: the file is absent, or not for everyone.
        UnreachableFileError: no answer, however often it was asked.
        Stopped: the listener ended it.
    """
    problem, wait_s = "", 0.0
    for attempt in range(patience.tries):
        if listener.stop.wait(wait_s) if wait_s else listener.stop.is_set():
            raise Stopped
        try:
            return call()
        except OSError as error:
            problem = error.strerror or str(error)
            if error.errno in FINAL:
                raise InputFileError(source, problem, "Check its address, or ask for access.") from error
            wanted_s = getattr(error, "retry_after_s", None)
        if wanted_s is not None and wanted_s > patience.longest_wait_s:
            told = f"{problem}, and asks to be left alone for {wanted_s:.0f} s"
            raise UnreachableFileError(source, told, LATER)
        wait_s = patience.first_wait_s * 2**attempt if wanted_s is None else wanted_s
        if wait_s >= LONG_WAIT_S and attempt + 1 < patience.tries:
            listener.say(f"{source}: {problem}; asked again in {wait_s:.0f} s")
    raise UnreachableFileError(source, f"{problem}; asked {patience.tries} times", LATER)


def _difference(size: int, adler: str, file: DatasetFile) -> str:
    """How a file differs from what is known of it; empty if it does not."""
    if file.bytes is not None and size != file.bytes:
        return f"has {size} bytes instead of {file.bytes}"
    if file.adler32 is not None and adler != file.adler32:
        return f"has the adler32 {adler} instead of {file.adler32}"
    return ""


@contextmanager
def _held_part(target: Path, listener: Listener) -> Iterator[_Part | None]:
    """The locked part of a file; None if the file itself is there, or was brought there while this waited."""
    path = part_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        if target.exists():
            yield None
            return
        with path.open("ab", buffering=0) as stream:
            _lock(stream, target, listener)
            if not _is_same(stream, path):
                continue  # another process has finished or removed it since
            if target.exists():
                path.unlink()
                continue
            part = _Part(stream, target)
            try:
                yield part
            finally:
                if os.fstat(stream.fileno()).st_size == 0 and _is_same(stream, path):
                    part.remove()
            return


def _lock(stream: IO[bytes], target: Path, listener: Listener) -> None:
    said = False
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                listener.say(f"{target.name}: another process loads it; it is waited for")
                said = True
            if listener.stop.wait(0.1):
                raise Stopped from None
        else:
            return


def _is_same(stream: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
