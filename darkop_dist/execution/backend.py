"""Where calls are carried out: in this process, in several processes, or on Dask, behind one interface.

A backend never raises what a call raised: every call is answered once, with its value, its error, or the news that its
worker was lost.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import cloudpickle

from darkop_dist.errors import RunError
from darkop_dist.execution.keys import homes_of, own_modules
from darkop_dist.execution.seats import Seats, seated

WORKER_DIED = "the worker died, most often for want of memory"
CALLS_PER_WORKER = 3
NOTHING_STARTS = (
    "no worker process could be started; what stopped it stands above. A script that runs with several workers must "
    'begin them under: if __name__ == "__main__":'
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call to be carried out by a worker.

    Attributes:
        token: by which the answer is known.
        function: a function of a module, called with the payload and the arguments.
        arguments: what it gets after the payload.
        avoid: workers that should not get it if others can.
        key: by which a worker that hangs tells of it.
    """

    token: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    avoid: frozenset[str] = frozenset()
    key: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call.

    Attributes:
        token: of the call.
        value: what the function returned.
        error: what it raised.
        lost: why its worker was lost; empty otherwise.
        worker: that worker, where it is known.
    """

    token: int
    value: Any = None
    error: BaseException | None = None
    lost: str = ""
    worker: str = ""


class Backend(Protocol):
    """Carries out calls."""

    @property
    def width(self) -> int:
        """How many calls to keep in flight."""
        ...

    @property
    def shared(self) -> bool:
        """The workers see the directory of results."""
        ...

    @property
    def fragile(self) -> bool:
        """The death of one worker ends the calls of the others too."""
        ...

    def submit(self, call: Call) -> None:
        """Begin a call."""
        ...

    def answers(self, timeout_s: float | None) -> Sequence[Answer]:
        """Wait for answers, at most so long; empty if none came."""
        ...


class Inline:
    """Carries out calls in this process, when answers are asked for."""

    width = 1
    shared = True
    fragile = False

    def __init__(self, payload: bytes | None, processor: Any = None) -> None:
        """Take the processor itself, or unpack it from its bytes."""
        self._processor = processor if payload is None else unpacked(payload)
        self._calls: deque[Call] = deque()

    def submit(self, call: Call) -> None:
        """Keep the call for later."""
        self._calls.append(call)

    def answers(self, timeout_s: float | None) -> Sequence[Answer]:
        """Carry out one call."""
        if not self._calls:
            time.sleep(timeout_s or 0.0)
            return ()
        call = self._calls.popleft()
        try:
            return (Answer(call.token, call.function(self._processor, *call.arguments)),)
        except Exception as error:  # noqa: BLE001  # whatever it is, the driver decides
            return (Answer(call.token, error=error),)


class Processes:
    """Carries out calls in processes of this machine; a process that dies is replaced.

    Where calls wait for scores from elsewhere there are two processes for each worker, which take turns: one works
    while the other one waits.
    """

    shared = True
    fragile = True

    def __init__(self, payload: bytes, workers: int, *, waits: bool = False) -> None:
        """Start that many processes, or twice as many for calls that wait."""
        self._payload, self._workers, self._processes = payload, workers, 2 * workers if waits else workers
        self._context = multiprocessing.get_context("spawn")
        self._up = self._context.Event()
        self._calls: dict[Future[Any], Call] = {}
        self._pool = self._new_pool()

    @property
    def width(self) -> int:
        """Every process has its call and the next one at hand."""
        return 2 * self._processes

    def submit(self, call: Call) -> None:
        """Hand the call to the next free process."""
        try:
            future = self._pool.submit(_called, call.function, call.arguments)
        except BrokenProcessPool:
            self._pool = self._new_pool()
            future = self._pool.submit(_called, call.function, call.arguments)
        self._calls[future] = call

    def answers(self, timeout_s: float | None) -> Sequence[Answer]:
        """Whatever is done.

        Raises:
            RunError: not one process has ever come up.
        """
        done = wait(self._calls, timeout_s, return_when=FIRST_COMPLETED).done
        return [self._answer(self._calls.pop(future), future) for future in done]

    def close(self) -> None:
        """End the processes, whatever they do."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _answer(self, call: Call, future: Future[Any]) -> Answer:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            if not self._up.is_set():
                raise RunError(NOTHING_STARTS)
            return Answer(call.token, lost=WORKER_DIED)
        return Answer(call.token, error=error) if error is not None else Answer(call.token, future.result())

    def _new_pool(self) -> ProcessPoolExecutor:
        seats = self._context.Semaphore(self._workers)  # a new one: a process that died may have sat
        given = (self._payload, self._up, seats)
        return ProcessPoolExecutor(self._processes, mp_context=self._context, initializer=_receive, initargs=given)


def by_value(processor: Any) -> bytes:
    """A processor as bytes; the user's own modules travel with it, so that workers need only the wheel."""
    with with_own_modules(*homes_of(processor)):
        return bytes(cloudpickle.dumps(processor))


@contextmanager
def with_own_modules(*names: str) -> Iterator[None]:
    """Within, what is pickled carries these modules and the user's own that they import."""
    before = cloudpickle.list_registry_pickle_by_value()
    found = dict.fromkeys(module for name in names for module in own_modules(name))
    modules = [module for module in found if module.__name__ not in before]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


@functools.lru_cache(maxsize=2)
def unpacked(payload: bytes) -> Any:
    """The processor that ``by_value`` made bytes of, in this run's own driver: never from a file."""
    return unpack_processor(payload)


def unpack_processor(payload: bytes) -> Any:
    """A processor of its own for every call, out of the same bytes."""
    return cloudpickle.loads(payload)


_RECEIVED: list[tuple[bytes, Seats]] = []


def _receive(payload: bytes, up: Any, seats: Seats) -> None:
    """Runs first in a process; what can fail comes later, where the error is an answer."""
    _RECEIVED[:] = [(payload, seats)]
    up.set()


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    payload, seats = _RECEIVED[0]
    with seated(seats):
        return function(unpacked(payload), *arguments)
