"""Training of the calorimeter operator on files of simulated showers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.errors import FitError, InputValueError
from darkop_dist.operators.calorimeter.energies import (
    COMPONENTS,
    all_share_features,
    energies_loss,
)
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator, CalorimeterSettings
from darkop_dist.operators.card import Losses
from darkop_dist.operators.showers.files import count_showers, shower_parts
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry

ELECTRON, PHOTON = "e-", "gamma"
PARTICLES = (ELECTRON, PHOTON)
LEAST_SHOWERS = 200
LEAST_STEPS = 40
_GRADIENT_NORM = 2000.0
"""Larger gradients are shortened; the loss of a shower is some 1000 nats and its gradients are of that size."""


class ShowerTraining(BaseModel):
    """Settings of a training.

    Attributes:
        epochs: passes over the showers for the voxels.
        energies_epochs: passes for the layer energies.
        batch: showers of a gradient step for the voxels.
        energies_batch: showers of a gradient step for the layer energies.
        rate: largest learning rate for the voxels, reached after a tenth of the steps and let down to zero.
        energies_rate: the same for the layer energies.
        block: showers that are read from a file at once and shuffled among themselves.
        validation: share of the showers, at the end of each file, that only watch.
        seed: of weights, order, reflections and colours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=10, gt=0)
    energies_epochs: int = Field(default=40, gt=0)
    batch: int = Field(default=16, gt=0)
    energies_batch: int = Field(default=100, gt=0)
    rate: float = Field(default=4e-3, gt=0)
    energies_rate: float = Field(default=3e-3, gt=0)
    block: int = Field(default=1000, gt=0)
    validation: float = Field(default=0.1, gt=0, lt=1)
    seed: int = Field(default=1, ge=0)


@dataclass(frozen=True)
class ShowerFile:
    """A file of showers of one particle.

    Attributes:
        path: the file.
        particle: ``e-`` or ``gamma``.
    """

    path: Path
    particle: str

    def __post_init__(self) -> None:
        if self.particle not in PARTICLES:
            raise InputValueError("particle", f"{self.particle!r}", f"Known are {', '.join(PARTICLES)}")


@dataclass(frozen=True)
class TrainedOperator:
    """What a training gives.

    Attributes:
        operator: the operator.
        energies: how the training of the layer energies went, in nats per shower.
        voxels: how that of the voxels went, in nats per shower.
        showers: showers of the gradient steps.
        validation_showers: showers that only watched.
        seconds: duration.
    """

    operator: CalorimeterOperator
    energies: Losses
    voxels: Losses
    showers: int
    validation_showers: int
    seconds: float


@dataclass(frozen=True)
class _Batch:
    incident: torch.Tensor
    photon: torch.Tensor
    field: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> _Batch:
        return _Batch(self.incident[rows], self.photon[rows], self.field[rows])

    def __len__(self) -> int:
        return len(self.incident)


@dataclass(frozen=True)
class _Block:
    file: ShowerFile
    start: int
    stop: int


