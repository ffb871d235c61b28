"""The autoencoder on the cylinder: its symmetry, its bottleneck, its resolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.cylinder import CylinderAutoencoder, CylinderSettings, initial_parameters, parameter_shapes
from darkop_dist.operators.cylinder_basis import analyse, mix_modes, sample_basis, synthesise

SMALL = CylinderSettings(width=5, modes_eta=4, modes_phi=5, layers=2, latent_channels=3, latent_eta=2, latent_phi=3)


def model(
    settings: CylinderSettings = SMALL, grid: tuple[int, int] = (8, 16), channels: int = 2
) -> CylinderAutoencoder:
    scale = np.linspace(1.0, 2.0, channels, dtype=np.float32)
    return CylinderAutoencoder(settings, initial_parameters(settings, scale, np.random.default_rng(5)), grid)


def fields(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), dtype=torch.float32)


def test_the_transform_is_the_fourier_transform_in_phi_and_the_cosine_transform_in_eta() -> None:
    from scipy.fft import dct

    field = fields(1, (1, 1, 6, 12))
    found = analyse(field, sample_basis(6, 6, 6, 12)).numpy()[0, 0]  # (cosines then sines of m, k)
    fourier = np.fft.rfft(dct(field.numpy()[0, 0], type=2, axis=0, norm="ortho") / np.sqrt(6), axis=1)[:, :6].T / 12
    norm = np.where(np.arange(6) == 0, 1.0, np.sqrt(2.0))[:, None]
    # towers are counted from 0 in both: the same phases
    np.testing.assert_allclose(found[:6], norm * fourier.real, atol=1e-6)
    np.testing.assert_allclose(found[6:], -norm * fourier.imag, atol=1e-6)


def test_synthesis_inverts_analysis_on_the_kept_modes() -> None:
    basis = sample_basis(4, 5, 8, 16)
    smooth = synthesise(analyse(fields(2, (2, 3, 8, 16)), basis), basis)
    torch.testing.assert_close(synthesise(analyse(smooth, basis), basis), smooth, atol=1e-5, rtol=1e-5)


def test_mixing_is_multiplication_by_a_complex_matrix() -> None:
    coefficients, cosine, sine = fields(3, (2, 7, 6, 4)), fields(4, (12, 5, 2)), fields(5, (12, 5, 2))
    found = mix_modes(coefficients, cosine, sine).numpy()
    c, s = coefficients.numpy()[:, :, :3], coefficients.numpy()[:, :, 3:]
    matrix = (cosine + 1j * sine).numpy().reshape(3, 4, 5, 2)
    expected = np.einsum("mkoi,ibmk->obmk", matrix, c - 1j * s)
    np.testing.assert_allclose(found[:, :, :3], expected.real, atol=1e-5)
    np.testing.assert_allclose(found[:, :, 3:], -expected.imag, atol=1e-5)


@pytest.mark.parametrize("towers", [1, 5, 8, -3])
def test_rotating_the_field_rolls_the_reconstruction_and_keeps_the_score(towers: int) -> None:
    network, field = model(), fields(6, (20, 2, 8, 16))
    rolled = torch.roll(field, towers, dims=-1)
    reconstruction = network.reconstruct(field)
    torch.testing.assert_close(
        network.reconstruct(rolled), torch.roll(reconstruction, towers, dims=-1), atol=2e-6, rtol=1e-5
    )
    torch.testing.assert_close(network.score(rolled), network.score(field), atol=1e-6, rtol=1e-5)


def test_eta_does_not_wrap_around() -> None:
    network, field = model(), fields(6, (20, 2, 8, 16))
    moved = network.reconstruct(torch.roll(field, 2, dims=-2))
    assert (moved - torch.roll(network.reconstruct(field), 2, dims=-2)).abs().max() > 0.01


def test_the_trained_score_is_invariant(trained: Checkpoint, make_dijets: Callable[..., np.ndarray]) -> None:
    from darkop_dist.operators.evaluation import scoring_function

    score, events = scoring_function(trained), make_dijets(100, seed=8)
    rotated = np.roll(events, 5, axis=-1)
    np.testing.assert_allclose(score({"fields": rotated}), score({"fields": events}), rtol=1e-3)


def test_the_score_is_the_weighted_error_of_the_reconstruction() -> None:
    network, field = model(), fields(7, (5, 2, 8, 16))
    error = (network.reconstruct(field) - field) / torch.tensor([1.0, 2.0])[:, None, None]
    torch.testing.assert_close(network.score(field), (error**2).mean(dim=(1, 2, 3)))


def test_everything_passes_through_the_bottleneck() -> None:
    network, field = model(), fields(9, (1, 2, 8, 16)).requires_grad_()
    assert SMALL.latent_size == 3 * 2 * 5
    jacobian = torch.autograd.functional.jacobian(lambda x: network.reconstruct(x).flatten(), field)
    singular = torch.linalg.svdvals(jacobian.reshape(256, 256).double())
    assert int((singular > 1e-5 * singular[0]).sum()) == SMALL.latent_size


def test_the_same_function_on_a_finer_grid_scores_alike() -> None:
    def function(towers_eta: int, towers_phi: int) -> torch.Tensor:
        u = (torch.arange(towers_eta) + 0.5) / towers_eta
        phi = 2 * np.pi * (torch.arange(towers_phi) + 0.5) / towers_phi
        one = 1.0 + torch.cos(np.pi * u)[:, None] * torch.cos(phi - 0.3) + 0.5 * torch.sin(2 * phi)
        return torch.stack([one, 0.3 * one * one])[None]

    coarse = model(grid=(16, 32)).score(function(16, 32))
    fine = model(grid=(32, 64)).score(function(32, 64))
    torch.testing.assert_close(fine, coarse, rtol=0.02, atol=0.0)


def test_weights_that_do_not_fit_are_named() -> None:
    parameters = initial_parameters(SMALL, np.ones(2, np.float32), np.random.default_rng(1))
    parameters["decoder.lift.bias"] = torch.zeros(99)
    with pytest.raises(ValueError, match=r"do not fit the architecture: decoder\.lift\.bias"):
        CylinderAutoencoder(SMALL, parameters, (8, 16))
    assert set(parameter_shapes(SMALL, 2)) == set(parameters)


def test_a_grid_too_coarse_for_the_modes_is_refused() -> None:
    with pytest.raises(ValueError, match="3 x 16 towers are too few for 4 x 5 modes"):
        model(grid=(3, 16))
    with pytest.raises(ValueError, match="8 x 8 towers are too few"):
        model(grid=(8, 8))


def test_the_default_model_is_small() -> None:
    shapes = parameter_shapes(CylinderSettings(), 3)
    assert 4 * sum(int(np.prod(shape)) for shape in shapes.values()) < 1_000_000
    assert CylinderSettings().latent_size == 112
