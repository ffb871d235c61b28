"""The benchmark on made-up files of the LHC Olympics' layout, and on the real ones where they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from darkop_dist.cli import main
from darkop_dist.errors import InputFileError
from darkop_dist.operators.lhco import read_lhco, score_lhco


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["darkop", "benchmark", "lhco", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2000 normal events, 200 of them for signal, five widths away."""
    rng, path = np.random.default_rng(1), tmp_path_factory.mktemp("lhco")
    for name, background, signal in (("train", 1990, 10), ("val", 1990, 10), ("extrasig", 0, 200)):
        shift = np.repeat([0.0, 5.0], [background, signal])[:, None]
        features = rng.normal(size=(background + signal, 5)) + shift
        np.save(path / f"innerdata_{name}.npy", np.concatenate([features, shift / 5.0], axis=1))
    return path


def test_all_models_find_what_lies_far_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--data", folder, "--epochs", 2, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in found] == ["mixture", "autoencoder", "wnae", "supervised"]
    assert all(one["auc"]["value"] > 0.85 for one in found)
    assert [point and point["background_left"] for point in found[0]["points"]] == [19, 1, None]


def test_the_table_names_the_background_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "--data", folder, "--model", "supervised") == 0
    told = capsys.readouterr().out
    assert "1990 background and 100 signal events" in told
    assert "no background left" in told
    assert run(monkeypatch, "--data", folder, "--model", "oracle") != 0
    assert "Known are mixture" in capsys.readouterr().err


def test_files_that_are_not_those_of_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="cannot be read"):
        read_lhco(tmp_path)
    for name in ("train", "val", "extrasig"):
        np.save(tmp_path / f"innerdata_{name}.npy", np.zeros((10, 4)))
    with pytest.raises(InputFileError, match=r"shape \(10, 4\)"):
        read_lhco(tmp_path)


def test_real_features_are_told_apart_with_labels(shared_data: Path) -> None:
    sample = read_lhco(shared_data / "lhco")
    assert len(sample.background) == 59_631
    background, signal = score_lhco(sample, "supervised", epochs=1, seed=1)
    assert float((signal > np.quantile(background, 0.99)).mean()) > 0.5
