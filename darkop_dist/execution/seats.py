"""Seats of a worker: a chunk that waits for scores from elsewhere leaves its seat to another one.

A worker has as many seats as chunks that work at once. One chunk more than that may have begun, so that reading goes on
while scores are on their way; both wait where there is nothing else to do. Results do not depend on it: each chunk is
worked on by one thread from its beginning to its end, and merged at its place in the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import psutil

from darkop_dist.execution.deadline import paused
from darkop_dist.scoring.waiting import on_waiting


class Seats(Protocol):
    """A semaphore, of the threads of a process or of the processes of a machine."""

    def acquire(self) -> bool:
        """Sit down; waits for a seat."""
        ...

    def release(self) -> None:
        """Stand up."""
        ...


def has_memory_here() -> bool:
    """Whether this machine has memory for as much again as this process holds."""
    return bool(psutil.virtual_memory().available > psutil.Process().memory_info().rss)


@contextmanager
def seated(seats: Seats, may_leave: Callable[[], bool] = has_memory_here) -> Iterator[None]:
    """Work on a seat.

    Args:
        seats: of this worker.
        may_leave: asked whenever scores are waited for; the seat is kept where it says no.
    """
    seats.acquire()
    try:
        with on_waiting(partial(_standing, seats, may_leave)):
            yield
    finally:
        seats.release()


@contextmanager
def _standing(seats: Seats, may_leave: Callable[[], bool]) -> Iterator[None]:
    if not may_leave():
        yield
        return
    seats.release()
    try:
        yield
    finally:
        with paused():  # another chunk's time is none of this one's
            seats.acquire()
