import pytest
import torch

from darkop_dist.operators.calorimeter.generation import draw_showers
from darkop_dist.operators.calorimeter.noise import DrawnNoise, NoiseFields
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator

Particles = tuple[torch.Tensor, torch.Tensor]


def fields(showers: int) -> NoiseFields:
    return NoiseFields.drawn(showers, 6, 4, 8, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("turn", [1, 2, 5])
def test_rotated_noise_gives_the_rotated_shower(operator: CalorimeterOperator, particles: Particles, turn: int) -> None:
    noise = fields(60)
    straight = draw_showers(operator, *particles, noise)
    turned = draw_showers(operator, *particles, noise.rotated(turn))
    assert (straight.energy > 0.0).float().mean() > 0.05
    assert torch.allclose(turned.energy, straight.energy.roll(turn, 3), rtol=1e-3, atol=1e-4)
    assert torch.equal(turned.count, straight.count.roll(turn, 3))


def test_the_same_noise_gives_the_same_shower(operator: CalorimeterOperator, particles: Particles) -> None:
    first, second = (draw_showers(operator, *particles, DrawnNoise.seeded(5)).energy for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, draw_showers(operator, *particles, DrawnNoise.seeded(6)).energy)


def test_layer_energies_are_those_of_the_first_step(operator: CalorimeterOperator, particles: Particles) -> None:
    noise = fields(60)
    drawn = draw_showers(operator, *particles, noise)
    with torch.no_grad():
        from darkop_dist.operators.calorimeter.energies import draw_layers

        layers = draw_layers(operator.energies, *particles, *noise.of_layers(60, 6))
    assert torch.allclose(drawn.energy.sum((2, 3)), layers, rtol=1e-4)


def test_no_voxel_lies_between_zero_and_the_threshold(operator: CalorimeterOperator, particles: Particles) -> None:
    energy = draw_showers(operator, *particles, DrawnNoise.seeded(5)).energy
    layers = energy.sum((2, 3))
    voxels = energy[layers > 0.01]
    assert ((voxels == 0.0) | (voxels >= 5e-4)).all()


def test_both_kinds_of_noise_have_one_law(operator: CalorimeterOperator) -> None:
    """Mean energies of voxels and of deposits, 3000 showers each; 5 standard errors of the difference."""
    incident, photon = torch.full((3000,), 1e4), torch.zeros(3000)
    given = draw_showers(operator, incident, photon, fields(3000))
    drawn = draw_showers(operator, incident, photon, DrawnNoise.seeded(8))
    for one, two in ((given.energy, drawn.energy), (given.count, drawn.count)):
        error = torch.sqrt(one.var(0) + two.var(0)).sum(2) / 3000**0.5
        assert ((one.mean(0) - two.mean(0)).sum(2).abs() < 5.0 * error + 1e-6).all()
