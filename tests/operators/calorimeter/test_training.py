from pathlib import Path

import pytest
import torch

from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.operators.calorimeter.training import ShowerFile, ShowerTraining, TrainedOperator, train_operator

from .conftest import SMALL

SHORT = ShowerTraining(epochs=2, energies_epochs=4, block=250, batch=25, energies_batch=50)


@pytest.fixture(scope="module")
def trained(shower_file: Path) -> TrainedOperator:
    return train_operator([ShowerFile(shower_file, "e-")], SMALL, SHORT)


def test_both_losses_fall(trained: TrainedOperator) -> None:
    assert trained.voxels.validation[-1] < trained.voxels.train[0]
    assert trained.energies.validation[-1] < trained.energies.train[0]
    assert (trained.showers, trained.validation_showers) == (540, 60)


def test_the_same_seed_gives_the_same_weights(trained: TrainedOperator, shower_file: Path) -> None:
    again = train_operator([ShowerFile(shower_file, "e-")], SMALL, SHORT)
    for one, two in zip(trained.operator.parameters(), again.operator.parameters(), strict=True):
        assert torch.equal(one, two)


def test_too_few_showers_are_refused(shower_file: Path) -> None:
    with pytest.raises(InputValueError, match="30 for training"):
        train_operator([ShowerFile(shower_file, "e-")], SMALL, ShowerTraining(validation=0.95))


def test_other_voxels_are_refused(shower_file: Path) -> None:
    with pytest.raises(InputFileError, match="voxels"):
        train_operator([ShowerFile(shower_file, "e-")], SMALL.model_copy(update={"layers": 7}), SHORT)


def test_an_unknown_particle_is_refused(shower_file: Path) -> None:
    with pytest.raises(InputValueError, match="'pi0'"):
        ShowerFile(shower_file, "pi0")
