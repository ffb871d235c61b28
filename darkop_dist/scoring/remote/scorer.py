"""A scorer whose model runs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from darkop_dist.config.serving import Serving
from darkop_dist.errors import FingerprintError, InputValueError, ScoringOutageError, UserError
from darkop_dist.scoring.check import check_batch
from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis
from darkop_dist.scoring.origins import note_origin
from darkop_dist.scoring.remote.channel import Channel, Piece, channel_of
from darkop_dist.scoring.remote.patience import Patience
from darkop_dist.scoring.remote.reach import transport_to
from darkop_dist.scoring.remote.transport import OutageError, RejectedError
from darkop_dist.scoring.waiting import waiting
from darkop_dist.scoring.wire.description import ModelDescription

Scores = npt.NDArray[np.float32]


class Pending:
    """Scores that are on their way.

    Args:
        pieces: in the order of the events.
        address: of the server, for messages and the ledger.
    """

    def __init__(self, pieces: list[Future[Scores]], address: str) -> None:
        self._pieces, self._address = pieces, address

    def result(self) -> Scores:
        """Wait for them.

        Returns:
            Shape (events,).

        Raises:
            ScoringOutageError: the server did not answer, however often it was asked.
            FingerprintError: it answers with another model.
            InputValueError: it refuses the events.
            UserError: it refuses the client.
        """
        try:
            with waiting():
                found = [piece.result() for piece in self._pieces]
        except OutageError as error:
            self._forget()
            raise ScoringOutageError(f"no scores: {error}. Look at the server, or allow fallback: local") from error
        except RejectedError as error:
            self._forget()
            raise _meaning(error, self._address) from error
        scores = np.concatenate([np.empty(0, dtype=np.float32), *found])
        note_origin(self._address, len(scores))
        return scores

    def _forget(self) -> None:
        for piece in self._pieces:
            piece.cancel()


class RemoteScorer:
    """Scores batches with a model that is served; keeps the contract `scoring.contract.Scorer`.

    It travels as an address and a description; every process opens its own connections when it first scores.

    Args:
        serving: where the server is, and how patient to be.
        description: the model; its fingerprint holds for the scorer's whole life.
    """

    waits = True  # see scoring.waiting

    def __init__(self, serving: Serving, description: ModelDescription) -> None:
        self._serving, self._description = serving, description
        self._inputs = description.input_specs

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, architecture, inputs and score edges; a server that answers with another is refused."""
        return self._description.fingerprint

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the batch must hold."""
        return self._inputs

    @property
    def score_axis(self) -> ScoreAxis:
        """The binning of the score."""
        return self._description.axis

    @property
    def address(self) -> str:
        """The server."""
        return self._serving.at

    @property
    def description(self) -> ModelDescription:
        """What the server says of the model."""
        return self._description

    def on_trial(self, deadline_s: float) -> RemoteScorer:
        """The same, but not patient: to see whether the server can be reached from a process."""
        update = {"deadline_s": deadline_s, "tries": 2, "fallback": "none"}
        return RemoteScorer(self._serving.model_copy(update=update), self._description)

    def score(self, batch: Batch) -> Scores:
        """Score a batch: in pieces of the server's best size, several of them under way at once.

        Args:
            batch: one float32 array of shape (events, ...) per input.

        Returns:
            Scores of shape (events,).

        Raises:
            InputValueError: an input is absent, or has another shape or type, or is not finite.
            ScoringOutageError: the server did not answer, however often it was asked.
            FingerprintError: it answers with another model.
        """
        return self.submit(batch).result()

    def submit(self, batch: Batch) -> Pending:
        """Begin to score a batch; its arrays may not be changed until the result is there."""
        check_batch(batch, self._inputs)
        channel = self._channel()
        pieces = [Piece(part, events) for part, events in pieces_of(batch, self._description)]
        for piece in pieces:
            channel.put(piece)
        return Pending([piece.scores for piece in pieces], channel.address)

    def _channel(self) -> Channel:
        serving, one = self._serving, self._description

        def make() -> Channel:
            patience = Patience(serving.deadline_s, serving.tries)
            return Channel(transport_to(serving), one, patience, serving.in_flight)

        return channel_of((serving.model_dump_json(), one.name, one.fingerprint), make)


def pieces_of(batch: Batch, one: ModelDescription) -> Iterator[tuple[Batch, int]]:
    """A batch in equal pieces of about the server's best size, none above its limits."""
    events = len(next(iter(batch.values())))
    if not events:
        return
    each = sum(array.nbytes for array in batch.values()) / events
    most = max(1, min(one.best_events, one.most_events, int(0.95 * one.most_bytes / max(each, 1))))
    count = -(-events // most)
    bounds = [events * place // count for place in range(count + 1)]
    for start, stop in pairwise(bounds):
        yield {spec.name: batch[spec.name][start:stop] for spec in one.inputs}, stop - start


def _meaning(error: RejectedError, address: str) -> Exception:
    problem = error.problem
    if problem.code == "fingerprint":
        return FingerprintError(f"{address}: {problem.detail}. Serve that model again, or begin a new run")
    if problem.code in ("unauthorized", "unknown-model"):
        return UserError(f"{address}: {problem.detail}")
    return InputValueError(
        f"the events sent to {address}", problem.detail, "Look at the model's inputs of these events"
    )
