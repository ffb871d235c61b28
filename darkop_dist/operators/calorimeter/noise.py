"""Noise of the calorimeter operator: drawn on the way, or given as fields.

The operator is one function of condition and noise. In production the noise is drawn where it is needed. Given as
fields (`NoiseFields`) it can be kept, compared and rotated: a rotated noise field gives the rotated shower.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from scipy import special

from darkop_dist.operators.calorimeter.levy import FEW

MOST = 64
"""Most deposits of a layer that are placed one by one; more than `levy.FEW` and far above it."""

Pair = tuple[torch.Tensor, torch.Tensor]


class Noise(Protocol):
    """Where the operator takes its random numbers from. Rows are the showers that a layer or half concerns."""

    def of_layers(self, showers: int, layers: int) -> Pair:
        """Uniform (showers, layers + 1, 2) and normal (showers, layers + 1) numbers for the layer energies."""
        ...

    def swap(self, layer: int, rows: torch.Tensor) -> torch.Tensor:
        """Which colour of the checkerboard comes first, for each row."""
        ...

    def uniform(self, layer: int, half: int, rows: torch.Tensor) -> torch.Tensor:
        """A uniform number for the number of deposits of each row, in double precision."""
        ...

    def place(self, layer: int, half: int, rows: torch.Tensor, count: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """Deposits in each voxel.

        Up to about `levy.FEW` of them are multinomial with the given sum; more are Poisson with that mean.

        Args:
            layer: number of the layer.
            half: 0 or 1.
            rows: numbers of the showers.
            count: deposits in all voxels, shape (rows,).
            rate: their rates, shape (rows, radii, azimuths); their sum is of no importance.
        """
        ...

    def gamma(self, layer: int, half: int, rows: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        """Standard gamma numbers of a shape; 0 where it is 0."""
        ...

    def lone(self, layer: int, half: int, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Two uniform and a normal number for every place; shape (places, 3).

        Args:
            layer: number of the layer.
            half: 0 or 1.
            rows: numbers of the showers.
            places: where deposits are alone: row, radius and azimuth of each; shape (places, 3).
        """
        ...


