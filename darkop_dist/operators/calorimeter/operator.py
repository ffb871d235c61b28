"""The calorimeter operator: from a particle and its energy to the energy in every voxel."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from darkop_dist.operators.calorimeter.energies import EnergyNetwork, energies_loss
from darkop_dist.operators.calorimeter.fields import (
    RawDeposits,
    VoxelNetwork,
    checkerboard,
    deposits_of,
    feature,
    memory_kernel,
)
from darkop_dist.operators.calorimeter.levy import log_density, sum_over_voxels, total_log_density


class CalorimeterSettings(BaseModel):
    """Settings of the operator.

    Attributes:
        layers: layers in depth.
        azimuths: bins in azimuth of the showers it is trained on.
        radii: bins in radius of the showers it is trained on.
        radius_mm: the outer radius.
        width: channels of the hidden fields.
        modes: Fourier modes in azimuth, the mean included.
        blocks: spectral layers.
        hidden: channels of the network that refines the second half of a layer.
        energies_hidden: nodes per layer of the network of the layer energies.
        threshold_mev: voxels with less are empty, in training showers and in generated ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int = Field(default=45, gt=1)
    azimuths: int = Field(default=16, gt=2)
    radii: int = Field(default=9, gt=1)
    radius_mm: float = 41.85
    width: int = Field(default=12, gt=0)
    modes: int = Field(default=4, gt=0)
    blocks: int = Field(default=2, gt=0)
    hidden: int = Field(default=12, gt=0)
    energies_hidden: int = Field(default=128, gt=0)
    threshold_mev: float = Field(default=5e-4, ge=0)


class CalorimeterOperator(nn.Module):
    """A stochastic map from an incident particle to a shower, trained with the log score.

    Three steps, each given the ones before: total visible energy and layer energies (`EnergyNetwork`); deposits in one
    colour of a checkerboard of the layer's voxels; deposits in the other colour. A layer sees the layers before it
    through memories (`fields`). Which colour comes first is drawn for every layer.
    """

    def __init__(self, settings: CalorimeterSettings) -> None:
        super().__init__()
        self.settings = settings
        one = settings
        self.energies = EnergyNetwork(one.layers, one.energies_hidden)
        self.voxels = VoxelNetwork(one.layers, one.radii, one.azimuths, one.width, one.modes, one.blocks, one.hidden)
        self.register_buffer("kernel", memory_kernel(one.layers), persistent=False)
        self.register_buffer("checker", checkerboard(one.radii, one.azimuths), persistent=False)

    def energies_loss(self, incident: torch.Tensor, photon: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        """Mean negative log density of the layer energies, nats per shower; arguments as for `voxels_loss`."""
        return energies_loss(self.energies, incident, photon, field.sum((2, 3)))

    def voxels_loss(
        self, incident: torch.Tensor, photon: torch.Tensor, field: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Mean negative log density of the voxels given the layer energies, in nats per shower.

        The log score is a proper scoring rule (Gneiting and Raftery, J. Am. Stat. Assoc. 102 (2007) 359, section 4). It
        is taken of the voxels of the first colour and the sum of the others, then of the others with these known.
        Densities are not divided by that of the known sum, whose law is approximate: a training can exploit that.

        Args:
            incident: MeV, shape (showers,).
            photon: 1 for photons, 0 for electrons, shape (showers,).
            field: energies in MeV, shape (showers, layers, radii, azimuths).
            generator: draws which colour comes first.
        """
        layers = field.sum((2, 3))
        shower, layer = torch.nonzero(layers > 0.0, as_tuple=True)
        past = torch.einsum("jlk,bkrp->blrpj", self.kernel, feature(field))[shower, layer]
        condition = conditions(incident, photon, layers)[shower, layer]
        energy = field[shower, layer]
        swap = torch.rand(len(shower), generator=generator) < 0.5
        return -self._log_score(energy, past, condition, layer, swap) / len(incident)

    def _log_score(
        self,
        energy: torch.Tensor,
        past: torch.Tensor,
        condition: torch.Tensor,
        layer: torch.Tensor,
        swap: torch.Tensor,
    ) -> torch.Tensor:
        known = torch.where(swap[:, None, None], self.checker, 1.0 - self.checker)
        other = 1.0 - known
        hidden = self.voxels.hidden(past, condition, layer)
        raw = self.voxels.first(hidden, condition, layer)
        rest = (energy * other).sum((1, 2))
        some = rest > 0.0
        law = self.voxels.lone()
        prior = deposits_of(raw, law)
        masked = prior._replace(rate=prior.rate * known)
        rest_sum = log_density(rest.double(), sum_over_voxels(prior, other), law)
        score = total_log_density(energy * known, masked, law) + rest_sum.sum()
        refined = self.voxels.refined(hidden, raw, prior, energy * known, known, rest)
        later = deposits_of(RawDeposits(*(part[some] for part in refined)), law)
        masked = later._replace(rate=later.rate * other[some])
        return score + total_log_density((energy * other)[some], masked, law)


def conditions(incident: torch.Tensor, photon: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
    """What the voxels of each layer are conditioned on, beside the layers before; (showers, layers, CONDITIONS).

    Args:
        incident: MeV, shape (showers,).
        photon: 1 for photons, 0 for electrons.
        layers: layer energies in MeV, shape (showers, layers).
    """
    total = layers.sum(1, keepdim=True)
    left = torch.flip(torch.cumsum(torch.flip(layers, [1]), 1), [1])
    before = torch.cat([torch.zeros_like(total), layers[:, :-1]], 1)
    log_incident = torch.log(incident / 1e4)[:, None].expand_as(layers)
    parts = [
        log_incident,
        (10.0 * torch.log(total / incident[:, None] / 0.0318)).expand_as(layers),
        _log(layers),
        _log(left) - _log(total),
        _log(before),
        _log(layers) - _log(before),
        _log(layers) - log_incident,
        photon[:, None].expand_as(layers),
    ]
    return torch.stack(parts, -1)


def _log(energy: torch.Tensor) -> torch.Tensor:
    return torch.log(energy + 0.02)
