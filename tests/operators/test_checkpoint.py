"""Checkpoints: what is saved is what is loaded, and nothing else is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from darkop_dist.errors import FingerprintError, InputFileError, InputValueError, OutputError, UnknownNameError
from darkop_dist.operators import checkpoint as checkpoints
from darkop_dist.operators.card import Auc
from darkop_dist.operators.checkpoint import (
    Checkpoint,
    find_checkpoint,
    fingerprint_of,
    load_checkpoint,
    packaged_names,
    save_checkpoint,
    with_auc,
)


@pytest.fixture
def saved(trained: Checkpoint, tmp_path: Path) -> Path:
    return save_checkpoint(trained, tmp_path / "toy")


def test_saving_and_loading_is_the_identity(trained: Checkpoint, saved: Path) -> None:
    loaded = load_checkpoint(saved)
    assert loaded.card == trained.card
    assert loaded.weights.keys() == trained.weights.keys()
    for name, array in trained.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], array)
    assert sorted(path.name for path in saved.iterdir()) == ["card.json", "model.safetensors"]
    assert [path.name for path in saved.parent.iterdir()] == ["toy"]


def test_an_existing_directory_is_kept_unless_asked(trained: Checkpoint, saved: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        save_checkpoint(trained, saved)
    better = with_auc(trained, {"signal": Auc(value=0.7, uncertainty=0.01, n_background=10, n_signal=10)})
    save_checkpoint(better, saved, overwrite=True)
    assert load_checkpoint(saved).card.auc["signal"].value == 0.7
    assert [path.name for path in saved.parent.iterdir()] == ["toy"]
    precious = saved.parent / "precious"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    with pytest.raises(OutputError, match="holds no checkpoint"):
        save_checkpoint(trained, precious, overwrite=True)


def test_a_failed_save_leaves_nothing(trained: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        save_checkpoint(trained, tmp_path / "file" / "toy")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_replacement_keeps_the_old_one(
    trained: Checkpoint, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OutputError, match="disk full"):
        save_checkpoint(trained, saved, overwrite=True)
    assert load_checkpoint(saved).card == trained.card


def test_the_auc_is_not_in_the_fingerprint(trained: Checkpoint) -> None:
    better = with_auc(trained, {"signal": Auc(value=0.7, uncertainty=0.01, n_background=10, n_signal=10)})
    assert better.card.fingerprint == trained.card.fingerprint
    assert trained.card.auc == {}


def test_the_fingerprint_sees_every_weight_and_name() -> None:
    weights = {"a": np.ones((2, 3), np.float32), "b": np.zeros(4)}
    first = fingerprint_of(weights, "{}")
    assert fingerprint_of(dict(reversed(weights.items())), "{}") == first
    changed = [
        fingerprint_of({**weights, "a": np.ones((3, 2), np.float32)}, "{}"),
        fingerprint_of({**weights, "b": np.array([0.0, 0.0, 0.0, 5e-324])}, "{}"),
        fingerprint_of({"a": weights["a"], "c": weights["b"]}, "{}"),
        fingerprint_of(weights, '{"x":1}'),
    ]
    assert len({first, *changed}) == 5


def test_changed_weights_are_refused(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["encoder.0.bias"] = weights["encoder.0.bias"] + 1e-7
    save_file(weights, saved / "model.safetensors")
    with pytest.raises(FingerprintError, match=r"toy: the weights or the architecture are not those of the card"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("section", "key", "value"), [("score_axis", "edges", [0.0, 1.0]), ("settings", "latent_eta", 1)]
)
def test_a_changed_architecture_or_axis_is_refused(saved: Path, section: str, key: str, value: object) -> None:
    card = json.loads((saved / "card.json").read_text())
    card[section][key] = value
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(FingerprintError, match="not those of the card"):
        load_checkpoint(saved)


def test_weights_that_are_not_finite_are_refused(trained: Checkpoint, tmp_path: Path) -> None:
    weights = dict(trained.weights) | {"input.scale": np.array([np.nan, 1.0], np.float32)}
    fingerprint = fingerprint_of(weights, trained.card.architecture_json())
    broken = Checkpoint(trained.card.model_copy(update={"fingerprint": fingerprint}), weights)
    with pytest.raises(InputValueError, match=r"weight 'input\.scale': it is not finite"):
        save_checkpoint(broken, tmp_path / "broken")


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_missing_and_corrupt_files_are_named(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\xff" * 100):
        (saved / name).write_bytes(content)
        with pytest.raises(InputFileError, match=rf"{name}: not a"):
            load_checkpoint(saved)
    (saved / name).unlink()
    with pytest.raises(InputFileError, match=rf"{name}: cannot be read \(No such file"):
        load_checkpoint(saved)


def test_a_card_of_another_version_is_refused(saved: Path) -> None:
    card = json.loads((saved / "card.json").read_text())
    (saved / "card.json").write_text(json.dumps({**card, "schema_version": 2}))
    with pytest.raises(InputFileError, match=r"not a card of a checkpoint \(schema_version"):
        load_checkpoint(saved)


def test_finding(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint(saved) == saved
    monkeypatch.setattr(checkpoints, "PACKAGED", saved.parent)
    assert packaged_names() == ("toy",)
    assert find_checkpoint("toy") == saved
    with pytest.raises(UnknownNameError, match=r"unknown checkpoint 'toys'\. Did you mean toy"):
        find_checkpoint("toys")


def test_packaged_checkpoints_are_whole_and_small() -> None:
    for name in packaged_names():
        folder = find_checkpoint(name)
        assert load_checkpoint(folder).card.name == name
        assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
