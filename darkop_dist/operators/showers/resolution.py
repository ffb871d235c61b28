"""Showers in finer voxels by upsampling, which is what a model that knows only its own grid leaves to do.

Every voxel keeps its energy and shares it among its parts. These are the baselines of the resolution transfer of the
calorimeter operator (`operators.calorimeter.refinement`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.sample import Showers

Floats = npt.NDArray[np.float64]
Method = Literal["nearest", "linear"]


def upsample(showers: Showers, *, azimuths: int, radii: int, method: Method) -> Showers:
    """Cut every voxel into parts.

    Args:
        showers: showers.
        azimuths: parts of each voxel in azimuth.
        radii: parts of each voxel in radius.
        method: ``nearest`` gives all parts of a voxel its energy density per area; ``linear`` interpolates the density
            linearly between the centres of voxels, in azimuth and in radius (constant inside of the innermost and
            outside of the outermost centre), and scales it so that each voxel keeps its energy.

    Raises:
        InputValueError: fewer than one part, or an unknown method.
    """
    if azimuths < 1 or radii < 1 or method not in {"nearest", "linear"}:
        raise InputValueError(
            "upsampling", f"{azimuths} x {radii} parts by {method!r}", "Give parts of 1 or more and nearest or linear"
        )
    coarse = showers.geometry
    field = showers.energies.reshape(-1, *coarse.shape).astype(np.float64)
    area = _areas(coarse.radii)
    fine_area = _areas(coarse.radii * radii)
    density = field / area
    if method == "linear":
        fine = _interpolated(_interpolated(density, azimuths, axis=2, wraps=True), radii, axis=3, wraps=False)
    else:
        fine = density.repeat(azimuths, axis=2).repeat(radii, axis=3)
    energy = (fine * fine_area).reshape(*field.shape[:2], coarse.azimuths, azimuths, coarse.radii, radii)
    total = energy.sum(axis=(3, 5), keepdims=True)
    energy *= np.divide(field[:, :, :, None, :, None], total, out=np.zeros_like(total), where=total > 0.0)
    geometry = replace(coarse, azimuths=coarse.azimuths * azimuths, radii=coarse.radii * radii)
    return replace(showers, energies=energy.reshape(len(showers), -1).astype(np.float32), geometry=geometry)


def _areas(radii: int) -> Floats:
    """Areas of rings of equal width, in units of that of all rings."""
    return np.diff((np.arange(radii + 1) / radii) ** 2)


def _interpolated(field: Floats, parts: int, *, axis: int, wraps: bool) -> Floats:
    """Values at the centres of the parts, linear between the centres of the bins."""
    count = field.shape[axis]
    place = (np.arange(count * parts) + 0.5) / parts - 0.5
    low = np.floor(place).astype(int)
    share = (place - low).reshape([-1 if number == axis else 1 for number in range(field.ndim)])
    bins = (low % count, (low + 1) % count) if wraps else (low.clip(0), (low + 1).clip(max=count - 1))
    found: Floats = field.take(bins[0], axis) * (1.0 - share) + field.take(bins[1], axis) * share
    return found
