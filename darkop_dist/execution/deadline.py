"""An end for a chunk that hangs.

In the main thread of a process an alarm interrupts it. On a Dask worker, whose tasks run in other threads, nothing can
interrupt a thread: there the worker tells the driver and ends itself, and whoever started it starts another one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TOPIC = "darkop-hanging-chunk"
EXIT_HANGING = 77
GRACE_S = 1.0


@contextmanager
def deadline(seconds: float | None, key: str) -> Iterator[None]:
    """End what happens inside when it takes too long.

    Args:
        seconds: after how long; None for never.
        key: of the chunk, for the message to the driver.

    Raises:
        TimeoutError: in the main thread of a process, when the time is over.
    """
    if seconds is None:
        yield
    elif threading.current_thread() is threading.main_thread():
        with _alarm(seconds), _last_resort(seconds):
            yield
    else:
        watch = threading.Timer(seconds, _end_worker, (seconds, key, _dask_worker()))
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()


def hanging(seconds: float) -> str:
    """The reason that the ledger gets."""
    return f"hung: not done after {seconds:g} s (execution.chunk_timeout_s)"


@contextmanager
def _last_resort(seconds: float) -> Iterator[None]:
    """End a process of a pool that does not hear the alarm, because it hangs in compiled code; the pool replaces it."""
    if multiprocessing.parent_process() is None:
        yield
        return
    watch = threading.Timer(seconds + 10 * GRACE_S, os._exit, (EXIT_HANGING,))
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(hanging(seconds))

    before = signal.signal(signal.SIGALRM, ring)
    began = time.monotonic()
    others, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        left = max(others - (time.monotonic() - began), 1e-3) if others else 0.0
        signal.setitimer(signal.ITIMER_REAL, left, interval)  # somebody else's alarm still rings


def _dask_worker() -> Any:
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def _end_worker(seconds: float, key: str, worker: Any) -> None:
    if worker is None:
        return  # some other thread of the user's own process: nothing there may be ended
    worker.loop.add_callback(worker.log_event, TOPIC, {"key": key, "worker": worker.address, "seconds": seconds})
    threading.Event().wait(GRACE_S)  # for the message to leave
    os._exit(EXIT_HANGING)
