"""Toy fields and one small trained autoencoder for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.cylinder import CylinderSettings
from darkop_dist.operators.training import Provenance, TrainingSettings, train_cylinder

Fields = npt.NDArray[np.float32]
Train = Callable[..., Checkpoint]


def dijets(events: int, seed: int, *, hot: int = 0) -> Fields:
    """Two back-to-back deposits and a weak strip, with ``hot`` towers anywhere; shape (events, 2, 8, 16)."""
    rng = np.random.default_rng(seed)
    eta, phi = np.meshgrid(np.linspace(-1.75, 1.75, 8), 2 * np.pi * np.arange(16) / 16, indexing="ij")
    fields = np.zeros((events, 2, 8, 16))
    angle, height = rng.uniform(-np.pi, np.pi, (events, 1, 1)), rng.uniform(1.0, 2.0, (events, 1, 1))
    for turn in (0.0, np.pi):
        position = rng.uniform(-1.0, 1.0, (events, 1, 1))
        toward = (np.cos(phi - angle - turn) - 1.0) / 0.15
        fields[:, 0] += height * np.exp(toward - 0.5 * ((eta - position) / 0.5) ** 2)
    fields[:, 1] = 0.1 * (1.0 + np.cos(phi - angle))
    for _ in range(hot):
        fields[np.arange(events), 0, rng.integers(0, 8, events), rng.integers(0, 16, events)] += 1.5
    return fields.astype(np.float32)


@pytest.fixture(scope="session")
def make_dijets() -> Callable[..., Fields]:
    return dijets


@pytest.fixture(scope="session")
def fields_input() -> ModelInput:
    return ModelInput(
        name="fields",
        shape=(2, 8, 16),
        meaning="toy transverse momentum in towers of (eta, phi)",
        representation="cylinder",
        settings={"eta_min": -2.0, "eta_max": 2.0, "towers_eta": 8, "towers_phi": 16, "channels": ["jets", "met"]},
    )


@pytest.fixture(scope="session")
def toy() -> Provenance:
    return Provenance(datasets=("toy dijets",), selection="none")


@pytest.fixture(scope="session")
def train_toy(fields_input: ModelInput, toy: Provenance) -> Train:
    def train(fields: Fields, seed: int = 1, epochs: int = 12, **more: object) -> Checkpoint:
        return train_cylinder(
            fields,
            input_spec=fields_input,
            name="toy",
            provenance=toy,
            seed=seed,
            settings=CylinderSettings(width=6, modes_eta=4, modes_phi=5, layers=1, latent_eta=2, latent_phi=4),
            training=TrainingSettings(epochs=epochs, batch=32, learning_rate=1e-2),
            **more,  # type: ignore[arg-type]
        )

    return train


@pytest.fixture(scope="session")
def trained(train_toy: Train) -> Checkpoint:
    return train_toy(dijets(800, seed=1))
