"""Compound Poisson sums of gamma deposits: the noise from which showers are made.

The energy in a voxel is the sum of a Poisson number of deposits, each gamma distributed. The law is infinitely
divisible: a voxel that is cut in two keeps it, with the rate shared between the parts. It therefore belongs to a field,
not to a grid (Levy basis; Rajput and Rosinski, Probab. Theory Relat. Fields 82 (1989) 451, section 2). Conditioned on
the sum over many voxels the number of deposits has weights Poisson(n; rate) Gamma(sum; n shape, mean / shape).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

TERMS = 24
"""Terms of a series over the number of deposits."""

WIDTH = 4.5
"""Standard deviations of the number of deposits that a series covers on either side of its largest term."""

FEW = 24.0
"""Up to about so many deposits of a layer are counted and placed one by one."""


class LoneLaw(NamedTuple):
    """A mixture of log-normal laws for deposits that are alone in their voxel.

    A particle that crosses a plane of silicon leaves an energy with a sharp rise, which a gamma law does not have. It
    is visible where nothing else was deposited; sums of two and more are gamma distributed well enough.

    Attributes:
        weight: logs of the weights, up to a constant; shape (components,).
        centre: means of the log of the energy in MeV.
        width: logs of their standard deviations.
    """

    weight: torch.Tensor
    centre: torch.Tensor
    width: torch.Tensor

    def log_density(self, energy: torch.Tensor) -> torch.Tensor:
        """Log density at energies above 0, in 1 / MeV."""
        x = energy.log()[..., None]
        pull = (x - self.centre) * torch.exp(-self.width)
        weight = torch.log_softmax(self.weight, 0) - self.width - 0.5 * math.log(2.0 * math.pi)
        return torch.logsumexp(weight - 0.5 * pull.square(), -1) - x[..., 0]

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and mean square of the energy, in MeV and MeV^2."""
        weight, variance = torch.softmax(self.weight, 0), torch.exp(2.0 * self.width)
        first = (weight * torch.exp(self.centre + 0.5 * variance)).sum()
        return first, (weight * torch.exp(2.0 * self.centre + 2.0 * variance)).sum()

    def energy_of(self, uniform: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        """Energies in MeV of noise, one uniform and one normal number each."""
        share = torch.softmax(self.weight, 0).cumsum(0)
        chosen = torch.bucketize(uniform.contiguous(), share[:-1].contiguous())
        return torch.exp(self.centre[chosen] + torch.exp(self.width[chosen]) * normal)


class Deposits(NamedTuple):
    """A field of deposits.

    Attributes:
        rate: mean number of deposits.
        mean: mean energy of a deposit in MeV.
        shape: square of the mean over the variance of that energy; the sum of several deposits is taken to be gamma
            distributed with this shape for each.
        lone: probability that a deposit that is alone follows the `LoneLaw`; otherwise it is gamma distributed.
        soft_mean: mean of that gamma law in MeV.
        soft_shape: its shape.
    """

    rate: torch.Tensor
    mean: torch.Tensor
    shape: torch.Tensor
    lone: torch.Tensor
    soft_mean: torch.Tensor
    soft_shape: torch.Tensor


def mixed(
    rate: torch.Tensor, lone: torch.Tensor, soft_mean: torch.Tensor, soft_shape: torch.Tensor, law: LoneLaw
) -> Deposits:
    """Deposits of two kinds, whose mean and shape are those of the mixture; arguments as the fields of `Deposits`."""
    lone_first, lone_second = law.moments()
    first = (1.0 - lone) * soft_mean + lone * lone_first
    second = (1.0 - lone) * soft_mean.square() * (1.0 + 1.0 / soft_shape) + lone * lone_second
    return Deposits(rate, first, 1.0 / (second / first.square() - 1.0).clamp(min=1e-3), lone, soft_mean, soft_shape)


def sum_over_voxels(deposits: Deposits, mask: torch.Tensor | None = None) -> Deposits:
    """The law of the sum over the last two axes, in double precision.

    It is exact where all voxels share mean and shape; otherwise rate, mean and variance agree.

    Args:
        deposits: of the voxels, shape (..., radii, azimuths).
        mask: 1 where a voxel counts, 0 elsewhere; same shape.
    """
    rate, mean, shape, lone, soft_mean, soft_shape = (part.double() for part in deposits)
    if mask is not None:
        rate = rate * mask
    total = rate.sum((-2, -1)).clamp(min=1e-12)
    first = (rate * mean).sum((-2, -1)) / total
    second = (rate * mean.square() * (1.0 + 1.0 / shape)).sum((-2, -1)) / total
    spread = (second / first.square().clamp(min=1e-30) - 1.0).clamp(min=1e-3)
    soft = (rate * (1.0 - lone)).clamp(min=1e-30)
    return Deposits(
        total,
        first.clamp(min=1e-9),
        1.0 / spread,
        ((rate * lone).sum((-2, -1)) / total).clamp(1e-6, 1.0 - 1e-6),
        (soft * soft_mean).sum((-2, -1)) / soft.sum((-2, -1)),
        (soft * soft_shape).sum((-2, -1)) / soft.sum((-2, -1)),
    )


def most_likely_count(energy: torch.Tensor, deposits: Deposits) -> torch.Tensor:
    """About the most probable number of deposits that make up an energy; from the derivative of its weight."""
    rate, mean, shape = deposits[:3]
    return torch.exp((rate.log() + shape * (energy / mean).log()) / (1.0 + shape))


def counts_and_weights(energy: torch.Tensor, deposits: Deposits, law: LoneLaw) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of deposits around the most probable one, and their log weights including the spacing.

    Where few deposits are likely every number is there; otherwise they are spaced and the sum is a Riemann sum.

    Args:
        energy: above 0 MeV, shape (n,).
        deposits: of shape (n,).
        law: of lone deposits.

    Returns:
        Counts and log of Poisson weight times gamma density; both of shape (n, TERMS). Only the second carries
        gradients.
    """
    rate, mean, shape = deposits[:3]
    with torch.no_grad():
        likely = most_likely_count(energy, deposits).clamp(min=1.0)
        spread = torch.sqrt(likely / (1.0 + shape))
        step = (2.0 * WIDTH * spread / TERMS).clamp(min=1.0)
        start = (likely - 0.5 * TERMS * step).clamp(min=1.0)
        start = torch.where(step > 1.0, start, start.round())
        count = start[:, None] + step[:, None] * torch.arange(TERMS, dtype=energy.dtype)
    x, log_scale = energy[:, None], (mean.log() - shape.log())[:, None]
    power = count * shape[:, None]
    weight = (
        count * rate.log()[:, None]
        - torch.lgamma(count + 1.0)
        + (power - 1.0) * x.log()
        - power * log_scale
        - torch.lgamma(power)
        - x * torch.exp(-log_scale)
        - rate[:, None]
        + step.log()[:, None]
    )
    single = count[:, 0] == 1.0
    rate, _, _, lone, mean, shape = (part[single] for part in deposits)
    x, log_scale = energy[single], mean.log() - shape.log()
    soft = (shape - 1.0) * x.log() - shape * log_scale - torch.lgamma(shape) - x * torch.exp(-log_scale)
    either = torch.logaddexp(soft + torch.log1p(-lone), lone.log() + law.log_density(x))
    first = rate.log() - rate + either
    return count, torch.cat([torch.masked_scatter(weight[:, 0], single, first)[:, None], weight[:, 1:]], 1)


def log_density(energy: torch.Tensor, deposits: Deposits, law: LoneLaw) -> torch.Tensor:
    """Log density of energies above 0, log probability of energies that are 0; same shape as ``energy``."""
    some = energy > 0.0
    chosen = Deposits(*(part[some] for part in deposits))
    _, weight = counts_and_weights(energy[some], chosen, law)
    return torch.masked_scatter(-deposits.rate, some, torch.logsumexp(weight, dim=1))


def total_log_density(energy: torch.Tensor, deposits: Deposits, law: LoneLaw) -> torch.Tensor:
    """Sum of `log_density` over all elements, without the scatter of the single terms."""
    some = energy > 0.0
    chosen = Deposits(*(part[some] for part in deposits))
    _, weight = counts_and_weights(energy[some], chosen, law)
    return torch.logsumexp(weight, dim=1).sum() - deposits.rate[~some].sum()


def draw_count(energy: torch.Tensor, deposits: Deposits, law: LoneLaw, uniform: torch.Tensor) -> torch.Tensor:
    """Number of deposits, 1 or more, that make up an energy, by inversion.

    Args:
        energy: above 0 MeV, shape (n,).
        deposits: law of the sum, shape (n,).
        law: of lone deposits.
        uniform: in [0, 1), shape (n,).

    Returns:
        Whole numbers; where many are likely they are rounded from the spaced ones.
    """
    count, weight = counts_and_weights(energy.double(), Deposits(*(part.double() for part in deposits)), law)
    share = torch.softmax(weight, dim=1).cumsum(dim=1)
    place = torch.searchsorted(share, uniform.double()[:, None] * share[:, -1:]).clamp(max=TERMS - 1)
    return count.gather(1, place)[:, 0].round()
