"""Two calls in turns in threads of this process: one works while the other waits for scores from elsewhere."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from darkop_dist.execution.backend import Answer, Call, unpack_processor
from darkop_dist.execution.deadline import on_late
from darkop_dist.execution.seats import seated

AT_ONCE = 2
CLOSE_S = 10.0


class Threads:
    """Carries out calls in two threads that share one seat; each has a processor of its own.

    A thread that hangs cannot be ended: it is left behind, and another one takes its place.
    """

    width = AT_ONCE + 1
    shared = True
    fragile = False

    def __init__(self, payload: bytes) -> None:
        """Take the processor as bytes."""
        self._payload = payload
        self._seats = threading.Semaphore(1)
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        for _ in range(AT_ONCE):
            self._begin()

    def submit(self, call: Call) -> None:
        """Hand the call to the next free thread."""
        self._calls.put(call)

    def answers(self, timeout_s: float | None) -> Sequence[Answer]:
        """Whatever is done."""
        try:
            found = [self._done.get(timeout=timeout_s)]
        except queue.Empty:
            return ()
        with suppress(queue.Empty):
            while True:
                found.append(self._done.get_nowait())
        return found

    def close(self) -> None:
        """End the threads; one whose call takes long is left behind."""
        with suppress(queue.Empty):
            while True:
                self._calls.get_nowait()
        for _ in self._threads:
            self._calls.put(None)
        until = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    def _begin(self) -> None:
        thread = threading.Thread(target=self._work, name="darkop-chunks", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        processor: Any = None
        while (call := self._calls.get()) is not None:
            own = _OwnSeat(self._seats)
            try:
                with on_late(partial(self._give_up, call, own)), seated(own):
                    if processor is None:
                        processor = unpack_processor(self._payload)
                    answer = Answer(call.token, call.function(processor, *call.arguments))
            except BaseException as error:  # noqa: BLE001  # whatever it is, the driver decides
                answer = Answer(call.token, error=error)
            if not own.end():
                return  # nobody waits for it any more
            self._done.put(answer)

    def _give_up(self, call: Call, own: _OwnSeat, why: str) -> None:
        if own.end():
            self._threads.remove(own.thread)
            self._begin()
            self._done.put(Answer(call.token, lost=why))


class _OwnSeat:
    """The seat of one call, which can be taken from it."""

    def __init__(self, seats: threading.Semaphore) -> None:
        self.thread = threading.current_thread()
        self._seats, self._lock, self._sits, self._is_over = seats, threading.Lock(), False, False

    def acquire(self) -> bool:
        self._seats.acquire()
        with self._lock:
            sits = self._sits = not self._is_over
        if not sits:
            self._seats.release()
            raise TimeoutError("the call was given up")
        return True

    def release(self) -> None:
        with self._lock:
            sat, self._sits = self._sits, False
        if sat:
            self._seats.release()

    def end(self) -> bool:
        """End the call; False if it has ended before."""
        with self._lock:
            was_over, self._is_over = self._is_over, True
        self.release()
        return not was_over
