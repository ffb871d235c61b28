from __future__ import annotations

import numpy as np
import pytest
import torch

from darkop_dist.operators.trainer import OperatorTrainer, TrainerSettings
from darkop_dist.operators.wnae import WassersteinAutoencoder, WnaeSettings, wasserstein


def two_modes(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Two narrow modes at -2 and 2 on the diagonal of a plane; nothing in between."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-2.0, 2.0], (count, 1))
    return {"columns": torch.from_numpy((side + 0.2 * rng.normal(size=(count, 2))).astype(np.float32))}


def model(**changes: object) -> WassersteinAutoencoder:
    settings = WnaeSettings(columns=2, hidden=(32, 32), latent=1).model_copy(update=changes)
    torch.manual_seed(2)
    return WassersteinAutoencoder(settings, WassersteinAutoencoder.model_inputs(settings))


@pytest.fixture(scope="module")
def trained() -> tuple[WassersteinAutoencoder, WassersteinAutoencoder, tuple[float, ...]]:
    """A plain autoencoder, the same with the distance, and the latter's validation losses."""
    settings = TrainerSettings(batch=128, learning_rate=2e-3, patience=100)
    plain, wasserstein_model = model(warm_up=10_000), model(warm_up=30, reconstruction=1.0, steps=40, through=10)
    OperatorTrainer(plain, settings=settings).fit(two_modes(1024, 1), two_modes(256, 2), 20)
    losses = OperatorTrainer(wasserstein_model, settings=settings).fit(two_modes(1024, 1), two_modes(256, 2), 20)
    return plain, wasserstein_model, losses.validation


def test_the_distance_of_shifted_samples_is_the_square_of_the_shift() -> None:
    first = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    shift = torch.tensor([0.3, 0.0, -0.4])
    assert float(wasserstein(first, first[order] + shift)) == pytest.approx(0.25, rel=1e-5)


def test_in_one_dimension_the_matching_sorts() -> None:
    first, second = torch.tensor([[0.0], [5.0], [2.0]]), torch.tensor([[6.0], [2.5], [1.0]])
    assert float(wasserstein(first, second)) == pytest.approx((1.0 + 0.25 + 1.0) / 3.0)


def test_the_gradient_reaches_the_weights_through_the_chain() -> None:
    made = model(warm_up=0, reconstruction=0.0)
    made.loss(two_modes(64, 1), torch.Generator().manual_seed(1)).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in made.encoder.parameters())


def test_negatives_come_to_the_data(
    trained: tuple[WassersteinAutoencoder, WassersteinAutoencoder, tuple[float, ...]],
) -> None:
    plain, with_distance, losses = trained
    generator = torch.Generator().manual_seed(3)
    assert min(losses) < 0.5 * losses[0]
    assert float(with_distance.validation_loss(two_modes(256, 4), generator)) < 0.75 * float(
        plain.validation_loss(two_modes(256, 4), generator)
    )


def test_a_hole_between_modes_scores_higher_than_with_a_plain_autoencoder(
    trained: tuple[WassersteinAutoencoder, WassersteinAutoencoder, tuple[float, ...]],
) -> None:
    """The line between the modes is reconstructed by a plain autoencoder with one latent number."""
    plain, with_distance, _ = trained
    hole = {"columns": torch.zeros(1, 2)}
    ratios = []
    for one in (plain, with_distance):
        with torch.no_grad():
            ratios.append(float(one.score(hole)) / float(one.score(two_modes(500, 5)).mean()))
    assert ratios[1] > 3.0
    assert ratios[1] > 1.3 * ratios[0]


def test_the_buffer_is_filled_and_part_of_the_state() -> None:
    made, generator = model(warm_up=0, buffer=100), torch.Generator().manual_seed(1)
    for _ in range(3):
        made.loss(two_modes(64, 1), generator)
    state = made.training_state()
    assert state["replay"].shape == (100, 2)
    again = model(warm_up=0, buffer=100)
    again.load_training_state(state)
    one, two = (which.loss(two_modes(64, 1), torch.Generator().manual_seed(4)).item() for which in (made, again))
    assert one == two
