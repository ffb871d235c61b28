"""Made-up showers: sparse exponential deposits in a few voxels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darkop_dist.operators.showers.sample import DATASET_2, Showers, VoxelGeometry


def made_up(count: int, seed: int, geometry: VoxelGeometry = DATASET_2, *, slope: float = 1.0) -> Showers:
    """Showers whose longitudinal profile has its maximum in layer 10 times ``slope``; about all the energy is kept."""
    rng = np.random.default_rng(seed)
    incident = 10 ** rng.uniform(3, 5, count)
    depth = (np.arange(geometry.layers) + 0.5) / 10 / slope
    radius = np.exp(-np.arange(geometry.radii))
    mean = (depth * np.exp(-depth))[:, None, None] * radius * np.ones((1, geometry.azimuths, 1))
    share = rng.gamma(0.3, 1.0, (count, *geometry.shape)) * mean
    share *= rng.normal(0.97, 0.03, (count, 1, 1, 1)) / share.sum(axis=(1, 2, 3), keepdims=True)
    energies = (incident[:, None] * share.reshape(count, -1)).astype(np.float32)
    return Showers(incident.astype(np.float32), energies, geometry, {"cpu_s": np.arange(count, dtype=np.float32)})


@pytest.fixture(scope="session")
def make_showers() -> Callable[..., Showers]:
    return made_up
