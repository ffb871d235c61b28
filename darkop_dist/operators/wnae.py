"""The Wasserstein normalised autoencoder (arXiv:2510.02168; normalised autoencoders: arXiv:2105.05735).

The reconstruction error is read as an energy E(x): the model's density is exp(-E(x)) up to its norm. Events of that
density ("negatives") come from Langevin steps that start at a replay buffer. Training brings them to the data: the loss
is the Wasserstein distance between a batch of data and as many negatives, with the gradient through the last steps of
the chain. What lies off the data has to have a large error, or negatives would gather there, which a plain autoencoder
does not ensure.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linear_sum_assignment
from torch import nn

from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.physics_operator import PhysicsOperator, Tensors, register_model

INPUT = "columns"

BOX = 10.0
"""Chains stay within so many standard deviations, so that one that runs away does not end a training."""


class WnaeSettings(BaseModel):
    """Settings of the autoencoder and of its chains.

    Attributes:
        columns: numbers of an event.
        hidden: nodes of the hidden layers of the encoder; the decoder mirrors them.
        latent: size of the bottleneck.
        warm_up: gradient steps of a plain autoencoder before negatives are drawn.
        steps: Langevin steps of a chain.
        through: last steps of the chain through which the gradient goes.
        step_size: factor of the gradient of the energy in a step, in units of the scaled columns.
        noise: standard deviation of the noise of a step.
        buffer: negatives that are kept as starts of later chains.
        restart: share of chains that start anew from a normal distribution of width 2.
        reconstruction: weight of the reconstruction error beside the distance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: int = Field(default=5, gt=0)
    hidden: tuple[int, ...] = (64, 64)
    latent: int = Field(default=3, gt=0)
    warm_up: int = Field(default=200, ge=0)
    steps: int = Field(default=40, gt=0)
    through: int = Field(default=10, gt=0)
    step_size: float = Field(default=0.1, gt=0)
    noise: float = Field(default=0.1, ge=0)
    buffer: int = Field(default=4096, gt=0)
    restart: float = Field(default=0.05, ge=0, le=1)
    reconstruction: float = Field(default=1.0, ge=0)


@register_model("wnae")
class WassersteinAutoencoder(PhysicsOperator):
    """An autoencoder of scaled columns whose errors are an energy; the score is the error."""

    Settings = WnaeSettings
    score_meaning = "sum of the squared reconstruction errors of the columns, each divided by its standard deviation"

    def __init__(self, settings: BaseModel, inputs: tuple[ModelInput, ...]) -> None:
        super().__init__(settings, inputs)
        self.chosen = WnaeSettings.model_validate(settings)
        widths = [self.chosen.columns, *self.chosen.hidden, self.chosen.latent]
        self.encoder, self.decoder = _layers(widths), _layers(widths[::-1])
        self.register_buffer("centre", torch.zeros(self.chosen.columns))
        self.register_buffer("width", torch.ones(self.chosen.columns))
        self.replay = torch.zeros(0, self.chosen.columns)
        self.done = 0

    @classmethod
    def model_inputs(cls, settings: BaseModel) -> tuple[ModelInput, ...]:
        """One input of columns."""
        columns = WnaeSettings.model_validate(settings).columns
        meaning = "numbers of an event"
        return (ModelInput(name=INPUT, shape=(columns,), meaning=meaning, representation="columns", settings={}),)

    def prepare(self, batch: Tensors) -> None:
        """Scales of the columns."""
        self.centre.copy_(batch[INPUT].mean(0))
        self.width.copy_(batch[INPUT].std(0).clamp(min=1e-6))

    def score(self, batch: Tensors) -> torch.Tensor:
        """See `score_meaning`."""
        return self.energy(self._scaled(batch))

    def energy(self, x: torch.Tensor) -> torch.Tensor:
        """Energy of scaled columns; shape (events,)."""
        return (self.decoder(self.encoder(x)) - x).square().sum(1)

    def loss(self, batch: Tensors, generator: torch.Generator) -> torch.Tensor:
        """Reconstruction error during the warm-up, then mostly the distance of data and negatives."""
        x = self._scaled(batch)
        self.done += 1
        if self.done <= self.chosen.warm_up:
            return self.energy(x).mean()
        negatives = self._chain(self._starts(len(x), generator), generator, self.chosen.through)
        self._keep(negatives.detach(), generator)
        return wasserstein(x, negatives) + self.chosen.reconstruction * self.energy(x).mean()

    def validation_loss(self, batch: Tensors, generator: torch.Generator) -> torch.Tensor:
        """Distance of data and negatives; chains are longer and start far from the data."""
        x = self._scaled(batch)
        start = 2.0 * torch.randn(x.shape, generator=generator)
        chain = start
        for _ in range(5):
            chain = self._chain(chain, generator, 0)
        return wasserstein(x, chain)

    def training_state(self) -> dict[str, torch.Tensor]:
        """Replay buffer and number of steps."""
        return {"replay": self.replay, "done": torch.tensor([self.done])}

    def load_training_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over both."""
        self.replay, self.done = state["replay"], int(state["done"])

    def _scaled(self, batch: Tensors) -> torch.Tensor:
        return (batch[INPUT] - self.centre) / self.width

    def _starts(self, count: int, generator: torch.Generator) -> torch.Tensor:
        fresh = 2.0 * torch.randn(count, self.chosen.columns, generator=generator)
        if len(self.replay) == 0:
            return fresh
        kept = self.replay[torch.randint(len(self.replay), (count,), generator=generator)]
        anew = torch.rand(count, 1, generator=generator) < self.chosen.restart
        return torch.where(anew, fresh, kept)

    def _keep(self, negatives: torch.Tensor, generator: torch.Generator) -> None:
        """The buffer grows to its size; then new negatives replace old ones at random."""
        room = self.chosen.buffer - len(self.replay)
        self.replay = torch.cat([self.replay, negatives[:room]]) if room > 0 else self.replay
        rest = negatives[max(room, 0) :]
        if len(rest):
            places = torch.randperm(len(self.replay), generator=generator)[: len(rest)]
            self.replay = self.replay.index_copy(0, places, rest[: len(places)])

    def _chain(self, start: torch.Tensor, generator: torch.Generator, through: int) -> torch.Tensor:
        """Langevin steps x - step dE/dx + noise; the gradient of the weights goes through the last of them."""
        x = start
        with torch.enable_grad():
            for number in range(self.chosen.steps):
                keep = number >= self.chosen.steps - through
                x = x if keep and number > self.chosen.steps - through else x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=keep)
                x = x - self.chosen.step_size * slope
                x = (x + self.chosen.noise * torch.randn(x.shape, generator=generator)).clamp(-BOX, BOX)
        return x if through else x.detach()


def wasserstein(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Exact squared Wasserstein-2 distance of two samples of equal size; gradients go through the matched pairs.

    For equal weights an optimal plan is a matching (Birkhoff), which the Hungarian method finds.

    Args:
        first: shape (events, columns).
        second: shape (events, columns).
    """
    with torch.no_grad():
        cost = torch.cdist(first.double(), second.double()).square()
    rows, columns = linear_sum_assignment(cost.numpy())
    return (first[torch.from_numpy(rows)] - second[torch.from_numpy(columns)]).square().sum(1).mean()


def _layers(widths: list[int]) -> nn.Sequential:
    parts = [part for low, high in pairwise(widths) for part in (nn.Linear(low, high), nn.SiLU())]
    return nn.Sequential(*parts[:-1])
