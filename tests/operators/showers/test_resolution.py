"""Ways between coarse and fine voxels: energy stays where it was, and turning a shower turns the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.resolution import coarsen, upsample_linear, upsample_nearest
from darkop_dist.operators.showers.sample import DATASET_2, FINE, Showers, VoxelGeometry

Make = Callable[..., Showers]
Upsample = Callable[..., Showers]
BOTH = pytest.mark.parametrize("upsample", [upsample_nearest, upsample_linear])


def one_row(values: list[float], geometry: VoxelGeometry) -> Showers:
    energies = np.array([values], dtype=np.float32)
    return Showers(np.array([1000.0], dtype=np.float32), energies, geometry)


@BOTH
def test_the_sums_are_the_coarse_showers(upsample: Upsample, make_showers: Make) -> None:
    coarse = make_showers(20, 1)
    coarse.energies[:, ::3] = 0.0
    fine = upsample(coarse)
    assert (coarse.geometry, fine.geometry) == (DATASET_2, FINE)
    assert (fine.energies >= 0.0).all()
    np.testing.assert_allclose(coarsen(fine).energies, coarse.energies, rtol=1e-5)
    assert fine.columns.keys() == coarse.columns.keys()


@BOTH
def test_a_turned_shower_gives_the_turned_result(upsample: Upsample, make_showers: Make) -> None:
    geometry = VoxelGeometry(2, 4, 3)
    shower = make_showers(5, 2, geometry)
    turned = np.roll(shower.energies.reshape(-1, *geometry.shape), 1, axis=2).reshape(5, -1)
    found = upsample(replace(shower, energies=turned))
    expected = np.roll(upsample(shower).energies.reshape(-1, *found.geometry.shape), 3, axis=2)
    np.testing.assert_array_equal(found.energies, expected.reshape(5, -1))


def test_nearest_divides_equally() -> None:
    fine = upsample_nearest(one_row([6.0, 12.0], VoxelGeometry(1, 1, 2)))
    np.testing.assert_array_equal(fine.energies, [[1.0, 1.0, 2.0, 2.0] * 3])


def test_linear_by_hand() -> None:
    """Radii 1 and 3 with centres 1/4 of a voxel aside: 1, 1.5, 2.5, 3; scaled to sums of 1 and 3."""
    fine = upsample_linear(one_row([1.0, 3.0], VoxelGeometry(1, 1, 2)), azimuths=1)
    np.testing.assert_allclose(fine.energies, [[0.4, 0.6, 3 * 2.5 / 5.5, 3 * 3 / 5.5]], rtol=1e-6)


def test_linear_is_periodic_in_azimuth() -> None:
    """The last azimuth neighbours the first: thirds aside, (4 + 1/3 of it) and so on."""
    fine = upsample_linear(one_row([4.0, 1.0, 1.0], VoxelGeometry(1, 3, 1)), radii=1).energies[0]
    np.testing.assert_allclose(fine[:3], 4.0 * np.array([3.0, 4.0, 3.0]) / 10.0, rtol=1e-6)
    assert fine[-1] > fine[-2] == pytest.approx(fine[4])


@BOTH
def test_no_parts(upsample: Upsample, make_showers: Make) -> None:
    with pytest.raises(InputValueError, match=r"voxels in 0 x 2 parts\. Ask for one part"):
        upsample(make_showers(2, 1, VoxelGeometry(1, 1, 1)), azimuths=0)
