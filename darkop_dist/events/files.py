"""ROOT files that a process holds open: one handle serves all chunks of a file, until the file changes or fails."""

from __future__ import annotations

import errno
import gc
import os
import queue
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.config.access import Access
from darkop_dist.events.remote import DEFAULT, RemoteSource, is_remote, open_root

MOST_OPEN = 4
"""How many files a process holds open; the one unused for longest is dropped first."""

State = tuple[int, int, Access | None]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class OpenFile:
    """A ROOT file held open.

    Attributes:
        path: local path or address.
        directory: uproot's directory of the file.
        descriptor: of a local file; None for an address.
        derived: what was worked out from the file's headers once, by name, such as forms and positions of baskets.
    """

    path: str
    directory: Any
    descriptor: int | None
    derived: dict[Any, Any] = field(default_factory=dict)


_held: OrderedDict[str, tuple[State, OpenFile]] = OrderedDict()
_lock = threading.Lock()
_scratch = threading.local()


def open_file(path: str, access: Access = DEFAULT) -> OpenFile:
    """The file, opened if this process does not hold it or if it has changed (time of change, size) since.

    A remote file is not asked whether it has changed, see ``has_changed``.

    Args:
        path: local path or address.
        access: how remote files are reached.

    Raises:
        OSError: it cannot be opened.
        Exception: what uproot raises on a file that is not whole.
    """
    state = _state(path, access)
    with _lock:
        held = _held.get(path)
        if held is not None and held[0] == state:
            _held.move_to_end(path)
            return held[1]
    opened = _open(path, state, access)
    with _lock:
        _held[path] = state, opened
        _held.move_to_end(path)
        while len(_held) > MOST_OPEN:
            _held.popitem(last=False)
    return opened


def has_changed(file: OpenFile) -> bool:
    """Whether a remote file is another than the one that was opened, as its server tells; local files are open.

    Raises:
        OSError: the server does not answer.
    """
    source = file.directory.file.source
    return isinstance(source, RemoteSource) and source.has_changed()


def opened_by_hand(path: str, directory: Any) -> OpenFile:
    """A file that someone else opened with uproot; it is not held, and read through uproot's own source."""
    return OpenFile(path, directory, None)


def forget(path: str | None = None) -> None:
    """Drop the handle of a file, as after an error of input; all handles by default.

    Events that were opened before keep the old handle; the next chunk opens the file again.
    """
    with _lock:
        if path is None:
            _held.clear()
        else:
            _held.pop(path, None)


def read_ranges(file: OpenFile, ranges: Sequence[tuple[int, int]]) -> Iterator[Bytes]:
    """Bytes of a file, each range as (start, stop); an address is asked for all of them at once.

    Yields:
        The bytes of each range in turn; for a local file they are overwritten by those of the next.

    Raises:
        OSError: the file cannot be read or, without a number, it is shorter than the ranges.
    """
    if file.descriptor is not None:
        for start, stop in ranges:
            yield _read_local(file.path, file.descriptor, start, scratch("file", stop - start))
        return
    try:
        chunks = file.directory.file.source.chunks(list(ranges), queue.Queue())
        for chunk in chunks:
            yield np.asarray(chunk.raw_data)
    except OSError:
        raise
    except Exception as error:
        # Whatever a transport raises while bytes are on their way, another try may help.
        raise OSError(errno.EIO, f"{file.path}: {type(error).__name__}: {error}") from error


def scratch(use: str, size: int) -> Bytes:
    """Memory of this thread for one use at a time: new memory for each basket would cost as much as reading it."""
    held = getattr(_scratch, use, None)
    if held is None or len(held) < size:
        held = np.empty(max(size, 2**20), np.uint8)
        setattr(_scratch, use, held)
    return held[:size]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cyclic garbage collector from running while many objects are made that will live on.

    The headers of a wide file and its virtual columns are 10^4 to 10^5 objects: without the pause they start a full
    collection, 0.15 to 0.25 s, in every second chunk.
    """
    was_running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_running:
            gc.enable()


def _read_local(path: str, descriptor: int, start: int, into: Bytes) -> Bytes:
    done = 0
    while done < len(into):
        more = os.preadv(descriptor, [into[done:].data], start + done)
        if not more:
            raise OSError(f"expected Chunk of length {len(into)}, received {done} bytes from {path}")
        done += more
    return into


def _state(path: str, access: Access) -> State:
    if is_remote(path):
        return 0, 0, access
    found = _local(path).stat()
    return found.st_mtime_ns, found.st_size, None


def _local(path: str) -> Path:
    return Path(path.removeprefix("file://"))


def _open(path: str, state: State, access: Access) -> OpenFile:
    if is_remote(path):
        return OpenFile(path, open_root(path, access), None)
    descriptor = os.open(_local(path), os.O_RDONLY)
    try:
        file = OpenFile(path, open_root(path), descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    weakref.finalize(file, os.close, descriptor)
    found = os.fstat(descriptor)
    if (found.st_mtime_ns, found.st_size, None) != state or _state(path, access) != state:
        raise OSError(errno.ESTALE, "the file changed while it was opened", path)
    return file
