"""The card of a checkpoint: what the model is, what it was trained on and how good it was found to be."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator


class ModelInput(BaseModel):
    """One named model input; the fields are those of ``scoring.contract.InputSpec``.

    Attributes:
        name: key in the batch.
        shape: shape of one event, without the axis of the events.
        dtype: numpy name of the element type.
        meaning: what the numbers are, with index order and units.
        representation: how events become this input: ``cylinder`` or ``columns``.
        settings: the numbers and names that the representation needs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: tuple[Annotated[int, Field(gt=0)], ...]
    dtype: Literal["float32"] = "float32"
    meaning: str
    representation: str
    settings: dict[str, JsonValue]


class ModelScoreAxis(BaseModel):
    """The binning of the score; the fields are those of ``scoring.contract.ScoreAxis``.

    Attributes:
        edges: strictly increasing bin edges.
        label: the score's name for plots.
        fixed_on: the sample and the rule that fixed the edges.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    edges: Annotated[tuple[float, ...], Field(min_length=2)]
    label: str
    fixed_on: str

    @model_validator(mode="after")
    def _edges_increase(self) -> Self:
        if not all(low < high for low, high in pairwise(self.edges)):
            raise ValueError("score edges must increase strictly")
        return self


class Losses(BaseModel):
    """Losses after each epoch, or after the only fit.

    Attributes:
        train: mean loss over the training part.
        validation: mean loss over the validation part.
        kept_epoch: the epoch, counted from 0, whose weights were kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[float, ...]
    validation: tuple[float, ...]
    kept_epoch: int


class TrainedOn(BaseModel):
    """What a model was trained on.

    Attributes:
        datasets: names of the datasets.
        selection: the selection that the events passed.
        events: events used for gradient steps or the fit.
        validation_events: events that decided when to stop.
        score_axis_events: events that fixed the score axis and did nothing else.
        seed: seed of the split, the initial weights and the order of the events.
        settings: settings of the training.
        seconds: duration of the training.
        losses: how the training went.
        lost: what could not be read of the datasets, in words; empty if nothing was lost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: tuple[str, ...]
    selection: str
    events: int
    validation_events: int
    score_axis_events: int
    seed: int
    settings: dict[str, JsonValue]
    seconds: float
    losses: Losses
    lost: tuple[str, ...] = ()


class Auc(BaseModel):
    """Area under the ROC curve of the score of one signal against background.

    Attributes:
        value: probability that a signal event scores above a background event; ties count one half.
        uncertainty: standard error by Hanley and McNeil.
        n_background: number of background events.
        n_signal: number of signal events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Annotated[float, Field(ge=0, le=1)]
    uncertainty: Annotated[float, Field(ge=0)]
    n_background: int
    n_signal: int


class Card(BaseModel):
    """Everything about a checkpoint but its weights.

    Attributes:
        schema_version: version of this layout.
        name: name of the checkpoint.
        architecture: name of the architecture.
        settings: settings of the architecture.
        inputs: what the model takes.
        score_axis: the binning of its score.
        score: what the score is, in words.
        fingerprint: SHA-256 over the weights and `architecture_json`.
        trained_on: what it was trained on.
        auc: how well its score tells each signal from background, by name of the signal.
        approximations: what a reader must know before trusting the score.
        created_with: versions of the software that made it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
    architecture: str
    settings: dict[str, JsonValue]
    inputs: Annotated[tuple[ModelInput, ...], Field(min_length=1)]
    score_axis: ModelScoreAxis
    score: str
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    trained_on: TrainedOn
    auc: dict[str, Auc] = {}
    approximations: tuple[str, ...] = ()
    created_with: dict[str, str]

    def architecture_json(self) -> str:
        """The part of the card that decides what a score means, as canonical JSON; it enters the fingerprint.

        That is the architecture with its settings, the inputs without their prose, and the edges of the score axis:
        two models that differ in any of them must not be merged into one histogram.
        """
        return architecture_json(self.architecture, self.settings, self.inputs, self.score_axis)


def architecture_json(
    architecture: str, settings: dict[str, JsonValue], inputs: tuple[ModelInput, ...], score_axis: ModelScoreAxis
) -> str:
    """Canonical JSON of what decides the meaning of a score (see `Card.architecture_json`)."""
    parts = {
        "architecture": architecture,
        "settings": settings,
        "inputs": [spec.model_dump(mode="json", exclude={"meaning"}) for spec in inputs],
        "score_edges": [float(np.float64(edge)) for edge in score_axis.edges],
    }
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
