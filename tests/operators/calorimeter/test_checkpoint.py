import json
from pathlib import Path

import numpy as np
import pytest
import torch

from darkop_dist.errors import FingerprintError, InputFileError, InputValueError, OutputError, UnknownNameError
from darkop_dist.operators.calorimeter.checkpoint import (
    CalorimeterCheckpoint,
    load_checkpoint,
    make_checkpoint,
    save_checkpoint,
)
from darkop_dist.operators.calorimeter.production import generate_showers, shower_batches
from darkop_dist.operators.calorimeter.training import ShowerFile, ShowerTraining, train_operator

from .conftest import SMALL


@pytest.fixture(scope="module")
def checkpoint(shower_file: Path) -> CalorimeterCheckpoint:
    training = ShowerTraining(epochs=1, energies_epochs=2, batch=50)
    files = [ShowerFile(shower_file, "e-")]
    return make_checkpoint("small", train_operator(files, SMALL, training), files, training, (1e3, 1e5))


@pytest.fixture
def saved(checkpoint: CalorimeterCheckpoint, tmp_path: Path) -> Path:
    return save_checkpoint(checkpoint, tmp_path / "small")


def test_a_saved_checkpoint_makes_the_same_showers(checkpoint: CalorimeterCheckpoint, saved: Path) -> None:
    again = load_checkpoint(saved)
    assert again.card == checkpoint.card
    one, two = (next(shower_batches(which, [5e3, 5e4], seed=2)).energies for which in (checkpoint, again))
    assert np.array_equal(one, two)


def test_the_card_names_the_file_and_its_hash(checkpoint: CalorimeterCheckpoint) -> None:
    (file,) = checkpoint.card.files
    assert (file.name, file.particle, file.simulator, len(file.sha256)) == ("electrons.h5", "e-", "none", 64)


def test_nothing_is_replaced(checkpoint: CalorimeterCheckpoint, saved: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        save_checkpoint(checkpoint, saved)


def test_changed_weights_are_refused(saved: Path) -> None:
    other = load_checkpoint(saved)
    with torch.no_grad():
        other.operator.voxels.lift.bias.add_(1.0)
    (saved / "model.safetensors").unlink()
    save_checkpoint(other, saved.with_name("other"))
    (saved.with_name("other") / "card.json").write_text((saved / "card.json").read_text())
    with pytest.raises(FingerprintError, match="not those of the card"):
        load_checkpoint(saved.with_name("other"))


def test_weights_of_another_shape_are_refused(saved: Path) -> None:
    card = json.loads((saved / "card.json").read_text())
    card["settings"]["width"] = 7
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputFileError, match="not the weights of this card"):
        load_checkpoint(saved)


def test_a_card_of_another_version_is_refused(saved: Path) -> None:
    card = json.loads((saved / "card.json").read_text())
    card["schema_version"] = 2
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputFileError, match="schema_version"):
        load_checkpoint(saved)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="calorimeter checkpoint"):
        load_checkpoint("no-such-operator")


def test_energies_and_particles_outside_of_the_training_are_refused(checkpoint: CalorimeterCheckpoint) -> None:
    with pytest.raises(InputValueError, match="trained on 1000 to 100000 MeV"):
        next(shower_batches(checkpoint, [2e5]))
    with pytest.raises(InputValueError, match="'gamma'"):
        next(shower_batches(checkpoint, [5e4], "gamma"))


def test_finer_voxels_sum_to_the_coarse_ones(checkpoint: CalorimeterCheckpoint) -> None:
    energies = np.full(10, 2e4)
    coarse = next(shower_batches(checkpoint, energies, seed=3))
    fine = next(shower_batches(checkpoint, energies, seed=3, finer=(3, 2)))
    assert fine.geometry.shape == (6, 24, 8)
    summed = fine.energies.reshape(10, 6, 8, 3, 4, 2).sum((3, 5)).reshape(10, -1)
    assert summed == pytest.approx(coarse.energies, rel=1e-4, abs=1e-6)


def test_all_batches_are_joined_in_order(saved: Path, checkpoint: CalorimeterCheckpoint) -> None:
    energies = np.linspace(2e3, 5e4, 30)
    whole = generate_showers(saved, energies, seed=4)
    assert whole.incident_energies == pytest.approx(energies)
    assert np.array_equal(whole.energies, next(shower_batches(checkpoint, energies, seed=4)).energies)
