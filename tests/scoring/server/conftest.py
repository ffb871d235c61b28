"""A scorer whose scores are the numbers of its events, so that a lost, repeated or misplaced one shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from darkop_dist.errors import RunError
from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis
from darkop_dist.scoring.server import Engine, EngineSettings
from darkop_dist.scoring.server.meter import BatchSeen, RequestSeen


class Numbered:
    """Gives each event its own number; stops at negative ones.

    Attributes:
        calls: the numbers of each call's events.
        arrays: the arrays of each call, as they came.
        gate: calls wait until it is set.
        call_s: how long a call takes.
    """

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        self.fingerprint = fingerprint
        self.inputs = (InputSpec("x", (3,), "float32", "the event's number, and two more", "columns", {}),)
        self.score_axis = ScoreAxis(edges=(0.0, 1.0), label="number", fixed_on="nothing")
        self.calls: list[list[float]] = []
        self.arrays: list[npt.NDArray[np.float32]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.call_s = 0.0
        self._one = threading.Lock()

    def score(self, batch: Batch) -> npt.NDArray[np.float32]:
        assert self._one.acquire(blocking=False), "two calls at once"
        try:
            numbers = batch["x"][:, 0]
            self.calls.append(numbers.tolist())
            self.arrays.append(batch["x"])
            assert self.gate.wait(30)
            time.sleep(self.call_s)
            if (numbers < 0).any():
                raise RunError(f"the score of event {np.argmax(numbers < 0)} is not finite")
            return numbers.copy()
        finally:
            self._one.release()


class Notes:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.requests: list[RequestSeen] = []
        self.batches: list[BatchSeen] = []

    def observe_request(self, seen: RequestSeen) -> None:
        self.requests.append(seen)

    def observe_batch(self, seen: BatchSeen) -> None:
        self.batches.append(seen)


def events(first: int, count: int) -> dict[str, npt.NDArray[np.float32]]:
    """A batch of events with the numbers from ``first`` on."""
    x = np.zeros((count, 3), dtype=np.float32)
    x[:, 0] = np.arange(first, first + count)
    return {"x": x}


@pytest.fixture
def numbered() -> Numbered:
    return Numbered()


@pytest.fixture(scope="session")
def make_numbered() -> Callable[..., Numbered]:
    return Numbered


@pytest.fixture(scope="session")
def numbers() -> Callable[[int, int], dict[str, npt.NDArray[np.float32]]]:
    return events


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def make_engine(numbered: Numbered, notes: Notes) -> Iterator[Callable[..., Engine]]:
    """Engines with the model ``m``; the settings are those of EngineSettings."""
    engines: list[Engine] = []

    def make(**settings: object) -> Engine:
        # the first call of a model is one event of zeros, made when it is loaded
        engines.append(Engine({"m": lambda: numbered}, EngineSettings(**settings), notes))  # type: ignore[arg-type]
        return engines[-1]

    yield make
    numbered.gate.set()
    for engine in engines:
        engine._accelerator.close()
