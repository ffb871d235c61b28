"""Fixed-point networks in torch: for exports and comparisons. Training has its own module, whose bits can move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from darkop_dist.operators.fixed_point import FixedPointNetwork, Format, patch_index

ROWS = 65_536


class TorchNetwork(nn.Module):
    """The network in torch.

    Args:
        network: in fixed point.
        cuts: True for the numbers of the hardware, in float64, which holds them exactly; False for the same weights
            in float32 with nothing cut or saturated, a float model.
    """

    def __init__(self, network: FixedPointNetwork, *, cuts: bool = True) -> None:
        super().__init__()
        self.settings, self.cuts = network.settings, cuts
        self.dtype = torch.float64 if cuts else torch.float32
        self.relu = [layer.relu for layer in network.layers]
        for place, layer in enumerate(network.layers):
            self.register_buffer(f"weight{place}", torch.tensor(layer.weight, dtype=self.dtype))
            self.register_buffer(f"bias{place}", torch.tensor(layer.bias, dtype=self.dtype))
            self._keep(str(place), layer.format)
        self._keep("input", network.input_format)
        self._keep("score", network.score_format)
        self.register_buffer("compared", torch.tensor(network.error_inputs))
        self.register_buffer("error_scale", torch.tensor(network.error_scale, dtype=self.dtype))
        if network.settings.patches is not None:
            self.register_buffer("patches", torch.tensor(patch_index(network.settings)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of shape (events,) for whole numbers of the hardware, shape (events, ...)."""
        seen = found = self._cut("input", inputs.reshape(len(inputs), -1).to(self.dtype))
        for place, relu in enumerate(self.relu):
            if place == 0 and self.settings.patches is not None:
                found = found[:, self.get_buffer("patches")]
            found = found @ self.get_buffer(f"weight{place}") + self.get_buffer(f"bias{place}")
            found = self._cut(str(place), torch.relu(found) if relu else found).flatten(1)
        if self.settings.score == "squares":
            total = (found * found).sum(dim=1)
        elif self.settings.score == "error":
            total = (seen[:, self.get_buffer("compared")] * self.get_buffer("error_scale") - found).abs().sum(dim=1)
        else:
            total = found[:, 0]
        return self._cut("score", total[:, None])[:, 0].float()

    def scores(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores of shape (events,), from numpy to numpy."""
        with torch.no_grad():
            parts = [self(torch.from_numpy(inputs[start : start + ROWS])) for start in range(0, len(inputs), ROWS)]
        return np.concatenate([np.empty(0, dtype=np.float32), *(part.numpy() for part in parts)])

    def _keep(self, name: str, form: Format) -> None:
        for part, values in (("step", form.step), ("lowest", form.lowest), ("highest", form.highest)):
            self.register_buffer(f"{part}_{name}", torch.tensor(values, dtype=torch.float64))

    def _cut(self, name: str, numbers: Tensor) -> Tensor:
        if not self.cuts:
            return numbers
        step = self.get_buffer(f"step_{name}")
        kept = torch.floor(numbers / step) * step
        return torch.clamp(kept, self.get_buffer(f"lowest_{name}"), self.get_buffer(f"highest_{name}"))
