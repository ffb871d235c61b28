"""A Fourier neural operator autoencoder on the eta-phi cylinder.

The encoder maps the field of an event to a few coefficients of a few latent fields, the decoder maps them back:

    lift -> spectral layers -> project -> coefficients (the bottleneck) -> lift -> spectral layers -> project

A spectral layer is v -> GELU(W v + K v + b) with W pointwise and K diagonal in the modes of the cylinder (Li et al.,
arXiv:2010.08895, eqs. 2 and 4). Every part commutes with rotations by whole towers in phi, so a rotated event gives the
rotated reconstruction and the same score, up to float rounding. In eta the detector is not uniform: the lifts see
u^2 with u = eta / eta_edge in (-1, 1) as one more channel.

The latent size is latent_channels * latent_eta * (2 * latent_phi - 1) numbers; with the default settings 4 * 4 * 7 =
112 against 3 * 20 * 32 = 1920 towers, so the identity cannot be learned. The weights know nothing of the grid: the
same weights score the field on any grid that resolves the modes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn.functional import gelu

from darkop_dist.operators.cylinder_basis import Basis, analyse, mix_modes, sample_basis, synthesise

ARCHITECTURE = "cylinder-fno-autoencoder"
SCORE = (
    "mean over channels and towers of the squared reconstruction error, every channel divided by its root mean square "
    "over the training events; all towers count the same"
)

Parameters = Mapping[str, torch.Tensor]
Count = Annotated[int, Field(gt=0, le=256)]


class CylinderSettings(BaseModel):
    """Settings of the autoencoder.

    Attributes:
        width: channels of the hidden fields.
        modes_eta: cosine modes in eta of a spectral layer.
        modes_phi: Fourier modes in phi of a spectral layer, m = 0 included.
        layers: spectral layers on either side of the bottleneck.
        latent_channels: latent fields.
        latent_eta: cosine modes in eta of a latent field.
        latent_phi: Fourier modes in phi of a latent field, m = 0 included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Count = 12
    modes_eta: Count = 8
    modes_phi: Count = 8
    layers: Count = 2
    latent_channels: Count = 4
    latent_eta: Count = 4
    latent_phi: Count = 4

    @property
    def latent_size(self) -> int:
        """Real numbers that pass through the bottleneck."""
        return self.latent_channels * self.latent_eta * (2 * self.latent_phi - 1)


def parameter_shapes(settings: CylinderSettings, channels: int) -> dict[str, tuple[int, ...]]:
    """Shape of every weight, by name.

    Args:
        settings: settings of the autoencoder.
        channels: channels of the input field.
    """
    width, latent, modes = settings.width, settings.latent_channels, settings.modes_eta * settings.modes_phi
    shapes: dict[str, tuple[int, ...]] = {"input.scale": (channels,)}
    for side, first, last in (("encoder", channels, latent), ("decoder", latent, channels)):
        shapes |= {f"{side}.lift.weight": (width, first), f"{side}.lift.eta": (width,), f"{side}.lift.bias": (width,)}
        for layer in range(settings.layers):
            shapes |= {
                f"{side}.{layer}.weight": (width, width),
                f"{side}.{layer}.bias": (width,),
                f"{side}.{layer}.cosine": (modes, width, width),
                f"{side}.{layer}.sine": (modes, width, width),
            }
        shapes |= {f"{side}.project.weight": (last, width), f"{side}.project.bias": (last,)}
    return shapes


