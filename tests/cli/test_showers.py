"""``darkop showers``: train on a file, generate from the checkpoint, and time it beside a program."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from darkop_dist.cli import main
from darkop_dist.operators.showers import Showers, VoxelGeometry, read_showers, write_showers

GEOMETRY = VoxelGeometry(5, 6, 3)
SIMULATOR = """
import sys
import numpy as np
from pathlib import Path
from darkop_dist.operators.showers import Showers, VoxelGeometry, write_showers
count = int(sys.argv[1])
columns = {"cpu_s": np.full(count, 0.5, np.float32)} if len(sys.argv) == 3 else {}
incident = np.full(count, 5000.0, np.float32)
write_showers(Path(sys.argv[2]), Showers(incident, np.ones((count, 90), np.float32), VoxelGeometry(5, 6, 3), columns))
"""


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["darkop", "showers", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 photons: 3% of the energy in exponential deposits that get fewer with depth and radius."""
    rng = np.random.default_rng(1)
    incident = np.exp(rng.uniform(np.log(1e3), np.log(1e4), 400))
    mean = np.exp(-np.arange(5))[:, None, None] * np.ones((1, 6, 1)) * np.exp(-np.arange(3))
    field = rng.poisson(mean * 1e-2 * incident[:, None, None, None]) * rng.exponential(0.3, (400, *mean.shape))
    field *= 0.03 * incident[:, None, None, None] / field.sum((1, 2, 3), keepdims=True)
    path = tmp_path_factory.mktemp("simulated") / "photons.h5"
    showers = Showers(incident.astype(np.float32), field.reshape(400, -1).astype(np.float32), GEOMETRY)
    write_showers(path, showers, attributes={"particle": "gamma"})
    return path


@pytest.fixture(scope="module")
def checkpoint(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "photons-test"
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "train", simulated, "--output", output, "--epochs", 1, "--energies-epochs", 3) == 0
    return output


def test_generated_showers_have_the_energies_and_voxels_asked_for(
    checkpoint: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "fine.h5"
    words = ("generate", checkpoint, "--output", output, "--like", simulated, "--particle", "gamma")
    assert run(monkeypatch, *words, "--finer", 3, 2) == 0
    made = read_showers(output, geometry=VoxelGeometry(5, 18, 6))
    assert np.array_equal(made.incident_energies, read_showers(simulated).incident_energies)
    assert np.median(made.energies.sum(1) / made.incident_energies) == pytest.approx(0.03, rel=0.3)


def test_the_same_seed_writes_the_same_showers(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.h5", "two.h5"):
        words = ("--showers", 20, "--energy-gev", 1.5, 9, "--particle", "gamma", "--seed", 3)
        assert run(monkeypatch, "generate", checkpoint, "--output", tmp_path / name, *words) == 0
    one, two = (read_showers(tmp_path / name, geometry=GEOMETRY) for name in ("one.h5", "two.h5"))
    assert np.array_equal(one.energies, two.energies)
    assert 1500 <= one.incident_energies.min() <= one.incident_energies.max() <= 9000


def test_an_existing_checkpoint_is_not_trained_over(
    checkpoint: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", simulated, "--output", checkpoint) != 0
    assert "exists already" in capsys.readouterr().err


def test_energies_outside_of_the_training_are_refused_and_nothing_is_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.h5"
    words = ("--energy-gev", 1, 500, "--particle", "gamma")
    assert run(monkeypatch, "generate", checkpoint, "--output", output, *words) != 0
    assert "The checkpoint was trained on" in capsys.readouterr().err
    assert not output.exists()


def test_speed_is_told_beside_that_of_the_simulator(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "simulator.py"
    script.write_text(SIMULATOR)
    command = f"{sys.executable} {script} {{showers}} {{output}}"
    words = ("speed", checkpoint, "--simulated", 8, "--showers", 50, "--particle", "gamma", "--simulator")
    assert run(monkeypatch, *words, command) == 0
    told = capsys.readouterr().out
    assert "simulator: 500.0 +- 0.0 ms per shower (8)" in told
    assert "ratio:" in told
    assert run(monkeypatch, *words, f"{command} without") != 0
    assert "no column 'cpu_s'" in capsys.readouterr().err
    assert run(monkeypatch, *words, f"{sys.executable} {script} three {{output}}") != 0
    assert "ended with exit status 1" in capsys.readouterr().err


def test_upsampled_showers_keep_their_energy(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "upsample", simulated, "--output", tmp_path / "fine.h5", "--method", "linear") == 0
    fine = read_showers(tmp_path / "fine.h5", geometry=VoxelGeometry(5, 18, 6))
    assert fine.energies.sum(1) == pytest.approx(read_showers(simulated).energies.sum(1), rel=1e-4)
    assert run(monkeypatch, "upsample", simulated, "--output", tmp_path / "no.h5", "--method", "cubic") != 0
    assert "Give nearest or linear" in capsys.readouterr().err
