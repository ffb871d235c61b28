"""Results of chunks on disk: one file each, written whole or not at all, found again by the chunk's key.

STORE/
store.json             what the results depend on, by name, and the hash of the plan
seen                   a token by which a worker knows that it sees this directory
chunks/ab/abcd...      one result: the chunk's line of the ledger and what the processor gave
nodes/ab/abcd...       one merged result, by the keys of what was merged
parts/ab/abcd...       one part of a generated sample, see ``darkop_dist.execution.parts``
running/WORKER-THREAD  the key of the chunk that this thread of this worker began last

A result is the bytes ``DKRESULT1``, the length of a JSON header in eight bytes, the header, the packed output, and the
SHA-256 of all that. A file that does not match its hash counts as absent, and its chunk is processed again.

Results are not forced to the disk one by one: after a power cut some of the last ones may be empty under their names,
which their hashes show. Waiting for the disk took 3 ms more for a result of 60 kB, 5 to 9 ms for one of 1 MB (ext4 on a
virtual disk), in every chunk and every merge; making the last ones again costs less. What a run ends with is forced to
the disk, see ``darkop_dist.runs``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from darkop_dist.errors import OutputError, StorageError
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.histograms.packed import Packed

MAGIC = b"DKRESULT1"
LENGTH = 8
HASH = 32
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
Kind = Literal["chunks", "nodes", "parts"]


@dataclass(frozen=True)
class Stored:
    """A result that was read back.

    Attributes:
        header: for a chunk its line of the ledger, for a merged result how many chunks it holds.
        data: the packed output.
    """

    header: Mapping[str, Any]
    data: memoryview

    @property
    def entry(self) -> LedgerEntry:
        """The chunk's line of the ledger, as it was when the chunk was processed."""
        return LedgerEntry(**self.header)

    @property
    def packed(self) -> Packed:
        """The output."""
        return Packed.from_bytes(self.data, checked=True)


@dataclass(frozen=True)
class ChunkStore:
    """A directory of results.

    Attributes:
        path: the directory.
        earlier: other directories, of runs before, whose results are taken over when they are asked for.
    """

    path: Path
    earlier: Sequence[Path] = ()

    @property
    def token(self) -> Path:
        """The file by which a worker knows that it sees this directory."""
        return self.path / "seen"

    def told(self) -> str:
        """What the token says now: another text after every ``create``.

        Raises:
            OSError: there is no token.
        """
        return self.token.read_text()

    def is_seen(self, told: str) -> bool:
        """Whether this process sees the directory whose token says that, and not an older one of the same path.

        Args:
            told: what ``told`` gave in the driver; never true for an empty one.
        """
        try:
            return bool(told) and self.told() == told
        except OSError:
            return False

    def create(self) -> None:
        """Make the directory.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.token.write_text(uuid.uuid4().hex)
            shutil.rmtree(self.path / "running", ignore_errors=True)  # of workers that have long gone
        except OSError as error:
            if error.errno in FULL:
                raise _full(self.path, error) from error
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def place(self, kind: Kind, key: str) -> Path:
        """Where a result is kept."""
        return self.path / kind / key[:2] / key

    def has(self, kind: Kind, key: str) -> bool:
        """Whether a whole result is here, or in an earlier run from which it is then taken over."""
        return self.read(kind, key) is not None

    def read(self, kind: Kind, key: str) -> Stored | None:
        """A result, or None if it is absent or damaged.

        Raises:
            OSError: the file system does not answer.
        """
        found = read_result(self.place(kind, key))
        if found is not None:
            return found
        for place in self.earlier:
            old = place / kind / key[:2] / key
            found = read_result(old)
            if found is not None:
                self._take_over(old, self.place(kind, key))
                return found
        return None

    def write(self, kind: Kind, key: str, header: Mapping[str, Any], data: bytes) -> None:
        """Keep a result.

        Raises:
            StorageError: the disk is full or may not be written to.
            OSError: the file system does not answer.
        """
        text = json.dumps(header).encode()
        body = MAGIC + len(text).to_bytes(LENGTH, "little") + text + data
        write_whole(self.place(kind, key), body + hashlib.sha256(body).digest())

    def note_running(self, worker: str, key: str) -> None:
        """Note which chunk a thread of a worker begins, so that the chunk is known if the worker dies."""
        place = self.path / "running" / f"{_file_name(worker)}-{threading.get_ident()}"
        try:
            place.parent.mkdir(exist_ok=True)
            place.write_text(key)
        except OSError:
            return  # the note only helps to find the culprit sooner

    def running_on(self, worker: str) -> set[str]:
        """Keys of the chunks that a worker has begun last; empty if it does not see this directory."""
        return {path.read_text() for path in (self.path / "running").glob(f"{_file_name(worker)}-*")}

    def _take_over(self, old: Path, new: Path) -> None:
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            os.link(old, new)
        except OSError:
            write_whole(new, old.read_bytes())


def entry_header(entry: LedgerEntry) -> dict[str, Any]:
    """A line of the ledger as the header of its result."""
    return asdict(entry)


def read_result(path: Path) -> Stored | None:
    """A result, or None if it is absent or damaged.

    Raises:
        OSError: the file system does not answer.
    """
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    head = len(MAGIC) + LENGTH
    if len(body) < head + HASH or body[: len(MAGIC)] != MAGIC:
        return None
    view = memoryview(body)
    if hashlib.sha256(view[:-HASH]).digest() != body[-HASH:]:
        return None
    length = int.from_bytes(body[len(MAGIC) : head], "little")
    return Stored(json.loads(bytes(view[head : head + length])), view[head + length : -HASH])


def write_whole(path: Path, body: bytes) -> None:
    """Write a file whole or not at all, whoever else writes the same one.

    Raises:
        StorageError: the disk is full or may not be written to.
        OSError: the file system does not answer.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # of this process alone, on all machines
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(body)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in FULL:
            raise _full(path, error) from error
        raise


def _file_name(worker: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in worker)


def _full(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written ({error.strerror})")
