"""Drawing showers from the laws of the calorimeter operator."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from darkop_dist.operators.calorimeter.energies import draw_layers
from darkop_dist.operators.calorimeter.fields import DECAYS, RawDeposits, deposits_of, feature
from darkop_dist.operators.calorimeter.levy import Deposits, LoneLaw, draw_count, sum_over_voxels
from darkop_dist.operators.calorimeter.noise import Noise
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator, conditions


@dataclass(frozen=True)
class DrawnShowers:
    """Showers with the deposits that they were made of; shapes (showers, layers, radii, azimuths).

    Attributes:
        energy: MeV in each voxel.
        count: deposits in each voxel.
        expected: energy that was expected in each voxel before it was drawn, in MeV.
        shape: shape of the gamma law of their energies.
    """

    energy: torch.Tensor
    count: torch.Tensor
    expected: torch.Tensor
    shape: torch.Tensor


def draw_showers(
    operator: CalorimeterOperator, incident: torch.Tensor, photon: torch.Tensor, noise: Noise
) -> DrawnShowers:
    """Draw a shower for every particle.

    Args:
        operator: the trained operator.
        incident: energies in MeV, shape (showers,).
        photon: 1 for photons, 0 for electrons; shape (showers,).
        noise: random numbers.
    """
    with torch.no_grad():
        return _draw(operator, incident, photon, noise)


def _draw(operator: CalorimeterOperator, incident: torch.Tensor, photon: torch.Tensor, noise: Noise) -> DrawnShowers:
    settings = operator.settings
    layers = draw_layers(operator.energies, incident, photon, *noise.of_layers(len(incident), settings.layers))
    given = conditions(incident, photon, layers)
    shape = (len(incident), settings.layers, settings.radii, settings.azimuths)
    drawn = DrawnShowers(*(torch.zeros(shape) for _ in range(4)))
    memory = torch.zeros(len(incident), settings.radii, settings.azimuths, len(DECAYS))
    decays = torch.tensor(DECAYS)
    for layer in range(settings.layers):
        rows = torch.nonzero(layers[:, layer] > 0.0)[:, 0]
        if len(rows):
            parts = _draw_layer(operator, layer, rows, layers[rows, layer], memory[rows], given[rows, layer], noise)
            for target, part in zip((drawn.energy, drawn.count, drawn.expected, drawn.shape), parts, strict=True):
                target[rows, layer] = part
        memory.mul_(decays).add_(feature(drawn.energy[:, layer])[..., None] * (1.0 - decays))
    return drawn


def _draw_layer(
    operator: CalorimeterOperator,
    layer: int,
    rows: torch.Tensor,
    energy: torch.Tensor,
    memory: torch.Tensor,
    given: torch.Tensor,
    noise: Noise,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energy, count, expected energy and shape in the voxels of one layer."""
    network = operator.voxels
    known = torch.where(noise.swap(layer, rows)[:, None, None], operator.checker, 1.0 - operator.checker)
    other = 1.0 - known
    number = torch.full((len(rows),), layer)
    hidden = network.hidden(memory, given, number)
    raw = network.first(hidden, given, number)
    law = network.lone()
    prior = deposits_of(raw, law)
    expected, shape = prior.rate * prior.mean, prior.shape
    count, field = _draw_half(layer, 0, rows, prior, law, energy, noise)
    rest = (field * other).sum((1, 2))
    both = torch.nonzero(rest > 0.0)[:, 0]
    field, count = field * known, count * known
    if len(both):
        mask = other[both]
        known_both = Deposits(*(part[both] for part in prior))
        raw_both = RawDeposits(*(part[both] for part in raw))
        refined = network.refined(hidden[both], raw_both, known_both, field[both], known[both], rest[both])
        later = deposits_of(refined, law)
        later = later._replace(rate=later.rate * mask)
        more, extra = _draw_half(layer, 1, rows[both], later, law, rest[both], noise)
        field[both] += extra
        count[both] += more
        expected = expected.index_copy(0, both, expected[both] * known[both] + later.rate * later.mean)
        shape = shape.index_copy(0, both, torch.where(mask > 0, later.shape, shape[both]))
    return _read_out(field, energy, operator.settings.threshold_mev), count, expected, shape


def _draw_half(
    layer: int, half: int, rows: torch.Tensor, deposits: Deposits, law: LoneLaw, energy: torch.Tensor, noise: Noise
) -> tuple[torch.Tensor, torch.Tensor]:
    number = draw_count(energy, sum_over_voxels(deposits), law, noise.uniform(layer, half, rows))
    count = noise.place(layer, half, rows, number, deposits.rate)
    single = count == 1.0
    shape = torch.where(single, deposits.soft_shape, count * deposits.shape)
    scale = torch.where(single, deposits.soft_mean / deposits.soft_shape, deposits.mean / deposits.shape)
    field = noise.gamma(layer, half, rows, shape) * scale
    places = torch.nonzero(single)
    given = noise.lone(layer, half, rows, places)
    where = tuple(places.unbind(1))
    lone = given[:, 0] < deposits.lone[where]
    field[where] = torch.where(lone, law.energy_of(given[:, 1], given[:, 2]), field[where])
    return count, field * (energy / field.sum((1, 2)))[:, None, None]


def _read_out(field: torch.Tensor, energy: torch.Tensor, threshold: float) -> torch.Tensor:
    """Voxels below threshold emptied, the energy of the layer kept; a layer with nothing above threshold stays."""
    kept = torch.where(field < threshold, torch.zeros(()), field)
    total = kept.sum((1, 2))
    scale = torch.where(total > 0.0, energy / total.clamp(min=1e-30), torch.ones(()))
    return torch.where(total[:, None, None] > 0.0, kept * scale[:, None, None], field)
