"""Samples for those who bring none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darkop_dist as do
from darkop_dist.trigger import standard
from darkop_dist.trigger.build import export
from darkop_dist.trigger.build.export import Export
from darkop_dist.trigger.standard import few_crossings, standard_zero_bias


def test_the_packaged_crossings() -> None:
    sample = few_crossings()
    assert sample.about.kind == "zero-bias"
    assert np.bincount(sample.crossings.stratum).tolist() == [64] * 8
    assert sample.regions.max() > 100


def test_a_model_is_compiled_without_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(export, "MEASURED_S", 0.01)
    made = do.compile_for_trigger(model="level1-encoder-v1", backend="gpu", output=tmp_path / "gpu")
    assert isinstance(made, Export)
    assert made.events == 512


@pytest.mark.slow
def test_zero_bias_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CROSSINGS": 600, "LEAST": 60, "SOFT": 40, "HARD": 12}.items():
        monkeypatch.setattr(standard, name, value)
    monkeypatch.setattr(standard, "cache_directory", lambda: tmp_path)
    said: list[str] = []
    first = standard_zero_bias(5.04, said.append)
    assert len(said) == 1
    assert "zero bias with 5 collisions a crossing is simulated once and kept" in said[0]
    again = standard_zero_bias(4.96, said.append)
    assert len(said) == 1
    np.testing.assert_array_equal(again.inputs, first.inputs)
    assert first.crossings.weight.sum() == pytest.approx(1 - np.exp(-5.0))
    asked: list[float] = []
    monkeypatch.setattr(
        "darkop_dist.trigger.estimate.standard_zero_bias", lambda mean: asked.append(mean) or first, raising=True
    )
    with pytest.raises(do.errors.StatisticsError, match="the sample has 5 collisions a crossing"):
        do.estimate_trigger_rates(operator="level1-encoder-v1", conditions="run3-high-pileup", luminosity=2e34)
    assert asked
    assert asked[0] > 40