@dataclass(frozen=True)
class DrawnNoise:
    """Noise that is drawn on the way.

    Attributes:
        generator: of all but the gamma numbers, which torch's public functions do not draw from a generator.
        rng: of the gamma numbers.
    """

    generator: torch.Generator
    rng: np.random.Generator

    @classmethod
    def seeded(cls, seed: int) -> DrawnNoise:
        """Noise of a seed."""
        return cls(torch.Generator().manual_seed(seed), np.random.default_rng(seed))

    def of_layers(self, showers: int, layers: int) -> Pair:
        """See `Noise`."""
        uniform = torch.rand(showers, layers + 1, 2, generator=self.generator)
        return uniform, torch.randn(showers, layers + 1, generator=self.generator)

    def swap(self, layer: int, rows: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        del layer
        return torch.rand(len(rows), generator=self.generator) < 0.5

    def uniform(self, layer: int, half: int, rows: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        del layer, half
        return torch.rand(len(rows), generator=self.generator, dtype=torch.float64)

    def place(self, layer: int, half: int, rows: torch.Tensor, count: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        del layer, half, rows
        flat = rate.flatten(1)
        flat = flat / flat.sum(1, keepdim=True)
        many = count > FEW
        placed = torch.empty_like(flat)
        placed[many] = torch.poisson(flat[many] * count[many, None].to(flat.dtype), generator=self.generator)
        few = ~many
        if few.any():
            number = count[few].long()
            chosen = torch.multinomial(flat[few], int(number.max()), replacement=True, generator=self.generator)
            there = (torch.arange(chosen.shape[1]) < number[:, None]).to(flat.dtype)
            placed[few] = torch.zeros_like(flat[few]).scatter_add_(1, chosen, there)
        return placed.view_as(rate)

    def gamma(self, layer: int, half: int, rows: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        del layer, half, rows
        some = shape > 0.0
        drawn = torch.from_numpy(self.rng.standard_gamma(shape[some].numpy(), dtype=np.float32))
        return torch.zeros_like(shape).masked_scatter_(some, drawn.clamp_(min=1e-30))

    def lone(self, layer: int, half: int, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        del layer, half, rows
        uniform = torch.rand(len(places), 2, generator=self.generator)
        return torch.cat([uniform, torch.randn(len(places), 1, generator=self.generator)], 1)


@dataclass(frozen=True)
class NoiseFields:
    """Noise as fields; each number is used once.

    Attributes:
        layer_uniform: shape (showers, layers + 1, 2).
        layer_normal: shape (showers, layers + 1).
        colour: whether odd voxels come first, shape (showers, layers).
        count_uniform: shape (showers, layers, 2).
        races: standard exponential numbers, shape (showers, layers, 2, MOST, radii, azimuths): deposit number d goes
            where the number divided by the rate is smallest.
        poisson: uniform, shape (showers, layers, 2, radii, azimuths).
        energy: uniform, same shape.
        single: two uniform and a normal number, shape (showers, layers, 2, 3, radii, azimuths).
    """

    layer_uniform: torch.Tensor
    layer_normal: torch.Tensor
    colour: torch.Tensor
    count_uniform: torch.Tensor
    races: torch.Tensor
    poisson: torch.Tensor
    energy: torch.Tensor
    single: torch.Tensor

    @classmethod
    def drawn(cls, showers: int, layers: int, radii: int, azimuths: int, generator: torch.Generator) -> NoiseFields:
        """Fields for some showers."""
        field = (showers, layers, 2, radii, azimuths)
        races = torch.empty(showers, layers, 2, MOST, radii, azimuths).exponential_(generator=generator)
        return cls(
            torch.rand(showers, layers + 1, 2, generator=generator),
            torch.randn(showers, layers + 1, generator=generator),
            torch.rand(showers, layers, generator=generator) < 0.5,
            torch.rand(showers, layers, 2, generator=generator, dtype=torch.float64),
            races,
            torch.rand(field, generator=generator, dtype=torch.float64),
            torch.rand(field, generator=generator, dtype=torch.float64),
            torch.cat(
                [
                    torch.rand(showers, layers, 2, 2, radii, azimuths, generator=generator),
                    torch.randn(showers, layers, 2, 1, radii, azimuths, generator=generator),
                ],
                3,
            ),
        )

    def rotated(self, bins: int) -> NoiseFields:
        """The same noise turned about the axis by whole bins; the colours turn too."""
        return replace(
            self,
            colour=self.colour ^ bool(bins % 2),
            races=self.races.roll(bins, -1),
            poisson=self.poisson.roll(bins, -1),
            energy=self.energy.roll(bins, -1),
            single=self.single.roll(bins, -1),
        )

    def of_layers(self, showers: int, layers: int) -> Pair:
        """See `Noise`."""
        del showers, layers
        return self.layer_uniform, self.layer_normal

    def swap(self, layer: int, rows: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        return self.colour[rows, layer]

    def uniform(self, layer: int, half: int, rows: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        return self.count_uniform[rows, layer, half]

    def place(self, layer: int, half: int, rows: torch.Tensor, count: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        share = rate / rate.sum((1, 2), keepdim=True)
        winner = (self.races[rows, layer, half] / share[:, None]).flatten(2).argmin(2)
        there = (torch.arange(MOST) < count[:, None]).to(rate.dtype)
        few = torch.zeros_like(rate).flatten(1).scatter_add_(1, winner, there).view_as(rate)
        mean = (share * count[:, None, None]).double().numpy()
        many = np.ceil(special.pdtrik(self.poisson[rows, layer, half].numpy(), np.maximum(mean, 1e-12)))
        many = torch.from_numpy(np.nan_to_num(np.maximum(many, 0.0))).to(rate.dtype) * (rate > 0.0)
        return torch.where(count[:, None, None] > FEW, many, few)

    def gamma(self, layer: int, half: int, rows: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        value = special.gammaincinv(shape.double().clamp(min=1e-9).numpy(), self.energy[rows, layer, half].numpy())
        drawn = torch.from_numpy(value).to(shape.dtype).clamp(min=1e-30)
        return torch.where(shape > 0.0, drawn, torch.zeros(()))

    def lone(self, layer: int, half: int, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """See `Noise`."""
        row, ring, angle = places.unbind(1)
        return self.single[rows[row], layer, half, :, ring, angle]
