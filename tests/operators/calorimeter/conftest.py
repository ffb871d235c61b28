from pathlib import Path

import numpy as np
import pytest
import torch

from darkop_dist.operators.calorimeter.generation import draw_showers
from darkop_dist.operators.calorimeter.noise import DrawnNoise
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator, CalorimeterSettings
from darkop_dist.operators.showers import Showers, VoxelGeometry, write_showers

SMALL = CalorimeterSettings(layers=6, azimuths=8, radii=4, width=6, modes=3, blocks=2, hidden=6, energies_hidden=16)


@pytest.fixture(scope="session")
def operator() -> CalorimeterOperator:
    """An operator of random weights that are large enough to make every part of it count."""
    torch.manual_seed(3)
    made = CalorimeterOperator(SMALL)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.15 * torch.randn_like(weight))
    return made


@pytest.fixture(scope="session")
def particles() -> tuple[torch.Tensor, torch.Tensor]:
    """Incident energies in MeV, and whether they are photons."""
    incident = torch.exp(torch.linspace(np.log(1e3), np.log(1e5), 60))
    return incident, (torch.arange(60) % 2).float()


@pytest.fixture(scope="session")
def shower_file(operator: CalorimeterOperator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 showers of the random operator."""
    incident = torch.exp(torch.from_numpy(np.random.default_rng(5).uniform(np.log(1e3), np.log(1e5), 600))).float()
    drawn = draw_showers(operator, incident, torch.zeros(600), DrawnNoise.seeded(4))
    path = tmp_path_factory.mktemp("showers") / "electrons.h5"
    energies = drawn.energy.transpose(2, 3).flatten(1).numpy()
    write_showers(
        path,
        Showers(incident.numpy(), energies, VoxelGeometry(6, 8, 4)),
        attributes={"particle": "e-", "simulator": "none"},
    )
    return path
