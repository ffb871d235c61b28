import torch

from darkop_dist.operators.calorimeter.fields import (
    CONDITIONS,
    DECAYS,
    SpectralLayer,
    checkerboard,
    deposits_of,
    memory_kernel,
)
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator


def test_memories_are_the_recursion_that_generation_runs() -> None:
    seen = torch.rand(5)
    expected, state = [], torch.zeros(len(DECAYS))
    for value in seen:
        expected.append(state)
        state = torch.tensor(DECAYS) * state + (1.0 - torch.tensor(DECAYS)) * value
    assert torch.allclose(torch.einsum("jlk,k->lj", memory_kernel(5), seen), torch.stack(expected), atol=1e-6)


def test_a_spectral_layer_commutes_with_rotations() -> None:
    torch.manual_seed(0)
    layer, field = SpectralLayer(4, 3, 5, 8), torch.randn(2, 5, 8, 4)
    assert torch.allclose(layer(field.roll(3, 2)), layer(field).roll(3, 2), atol=1e-5)
    assert not torch.allclose(layer(field.roll(1, 1)), layer(field).roll(1, 1), atol=1e-2)


def test_neighbours_have_different_colours_all_around() -> None:
    board = checkerboard(4, 8)
    assert (board + board.roll(1, 1) == 1.0).all()
    assert (board[1:] + board[:-1] == 1.0).all()


def test_a_rotated_past_gives_the_rotated_law(operator: CalorimeterOperator) -> None:
    torch.manual_seed(1)
    network, layer = operator.voxels, torch.tensor([2, 4, 5])
    past, given = torch.rand(3, 4, 8, len(DECAYS)), torch.randn(3, CONDITIONS)
    energy, rest = torch.rand(3, 4, 8), torch.rand(3)
    known = checkerboard(4, 8).expand(3, 4, 8)

    def laws(turn: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden = network.hidden(past.roll(turn, 2), given, layer)
        raw = network.first(hidden, given, layer)
        mask, prior = known.roll(turn, 2), deposits_of(raw, network.lone())
        refined = network.refined(hidden, raw, prior, energy.roll(turn, 2) * mask, mask, rest)
        return raw.voxel, refined.voxel, refined.layer

    assert torch.allclose(laws(3)[2], laws(0)[2], atol=2e-5)
    for straight, turned in zip(laws(0)[:2], laws(3)[:2], strict=True):
        assert torch.allclose(turned, straight.roll(3, 2), atol=2e-5)
        assert not torch.allclose(turned, straight, atol=1e-2)
