"""Scoring in the process that reads the events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import RunError
from darkop_dist.operators.card import Card
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, parse_card, verify
from darkop_dist.operators.evaluation import scoring_function
from darkop_dist.scoring.allocator import keep_memory
from darkop_dist.scoring.check import check_batch
from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis
from darkop_dist.scoring.origins import note_origin

LOCAL = "local"

Array = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class LocalScorer:
    """Scores batches with the model of a checkpoint; keeps the contract `scoring.contract.Scorer`.

    It travels to workers as its card and its weights, plain arrays in memory, so workers need no shared file system.
    The scores are the same to the last bit in every process of one kind of machine.

    Args:
        checkpoint: the model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._score = scoring_function(checkpoint)
        card = checkpoint.card
        self._inputs = tuple(
            InputSpec(spec.name, spec.shape, spec.dtype, spec.meaning, spec.representation, spec.settings)
            for spec in card.inputs
        )
        axis = card.score_axis
        self._score_axis = ScoreAxis(edges=axis.edges, label=axis.label, fixed_on=axis.fixed_on)

    @classmethod
    def from_checkpoint(cls, name_or_path: str | Path) -> LocalScorer:
        """The scorer of a packaged checkpoint or of a directory.

        Raises:
            UnknownNameError: there is neither.
            InputFileError: a file of the checkpoint is missing or corrupt.
            FingerprintError: weights or architecture are not those of the card.
        """
        return cls(load_checkpoint(find_checkpoint(name_or_path)))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, architecture, inputs and score edges."""
        return self._checkpoint.card.fingerprint

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the batch must hold."""
        return self._inputs

    @property
    def score_axis(self) -> ScoreAxis:
        """The binning of the score."""
        return self._score_axis

    @property
    def card(self) -> Card:
        """What the model is, what it was trained on and its AUC."""
        return self._checkpoint.card

    def score(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Score a batch.

        Args:
            batch: one float32 array of shape (events, ...) per input.

        Returns:
            Scores of shape (events,); empty for a batch without events.

        Raises:
            InputValueError: an input is absent, or has another shape or type, or is not finite.
            RunError: a score is not finite.
        """
        events = check_batch(batch, self._inputs)
        if events == 0:
            return np.empty(0, dtype=np.float32)
        keep_memory()
        with np.errstate(over="ignore", invalid="ignore"):  # becomes the RunError below
            scores = self._score(batch)
        bad = np.flatnonzero(~np.isfinite(scores))
        if bad.size:
            raise RunError(
                f"checkpoint {self.card.name}: the score of {bad.size} of {events} events is not finite, first that of "
                f"event {bad[0]} of the batch. Look for extreme values in the model's inputs of these events"
            )
        note_origin(LOCAL, events)
        return scores

    def __reduce__(self) -> tuple[Callable[[str, dict[str, Array]], LocalScorer], tuple[str, dict[str, Array]]]:
        return _restore, (self.card.model_dump_json(), dict(self._checkpoint.weights))


def _restore(card: str, weights: dict[str, Array]) -> LocalScorer:
    return LocalScorer(verify(Checkpoint(parse_card(card, "card of a scorer"), weights), "scorer sent to a worker"))
