"""``serve: auto``: the cheaper way for each batch, as measured by the process that scores."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import ScoringOutageError
from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis, Scorer
from darkop_dist.scoring.origins import note_origin, recorded_origins
from darkop_dist.scoring.remote.fallback import FALLBACK, FallbackScorer
from darkop_dist.scoring.remote.scorer import RemoteScorer

logger = logging.getLogger(__name__)

SMALL, LARGE, REPEATS = 1, 1024, 3
LOCAL = "local"


@dataclass(frozen=True)
class Cost:
    """Seconds that a way takes, as a line through two measurements.

    Attributes:
        call_s: of a call.
        event_s: of an event.
    """

    call_s: float
    event_s: float

    def of(self, events: int) -> float:
        """Seconds for a batch."""
        return self.call_s + events * self.event_s


@dataclass(frozen=True)
class Choice:
    """What was measured.

    Attributes:
        local: of the process.
        remote: of the server; None if it did not answer.
    """

    local: Cost
    remote: Cost | None

    def is_remote(self, events: int) -> bool:
        """The server is quicker for so many events."""
        return self.remote is not None and self.remote.of(events) < self.local.of(events)

    def __str__(self) -> str:
        if self.remote is None:
            return "in the process, the server does not answer"
        for events in (2**k for k in range(24)):
            if self.is_remote(events):
                here, there = 1e3 * self.local.of(events), 1e3 * self.remote.of(events)
                return f"by the server from {events} events on ({there:.3g} ms there, {here:.3g} ms in the process)"
        here, there = 1e6 * self.local.event_s, 1e6 * self.remote.event_s
        return f"in the process ({here:.3g} us per event there, {there:.3g} by the server)"


def measure(score: Callable[[Batch], object], inputs: tuple[InputSpec, ...], clock: Callable[[], float]) -> Cost:
    """The cost of a way: the quickest of some calls with few and with many events of zeros."""

    def quickest(events: int) -> float:
        batch = {spec.name: np.zeros((events, *spec.shape), dtype=spec.dtype) for spec in inputs}
        taken = []
        for _ in range(REPEATS + 1):  # the first one pays for what is made once
            began = clock()
            score(batch)
            taken.append(clock() - began)
        return min(taken[1:])

    small, large = quickest(SMALL), quickest(LARGE)
    event_s = max(large - small, 0.0) / (LARGE - SMALL)
    return Cost(max(small - SMALL * event_s, 0.0), event_s)


class AutoScorer:
    """Scores each batch in the process or with a server, whichever was found quicker for its size.

    Every process measures for itself, when it first scores: the way to the server is its own. Scores are the same.

    Args:
        remote: the server's model.
        local: the same model.
        clock: seconds, for tests.

    Raises:
        FingerprintError: the two are not the same model.
    """

    waits = True  # see scoring.waiting

    def __init__(self, remote: RemoteScorer, local: Scorer, clock: Callable[[], float] = time.perf_counter) -> None:
        self._remote, self._local, self._clock = remote, local, clock
        self._either = FallbackScorer(remote, local)
        self._lock = threading.Lock()
        self._choice: Choice | None = None

    def __reduce__(self) -> tuple[type[AutoScorer], tuple[RemoteScorer, Scorer]]:
        return AutoScorer, (self._remote, self._local)

    @property
    def remote(self) -> RemoteScorer:
        """The server's model."""
        return self._remote

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, architecture, inputs and score edges."""
        return self._local.fingerprint

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the batch must hold."""
        return self._local.inputs

    @property
    def score_axis(self) -> ScoreAxis:
        """The binning of the score."""
        return self._local.score_axis

    @property
    def choice(self) -> Choice:
        """What this process measured; measured now if it has not been."""
        with self._lock:
            if self._choice is None:
                with recorded_origins():  # what is measured with are no events of the chunk
                    self._choice = Choice(measure(self._local.score, self.inputs, self._clock), self._measure_remote())
                logger.info("serve: auto: %s", self._choice)
            return self._choice

    def _measure_remote(self) -> Cost | None:
        try:
            return measure(self._remote.score, self.inputs, self._clock)
        except ScoringOutageError as error:
            logger.warning("%s", error)
            return None

    def score(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Score a batch by the quicker way."""
        events = len(batch[self.inputs[0].name]) if self.inputs[0].name in batch else 0
        if self.choice.is_remote(events):
            return self._either.score(batch)
        with recorded_origins():
            scores = self._local.score(batch)
        note_origin(LOCAL if self.choice.remote is not None else FALLBACK, len(scores))
        return scores
