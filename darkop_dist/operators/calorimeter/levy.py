"""Compound Poisson sums of gamma deposits: the noise from which showers are made.

The energy in a voxel is the sum of a Poisson number of deposits, each gamma distributed. The law is infinitely
divisible: a voxel that is cut in two keeps it, with the rate shared between the parts. It therefore belongs to a field,
not to a grid (Levy basis; Rajput and Rosinski, Probab. Theory Relat. Fields 82 (1989) 451, section 2). Conditioned on
the sum over many voxels the number of deposits has weights Poisson(n; rate) Gamma(sum; n shape, mean / shape).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

TERMS = 24
"""Terms of a series over the number of deposits."""

WIDTH = 4.5
"""Standard deviations of the number of deposits that a series covers on either side of its largest term."""

FEW = 24.0
"""Up to about so many deposits of a layer are counted and placed one by one."""


class Deposits(NamedTuple):
    """A field of deposits.

    Attributes:
        rate: mean number of deposits.
        mean: mean energy of a deposit in MeV.
        shape: shape of its gamma law.
    """

    rate: torch.Tensor
    mean: torch.Tensor
    shape: torch.Tensor


def sum_over_voxels(deposits: Deposits, mask: torch.Tensor | None = None) -> Deposits:
    """The law of the sum over the last two axes, in double precision.

    It is exact where all voxels share mean and shape; otherwise rate, mean and variance agree.

    Args:
        deposits: of the voxels, shape (..., radii, azimuths).
        mask: 1 where a voxel counts, 0 elsewhere; same shape.
    """
    rate, mean, shape = (part.double() for part in deposits)
    if mask is not None:
        rate = rate * mask
    total = rate.sum((-2, -1))
    first = (rate * mean).sum((-2, -1)) / total.clamp(min=1e-30)
    second = (rate * mean.square() * (1.0 + 1.0 / shape)).sum((-2, -1)) / total.clamp(min=1e-30)
    spread = (second / first.square().clamp(min=1e-30) - 1.0).clamp(min=1e-3)
    return Deposits(total.clamp(min=1e-12), first.clamp(min=1e-9), 1.0 / spread)


def most_likely_count(energy: torch.Tensor, deposits: Deposits) -> torch.Tensor:
    """About the most probable number of deposits that make up an energy; from the derivative of its weight."""
    rate, mean, shape = deposits
    return torch.exp((rate.log() + shape * (energy / mean).log()) / (1.0 + shape))


def counts_and_weights(energy: torch.Tensor, deposits: Deposits) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of deposits around the most probable one, and their log weights including the spacing.

    Where few deposits are likely every number is there; otherwise they are spaced and the sum is a Riemann sum.

    Args:
        energy: above 0 MeV, shape (n,).
        deposits: of shape (n,).

    Returns:
        Counts and log of Poisson weight times gamma density; both of shape (n, TERMS). Only the second carries
        gradients.
    """
    rate, mean, shape = deposits
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
    return count, weight


def log_density(energy: torch.Tensor, deposits: Deposits) -> torch.Tensor:
    """Log density of energies above 0, log probability of energies that are 0; same shape as ``energy``."""
    some = energy > 0.0
    chosen = Deposits(*(part[some] for part in deposits))
    _, weight = counts_and_weights(energy[some], chosen)
    return torch.masked_scatter(-deposits.rate, some, torch.logsumexp(weight, dim=1))


def total_log_density(energy: torch.Tensor, deposits: Deposits) -> torch.Tensor:
    """Sum of `log_density` over all elements, without the scatter of the single terms."""
    some = energy > 0.0
    chosen = Deposits(*(part[some] for part in deposits))
    _, weight = counts_and_weights(energy[some], chosen)
    return torch.logsumexp(weight, dim=1).sum() - deposits.rate[~some].sum()


def draw_count(energy: torch.Tensor, deposits: Deposits, uniform: torch.Tensor) -> torch.Tensor:
    """Number of deposits, 1 or more, that make up an energy, by inversion.

    Args:
        energy: above 0 MeV, shape (n,).
        deposits: law of the sum, shape (n,).
        uniform: in [0, 1), shape (n,).

    Returns:
        Whole numbers; where many are likely they are rounded from the spaced ones.
    """
    count, weight = counts_and_weights(energy.double(), Deposits(*(part.double() for part in deposits)))
    share = torch.softmax(weight, dim=1).cumsum(dim=1)
    place = torch.searchsorted(share, uniform.double()[:, None] * share[:, -1:]).clamp(max=TERMS - 1)
    return count.gather(1, place)[:, 0].round()
