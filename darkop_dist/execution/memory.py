"""An end for a worker that has filled up: a processor that leaks must not stop the run.

Dask pauses a worker at 80% of its memory and ends it at 95%. A worker between the two that will never give its memory
back waits for ever. Here a worker that is still full after a call, although it has given back what it could, says no
more and ends itself; its nanny starts a fresh one, and the calls that waited for it go elsewhere.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import os
import threading
import time
from typing import Any

import psutil

FULL = 0.7
ROOM_BELOW = 0.4  # of a worker's memory: another chunk may take as much again
PAUSED = 0.78  # a little below where Dask pauses a worker, which then begins nothing more and would never leave
CALLS_BEFORE = 2
GRACE_S = 1.0
EXIT_FULL = 78

_LEAVING = threading.Event()
_CALLS = threading.local()
_RUNNING: set[int] = set()  # threads of this process that are within a call


def begin() -> None:
    """Note that a call begins; in a process that is about to end none does."""
    _RUNNING.add(threading.get_ident())
    while _LEAVING.is_set():
        _RUNNING.discard(threading.get_ident())
        time.sleep(60 * GRACE_S)


def leave_if_full(worker: Any) -> bool:
    """End this worker at the end of a call, if its memory is full and a nanny will start another one.

    The answer leaves it first, and calls in other threads come to their end. A worker that is full from its first calls
    on is left alone, a fresh one would be no better; unless it is so full that Dask would let it rest for ever.

    Args:
        worker: the Dask worker of this process.

    Returns:
        Whether it leaves.
    """
    _RUNNING.discard(threading.get_ident())
    limit = worker.memory_manager.memory_limit
    done = _CALLS.done = getattr(_CALLS, "done", 0) + 1
    most = (FULL if done > CALLS_BEFORE else PAUSED) * limit if limit else 0
    if not most or worker.nanny is None or _used() < most:
        return False
    gc.collect()
    _trim()
    if _used() < most:
        return False
    if not _LEAVING.is_set():
        _LEAVING.set()
        threading.Thread(target=_end, daemon=True).start()
    return True


def has_room(worker: Any) -> bool:
    """Whether a worker may begin another chunk beside those that it holds.

    Args:
        worker: the Dask worker of this process.
    """
    limit = worker.memory_manager.memory_limit
    return not _LEAVING.is_set() and (not limit or _used() < ROOM_BELOW * limit)


def _end() -> None:
    while _RUNNING:  # another thread still works: its chunk would be lost
        time.sleep(GRACE_S / 10)
    time.sleep(GRACE_S)
    os._exit(EXIT_FULL)


def _used() -> int:
    return int(psutil.Process().memory_info().rss)


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    library = ctypes.util.find_library("c")
    if library is not None and hasattr(found := ctypes.CDLL(library), "malloc_trim"):
        found.malloc_trim(0)
