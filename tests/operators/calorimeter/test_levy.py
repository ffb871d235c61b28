import numpy as np
import pytest
import torch
from scipy import integrate, special

from darkop_dist.operators.calorimeter.levy import (
    Deposits,
    draw_count,
    log_density,
    sum_over_voxels,
    total_log_density,
)


def law(rate: float, mean: float, shape: float, count: int = 1) -> Deposits:
    return Deposits(*(torch.full((count,), value, dtype=torch.float64) for value in (rate, mean, shape)))


@pytest.mark.parametrize("rate", [0.01, 1.0, 30.0, 400.0])
def test_exponential_deposits_have_the_density_of_the_closed_form(rate: float) -> None:
    """For shape 1 the sum over n is a Bessel function: sqrt(rate / (x m)) exp(-rate - x / m) I1(2 sqrt(rate x / m))."""
    mean = 0.3
    x = np.geomspace(0.2, 3.0, 9) * max(rate, 1.0) * mean
    root = 2.0 * np.sqrt(rate * x / mean)
    expected = 0.5 * np.log(rate / (x * mean)) - rate - x / mean + np.log(special.ive(1, root)) + root
    found = log_density(torch.from_numpy(x), law(rate, mean, 1.0, len(x)))
    assert found.numpy() == pytest.approx(expected, abs=3e-4)  # the series ends at 4.5 standard deviations


@pytest.mark.parametrize(("rate", "shape"), [(0.5, 1.2), (3.0, 0.6), (8.0, 4.0)])
def test_the_density_and_the_empty_voxel_add_up_to_one(rate: float, shape: float) -> None:
    def density(x: float) -> float:
        return float(log_density(torch.tensor([x], dtype=torch.float64), law(rate, 0.3, shape)).exp())

    inside, _ = integrate.quad(density, 0.0, 40.0, limit=400, points=[0.01, 0.1, 1.0, 5.0])
    empty = float(log_density(torch.zeros(1, dtype=torch.float64), law(rate, 0.3, shape)).exp())
    assert empty == pytest.approx(np.exp(-rate))
    assert inside + empty == pytest.approx(1.0, abs=1e-3)


def test_the_sum_of_voxels_with_one_law_of_deposits_is_exact() -> None:
    rate = torch.tensor([[0.3, 1.0], [0.2, 2.5]])
    found = sum_over_voxels(Deposits(rate, torch.full((2, 2), 0.3), torch.full((2, 2), 1.4)))
    assert [float(part) for part in found] == pytest.approx([4.0, 0.3, 1.4], rel=1e-5)


def test_masked_voxels_do_not_count() -> None:
    deposits = Deposits(torch.ones(2, 2), torch.full((2, 2), 0.3), torch.ones(2, 2))
    found = sum_over_voxels(deposits, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert float(found.rate) == pytest.approx(2.0)


def test_the_total_is_the_sum_of_the_single_terms() -> None:
    energy = torch.tensor([0.0, 0.1, 2.0, 0.0, 7.0], dtype=torch.float64)
    deposits = law(1.5, 0.3, 1.1, 5)
    assert float(total_log_density(energy, deposits)) == pytest.approx(float(log_density(energy, deposits).sum()))


def test_counts_follow_their_weights_given_the_sum() -> None:
    """Against simulation: deposits are drawn freely and the sums near 1 MeV are kept."""
    rng, trials = np.random.default_rng(2), 400_000
    number = rng.poisson(2.0, trials)
    total = 0.3 / 1.2 * rng.standard_gamma(np.maximum(number * 1.2, 1e-9))
    near = number[(np.abs(total - 1.0) < 0.02) & (number > 0)]
    drawn = draw_count(torch.ones(20_000), law(2.0, 0.3, 1.2, 20_000), torch.rand(20_000, dtype=torch.float64))
    assert float(drawn.mean()) == pytest.approx(near.mean(), abs=5 * near.std() * (len(near) ** -0.5 + 20_000**-0.5))
    assert float(drawn.min()) >= 1.0


def test_many_deposits_are_drawn_with_the_right_spread() -> None:
    drawn = draw_count(torch.full((20_000,), 300.0), law(1000.0, 0.3, 1.0, 20_000), torch.rand(20_000))
    assert float(drawn.mean()) == pytest.approx(1000.0, rel=0.01)
    assert float(drawn.std()) == pytest.approx(np.sqrt(1000.0 / 2.0), rel=0.1)  # 1 / variance = (1 + shape) / n
