r"""Functions on the eta-phi cylinder and the linear operators that commute with its rotations.

A field f(eta, phi) is sampled at the centres of a regular grid of towers and expanded in

    f = sum_{k,m} phi_k(u) [c_km cos(m phi) + s_km sin(m phi)],    u in (0, 1) across the eta range.

- In phi the basis is the Fourier series: the cylinder is periodic there, so nothing is approximated and rotating the
  field by a tower multiplies each (c, s) pair by a rotation, exactly.
- In eta, which is not periodic, the basis is the cosine series (the type-II discrete cosine transform): the field is
  continued evenly across the edges of the range. There is no wrap-around from +eta_max to -eta_max; the price is a
  vanishing eta derivative of the spectral part at the edges.

Only a few modes are kept, so the transforms are products with small matrices; at 20 x 32 towers that is faster than an
FFT and gives the same numbers. The coefficients are integrals over the cylinder and so do not depend on the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Basis:
    """The kept modes, sampled on one grid.

    Attributes:
        eta: shape (modes_eta, towers_eta), orthonormal under the mean over towers.
        phi: shape (2 * modes_phi, towers_phi): cosines of m = 0, 1, ..., then sines; the sine of m = 0 is zero.
    """

    eta: torch.Tensor
    phi: torch.Tensor

    @property
    def modes_eta(self) -> int:
        """Number of cosine modes in eta."""
        return int(self.eta.shape[0])

    @property
    def modes_phi(self) -> int:
        """Number of Fourier modes in phi, m = 0 included."""
        return int(self.phi.shape[0]) // 2


def sample_basis(modes_eta: int, modes_phi: int, towers_eta: int, towers_phi: int) -> Basis:
    """Sample the kept modes at the tower centres.

    Args:
        modes_eta: cosine modes in eta, at most ``towers_eta``.
        modes_phi: Fourier modes in phi with m = 0 included; m stays below the Nyquist mode ``towers_phi / 2``.
        towers_eta: towers in eta.
        towers_phi: towers in phi.

    Raises:
        ValueError: the grid is too coarse for the modes.
    """
    if modes_eta > towers_eta or 2 * (modes_phi - 1) >= towers_phi:
        raise ValueError(f"{towers_eta} x {towers_phi} towers are too few for {modes_eta} x {modes_phi} modes")
    u = (np.arange(towers_eta) + 0.5) / towers_eta
    k = np.arange(modes_eta)[:, None]
    eta = np.where(k == 0, 1.0, np.sqrt(2.0)) * np.cos(np.pi * k * u)
    # integers modulo towers_phi keep the angles of a tower and of its rotated image the same number
    steps = np.outer(np.arange(modes_phi), np.arange(towers_phi)) % towers_phi
    angle = 2.0 * np.pi * steps / towers_phi
    norm = np.where(np.arange(modes_phi) == 0, 1.0, np.sqrt(2.0))[:, None]
    phi = np.concatenate([norm * np.cos(angle), norm * np.sin(angle)])
    return Basis(torch.tensor(eta, dtype=torch.float32), torch.tensor(phi, dtype=torch.float32))


def analyse(field: torch.Tensor, basis: Basis) -> torch.Tensor:
    """Coefficients of a field.

    Args:
        field: shape (channels, events, towers_eta, towers_phi).
        basis: the modes.

    Returns:
        Shape (channels, events, 2 * modes_phi, modes_eta).
    """
    channels, events, towers_eta, towers_phi = field.shape
    rows = field.reshape(-1, towers_phi) @ (basis.phi.T / towers_phi)
    columns = rows.view(channels * events, towers_eta, -1).transpose(1, 2).reshape(-1, towers_eta)
    return (columns @ (basis.eta.T / towers_eta)).view(channels, events, 2 * basis.modes_phi, basis.modes_eta)


def synthesise(coefficients: torch.Tensor, basis: Basis) -> torch.Tensor:
    """The field of some coefficients: the inverse of `analyse` on the span of the modes."""
    channels, events, phi_modes, modes_eta = coefficients.shape
    columns = coefficients.reshape(-1, modes_eta) @ basis.eta
    towers_eta = basis.eta.shape[1]
    rows = columns.view(channels * events, phi_modes, towers_eta).transpose(1, 2).reshape(-1, phi_modes)
    return (rows @ basis.phi).view(channels, events, towers_eta, -1)


def mix_modes(coefficients: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    r"""Mix the channels of each mode by a matrix that commutes with rotations in phi.

    For each mode (k, m): c' = A c + B s and s' = A s - B c, which is multiplication of c - i s by the complex A + i B,
    the spectral multiplier of a Fourier neural operator (Li et al., arXiv:2010.08895, eq. 4).

    Args:
        coefficients: shape (channels, events, 2 * modes_phi, modes_eta).
        cosine: A, shape (modes_phi * modes_eta, channels_out, channels).
        sine: B, the same shape; it does nothing at m = 0.

    Returns:
        Shape (channels_out, events, 2 * modes_phi, modes_eta).
    """
    channels, events, twice, modes_eta = coefficients.shape
    out = cosine.shape[1]
    modes = twice // 2 * modes_eta
    pairs = coefficients.view(channels, events, 2, modes).permute(3, 2, 0, 1).reshape(modes, 2 * channels, events)
    matrix = torch.cat([torch.cat([cosine, sine], dim=2), torch.cat([-sine, cosine], dim=2)], dim=1)
    mixed = torch.bmm(matrix, pairs)
    return mixed.view(modes, 2, out, events).permute(2, 3, 1, 0).reshape(out, events, twice, modes_eta)