def train_operator(
    files: Sequence[ShowerFile],
    settings: CalorimeterSettings | None = None,
    training: ShowerTraining | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainedOperator:
    """Train the operator with the log score; one block of showers is in memory at a time.

    Layer energies come first, voxels given the true layer energies second. The weights after the last epoch are kept:
    the learning rate is zero there. The same files, settings and seed give the same weights on the same machine.

    Args:
        files: simulated showers, in the voxels of ``settings``.
        settings: of the operator.
        training: of the training.
        say: told in a sentence how far the work is.

    Raises:
        InputFileError: a file cannot be read or has other voxels.
        InputValueError: there are too few showers.
        FitError: a loss is not finite.
    """
    settings, training, tell = settings or CalorimeterSettings(), training or ShowerTraining(), say or (lambda _: None)
    began = time.perf_counter()
    torch.manual_seed(training.seed)
    operator = CalorimeterOperator(settings)
    train, validation = _parts(files, training)
    counts = [sum(block.stop - block.start for block in part) for part in (train, validation)]
    if counts[0] < LEAST_SHOWERS:
        raise InputValueError("showers", f"{counts[0]} for training", f"Give {LEAST_SHOWERS} or more")
    tell(f"layer energies: {counts[0]} showers, {counts[1]} that watch")
    energies = _train_energies(operator, train, validation, training, tell)
    tell("voxels")
    voxels = _train_voxels(operator, train, validation, training, tell)
    return TrainedOperator(operator, energies, voxels, counts[0], counts[1], time.perf_counter() - began)


def _parts(files: Sequence[ShowerFile], training: ShowerTraining) -> tuple[list[_Block], list[_Block]]:
    train, validation = list[_Block](), list[_Block]()
    for file in files:
        count = count_showers(file.path)
        cut = count - round(count * training.validation)
        for part, first, last in ((train, 0, cut), (validation, cut, count)):
            starts = range(first, last, training.block)
            part.extend(_Block(file, start, min(start + training.block, last)) for start in starts)
    return train, validation


def _read(block: _Block, settings: CalorimeterSettings) -> _Batch:
    geometry = VoxelGeometry(settings.layers, settings.azimuths, settings.radii, settings.radius_mm)
    count = block.stop - block.start
    (showers,) = shower_parts(block.file.path, size=count, start=block.start, stop=block.stop, geometry=geometry)
    return as_batch(showers, block.file.particle, settings.threshold_mev)


def as_batch(showers: Showers, particle: str, threshold_mev: float) -> _Batch:
    """Showers as tensors (showers, layers, radii, azimuths), voxels below threshold emptied; empty showers left out."""
    field = torch.from_numpy(showers.energies.reshape(-1, *showers.geometry.shape)).transpose(2, 3).contiguous()
    field = torch.where(field < threshold_mev, torch.zeros(()), field)
    some = field.sum((1, 2, 3)) > 0.0
    incident = torch.from_numpy(showers.incident_energies)[some]
    return _Batch(incident, torch.full_like(incident, float(particle == PHOTON)), field[some])


def _batches(
    blocks: list[_Block], size: int, settings: CalorimeterSettings, rng: np.random.Generator
) -> Iterator[_Batch]:
    for number in rng.permutation(len(blocks)):
        block = _read(blocks[number], settings)
        order = torch.from_numpy(rng.permutation(len(block)))
        for start in range(0, len(block) - size + 1, size):
            yield block[order[start : start + size]]


def _steps(blocks: list[_Block], size: int) -> int:
    return sum((block.stop - block.start) // size for block in blocks)


def _train_energies(
    operator: CalorimeterOperator,
    train: list[_Block],
    validation: list[_Block],
    training: ShowerTraining,
    tell: Callable[[str], None],
) -> Losses:
    """Layer energies are small: all of them are held, the voxels are not."""
    network, rng = operator.energies, np.random.default_rng(training.seed)
    data, watch = (_layers_of(part, operator.settings) for part in (train, validation))
    _start_energies(operator, data)
    size, steps = training.energies_batch, len(data[0]) // training.energies_batch * training.energies_epochs
    optimiser = torch.optim.AdamW(network.parameters(), lr=training.energies_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.energies_rate, total_steps=max(steps, LEAST_STEPS)
    )
    losses = list[float](), list[float]()
    for epoch in range(training.energies_epochs):
        order, total = torch.from_numpy(rng.permutation(len(data[0]))), list[float]()
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            loss = energies_loss(network, *(part[rows] for part in data))
            _step(loss, network, optimiser, schedule)
            total.append(loss.item())
        with torch.no_grad():
            losses[1].append(energies_loss(network, *watch).item())
        losses[0].append(float(np.mean(total)))
        tell(f"layer energies, epoch {epoch + 1}: {losses[0][-1]:.3f}, watched {losses[1][-1]:.3f} nats per shower")
    return Losses(train=tuple(losses[0]), validation=tuple(losses[1]), kept_epoch=training.energies_epochs - 1)


def _layers_of(blocks: list[_Block], settings: CalorimeterSettings) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    parts = [_read(block, settings) for block in blocks]
    rows = [(part.incident, part.photon, part.field.sum((2, 3))) for part in parts]
    incident, photon, layers = (torch.cat(column) for column in zip(*rows, strict=True))
    return incident, photon, layers


def _start_energies(operator: CalorimeterOperator, data: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """Scales of the features, and mixtures spread over the shares that each layer takes in the showers."""
    network, layers = operator.energies, data[2]
    left = torch.flip(torch.cumsum(torch.flip(layers, [1]), 1), [1])
    features = all_share_features(*data)[left > 0.0]
    network.mu.copy_(features.mean(0))
    network.sd.copy_(features.std(0) + 1e-3)
    share = layers / left.clamp(min=1e-30)
    inside = (share > 0.0) & (share < 1.0)
    value = torch.logit(share, eps=1e-7)
    with torch.no_grad():
        for layer in range(layers.shape[1]):
            chosen = value[inside[:, layer], layer]
            if len(chosen) > 10:
                spread = chosen.std()
                network.out[layer, COMPONENTS : 2 * COMPONENTS] = chosen.mean() + spread * torch.linspace(
                    -1.5, 1.5, COMPONENTS
                )
                network.out[layer, 2 * COMPONENTS : 3 * COMPONENTS] = spread.log() - 0.5


def _train_voxels(
    operator: CalorimeterOperator,
    train: list[_Block],
    validation: list[_Block],
    training: ShowerTraining,
    tell: Callable[[str], None],
) -> Losses:
    network, settings = operator.voxels, operator.settings
    rng, generator = np.random.default_rng(training.seed), torch.Generator().manual_seed(training.seed)
    steps = _steps(train, training.batch) * training.epochs
    optimiser = torch.optim.AdamW(network.parameters(), lr=training.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.rate, total_steps=max(steps, LEAST_STEPS), pct_start=0.1
    )
    losses = list[float](), list[float]()
    for epoch in range(training.epochs):
        total = list[float]()
        for batch in _batches(train, training.batch, settings, rng):
            field = batch.field.flip(3) if rng.random() < 0.5 else batch.field
            loss = operator.voxels_loss(batch.incident, batch.photon, field, generator)
            _step(loss, network, optimiser, schedule)
            total.append(loss.item())
        losses[0].append(float(np.mean(total)))
        losses[1].append(_watched(operator, validation))
        tell(f"voxels, epoch {epoch + 1}: {losses[0][-1]:.2f}, watched {losses[1][-1]:.2f} nats per shower")
    return Losses(train=tuple(losses[0]), validation=tuple(losses[1]), kept_epoch=training.epochs - 1)


def _watched(operator: CalorimeterOperator, blocks: list[_Block]) -> float:
    generator, total, count = torch.Generator().manual_seed(0), 0.0, 0
    with torch.no_grad():
        for block in blocks:
            batch = _read(block, operator.settings)
            for rows in torch.arange(len(batch)).split(50):
                part = batch[rows]
                loss = operator.voxels_loss(part.incident, part.photon, part.field, generator)
                total, count = total + loss.item() * len(rows), count + len(rows)
    return total / max(count, 1)


def _step(
    loss: torch.Tensor,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    if not torch.isfinite(loss):
        raise FitError("training of the calorimeter operator: the loss is not finite. Lower the learning rate")
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
    optimiser.step()
    schedule.step()
