"""What workers of a Dask cluster hold and carry out for a run.

The processor is held by a plugin of every worker, also of those that come later, and not an argument of the calls: Dask
would send the addresses of all its holders along with each call. Answers that are small travel over the stream that
every worker keeps to the scheduler, and need no connection of their own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker, secede
from distributed.protocol import pickle

from darkop_dist.execution.backend import unpack_processor
from darkop_dist.execution.memory import begin, has_room, leave_if_full
from darkop_dist.execution.seats import seated
from darkop_dist.execution.store import ChunkStore

ANSWERS = "darkop-answer"
MOST_TOLD_BYTES = 8192


class Held(WorkerPlugin):  # type: ignore[misc]
    """Holds a run's processor in a worker.

    Attributes:
        name: of the run.
        payload: the processor as bytes, from the run's own driver over the cluster's connection.
        seats: as many as the worker has threads.
    """

    def __init__(self, name: str, payload: bytes) -> None:
        """Hold the bytes; they are unpacked by the first call."""
        self.name, self.payload = name, payload

    def setup(self, worker: Any) -> None:
        """Make the seats of a worker, in the worker."""
        threads = worker.state.nthreads
        self.seats = threading.Semaphore(threads)
        copies = [_Copy(self.payload) for _ in range(2)]
        if threads > 1:  # its threads have always shared one; chunks that alternate on one seat have one each
            copies = copies[:1] * (threads + 1)
        self._copies: queue.LifoQueue[_Copy] = queue.LifoQueue()
        for copy in reversed(copies):
            self._copies.put(copy)

    @contextmanager
    def copy(self) -> Iterator[_Copy]:
        """What one call works with; waits where one call more than there are seats has begun already."""
        copy = self._copies.get()
        try:
            yield copy
        finally:
            self._copies.put(copy)


class _Copy:
    """A processor that one call at a time works with."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    @cached_property
    def processor(self) -> Any:
        return unpack_processor(self._payload)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer that came over the worker's stream.

    Attributes:
        key: of the task whose answer it is.
        data: the answer as bytes.
    """

    key: str
    data: bytes

    status = "told"


def carried_out(work: bytes) -> bytes:
    """Runs in a worker: one call of the run's driver.

    Args:
        work: from ``packed_call``; Dask would look for the names of other tasks in anything else.

    Returns:
        What the call returned, for ``answer_of``; what cannot travel fails here, where that is the call's error.
    """
    worker = get_worker()
    run, function, arguments = pickle.loads(work)
    held: Held = worker.plugins[run]
    with held.copy() as copy:
        begin()
        try:
            with seated(held.seats, _Leaving(worker)):
                data = bytes(pickle.dumps(function(copy.processor, *arguments)))
            if len(data) <= MOST_TOLD_BYTES:
                worker.log_event(ANSWERS, {"key": worker.get_current_task(), "data": data})
            return data
        finally:
            leave_if_full(worker)


class _Leaving:
    """One call's leave of the pool of threads of its worker, which then begins another call.

    The thread does not come back to the pool: it would wait there for the end of another chunk. It ends with its call.
    """

    def __init__(self, worker: Any) -> None:
        self._worker, self._has_left = worker, False

    def __call__(self) -> bool:
        if not self._has_left and has_room(self._worker):
            secede()
            self._has_left = True
        return self._has_left


def packed_call(run: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """A call as bytes: the name of the run, the function of a module, and what it gets after the processor."""
    return bytes(pickle.dumps((run, function, arguments)))


def answer_of(data: bytes) -> Any:
    """What a call returned, out of bytes of this run's own worker that came over the cluster's connection."""
    return pickle.loads(data)


def sees(store: Path, told: str) -> bool:
    """Runs in a worker: whether it sees the directory of results, see ``ChunkStore.is_seen``."""
    return ChunkStore(store).is_seen(told)
