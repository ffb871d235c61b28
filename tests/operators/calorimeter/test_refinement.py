import numpy as np
import pytest
import torch

from darkop_dist.errors import InputValueError
from darkop_dist.operators.calorimeter.generation import draw_showers
from darkop_dist.operators.calorimeter.noise import DrawnNoise
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator
from darkop_dist.operators.calorimeter.refinement import azimuthal_shares, radial_shares, refine

Particles = tuple[torch.Tensor, torch.Tensor]


def test_finer_showers_sum_to_the_coarse_ones(operator: CalorimeterOperator, particles: Particles) -> None:
    drawn = draw_showers(operator, *particles, DrawnNoise.seeded(5))
    fine = refine(drawn, azimuths=3, radii=2, threshold_mev=5e-4, rng=np.random.default_rng(1))
    assert fine.shape == (60, 6, 24, 8)
    coarse = fine.reshape(60, 6, 8, 3, 4, 2).sum((3, 5))
    assert coarse == pytest.approx(drawn.energy.transpose(2, 3).numpy(), rel=1e-4, abs=1e-6)
    assert (fine > 0).sum() > (drawn.energy > 0).sum()


def test_one_part_changes_nothing(operator: CalorimeterOperator, particles: Particles) -> None:
    drawn = draw_showers(operator, *particles, DrawnNoise.seeded(5))
    same = refine(drawn, azimuths=1, radii=1, threshold_mev=0.0, rng=np.random.default_rng(1))
    assert same == pytest.approx(drawn.energy.transpose(2, 3).numpy(), rel=1e-6)


def test_a_power_law_around_the_axis_is_shared_as_it_is() -> None:
    """The odds of the cumulative rate are a power of the radius: the interpolation is exact."""
    edge = np.arange(19) / 18.0
    with np.errstate(divide="ignore"):
        cumulative = 1.0 / (1.0 + 0.01 * edge**-1.5)
    fine = np.diff(cumulative)
    coarse = fine.reshape(9, 2).sum(1)
    coarse[-1] += 1.0 - cumulative[-1]
    shares = radial_shares(coarse[None], 2)[0]
    expected = fine.reshape(9, 2) / fine.reshape(9, 2).sum(1, keepdims=True)
    assert shares[:-1] == pytest.approx(expected[:-1], abs=2e-3)
    assert shares.sum(1) == pytest.approx(np.ones(9))


def test_in_azimuth_the_rate_leans_to_the_larger_neighbour() -> None:
    shares = azimuthal_shares(np.array([[1.0, 2.0, 3.0, 2.0]]), np.array([1]), 3)
    assert shares[0, 0] < shares[0, 1] < shares[0, 2]
    assert shares.sum() == pytest.approx(1.0)


def test_no_parts_are_refused(operator: CalorimeterOperator, particles: Particles) -> None:
    drawn = draw_showers(operator, *particles, DrawnNoise.seeded(5))
    with pytest.raises(InputValueError, match="0 x 3 parts"):
        refine(drawn, azimuths=3, radii=0, threshold_mev=0.0, rng=np.random.default_rng(1))
