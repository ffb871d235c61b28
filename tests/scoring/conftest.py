"""Toy events with jets and missing momentum, and one autoencoder trained on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from darkop_dist.events.representations import represent
from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.operators.cylinder import CylinderSettings
from darkop_dist.operators.training import Provenance, TrainingSettings, train_cylinder

MakeEvents = Callable[..., ak.Array]


def dijet_events(events: int, seed: int, *, extra: int = 0) -> ak.Array:
    """Two back-to-back jets with a little missing momentum, and ``extra`` hard jets anywhere."""
    rng = np.random.default_rng(seed)
    phi, pt = rng.uniform(-np.pi, np.pi, events), rng.uniform(80.0, 160.0, events)
    jets = [(pt, rng.uniform(-1.5, 1.5, events), phi + turn) for turn in (0.0, np.pi)]
    jets += [
        (np.full(events, 120.0), rng.uniform(-1.5, 1.5, events), rng.uniform(-np.pi, np.pi, events))
        for _ in range(extra)
    ]
    columns = {
        name: ak.Array(np.stack([jet[index] for jet in jets], axis=1))
        for index, name in enumerate(("pt", "eta", "phi"))
    }
    met = ak.zip({"pt": rng.exponential(10.0, events), "phi": rng.uniform(-np.pi, np.pi, events)})
    return ak.zip({"Jet": ak.zip(columns), "MET": met}, depth_limit=1)


@pytest.fixture(scope="session")
def make_events() -> MakeEvents:
    return dijet_events


@pytest.fixture(scope="session")
def checkpoint_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ModelInput(
        name="fields",
        shape=(2, 8, 16),
        meaning="transverse momentum in towers of (eta, phi), channels jets and met",
        representation="cylinder",
        settings={"eta_min": -2.0, "eta_max": 2.0, "towers_eta": 8, "towers_phi": 16, "channels": ["jets", "met"]},
    )
    trained = train_cylinder(
        represent(dijet_events(800, seed=1), spec.representation, spec.settings),
        input_spec=spec,
        name="toy-dijets",
        provenance=Provenance(datasets=("toy dijets",), selection="none"),
        seed=1,
        settings=CylinderSettings(width=6, modes_eta=4, modes_phi=6, layers=1, latent_eta=2, latent_phi=4),
        training=TrainingSettings(epochs=10, batch=32, learning_rate=1e-2),
    )
    return save_checkpoint(trained, tmp_path_factory.mktemp("checkpoints") / "toy-dijets")
