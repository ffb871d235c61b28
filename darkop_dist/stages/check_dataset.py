"""Whether the files of a dataset are where its record says, and what it says: asked of every server, replicas too."""

from __future__ import annotations

import functools
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from darkop_dist.catalogue.fetch import BLOCK_BYTES, Listener, Patience, Seen, patiently
from darkop_dist.config import DatasetRecord
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import InputFileError, UserError
from darkop_dist.events.read import inspect_file
from darkop_dist.events.remote import DEFAULT
from darkop_dist.events.transfer import RemoteTransport
from darkop_dist.stages.download import files_to_fetch

WORKERS = 8
T = TypeVar("T")


@dataclass(frozen=True)
class CopyCheck:
    """What was found of one copy of a file.

    Attributes:
        dataset: name of the dataset.
        address: the copy.
        replica: whether it is one of the other addresses rather than the first.
        bytes: its size; None if it could not be asked for.
        adler32: the checksum of what was read; None if it was not read.
        events: entries of its tree; None if it was not opened.
        problem: what is wrong; empty if nothing is.
        compared: what agreed with the record: ``size``, ``adler32``, ``events``.
    """

    dataset: str
    address: str
    replica: bool
    bytes: int | None = None
    adler32: str | None = None
    events: int | None = None
    problem: str = ""
    compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Depth:
    """How thoroughly files are looked at.

    Attributes:
        checksums: read every byte, and compare the adler32.
        open_files: open the tree, and compare the number of entries.
        access: how remote files are reached; mirrors count as replicas.
        workers: files at a time.
        patience: with servers that do not answer.
    """

    checksums: bool = False
    open_files: bool = False
    access: Access = DEFAULT
    workers: int = WORKERS
    patience: Patience = field(default_factory=lambda: Patience(tries=3))


def check_dataset(
    record: DatasetRecord, depth: Depth | None = None, *, done: Callable[[CopyCheck], None] = lambda _: None
) -> tuple[CopyCheck, ...]:
    """Ask for every copy of every file of a dataset.

    Args:
        record: the dataset.
        depth: how thoroughly; existence and size by default.
        done: is told of every copy, as soon as it is known.

    Returns:
        One result per copy, the first address of a file before its replicas.

    Raises:
        InputFileError: the record has no files.
        InputValueError: the dataset is generated.
    """
    depth = depth or Depth()
    stop = threading.Event()
    asker = _Asker(RemoteTransport(depth.access, stop), depth, Listener(lambda _: None, lambda *_: None, stop))
    copies = [
        (file, address)
        for file in files_to_fetch(record)
        for address in depth.access.addresses((file.uri, *file.replicas))
    ]

    def check(copy: tuple[DatasetFile, str]) -> CopyCheck:
        result = _check(record, *copy, asker)
        done(result)
        return result

    with ThreadPoolExecutor(depth.workers) as pool:
        try:
            return tuple(pool.map(check, copies))
        finally:
            stop.set()  # after Ctrl-C nothing is waited for


@dataclass(frozen=True)
class _Asker:
    """Requests to servers, each made again where that may help."""

    transport: RemoteTransport
    depth: Depth
    listener: Listener

    def ask(self, address: str) -> Seen:
        return self._patiently(address, functools.partial(self.transport.ask, address))

    def adler32(self, address: str, size: int) -> str:
        adler = 1
        for start in range(0, size, BLOCK_BYTES):
            read = functools.partial(self.transport.read, address, start, min(start + BLOCK_BYTES, size))
            adler = zlib.adler32(self._patiently(address, read), adler)
        return f"{adler:08x}"

    def _patiently(self, address: str, call: Callable[[], T]) -> T:
        return patiently(call, address, self.listener, self.depth.patience)


def _check(record: DatasetRecord, file: DatasetFile, address: str, asker: _Asker) -> CopyCheck:
    size: int | None = None
    adler: str | None = None
    events: int | None = None
    problems: list[str] = []
    try:
        size = asker.ask(address).size
        problems += _differs(f"{size} bytes", size, file.bytes)
        if asker.depth.checksums:
            adler = asker.adler32(address, size)
            problems += _differs(f"the adler32 {adler}", adler, file.adler32)
        if asker.depth.open_files:
            events = inspect_file(address, record, asker.depth.access).entries
            problems += _differs(f"{events} entries", events, file.events)
    except InputFileError as error:
        problems.append(error.problem)
    except UserError as error:
        problems.append(str(error))
    pairs = (("size", size, file.bytes), ("adler32", adler, file.adler32), ("events", events, file.events))
    compared = tuple(name for name, found, known in pairs if found is not None and found == known)
    replica = address != file.uri
    return CopyCheck(record.name, address, replica, size, adler, events, "; ".join(problems), compared)


def _differs(what: str, found: object, known: object) -> Sequence[str]:
    return () if known is None or found == known else (f"has {what} instead of {known}",)
