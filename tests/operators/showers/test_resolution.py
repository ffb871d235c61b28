from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers import Showers, VoxelGeometry, coarsen
from darkop_dist.operators.showers.resolution import Method, upsample

Make = Callable[..., Showers]
SMALL = VoxelGeometry(3, 8, 5)


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_every_voxel_keeps_its_energy(make_showers: Make, method: Method) -> None:
    showers = make_showers(20, 1, SMALL)
    fine = upsample(showers, azimuths=3, radii=2, method=method)
    assert fine.geometry == VoxelGeometry(3, 24, 10)
    assert coarsen(fine).energies == pytest.approx(showers.energies, rel=1e-5, abs=1e-6)
    assert (fine.energies >= 0.0).all()


def test_nearest_is_constant_in_energy_per_area() -> None:
    field = np.zeros((1, 3, 8, 5), dtype=np.float32)
    field[0, 1, 2, 0] = 4.0
    fine = upsample(Showers(np.ones(1, np.float32), field.reshape(1, -1), SMALL), azimuths=2, radii=2, method="nearest")
    parts = fine.energies.reshape(3, 16, 10)[1, 4:6, 0:2]
    assert parts == pytest.approx(np.array([[0.5, 1.5], [0.5, 1.5]]))


def test_linear_is_exact_where_the_density_is_linear_in_azimuth() -> None:
    area = np.diff((np.arange(6) / 5) ** 2)
    density = 1.0 + np.abs(np.arange(8) - 4.0)
    field = np.broadcast_to(density[:, None] * area, (3, 8, 5)).astype(np.float32)
    showers = Showers(np.ones(1, np.float32), field.reshape(1, -1), SMALL)
    fine = upsample(showers, azimuths=3, radii=1, method="linear").energies.reshape(3, 24, 5)
    assert fine[0, 7, 2] / fine[0, 6, 2] == pytest.approx(3.0 / (3.0 + 1.0 / 3.0), rel=1e-5)
    assert fine[0, 6, 2] > fine[0, 7, 2] > fine[0, 8, 2]


def test_bad_parts_and_methods_are_refused(make_showers: Make) -> None:
    with pytest.raises(InputValueError, match="0 x 2 parts"):
        upsample(make_showers(20, 1, SMALL), azimuths=0, radii=2, method="linear")
    with pytest.raises(InputValueError, match="'cubic'"):
        upsample(make_showers(20, 1, SMALL), azimuths=1, radii=2, method="cubic")  # type: ignore[arg-type]
