"""Showers of the calorimeter operator in finer voxels than those it was trained in.

The law of a voxel is infinitely divisible: its deposits fall into its parts as their energy is shared among them, and
given the number of deposits in each part their energies follow a Dirichlet law with the sum of the voxel. Summed back
the showers are those of the trained voxels, number by number. How energy is shared inside of a voxel comes from what is
expected around it: in radius the logit of the cumulative energy is interpolated (monotone cubic, Fritsch and Carlson,
SIAM J. Numer. Anal. 17 (1980) 238) in the logarithm of the radius and continued linearly to the axis; in azimuth it is
linear. Deposits that lie near each other because one track made them are not known to a model of the coarse voxels:
they fall independently here, so that fewer parts have energy than in simulated showers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from darkop_dist.errors import InputValueError
from darkop_dist.operators.calorimeter.generation import DrawnShowers

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def refine(
    drawn: DrawnShowers, *, radii: int, azimuths: int, threshold_mev: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Cut every voxel into parts and share its energy.

    Args:
        drawn: showers in the trained voxels, with their deposits.
        radii: parts in radius.
        azimuths: parts in azimuth.
        threshold_mev: parts with less become empty; the voxel keeps its energy.
        rng: source of the random numbers.

    Returns:
        Energies in MeV, shape (showers, layers, azimuths of the parts, radii of the parts).

    Raises:
        InputValueError: no part, or none in radius and azimuth.
    """
    if radii < 1 or azimuths < 1:
        raise InputValueError("refinement", f"{radii} x {azimuths} parts", "Ask for 1 or more in radius and azimuth")
    energy, count = drawn.energy.numpy(), drawn.count.numpy()
    shower, layer, ring, angle = np.nonzero(energy > 0.0)
    expected = drawn.expected.numpy().astype(np.float64)
    (used_shower, used_layer), place = _distinct(shower, layer, energy.shape[1])
    radial = radial_shares(expected[used_shower, used_layer].sum(2), radii)[place, ring]
    azimuthal = azimuthal_shares(expected[shower, layer, ring], angle, azimuths)
    share = (azimuthal[:, :, None] * radial[:, None, :]).reshape(len(shower), -1)
    chosen = (shower, layer, ring, angle)
    number = np.maximum(np.rint(count[chosen]).astype(np.int64), 1)
    parts = rng.multinomial(number, share / share.sum(1, keepdims=True))
    split = rng.standard_gamma(parts * drawn.shape.numpy()[chosen][:, None].astype(np.float64))
    split *= (energy[chosen] / split.sum(1))[:, None]
    split = _read_out(split, threshold_mev)
    shape = energy.shape
    fine = np.zeros((shape[0], shape[1], shape[3], azimuths, shape[2], radii), dtype=np.float32)
    fine[shower, layer, angle, :, ring, :] = split.reshape(-1, azimuths, radii)
    return fine.reshape(shape[0], shape[1], shape[3] * azimuths, shape[2] * radii)


def _distinct(shower: Whole, layer: Whole, layers: int) -> tuple[tuple[Whole, Whole], Whole]:
    """Layers of showers that occur, and the place of each voxel's among them."""
    used, place = np.unique(shower * layers + layer, return_inverse=True)
    return (used // layers, used % layers), place


def radial_shares(expected: Floats, parts: int) -> Floats:
    """How the energy of a ring is shared among rings of equal width inside of it; the outermost ring is shared by area.

    Args:
        expected: of each ring, above 0; shape (fields, radii).
        parts: rings inside of each ring.

    Returns:
        Shape (fields, radii, parts), summing to 1 over the parts.
    """
    fields, rings = expected.shape
    edge = np.arange(rings * parts + 1) / (rings * parts)
    by_area = np.diff(edge**2).reshape(rings, parts)
    shares = np.repeat((by_area / by_area.sum(1, keepdims=True))[None], fields, axis=0)
    cumulative = np.cumsum(np.maximum(expected, 1e-12), axis=1)
    inner, outer = cumulative[:, :-1], np.cumsum(np.maximum(expected[:, ::-1], 1e-12), axis=1)[:, -2::-1]
    x, y = np.log(np.arange(1, rings) / rings), np.log(inner / outer)
    fine = np.log(edge[1 : (rings - 1) * parts + 1])
    value = PchipInterpolator(x, y, axis=1)(np.maximum(fine, x[0]))
    slope = (y[:, 1] - y[:, 0]) / (x[1] - x[0])
    value = np.where(fine < x[0], y[:, :1] + slope[:, None] * (fine - x[0]), value)
    steps = np.diff(1.0 / (1.0 + np.exp(-value)), axis=1, prepend=0.0).reshape(fields, rings - 1, parts)
    steps = np.maximum(steps, 1e-15)
    shares[:, :-1] = steps / steps.sum(2, keepdims=True)
    return shares


def azimuthal_shares(expected: Floats, angle: Whole, parts: int) -> Floats:
    """How the energy of a voxel is shared among its parts in azimuth: linearly, with the slope to its neighbours.

    Args:
        expected: of all azimuths of the ring of each voxel, shape (voxels, azimuths).
        angle: number of the voxel's azimuth, shape (voxels,).
        parts: parts of each voxel.

    Returns:
        Shape (voxels, parts), summing to 1.
    """
    row, count = np.arange(len(angle)), expected.shape[1]
    own = np.maximum(expected[row, angle], 1e-12)
    slope = (expected[row, (angle + 1) % count] - expected[row, angle - 1]) / (2.0 * own)
    offset = (np.arange(parts) + 0.5) / parts - 0.5
    share: Floats = (1.0 + np.clip(slope, -1.9, 1.9)[:, None] * offset) / parts
    return share


def _read_out(split: Floats, threshold_mev: float) -> Floats:
    """Parts below threshold emptied, the sum kept; where all are below, they stay."""
    kept = np.where(split < threshold_mev, 0.0, split)
    total = kept.sum(1, keepdims=True)
    scale = split.sum(1, keepdims=True) / np.where(total > 0.0, total, 1.0)
    shared: Floats = np.where(total > 0.0, kept * scale, split)
    return shared
