"""The checkpoint of the package: its symmetry, its finer voxels, and Geant4 beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from darkop_dist.operators.calorimeter.checkpoint import CalorimeterCheckpoint, load_checkpoint, packaged_names
from darkop_dist.operators.calorimeter.generation import draw_showers
from darkop_dist.operators.calorimeter.noise import NoiseFields
from darkop_dist.operators.calorimeter.production import generate_showers
from darkop_dist.operators.showers import coarsen, read_showers
from darkop_dist.operators.showers.features import shower_features


@pytest.fixture(scope="module")
def packaged() -> CalorimeterCheckpoint:
    return load_checkpoint("calorimeter-v1")


def test_it_is_the_one_of_the_package(packaged: CalorimeterCheckpoint) -> None:
    assert packaged_names() == ("calorimeter-v1",)
    assert packaged.card.particles == ("e-", "gamma")
    assert [file.name for file in packaged.card.files] == ["electrons_train.h5", "photons_train.h5"]


def test_it_commutes_with_rotations(packaged: CalorimeterCheckpoint) -> None:
    incident, photon = torch.tensor([2e3, 1e4, 3e4, 9e4]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    noise = NoiseFields.drawn(4, 45, 9, 16, torch.Generator().manual_seed(1))
    straight = draw_showers(packaged.operator, incident, photon, noise).energy
    turned = draw_showers(packaged.operator, incident, photon, noise.rotated(5)).energy
    assert ((straight > 0.0).sum((1, 2, 3)) > 50).all()
    assert torch.allclose(turned, straight.roll(5, 3), rtol=1e-3, atol=1e-3)


def test_finer_showers_sum_to_the_coarse_ones(packaged: CalorimeterCheckpoint) -> None:
    incident = np.full(20, 2e4)
    fine = generate_showers(packaged, incident, seed=1, finer=(3, 2))
    assert fine.geometry.shape == (45, 48, 18)
    coarse = generate_showers(packaged, incident, seed=1)
    assert coarsen(fine).energies == pytest.approx(coarse.energies, rel=1e-4, abs=1e-6)


def test_means_agree_with_those_of_geant4(packaged: CalorimeterCheckpoint, shared_data: Path) -> None:
    """Showers that only watched the training; 5 standard errors and 2% of mean layer energies, 0.5% of the total."""
    reference = read_showers(shared_data / "showers" / "electrons_train.h5", start=14_250)
    ours = shower_features(generate_showers(packaged, reference.incident_energies, seed=2))
    theirs = shower_features(reference)
    ratio = ours.layer_mev.mean(0) / theirs.layer_mev.mean(0)
    spread = (ours.layer_mev - theirs.layer_mev).std(0) / theirs.layer_mev.mean(0) / np.sqrt(len(reference))
    assert (np.abs(ratio - 1.0)[:30] < 0.02 + 5.0 * spread[:30]).all()
    assert ours.total_over_incident.mean() == pytest.approx(theirs.total_over_incident.mean(), rel=5e-3)
    assert ours.sparsity.mean() == pytest.approx(theirs.sparsity.mean(), abs=2e-3)
