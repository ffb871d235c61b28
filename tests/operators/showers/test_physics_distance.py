"""FPD and KPD against the library of their authors, and against closed forms.

The numbers in JETNET were printed by ``jetnet`` 0.2.5 (its functions ``fpd`` and ``kpd`` with numpy 2.4.6 and scipy
1.17.1) for the samples that `samples` makes, with min_samples=1000, max_samples=4000, num_batches=5, num_points=6 and
with num_batches=6, batch_size=800.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.physics_distance import frechet_distance, kernel_distance

Table = npt.NDArray[np.float64]

JETNET = {
    "fpd": (0.003981146843500562, 0.0006894857015047637),
    "kpd": (0.0026864879835517552, 0.002117120136241889),
}


def samples() -> tuple[Table, Table]:
    """A normal sample and a wider, shifted one, with a column of zeros and one that is nearly a copy of another."""
    rng = np.random.default_rng(7)
    scale = [1, 2, 0.5, 0]
    x, y = rng.normal(size=(3000, 4)) * scale, rng.normal(0.1, 1.1, size=(2500, 4)) * scale
    x = np.concatenate([x, x[:, :1] + 0.1 * rng.normal(size=(3000, 1))], 1)
    return x, np.concatenate([y, y[:, :1] + 0.1 * rng.normal(size=(2500, 1))], 1)


def test_fpd_is_that_of_its_authors() -> None:
    """The same draws; the root of the product is found another way, so the numbers agree to its rounding."""
    found = frechet_distance(*samples(), min_samples=1000, max_samples=4000, batches=5, points=6)
    assert (found.value, found.error) == pytest.approx(JETNET["fpd"], rel=1e-3)


def test_kpd_is_that_of_its_authors() -> None:
    found = kernel_distance(*samples(), batches=6, batch_size=800)
    assert (found.value, found.error) == pytest.approx(JETNET["kpd"], rel=1e-9)


def test_fpd_of_one_shifted_feature_is_the_square_of_the_shift() -> None:
    """Both normal with one width: (shift / largest value)^2, plus the noise of 4000 rows, which is 1% of the width."""
    x = np.random.default_rng(1).normal(size=(4000, 1))
    found = frechet_distance(x, x + 2.0, min_samples=2000, max_samples=4000, batches=5, points=4)
    assert found.value == pytest.approx((2.0 / np.abs(x).max()) ** 2, rel=0.03)


def test_equal_samples_are_near() -> None:
    x, y = samples()
    assert kernel_distance(x[:1500], x[1500:], batches=6, batch_size=800).value < 0.5 * JETNET["kpd"][0] + 0.002
    equal = frechet_distance(x[:1500], x[1500:], min_samples=1000, max_samples=4000, batches=5, points=6).value
    assert equal < 0.5 * frechet_distance(x, y, min_samples=1000, max_samples=4000, batches=5, points=6).value


def test_samples_that_cannot_be_compared() -> None:
    x, y = samples()
    for bad in (y[:, :3], y[:1], np.full_like(y, np.nan)):
        with pytest.raises(InputValueError, match="Give finite features of two samples"):
            frechet_distance(x, bad)
