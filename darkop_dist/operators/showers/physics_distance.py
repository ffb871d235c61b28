"""Frechet and kernel physics distance between two samples of features: FPD and KPD of arXiv:2211.10295.

Written after the paper and the behaviour of its library, ``jetnet`` 0.2.5, whose numbers the tests pin for the same
seeds. The library itself would bring PyTables, EnergyFlow and nine further packages for these two functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit

from darkop_dist.errors import InputValueError

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Distance:
    """A distance with its error.

    Attributes:
        value: the distance; 0 for the same distribution, up to noise, which may be negative for KPD.
        error: of the extrapolation (FPD) or between batches (KPD).
    """

    value: float
    error: float


def frechet_distance(
    reference: Table,
    generated: Table,
    *,
    min_samples: int = 20_000,
    max_samples: int = 50_000,
    batches: int = 20,
    points: int = 10,
    seed: int = 42,
) -> Distance:
    """FPD: the Frechet distance of Gaussians with the samples' means and covariances, at infinite sample size.

    Distances of ``batches`` samples of each of ``points`` sizes, drawn with replacement, are averaged and extrapolated
    linearly in one over the size (arXiv:2211.10295, sec. II; the fit keeps intercept and slope at 0 or above). Features
    are divided by the largest absolute value of the reference. The defaults are those of ``jetnet``, for 50 000 rows or
    more: fewer rows leave the bias of their own number in the result, so compare with a floor of equal number.

    Args:
        reference: shape (showers, features).
        generated: shape (showers, features).
        min_samples: smallest size of a batch.
        max_samples: largest size of a batch.
        batches: batches of each size.
        points: number of sizes.
        seed: seed of the draws.

    Raises:
        InputValueError: the samples have different features, fewer than two rows, or values that are not finite.
    """
    x, y = _normalised(reference, generated)
    sizes = (1 / np.linspace(1.0 / min_samples, 1.0 / max_samples, points)).astype("int32")
    rng = np.random.default_rng(seed)
    means = []
    for size in sizes:
        values = []
        for _ in range(batches):
            first, second = rng.choice(len(x), size=size), rng.choice(len(y), size=size)
            values.append(_frechet(*_moments(x, first), *_moments(y, second)))
        means.append(np.mean(values))
    fitted, covariance = curve_fit(_line, 1 / sizes, means, bounds=([0, 0], [np.inf, np.inf]))
    return Distance(float(fitted[0]), float(np.sqrt(covariance[0, 0])))


def kernel_distance(
    reference: Table, generated: Table, *, batches: int = 10, batch_size: int = 5_000, seed: int = 42
) -> Distance:
    """KPD: median over batches of the unbiased squared MMD with the kernel (x.y / features + 1)^4, and half its IQR.

    The range is that from 16.275% to 83.725%. Rows of a batch are drawn with replacement, features divided by the
    largest absolute value of the reference (arXiv:2211.10295, sec. II, and ``jetnet``).

    Args:
        reference: shape (showers, features).
        generated: shape (showers, features).
        batches: number of batches.
        batch_size: rows of a batch.
        seed: seed of the draws.

    Raises:
        InputValueError: as for `frechet_distance`.
    """
    x, y = _normalised(reference, generated)
    values = []
    for batch in range(batches):
        rng = np.random.default_rng(seed + batch * 1000)
        values.append(_mmd(x[rng.choice(len(x), size=batch_size)], y[rng.choice(len(y), size=batch_size)]))
    low, high = np.percentile(values, [16.275, 83.725])
    return Distance(float(np.median(values)), float(high - low) / 2)


def _normalised(reference: Table, generated: Table) -> tuple[Table, Table]:
    for table in (reference, generated):
        if len(table) < 2 or table.shape[1:] != reference.shape[1:] or not np.isfinite(table).all():
            raise InputValueError(
                "features",
                "too few rows, other columns or values that are not finite",
                "Give finite features of two samples",
            )
    largest = np.abs(reference).max(axis=0)
    largest[largest == 0] = 1.0
    return reference / largest, generated / largest


def _line(x: Table, intercept: float, slope: float) -> Table:
    return intercept + slope * x


def _moments(table: Table, rows: npt.NDArray[np.int64]) -> tuple[Table, Table]:
    """Mean and covariance of drawn rows; each row is counted once with the number of its draws."""
    draws = np.bincount(rows, minlength=len(table)).astype(np.float64)
    mean = draws @ table / len(rows)
    centred = table - mean
    return mean, (centred * draws[:, None]).T @ centred / (len(rows) - 1)


def _frechet(mean_x: Table, cov_x: Table, mean_y: Table, cov_y: Table) -> float:
    """|difference of means|^2 + tr(A + B - 2 (A B)^(1/2)), the root by the eigenvalues of A^(1/2) B A^(1/2)."""
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_y @ root).clip(min=0.0)).sum()
    difference = mean_x - mean_y
    return float(difference @ difference + np.trace(cov_x) + np.trace(cov_y) - 2.0 * cross)


def _mmd(x: Table, y: Table) -> float:
    features = x.shape[1]
    within = 0.0
    for one in (x, y):
        kernel = (one @ one.T / features + 1.0) ** 4
        within += (kernel.sum() - np.trace(kernel)) / (len(one) * (len(one) - 1))
    return float(within - 2.0 * ((x @ y.T / features + 1.0) ** 4).mean())
