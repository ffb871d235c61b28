"""``darkop evaluate showers``: what is printed, written and drawn, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from darkop_dist.operators.showers import evaluation
from darkop_dist.operators.showers.files import write_showers
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry

Run = Callable[..., tuple[object, str, str]]
SMALL = VoxelGeometry(12, 4, 3)
FAST = ("--epochs", "2", "--low-width", "8", "--high-width", "8", "--draws", "400")


def write(path: Path, count: int, seed: int, geometry: VoxelGeometry = SMALL, scale: float = 1.0) -> Path:
    rng = np.random.default_rng(seed)
    incident = rng.uniform(1e3, 1e5, count).astype(np.float32)
    share = rng.gamma(0.3, 1.0, (count, geometry.voxels))
    energies = scale * incident[:, None] * share / share.sum(axis=1, keepdims=True)
    write_showers(path, Showers(incident, energies.astype(np.float32), geometry))
    return path


@pytest.fixture
def run(run_darkop: Run) -> Run:
    """Runs the command; distances are drawn from small batches, which take a second instead of a minute."""
    return lambda *words: run_darkop("evaluate", "showers", *map(str, words), *FAST)


def test_a_table_beside_the_floor(run: Run, tmp_path: Path) -> None:
    generated, reference = write(tmp_path / "generated.h5", 50, 1), write(tmp_path / "reference.h5", 100, 2)
    figures = tmp_path / "figures"
    status, said, errors = run(generated, reference, "--output", tmp_path / "table", "--figures", figures)
    assert status == 0, errors
    assert "floor: FPD" in errors
    assert "50 showers of each sample" in said
    assert "arXiv:2211.10295" in said
    found = evaluation.ShowerEvaluation.model_validate_json((tmp_path / "table.json").read_text())
    assert found.generated is not None
    assert found.settings.high_level.epochs == 2
    written = (tmp_path / "table.md").read_text()
    for scores in (found.generated, found.floor):
        assert f"{scores.high_level.auc:.4f} +- {scores.high_level.auc_error:.4f}" in written
        assert f"{scores.high_level.auc:.4f}" in said
    assert sorted(path.name for path in figures.iterdir()) == ["shower_displays.png", "showers.png"]


def test_the_same_file_twice_gives_the_floor_alone(run: Run, tmp_path: Path) -> None:
    reference = write(tmp_path / "reference.h5", 100, 2)
    status, said, errors = run(reference, reference, "--json")
    assert status == 0, errors
    found = json.loads(said)
    assert found["generated"] is None
    assert found["floor"]["showers"] == 50
    assert "generated:" not in errors


def test_samples_that_cannot_be_compared(run: Run, tmp_path: Path) -> None:
    reference = write(tmp_path / "reference.h5", 100, 2)
    for words, message in (
        ((write(tmp_path / "other.h5", 50, 1, VoxelGeometry(12, 2, 3)), reference), "generated in 12 x 2 x 3 voxels"),
        ((write(tmp_path / "few.h5", 5, 1), reference), "10 or more"),
        ((tmp_path / "absent.h5", reference), "no such file of showers"),
        ((reference, write(tmp_path / "silicon.h5", 100, 3, scale=0.033)), "Give the sampling fraction"),
        ((reference, write(tmp_path / "b.h5", 90, 4), "--output", tmp_path / "no" / "name"), "Make it first"),
    ):
        status, _, errors = run(*words)
        assert status == 2, words
        assert message in " ".join(errors.split())


@pytest.mark.parametrize(
    ("value", "message"), [(-1.0, "shower 7 has an energy below 0"), (np.nan, "shower 7 has an energy that is not")]
)
def test_energies_that_cannot_be(run: Run, tmp_path: Path, value: float, message: str) -> None:
    generated, reference = write(tmp_path / "generated.h5", 50, 1), write(tmp_path / "reference.h5", 100, 2)
    with h5py.File(generated, "r+") as file:
        file["showers"][7, 3] = value
    status, _, errors = run(generated, reference)
    assert status == 2
    assert message in " ".join(errors.split())


def test_a_file_without_its_dataset(run: Run, tmp_path: Path) -> None:
    generated, reference = write(tmp_path / "generated.h5", 50, 1), write(tmp_path / "reference.h5", 100, 2)
    with h5py.File(generated, "r+") as file:
        del file["incident_energies"]
    status, _, errors = run(generated, reference)
    assert status == 2
    assert "no dataset 'incident_energies'" in " ".join(errors.split())
