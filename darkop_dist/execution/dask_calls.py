"""What workers of a Dask cluster hold and carry out for a run.

The processor is held by a plugin of every worker, also of those that come later, and not an argument of the calls: Dask
would send the addresses of all its holders along with each call. Answers that are small travel over the stream that
every worker keeps to the scheduler, and need no connection of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker
from distributed.protocol import pickle

from darkop_dist.execution.backend import unpacked
from darkop_dist.execution.memory import begin, leave_if_full
from darkop_dist.execution.store import ChunkStore

ANSWERS = "darkop-answer"
MOST_TOLD_BYTES = 8192


class Held(WorkerPlugin):  # type: ignore[misc]
    """Holds a run's processor in a worker.

    Attributes:
        name: of the run.
        payload: the processor as bytes, from the run's own driver over the cluster's connection.
    """

    def __init__(self, name: str, payload: bytes) -> None:
        """Hold the bytes; they are unpacked by the first call."""
        self.name, self.payload = name, payload


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
    begin()
    worker = get_worker()
    try:
        run, function, arguments = pickle.loads(work)
        data = bytes(pickle.dumps(function(unpacked(worker.plugins[run].payload), *arguments)))
        if len(data) <= MOST_TOLD_BYTES:
            worker.log_event(ANSWERS, {"key": worker.get_current_task(), "data": data})
        return data
    finally:
        leave_if_full(worker)


def packed_call(run: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """A call as bytes: the name of the run, the function of a module, and what it gets after the processor."""
    return bytes(pickle.dumps((run, function, arguments)))


def answer_of(data: bytes) -> Any:
    """What a call returned, out of bytes of this run's own worker that came over the cluster's connection."""
    return pickle.loads(data)


def sees(store: Path, told: str) -> bool:
    """Runs in a worker: whether it sees the directory of results, see ``ChunkStore.is_seen``."""
    return ChunkStore(store).is_seen(told)
