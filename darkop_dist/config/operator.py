"""Section ``operator``: which neural operator scores the events, or how one is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from darkop_dist.config.section import SECTION, Name, Names, Probability
from darkop_dist.config.serving import Serving


class Training(BaseModel):
    """An operator that the run trains itself, on events that calibrate and test nothing."""

    model_config = SECTION

    model: Literal["cylinder-fno", "density"]
    """``cylinder-fno``: Fourier neural operator autoencoder on the eta-phi cylinder; ``density``: on flat columns."""
    datasets: Names
    """Names of the datasets or samples to train on."""
    fraction: Probability = 0.2
    """Fraction of these datasets' events that trains; those events take no part in calibration and limits."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of the initial weights and of the order of the batches."""
    settings: dict[str, Any] = {}
    """Settings of the model and the training that replace the defaults."""
    columns: tuple[Name, ...] = ()
    """Columns that the density model takes, in order."""
    transforms: dict[str, Literal["identity", "log"]] = {}
    """Transformation of a column before it enters the density model; ``identity`` where none is given."""


class Operator(BaseModel):
    """The model that gives every event its score: exactly one of ``checkpoint``, ``train`` and ``choose_from``."""

    model_config = SECTION

    checkpoint: Name | None = None
    """Name of a packaged checkpoint, or path of a checkpoint directory."""
    train: Training | None = None
    """Train an operator at the start of the run."""
    choose_from: Names | None = None
    """Checkpoints with the same inputs, of which the run takes that with the largest ARGOS of the data against the
    background, on events that neither calibrate, nor check, nor are tested."""
    choose_fraction: Probability = 0.1
    """Fraction of the events of data and background that chooses."""
    choose_events: Annotated[int, Field(ge=1)] = 100
    """Fewest background events above a threshold at which a model is rated."""
    serve: Serving = Serving()
    """Where events are scored: ``local`` is inside the process that reads them; an address, or a section with it.
    Training and choosing score in the process."""
