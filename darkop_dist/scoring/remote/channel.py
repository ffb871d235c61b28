"""The one channel of a process to a served model: a bounded number of requests under way, filled well.

Whoever has events puts them in the line. A fixed number of threads take from it, each one request at a time: pieces
that wait while all threads are under way are joined into one request up to the server's best size, and given back each
to its own. The line itself is bounded by its callers, who wait for what they put there.
"""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.remote.patience import Patience, Usual, insist
from darkop_dist.scoring.remote.transport import Transport
from darkop_dist.scoring.wire.description import ModelDescription

Scores = npt.NDArray[np.float32]


@dataclass(eq=False)
class Piece:
    """Events of one caller, not more than one request takes.

    Attributes:
        batch: arrays by name.
        events: in the batch.
        scores: what the caller waits for.
    """

    batch: Batch
    events: int
    scores: Future[Scores] = field(default_factory=Future)


class Channel:
    """Sends pieces to a model of a server.

    Args:
        transport: the way there.
        description: the model.
        patience: with every request.
        in_flight: requests under way at once.
    """

    def __init__(self, transport: Transport, description: ModelDescription, patience: Patience, in_flight: int) -> None:
        self._transport, self._description, self._patience = transport, description, patience
        self._line: deque[Piece] = deque()
        self._news = threading.Condition()
        self._idle = 0
        self._threads = 0
        self._in_flight = in_flight
        self._usual = Usual()
        self._closed = False

    @property
    def address(self) -> str:
        """The server, for messages."""
        return self._transport.address

    def put(self, piece: Piece) -> None:
        """Put events in the line."""
        with self._news:
            self._line.append(piece)
            if len(self._line) > self._idle and self._threads < self._in_flight:
                self._threads += 1
                # they must not hold up the end of the process: whoever waits for scores holds it up
                threading.Thread(target=self._work, name="darkop-scores", daemon=True).start()
            self._news.notify()

    def close(self) -> None:
        """Let the threads end once the line is empty."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _work(self) -> None:
        draw = random.Random()  # noqa: S311  # it draws pauses
        while (joined := self._take()) is not None:
            try:
                scores = self._ask(joined, draw)
            except BaseException as error:  # noqa: BLE001  # whatever it is, those who wait are told
                for piece in joined:
                    piece.scores.set_exception(error)
                continue
            first = 0
            for piece in joined:
                piece.scores.set_result(scores[first : first + piece.events])
                first += piece.events

    def _take(self) -> list[Piece] | None:
        """The next request's pieces; waits for one; None when the channel is closed."""
        with self._news:
            self._idle += 1
            while not self._line and not self._closed:
                self._news.wait()
            self._idle -= 1
            joined: list[Piece] = []
            events = size = 0
            while self._line:
                piece = self._line[0]
                if not piece.scores.running() and not piece.scores.set_running_or_notify_cancel():
                    self._line.popleft()  # nobody waits for it any more
                    continue
                events, size = events + piece.events, size + sum(array.nbytes for array in piece.batch.values())
                if joined and (events > self._description.best_events or size > self._description.most_bytes):
                    break
                joined.append(self._line.popleft())
            return joined or (None if self._closed else [])

    def _ask(self, joined: list[Piece], draw: random.Random) -> Scores:
        if not joined:
            return np.empty(0, dtype=np.float32)
        one, model = self._description, self._description.name
        batch: Batch = joined[0].batch
        if len(joined) > 1:
            batch = {spec.name: np.concatenate([piece.batch[spec.name] for piece in joined]) for spec in one.inputs}
        return insist(
            lambda left_s: self._transport.score(model, batch, one.fingerprint, left_s),
            self._patience,
            draw,
            self._usual,
            sum(piece.events for piece in joined),
        ).scores


_CHANNELS: dict[tuple[object, ...], Channel] = {}
_LOCK = threading.Lock()


def channel_of(key: tuple[object, ...], make: Callable[[], Channel]) -> Channel:
    """This process's channel of a key, made if there is none.

    It belongs to the process and not to a scorer: scorers travel with every processor, and a worker that holds twenty
    of them must not open twenty windows. A process that was forked makes its own.
    """
    whole = (os.getpid(), *key)
    with _LOCK:
        if whole not in _CHANNELS:
            _CHANNELS[whole] = make()
        return _CHANNELS[whole]
