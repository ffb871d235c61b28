"""An end for a chunk that hangs.

In the main thread of a process an alarm interrupts it. Nothing can interrupt another thread: a Dask worker, whose tasks
run in such threads, tells the driver and ends itself, and whoever started it starts another one; other owners of
threads are told, see ``on_late``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Protocol

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
        return
    is_main = threading.current_thread() is threading.main_thread()
    bell = _Alarm(seconds) if is_main else _End(seconds, key)
    before, _HERE.countdown = _HERE.countdown, _Countdown(bell, seconds)
    try:
        with bell.ready():
            _HERE.countdown.go()
            try:
                yield
            finally:
                _HERE.countdown.halt()
    finally:
        _HERE.countdown = before


@contextmanager
def paused() -> Iterator[None]:
    """Time that is spent inside does not count to the deadline of this thread."""
    countdown = _HERE.countdown
    if countdown is None:
        yield
        return
    countdown.halt()
    try:
        yield
    finally:
        countdown.go()


@contextmanager
def on_late(tell: Callable[[str], None]) -> Iterator[None]:
    """Within, the owner of this thread is told why a chunk counts as hanging.

    Args:
        tell: runs in a thread of the clock.
    """
    before, _HERE.tell = _HERE.tell, tell
    try:
        yield
    finally:
        _HERE.tell = before


def hanging(seconds: float) -> str:
    """The reason that the ledger gets."""
    return f"hung: not done after {seconds:g} s (execution.chunk_timeout_s)"


class _Bell(Protocol):
    """Rings after a time, unless it is stopped."""

    def start(self, seconds: float) -> None: ...

    def stop(self) -> None: ...


class _Countdown:
    """What is left of the time, with pauses."""

    def __init__(self, bell: _Bell, seconds: float) -> None:
        self._bell, self._left, self._began = bell, seconds, 0.0

    def go(self) -> None:
        self._began = time.monotonic()
        self._bell.start(max(self._left, 1e-3))

    def halt(self) -> None:
        self._bell.stop()
        self._left -= time.monotonic() - self._began


class _Here(threading.local):
    countdown: _Countdown | None = None
    tell: Callable[[str], None] | None = None


_HERE = _Here()


class _Alarm:
    """Interrupts the main thread; ends a process of a pool that does not hear it, since it hangs in compiled code."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last_resort = seconds, threading.Timer(0.0, os._exit, (EXIT_HANGING,))

    @contextmanager
    def ready(self) -> Iterator[None]:
        def ring(_signal: int, _frame: FrameType | None) -> None:
            raise TimeoutError(hanging(self._seconds))

        before = signal.signal(signal.SIGALRM, ring)
        began, (others, interval) = time.monotonic(), signal.getitimer(signal.ITIMER_REAL)
        try:
            yield
        finally:
            signal.signal(signal.SIGALRM, before)
            left = max(others - (time.monotonic() - began), 1e-3) if others else 0.0
            signal.setitimer(signal.ITIMER_REAL, left, interval)  # somebody else's alarm still rings

    def start(self, seconds: float) -> None:
        if multiprocessing.parent_process() is not None:  # the pool replaces this process
            self._last_resort = threading.Timer(seconds + 10 * GRACE_S, os._exit, (EXIT_HANGING,))
            self._last_resort.daemon = True
            self._last_resort.start()
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._last_resort.cancel()


class _End:
    """Tells the owner of a thread, or ends a Dask worker: nothing can interrupt their threads."""

    def __init__(self, seconds: float, key: str) -> None:
        if _HERE.tell is not None:
            self._late = partial(_HERE.tell, hanging(seconds))
        else:
            self._late = partial(_end_worker, seconds, key, _dask_worker())
        self._timer = threading.Timer(0.0, self._late)

    @contextmanager
    def ready(self) -> Iterator[None]:
        yield

    def start(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._late)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()


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
