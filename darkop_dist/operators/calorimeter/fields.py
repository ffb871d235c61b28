"""The network of the voxels: a neural operator that runs in depth and knows no angle.

Going from layer to layer it carries memories of the layers passed, running means of log(1 + v / unit) with different
decay lengths (a spectral representation in depth, of real decay rates instead of frequencies, which is causal). Within
a layer spectral layers act: Fourier in azimuth, a matrix in radius. Weights depend on radius and depth, not on azimuth,
and every operation commutes with rotations by whole bins, so a rotated past gives a rotated law.

Arrays of a layer have shape (showers, radii, azimuths, channels).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import linear

from darkop_dist.operators.calorimeter.levy import Deposits, LoneLaw, mixed

UNIT_MEV = 0.2
"""Energy from which the feature log(1 + v / unit) turns from linear to logarithmic."""

DECAYS = (0.0, 0.6, 0.85, 0.95)
"""What is left of a memory after one layer; 0 is the last layer itself."""

CONDITIONS = 8
KNOWN = 13
OUTPUTS = 4
LOG_RATE = (-16.0, 5.5)
LOG_MEAN = (-5.2, 1.3)
LOG_SHAPE = (-1.2, 3.0)
VARIATION = (1.5, 1.0)
"""How far the logs of mean and shape of a voxel may be from those of its layer."""

START = (-1.3, 0.2)
"""Logs of mean (MeV) and shape of a deposit before training."""

LONE_MEV = (0.003, 0.03, 0.075, 0.1, 0.14, 0.25)
LONE_WIDTH = (0.8, 0.6, 0.2, 0.2, 0.3, 0.5)
LONE_LOGIT = -1.0
"""Law of lone deposits before training: energies, relative widths, and the logit of its probability."""


def feature(energy: torch.Tensor) -> torch.Tensor:
    """Energies in MeV as the network sees them."""
    return torch.log1p(energy / UNIT_MEV)


def memory_kernel(layers: int) -> torch.Tensor:
    """Weight of a former layer in the memories of a layer; shape (memories, layers, former layers)."""
    number = torch.arange(layers)
    lag = (number[:, None] - number[None, :] - 1).float()
    rows = []
    for decay in DECAYS:
        weight = (1.0 - decay) * decay ** lag.clamp(min=0.0) if decay else (lag == 0.0).float()
        rows.append(torch.where(lag >= 0.0, weight, torch.zeros(())))
    return torch.stack(rows)


class RawDeposits(NamedTuple):
    """Unbounded parameters of the deposits of layers.

    Attributes:
        voxel: log rate, variations of log mean and log shape, logit of ``lone``; (showers, radii, azimuths, OUTPUTS).
        layer: log mean (MeV) and log shape around which those of the voxels vary; (showers, 2).
    """

    voxel: torch.Tensor
    layer: torch.Tensor


class SpectralLayer(nn.Module):
    """A linear map of a field on rings: complex weights per Fourier mode of the azimuth, a matrix between radii."""

    def __init__(self, width: int, modes: int, radii: int, azimuths: int) -> None:
        super().__init__()
        number = np.arange(modes)
        angle = 2.0 * np.pi * (np.outer(number, np.arange(azimuths)) % azimuths) / azimuths
        norm = np.where(number == 0, 1.0, np.sqrt(2.0))[:, None]
        self.register_buffer("cosine", torch.tensor(norm * np.cos(angle), dtype=torch.float32), persistent=False)
        self.register_buffer("sine", torch.tensor(norm * np.sin(angle), dtype=torch.float32), persistent=False)
        self.modes = modes
        self.even = nn.Parameter(torch.randn(modes, width, width) / math.sqrt(2 * width))
        self.odd = nn.Parameter(torch.randn(modes, width, width) / math.sqrt(2 * width))
        self.radial = nn.Parameter(torch.eye(radii).repeat(modes, 1, 1) + 0.1 * torch.randn(modes, radii, radii))

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """Shape (showers, radii, azimuths, width) in and out."""
        count, radii, azimuths, width = field.shape
        basis = torch.stack([self.cosine, self.sine], 1).reshape(-1, azimuths) / azimuths
        waves = torch.matmul(basis, field)  # showers, radii, 2 modes, width
        waves = waves.reshape(count, radii, self.modes, 2, width).permute(2, 1, 0, 3, 4).reshape(self.modes, radii, -1)
        waves = torch.bmm(self.radial, waves).reshape(self.modes, -1, 2 * width)
        weights = torch.cat([torch.cat([self.even, -self.odd], 2), torch.cat([self.odd, self.even], 2)], 1)
        waves = torch.bmm(waves, weights).reshape(self.modes, radii, count, 2, width)
        waves = waves.permute(2, 1, 0, 3, 4).reshape(count, radii, 2 * self.modes, width)
        return torch.matmul(basis.T * azimuths, waves)


class VoxelNetwork(nn.Module):
    """Laws of the deposits in the voxels of a layer, given the layers before it and its energy."""

    def __init__(
        self, layers: int, radii: int, azimuths: int, width: int, modes: int, blocks: int, hidden: int
    ) -> None:
        super().__init__()
        self.lift = nn.Linear(len(DECAYS), width)
        self.cond = nn.Sequential(nn.Linear(CONDITIONS, 64), nn.ReLU(), nn.Linear(64, width))
        self.layer = nn.Parameter(0.1 * torch.randn(layers, width))
        self.ring = nn.Parameter(0.5 * torch.randn(radii, width))
        self.offset = nn.Parameter(torch.zeros(layers, radii, OUTPUTS))
        self.spec = nn.ModuleList(SpectralLayer(width, modes, radii, azimuths) for _ in range(blocks))
        self.lin = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.condb = nn.ModuleList(nn.Linear(64, width) for _ in range(blocks))
        self.head = nn.Linear(width, OUTPUTS)
        self.common = nn.Linear(width + 64, 2)
        self.second = nn.Linear(width + KNOWN, hidden)
        self.second2 = nn.Linear(hidden, OUTPUTS)
        self.second_common = nn.Linear(hidden, 2)
        with torch.no_grad():
            self.common.bias.copy_(torch.tensor(START))
            self.head.weight[1:] = 0.0
            self.head.bias[1:] = 0.0
            self.head.bias[3] = LONE_LOGIT
        self.lone_weight = nn.Parameter(torch.zeros(len(LONE_MEV)))
        self.lone_centre = nn.Parameter(torch.tensor(LONE_MEV).log())
        self.lone_width = nn.Parameter(torch.tensor(LONE_WIDTH).log())
        nn.init.zeros_(self.second_common.weight)
        nn.init.zeros_(self.second_common.bias)
        nn.init.zeros_(self.second2.weight)
        nn.init.zeros_(self.second2.bias)

    def hidden(self, memories: torch.Tensor, condition: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
        """Hidden field of layers.

        Args:
            memories: shape (showers, radii, azimuths, memories).
            condition: shape (showers, CONDITIONS).
            layer: number of the layer, shape (showers,).
        """
        given = torch.relu(self.cond[0](condition))
        start = self.cond[2](given) + self.layer[layer]
        field = self.lift(memories).add_((start[:, None, :] + self.ring)[:, :, None, :]).relu_()
        for spectral, pointwise, conditional in zip(self.spec, self.lin, self.condb, strict=True):
            change = pointwise(field).add_(conditional(given)[:, None, None, :]).add_(spectral(field))
            field = field + change.relu_()
        return field

    def first(self, field: torch.Tensor, condition: torch.Tensor, layer: torch.Tensor) -> RawDeposits:
        """Parameters of the deposits in all voxels, before any voxel of the layer is known; see `deposits_of`."""
        local = self.head(field).add_(self.offset[layer][:, :, None, :])
        given = torch.relu(self.cond[0](condition))
        return RawDeposits(local, self.common(torch.cat([field.mean((1, 2)), given], -1)))

    def lone(self) -> LoneLaw:
        """Law of deposits that are alone in their voxel."""
        return LoneLaw(self.lone_weight, self.lone_centre, self.lone_width.clamp(-3.0, 0.0))

    def refined(
        self,
        field: torch.Tensor,
        raw: RawDeposits,
        prior: Deposits,
        energy: torch.Tensor,
        known: torch.Tensor,
        rest: torch.Tensor,
    ) -> RawDeposits:
        """Parameters in the voxels that are not known yet, given their neighbours; see `deposits_of`.

        Args:
            field: of `hidden`.
            raw: of `first`.
            prior: its deposits.
            energy: energies of the known voxels in MeV, 0 elsewhere; shape (showers, radii, azimuths).
            known: 1 where a voxel is known, 0 elsewhere.
            rest: energy of the voxels that are not known, in MeV; shape (showers,).
        """
        expected = prior.rate * prior.mean
        found = feature(energy)
        surprise = found - feature(expected) * known
        near = [moved for part in (found, surprise) for moved in _neighbours(part)]
        local = torch.stack([*near, feature(expected)], -1)
        unknown = (expected * (1.0 - known)).sum((1, 2))
        whole = rest + energy.sum((1, 2))
        sums = torch.stack([feature(rest), feature(unknown), feature(whole), rest / whole], -1)
        of_field, of_local, of_sums = self.second.weight.split([field.shape[-1], local.shape[-1], sums.shape[-1]], 1)
        deep = linear(field, of_field).add_(linear(local, of_local))
        deep = deep.add_(linear(sums, of_sums, self.second.bias)[:, None, None]).relu_()
        return RawDeposits(raw.voxel + self.second2(deep), raw.layer + self.second_common(deep.mean((1, 2))))


def _neighbours(field: torch.Tensor) -> list[torch.Tensor]:
    zero = torch.zeros_like(field[:, :1])
    outer, inner = torch.cat([zero, field[:, :-1]], 1), torch.cat([field[:, 1:], zero], 1)
    return [torch.roll(field, 1, 2), torch.roll(field, -1, 2), outer, inner]


def deposits_of(raw: RawDeposits, law: LoneLaw) -> Deposits:
    """Laws of deposits from unbounded parameters, within bounds beyond which nothing physical lies.

    Args:
        raw: parameters.
        law: of lone deposits.
    """
    rate, mean, shape, lone = raw.voxel.unbind(-1)
    layer_mean, layer_shape = (part[:, None, None] for part in raw.layer.unbind(-1))
    return mixed(
        torch.exp(rate.clamp(*LOG_RATE)),
        torch.sigmoid(lone.clamp(-5.0, 5.0)),
        torch.exp(layer_mean.clamp(*LOG_MEAN) + VARIATION[0] * torch.tanh(mean)),
        torch.exp(layer_shape.clamp(*LOG_SHAPE) + VARIATION[1] * torch.tanh(shape)),
        law,
    )


def checkerboard(radii: int, azimuths: int) -> torch.Tensor:
    """1 on the voxels of odd colour, 0 on the others; neighbours have different colours."""
    return ((torch.arange(radii)[:, None] + torch.arange(azimuths)[None, :]) % 2).float()
