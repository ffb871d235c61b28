"""The contract that every scorer keeps, whether it runs in the process or behind a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Batch = Mapping[str, npt.NDArray[np.float32]]
"""Model inputs by name; the first axis of every array counts the events."""


@dataclass(frozen=True)
class InputSpec:
    """One named model input.

    Attributes:
        name: key in the batch.
        shape: shape of one event, without the axis of the events.
        dtype: numpy name of the element type.
        meaning: what the numbers are, with index order and units.
        representation: how events become this input: ``cylinder`` or ``columns``.
        settings: the numbers and names that the representation needs, such as the grid or the columns.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str
    representation: str
    settings: Mapping[str, object]


@dataclass(frozen=True)
class ScoreAxis:
    """The binning of a score, fixed on events that calibrate nothing.

    Attributes:
        edges: increasing bin edges; scores below the first and above the last edge go to under- and overflow.
        label: the score's name for plots.
        fixed_on: the sample and the rule that fixed the edges.
    """

    edges: tuple[float, ...]
    label: str
    fixed_on: str


@runtime_checkable
class Scorer(Protocol):
    """Turns model inputs into one anomaly score per event; larger is more anomalous."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the weights and the architecture; one run uses one fingerprint."""
        ...

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the batch must hold."""
        ...

    @property
    def score_axis(self) -> ScoreAxis:
        """The binning that the histograms of this score use."""
        ...

    def score(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Score a batch.

        Args:
            batch: one array of shape (events, ...) per input.

        Returns:
            Scores of shape (events,), larger is more anomalous.
        """
        ...