def initial_parameters(
    settings: CylinderSettings, scale: np.ndarray[tuple[int], np.dtype[np.float32]], rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Random weights that keep the variance of a field about constant from layer to layer.

    Args:
        settings: settings of the autoencoder.
        scale: root mean square of each input channel, shape (channels,).
        rng: source of the weights.
    """
    parameters: dict[str, torch.Tensor] = {}
    for name, shape in parameter_shapes(settings, len(scale)).items():
        if name == "input.scale":
            values = np.asarray(scale, dtype=np.float64)
        elif name.endswith(".bias"):
            values = np.zeros(shape)
        else:
            fan_in = shape[-1] * (2 if name.endswith((".cosine", ".sine")) else 1)
            values = rng.normal(size=shape) * math.sqrt(1.0 / fan_in)
        parameters[name] = torch.tensor(values, dtype=torch.float32)
    return parameters


class CylinderAutoencoder:
    """The autoencoder on one grid.

    Args:
        settings: settings of the autoencoder.
        parameters: the weights, by the names of `parameter_shapes`.
        grid: towers in eta and in phi.

    Raises:
        ValueError: a weight is absent, unknown or has another shape, or the grid is too coarse for the modes.
    """

    def __init__(self, settings: CylinderSettings, parameters: Parameters, grid: tuple[int, int]) -> None:
        found = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
        expected = parameter_shapes(settings, found.get("input.scale", (0,))[0])
        if found != expected:
            wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            raise ValueError(f"weights do not fit the architecture: {', '.join(wrong)}")
        self._settings = settings
        self._parameters = parameters
        self._layer_basis = sample_basis(settings.modes_eta, settings.modes_phi, *grid)
        self._latent_basis = sample_basis(settings.latent_eta, settings.latent_phi, *grid)
        u = (torch.arange(grid[0], dtype=torch.float32) + 0.5) / grid[0] * 2.0 - 1.0
        self._eta_squared = (u * u)[:, None]

    def latent(self, fields: torch.Tensor) -> torch.Tensor:
        """The bottleneck.

        Args:
            fields: shape (events, channels, towers_eta, towers_phi), in the units of the input.

        Returns:
            Coefficients of shape (latent_channels, events, 2 * latent_phi, latent_eta); the sines of m = 0 are zero.
        """
        return self._encode(self._standardise(fields))

    def reconstruct(self, fields: torch.Tensor) -> torch.Tensor:
        """What the decoder makes of the bottleneck; same shape and units as ``fields``."""
        scaled = self._decode(self._encode(self._standardise(fields)))
        return scaled.transpose(0, 1) * self._parameters["input.scale"][:, None, None]

    def score(self, fields: torch.Tensor) -> torch.Tensor:
        """Weighted reconstruction error of each event (see `SCORE`).

        Args:
            fields: shape (events, channels, towers_eta, towers_phi).

        Returns:
            Shape (events,).
        """
        standard = self._standardise(fields)
        difference = self._decode(self._encode(standard)) - standard
        return (difference * difference).mean(dim=(0, 2, 3))

    def _standardise(self, fields: torch.Tensor) -> torch.Tensor:
        return fields.transpose(0, 1).contiguous() / self._parameters["input.scale"][:, None, None, None]

    def _encode(self, fields: torch.Tensor) -> torch.Tensor:
        hidden = self._through("encoder", self._lift("encoder", fields))
        # projecting after the transform is the same and cheaper; the constant only enters the mode (0, 0)
        coefficients = analyse(hidden, self._latent_basis)
        latent = _pointwise(self._parameters["encoder.project.weight"], coefficients)
        constant = torch.zeros(latent.shape[2:])
        constant[0, 0] = 1.0
        return latent + self._parameters["encoder.project.bias"][:, None, None, None] * constant

    def _decode(self, latent: torch.Tensor) -> torch.Tensor:
        hidden = self._through("decoder", self._lift("decoder", synthesise(latent, self._latent_basis)))
        bias = self._parameters["decoder.project.bias"][:, None, None, None]
        return _pointwise(self._parameters["decoder.project.weight"], hidden) + bias

    def _lift(self, side: str, field: torch.Tensor) -> torch.Tensor:
        weight, eta, bias = (self._parameters[f"{side}.lift.{part}"] for part in ("weight", "eta", "bias"))
        return _pointwise(weight, field) + (eta[:, None, None, None] * self._eta_squared + bias[:, None, None, None])

    def _through(self, side: str, field: torch.Tensor) -> torch.Tensor:
        for layer in range(self._settings.layers):
            field = _spectral_layer(field, self._parameters, f"{side}.{layer}", self._layer_basis)
        return field


def _spectral_layer(field: torch.Tensor, parameters: Parameters, name: str, basis: Basis) -> torch.Tensor:
    mixed = mix_modes(analyse(field, basis), parameters[f"{name}.cosine"], parameters[f"{name}.sine"])
    local = _pointwise(parameters[f"{name}.weight"], field)
    return gelu(local + synthesise(mixed, basis) + parameters[f"{name}.bias"][:, None, None, None])


def _pointwise(weight: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    return (weight @ field.reshape(field.shape[0], -1)).view(weight.shape[0], *field.shape[1:])
