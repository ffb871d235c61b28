"""A user's torch module in fixed point: what it gives, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from level1_events import random_inputs
from torch import Tensor, nn

from darkop_dist.errors import InputValueError
from darkop_dist.operators.fixed_point_module import Precision, network_of_module


def trained(*layers: nn.Module, seed: int = 1) -> nn.Module:
    """A module with weights, and statistics of its batch normalisation, that are not those of its first moment."""
    torch.manual_seed(seed)
    module = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) / max(parameter.shape[-1], 4) ** 0.5)
    module.train()
    module(torch.tensor(random_inputs(500, 5)))
    return module.eval()


def expected(module: nn.Module, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return (module(torch.tensor(inputs)).double() ** 2).sum(dim=1).numpy()


def test_fine_formats_give_the_module() -> None:
    module = trained(nn.BatchNorm1d(57), nn.Linear(57, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    inputs = random_inputs(2000)
    network = network_of_module(module, inputs, precision=Precision(weight_bits=16, output_bits=18))
    found = network.score(inputs)
    np.testing.assert_allclose(found, expected(module, inputs), rtol=2e-2, atol=2e-3 * found.max())
    assert network.settings.widths == (8, 3)


def test_a_transposed_weight_would_be_seen() -> None:
    """A square layer: the trap of a converter that takes torch's weight as it lies."""
    module = trained(nn.Linear(57, 3), nn.ReLU(), nn.Linear(3, 3))
    inputs = random_inputs(1000)
    fine = Precision(weight_bits=16, output_bits=18)
    right = network_of_module(module, inputs, precision=fine).score(inputs)
    np.testing.assert_allclose(right, expected(module, inputs), rtol=1e-2, atol=1e-3 * right.max())
    with torch.no_grad():
        module[2].weight.copy_(module[2].weight.T.clone())
    wrong = network_of_module(module, inputs, precision=fine).score(inputs)
    assert np.abs(wrong - right).max() > 0.1 * right.max()


def test_coarse_formats_keep_the_order() -> None:
    module = trained(nn.BatchNorm1d(57), nn.Linear(57, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs = random_inputs(2000)
    found = network_of_module(module, inputs).score(inputs)
    assert np.corrcoef(found, expected(module, inputs))[0, 1] > 0.98


def test_a_single_output() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(57, 4), nn.Linear(4, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.last(torch.relu(self.first(inputs).relu()))

    torch.manual_seed(2)
    module, inputs = Functional().eval(), random_inputs(500)
    fine = Precision(weight_bits=16, output_bits=18)
    found = network_of_module(module, inputs, score="value", precision=fine).score(inputs)
    with torch.no_grad():
        wanted = torch.relu(module(torch.tensor(inputs)))[:, 0].double().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=2e-3 * wanted.max())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(57, 57)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.layer(inputs)


class Choosing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(57, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) if inputs.sum() > 0 else inputs


class Counting(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return torch.zeros(len(inputs))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(57, 3), nn.Sigmoid()), r"1 \(Sigmoid\) is no layer that firmware.*Supported: Linear"),
        (nn.Sequential(nn.Linear(57, 4), nn.LSTM(4, 2)), r"1 \(LSTM\) is no layer"),
        (Residual(), r"add \(an addition\) is no layer that firmware can be made of"),
        (Choosing(), r"its shapes or its way depend on the data, hardware has one way for every event"),
        (Counting(), r"its shapes or its way depend on the data"),
        ([1, 2], r"list is no checkpoint and no torch module"),
        (nn.Sequential(nn.Linear(56, 3)), r"0 \(Linear\) takes 56 numbers, 57 come"),
    ],
)
def test_what_is_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(InputValueError, match=message):
        network_of_module(module, random_inputs(50))


def test_numbers_that_are_refused() -> None:
    module = trained(nn.Linear(57, 3))
    with pytest.raises(InputValueError, match="3 outputs, value takes one"):
        network_of_module(module, random_inputs(50), score="value")
    with pytest.raises(InputValueError, match=r"their shape is \(0, 57\)"):
        network_of_module(module, random_inputs(0))
    with torch.no_grad():
        module[0].weight[0, 0] = torch.nan
    with pytest.raises(InputValueError, match="a weight is not finite"):
        network_of_module(module, random_inputs(50))
