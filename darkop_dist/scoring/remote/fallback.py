"""The model in this process, where the server does not answer and the run allows it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import FingerprintError, ScoringOutageError
from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis, Scorer
from darkop_dist.scoring.origins import note_origin, recorded_origins
from darkop_dist.scoring.remote.scorer import RemoteScorer

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
FALLBACK = "local (fallback)"


class FallbackScorer:
    """Scores with a server, and with the same model in this process while the server does not answer.

    A server that refuses events or answers with another model is no outage: that stops the run.

    Args:
        remote: the server's model.
        local: the model itself; it must have the same fingerprint.
        clock: seconds, for tests.

    Raises:
        FingerprintError: the two are not the same model.
    """

    waits = True  # see scoring.waiting

    def __init__(self, remote: RemoteScorer, local: Scorer, clock: Callable[[], float] = time.monotonic) -> None:
        if remote.fingerprint != local.fingerprint:
            raise FingerprintError(
                f"{remote.address}: model {remote.description.name} has the fingerprint {remote.fingerprint}, the "
                f"checkpoint here {local.fingerprint}: it cannot stand in. Serve the same checkpoint"
            )
        self._remote, self._local, self._clock = remote, local, clock
        self._pause_s, self._silent_until = FIRST_PAUSE_S, -float("inf")

    def __reduce__(self) -> tuple[type[FallbackScorer], tuple[RemoteScorer, Scorer]]:
        return FallbackScorer, (self._remote, self._local)

    @property
    def remote(self) -> RemoteScorer:
        """The server's model."""
        return self._remote

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, architecture, inputs and score edges."""
        return self._remote.fingerprint

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the batch must hold."""
        return self._remote.inputs

    @property
    def score_axis(self) -> ScoreAxis:
        """The binning of the score."""
        return self._remote.score_axis

    def score(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Score a batch, by whichever answers.

        Raises:
            InputValueError: an input is absent, or has another shape or type, or is not finite.
            FingerprintError: the server answers with another model.
            RunError: a score is not finite.
        """
        if self._clock() >= self._silent_until:
            try:
                scores = self._remote.score(batch)
            except ScoringOutageError as error:
                self._silent_until = self._clock() + self._pause_s
                logger.warning(
                    "%s The model runs in the process; the server is asked again in %g s", error, self._pause_s
                )
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            else:
                self._pause_s = FIRST_PAUSE_S
                return scores
        with recorded_origins():  # it would call itself local
            scores = self._local.score(batch)
        note_origin(FALLBACK, len(scores))
        return scores
