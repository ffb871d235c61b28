"""Gradient descent for the cylinder autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.errors import FitError
from darkop_dist.operators import cylinder
from darkop_dist.operators.card import Losses
from darkop_dist.operators.checkpoint import Weights
from darkop_dist.operators.cylinder import CylinderAutoencoder, CylinderSettings
from darkop_dist.operators.evaluation import ROWS_PER_CALL
from darkop_dist.operators.split import Split


class TrainingSettings(BaseModel):
    """How a network is trained: Adam with a cosine learning rate.

    Attributes:
        epochs: most passes over the training part.
        batch: events per gradient step.
        learning_rate: of the first step; it falls to zero along half a cosine.
        patience: epochs without a better validation loss after which training stops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(gt=0, le=1000)] = 12
    batch: Annotated[int, Field(gt=0, le=8192)] = 64
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    patience: Annotated[int, Field(gt=0)] = 4


@dataclass(frozen=True)
class Epoch:
    """State of a training after an epoch, for a progress display.

    Attributes:
        number: the epoch, counted from 0.
        epochs: most epochs.
        train_loss: mean loss over the training part while the weights moved.
        validation_loss: mean loss over the validation part after the epoch.
    """

    number: int
    epochs: int
    train_loss: float
    validation_loss: float


def descend(
    fields: npt.NDArray[np.float32],
    parts: Split,
    settings: CylinderSettings,
    training: TrainingSettings,
    *,
    rng: np.random.Generator,
    progress: Callable[[Epoch], None] | None,
) -> tuple[Weights, Losses]:
    """Minimise the mean score of the training part.

    Args:
        fields: shape (events, channels, towers_eta, towers_phi).
        parts: the split of the events; the axis part is not touched.
        settings: settings of the network.
        training: settings of the training.
        rng: source of the initial weights and of the order of the events.
        progress: called after each epoch.

    Returns:
        The weights of the epoch with the best validation loss, and the losses.

    Raises:
        ValueError: the grid is too coarse for the modes.
        FitError: the loss is not finite.
    """
    squares = [
        np.square(fields[rows], dtype=np.float64).mean(axis=(0, 2, 3)) * len(rows) for rows in _pieces(parts.train)
    ]
    rms = np.sqrt(np.sum(squares, axis=0) / len(parts.train))
    scale = np.where(rms > 0.0, rms, 1.0).astype(np.float32)
    parameters = cylinder.initial_parameters(settings, scale, rng)
    moving = [tensor.requires_grad_() for key, tensor in parameters.items() if key != "input.scale"]
    model = CylinderAutoencoder(settings, parameters, (fields.shape[2], fields.shape[3]))
    optimiser = torch.optim.Adam(moving, lr=training.learning_rate)
    steps = training.epochs * -(-len(parts.train) // training.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    train_losses: list[float] = []
    validation_losses: list[float] = []
    best: dict[str, npt.NDArray[np.float32]] = {}
    kept = 0
    for epoch in range(training.epochs):
        order, total = rng.permutation(parts.train), 0.0
        for start in range(0, len(order), training.batch):
            rows = order[start : start + training.batch]
            loss = model.score(torch.tensor(fields[rows])).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        train_losses.append(total / len(order))
        validation_losses.append(_mean_score(model, fields, parts.validation))
        if not np.isfinite([train_losses[-1], validation_losses[-1]]).all():
            raise FitError(
                f"the loss is not finite after epoch {epoch}. Use a smaller learning rate, or look for extreme inputs"
            )
        if progress is not None:
            progress(Epoch(epoch, training.epochs, train_losses[-1], validation_losses[-1]))
        if not best or validation_losses[-1] < validation_losses[kept]:
            best, kept = {key: tensor.detach().numpy().copy() for key, tensor in parameters.items()}, epoch
        elif epoch - kept >= training.patience:
            break
    return best, Losses(train=tuple(train_losses), validation=tuple(validation_losses), kept_epoch=kept)


def _mean_score(model: CylinderAutoencoder, fields: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> float:
    with torch.inference_mode():
        totals = [model.score(torch.tensor(fields[piece])).sum().item() for piece in _pieces(rows)]
    return float(sum(totals)) / len(rows)


def _pieces(rows: npt.NDArray[np.int64]) -> Sequence[npt.NDArray[np.int64]]:
    return [rows[start : start + ROWS_PER_CALL] for start in range(0, len(rows), ROWS_PER_CALL)]
