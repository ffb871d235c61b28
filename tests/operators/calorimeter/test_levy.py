from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, special

from darkop_dist.operators.calorimeter.levy import (
    Deposits,
    LoneLaw,
    draw_count,
    log_density,
    mixed,
    sum_over_voxels,
    total_log_density,
)

LONE = LoneLaw(*(torch.tensor(values, dtype=torch.float64) for values in ([0.0, -1.0], [-2.5, -1.0], [-1.5, -0.7])))


def law(rate: float, mean: float, shape: float, count: int = 1, lone: float = 0.0) -> Deposits:
    values = (rate, lone, mean, shape)
    return mixed(*(torch.full((count,), value, dtype=torch.float64) for value in values), LONE)


@pytest.mark.parametrize("rate", [0.01, 1.0, 30.0, 400.0])
def test_exponential_deposits_have_the_density_of_the_closed_form(rate: float) -> None:
    """For shape 1 the sum over n is a Bessel function: sqrt(rate / (x m)) exp(-rate - x / m) I1(2 sqrt(rate x / m))."""
    mean = 0.3
    x = np.geomspace(0.2, 3.0, 9) * max(rate, 1.0) * mean
    root = 2.0 * np.sqrt(rate * x / mean)
    expected = 0.5 * np.log(rate / (x * mean)) - rate - x / mean + np.log(special.ive(1, root)) + root
    found = log_density(torch.from_numpy(x), law(rate, mean, 1.0, len(x)), LONE)
    assert found.numpy() == pytest.approx(expected, abs=3e-4)  # the series ends at 4.5 standard deviations


@pytest.mark.parametrize(
    ("rate", "shape", "lone"), [(0.5, 1.2, 0.0), (0.5, 1.2, 0.7), (3.0, 0.6, 0.2), (8.0, 4.0, 0.0)]
)
def test_the_density_and_the_empty_voxel_add_up_to_one(rate: float, shape: float, lone: float) -> None:
    def density(x: float) -> float:
        return float(log_density(torch.tensor([x], dtype=torch.float64), law(rate, 0.3, shape, lone=lone), LONE).exp())

    inside, _ = integrate.quad(density, 0.0, 40.0, limit=400, points=[0.01, 0.1, 1.0, 5.0])
    empty = float(log_density(torch.zeros(1, dtype=torch.float64), law(rate, 0.3, shape, lone=lone), LONE).exp())
    assert empty == pytest.approx(np.exp(-rate))
    assert inside + empty == pytest.approx(1.0, abs=1e-3)


def test_the_sum_of_voxels_with_one_law_of_deposits_is_exact() -> None:
    rate = torch.tensor([[0.3, 1.0], [0.2, 2.5]], dtype=torch.float64)
    one = law(1.0, 0.3, 1.4, lone=0.5)
    found = sum_over_voxels(Deposits(rate, *(part.expand(2, 2) for part in one[1:])))
    assert [float(part) for part in found] == pytest.approx([4.0, *(float(part) for part in one[1:])], rel=1e-5)


def test_the_sum_of_voxels_has_their_mean_and_variance() -> None:
    rate = torch.tensor([[0.3, 1.0], [0.2, 2.5]], dtype=torch.float64)
    mean, shape = rate * 0.1 + 0.2, 1.0 + rate
    voxels = mixed(rate, torch.full((2, 2), 0.3), mean, shape, LONE)
    found = sum_over_voxels(voxels)
    second = voxels.rate * voxels.mean.square() * (1.0 + 1.0 / voxels.shape)
    assert float(found.rate * found.mean) == pytest.approx(float((voxels.rate * voxels.mean).sum()))
    assert float(found.rate * found.mean.square() * (1.0 + 1.0 / found.shape)) == pytest.approx(float(second.sum()))


def test_masked_voxels_do_not_count() -> None:
    voxels = Deposits(*(part.expand(2, 2) for part in law(1.0, 0.3, 1.4)))
    found = sum_over_voxels(voxels, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert float(found.rate) == pytest.approx(2.0)


def test_moments_of_two_kinds_of_deposits_are_those_of_what_is_drawn() -> None:
    generator = torch.Generator().manual_seed(1)
    uniform = torch.rand(200_000, generator=generator, dtype=torch.float64)
    drawn = LONE.energy_of(uniform, torch.randn(200_000, generator=generator, dtype=torch.float64))
    soft = torch.from_numpy(np.random.default_rng(2).gamma(1.2, 0.3 / 1.2, 200_000))
    both = torch.where(torch.rand(200_000, generator=generator) < 0.4, drawn, soft)
    found = law(1.0, 0.3, 1.2, lone=0.4)
    assert float(found.mean) == pytest.approx(float(both.mean()), rel=0.02)
    assert float(found.shape) == pytest.approx(float(both.mean() ** 2 / both.var()), rel=0.05)


def test_the_total_is_the_sum_of_the_single_terms() -> None:
    energy = torch.tensor([0.0, 0.1, 2.0, 0.0, 7.0], dtype=torch.float64)
    deposits = law(1.5, 0.3, 1.1, 5)
    assert float(total_log_density(energy, deposits, LONE)) == pytest.approx(
        float(log_density(energy, deposits, LONE).sum())
    )


def test_counts_follow_their_weights_given_the_sum() -> None:
    """Against simulation: deposits are drawn freely and the sums near 1 MeV are kept."""
    rng, trials = np.random.default_rng(2), 400_000
    number = rng.poisson(2.0, trials)
    total = 0.3 / 1.2 * rng.standard_gamma(np.maximum(number * 1.2, 1e-9))
    near = number[(np.abs(total - 1.0) < 0.02) & (number > 0)]
    drawn = draw_count(torch.ones(20_000), law(2.0, 0.3, 1.2, 20_000), LONE, torch.rand(20_000, dtype=torch.float64))
    assert float(drawn.mean()) == pytest.approx(near.mean(), abs=5 * near.std() * (len(near) ** -0.5 + 20_000**-0.5))
    assert float(drawn.min()) >= 1.0


def test_many_deposits_are_drawn_with_the_right_spread() -> None:
    drawn = draw_count(torch.full((20_000,), 300.0), law(1000.0, 0.3, 1.0, 20_000), LONE, torch.rand(20_000))
    assert float(drawn.mean()) == pytest.approx(1000.0, rel=0.01)
    assert float(drawn.std()) == pytest.approx(np.sqrt(1000.0 / 2.0), rel=0.1)  # 1 / variance = (1 + shape) / n


def test_lone_deposits_are_drawn_from_their_density() -> None:
    drawn = LONE.energy_of(torch.rand(40_000, dtype=torch.float64), torch.randn(40_000, dtype=torch.float64)).numpy()
    edges = np.geomspace(0.02, 2.0, 15)

    def density(x: float) -> float:
        return float(LONE.log_density(torch.tensor([x], dtype=torch.float64)).exp())

    expected = np.array([integrate.quad(density, low, high)[0] for low, high in pairwise(edges)]) * len(drawn)
    found, _ = np.histogram(drawn, edges)
    assert (np.abs(found - expected) < 5.0 * np.sqrt(expected + 1.0)).all()
