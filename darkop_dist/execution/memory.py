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
CALLS_BEFORE = 2
GRACE_S = 1.0
EXIT_FULL = 78

_LEAVING = threading.Event()
_CALLS = threading.local()


def wait_if_leaving() -> None:
    """Begin nothing in a process that is about to end."""
    if _LEAVING.is_set():
        time.sleep(60 * GRACE_S)


def leave_if_full(worker: Any) -> bool:
    """End this worker, after the answer has left it, if its memory is full and a nanny will start another one.

    A worker that is full from its first calls on is left alone: a fresh one would be no better.

    Args:
        worker: the Dask worker of this process.

    Returns:
        Whether it leaves.
    """
    limit = worker.memory_manager.memory_limit
    done = _CALLS.done = getattr(_CALLS, "done", 0) + 1
    if not limit or worker.nanny is None or done <= CALLS_BEFORE or _used() < FULL * limit:
        return False
    gc.collect()
    _trim()
    if _used() < FULL * limit:
        return False
    _LEAVING.set()
    ending = threading.Timer(GRACE_S, os._exit, (EXIT_FULL,))
    ending.daemon = True
    ending.start()
    return True


def _used() -> int:
    return int(psutil.Process().memory_info().rss)


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    library = ctypes.util.find_library("c")
    if library is not None and hasattr(found := ctypes.CDLL(library), "malloc_trim"):
        found.malloc_trim(0)
