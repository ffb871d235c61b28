"""Showers in other voxels: sums of fine ones, and the upsampling that a model of fine showers has to beat.

Both ways up keep the energy of each coarse voxel: `coarsen` of their result gives the coarse shower back, to rounding.
Neither adds what a coarse shower does not hold: fluctuations between the voxels that were one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry, coarsen

__all__ = ["coarsen", "upsample_linear", "upsample_nearest"]

Floats = npt.NDArray[np.float32]
AZIMUTH, RADIUS = 2, 3


def upsample_nearest(showers: Showers, *, azimuths: int = 3, radii: int = 2) -> Showers:
    """Divide the energy of each voxel equally between its parts, whatever area of the layer they cover.

    With the defaults 45 x 16 x 9 voxels become 45 x 48 x 18.

    Args:
        showers: showers in coarse voxels.
        azimuths: parts of a voxel in azimuth.
        radii: parts of a voxel in radius.

    Raises:
        InputValueError: a number of parts is below 1.
    """
    fine = _finer(showers.geometry, azimuths, radii)
    voxels = _voxels(showers) / np.float32(azimuths * radii)
    parts = voxels.repeat(azimuths, axis=AZIMUTH).repeat(radii, axis=RADIUS)
    return replace(showers, energies=parts.reshape(len(showers), -1), geometry=fine)


def upsample_linear(showers: Showers, *, azimuths: int = 3, radii: int = 2) -> Showers:
    """Divide the energy of each voxel as a linear interpolation between the centres of voxels does.

    The interpolation is bilinear in azimuth and radius, periodic in azimuth, and constant beyond the innermost and the
    outermost centre in radius. Its values within a voxel are then scaled to that voxel's energy, so that an empty voxel
    stays empty. With the defaults 45 x 16 x 9 voxels become 45 x 48 x 18.

    Args:
        showers: showers in coarse voxels.
        azimuths: parts of a voxel in azimuth.
        radii: parts of a voxel in radius.

    Raises:
        InputValueError: a number of parts is below 1.
    """
    fine = _finer(showers.geometry, azimuths, radii)
    voxels = _voxels(showers)
    parts = _interpolated(_interpolated(voxels, AZIMUTH, azimuths), RADIUS, radii)
    coarse = showers.geometry
    grouped = parts.reshape(len(showers), coarse.layers, coarse.azimuths, azimuths, coarse.radii, radii)
    sums = grouped.sum(axis=(3, 5), keepdims=True)
    scale = np.divide(voxels[:, :, :, None, :, None], sums, out=np.zeros_like(sums), where=sums > 0.0)
    return replace(showers, energies=(grouped * scale).reshape(len(showers), -1), geometry=fine)


def _finer(coarse: VoxelGeometry, azimuths: int, radii: int) -> VoxelGeometry:
    if azimuths < 1 or radii < 1:
        raise InputValueError("showers", f"voxels in {azimuths} x {radii} parts", "Ask for one part or more of each")
    return replace(coarse, azimuths=coarse.azimuths * azimuths, radii=coarse.radii * radii)


def _voxels(showers: Showers) -> Floats:
    """Energies of shape (showers, layers, azimuths, radii)."""
    return showers.energies.reshape(len(showers), *showers.geometry.shape)


def _interpolated(voxels: Floats, axis: int, parts: int) -> Floats:
    """Values at the centres of the parts of each voxel along one axis."""
    count = voxels.shape[axis]
    before, after = np.arange(count) - 1, np.arange(count) + 1
    if axis == AZIMUTH:
        before, after = before % count, after % count
    else:
        before, after = before.clip(min=0), after.clip(max=count - 1)
    values = []
    for part in range(parts):
        offset = (part + 0.5) / parts - 0.5
        other = voxels.take(before if offset < 0.0 else after, axis=axis)
        values.append(voxels * np.float32(1.0 - abs(offset)) + other * np.float32(abs(offset)))
    shape = list(voxels.shape)
    shape[axis] *= parts
    return np.stack(values, axis=axis + 1).reshape(shape)
