"""A model for the high-level trigger: ONNX Runtime gives the scores of the network, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")
import onnxruntime
from level1_events import checkpoint_of, made_up, random_inputs, random_network

from darkop_dist.errors import InputValueError, OutputError
from darkop_dist.trigger.build import export
from darkop_dist.trigger.build.compile import compile_for_trigger
from darkop_dist.trigger.build.export import Export, export_gpu


@pytest.mark.parametrize("score", ["squares", "error", "value"])
def test_onnx_gives_the_scores_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: str) -> None:
    monkeypatch.setattr(export, "MEASURED_S", 0.01)
    network = random_network(5, (5, 1), score) if score == "value" else random_network(3, (5, 3), score)
    inputs = random_inputs(2000)
    made = export_gpu(checkpoint_of(network), inputs, tmp_path / "export", batches=(1, 64))
    session = onnxruntime.InferenceSession(str(made.onnx), providers=["CPUExecutionProvider"])
    found = session.run(None, {"inputs": inputs})[0]
    np.testing.assert_array_equal(found, network.score(inputs))
    assert [one.batch for one in made.measured] == [1, 64]
    assert all(
        one.events_per_s > 0 and one.provider in {"CPUExecutionProvider", "CUDAExecutionProvider"}
        for one in made.measured
    )
    with pytest.raises(OutputError, match="not empty"):
        export_gpu(checkpoint_of(network), inputs, tmp_path / "export")


def test_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MEASURED_S", 0.01)
    checkpoint, sample = checkpoint_of(random_network(3)), made_up(random_inputs(50))
    made = compile_for_trigger(checkpoint, sample=sample, output=tmp_path / "gpu", backend="gpu")
    assert isinstance(made, Export)
    with pytest.raises(InputValueError, match="Use fpga, hls or gpu"):
        compile_for_trigger(checkpoint, sample=sample, output=tmp_path / "tpu", backend="tpu")
    card = checkpoint.card.model_copy(update={"architecture": "gaussian-mixture"})
    with pytest.raises(InputValueError, match="Supported: networks of dense layers or patches"):
        compile_for_trigger(replace(checkpoint, card=card), sample=sample, output=tmp_path / "x", backend="gpu")


def test_a_torch_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MEASURED_S", 0.01)
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.BatchNorm1d(57), torch.nn.Linear(57, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)
    )
    inputs = random_inputs(3000)
    module(torch.tensor(inputs))
    made = compile_for_trigger(module, sample=made_up(inputs), output=tmp_path / "gpu", backend="gpu")
    assert isinstance(made, Export)
    with torch.no_grad():
        expected = (module.eval()(torch.tensor(inputs)) ** 2).sum(dim=1).numpy()
    session = onnxruntime.InferenceSession(str(made.onnx), providers=["CPUExecutionProvider"])
    assert np.corrcoef(session.run(None, {"inputs": inputs})[0], expected)[0, 1] > 0.95
    with pytest.raises(
        InputValueError, match=r"1 \(Tanh\) is no layer that firmware can be made of.*Supported: Linear"
    ):
        compile_for_trigger(
            torch.nn.Sequential(torch.nn.Linear(57, 3), torch.nn.Tanh()), sample=made_up(inputs), output=tmp_path / "t"
        )
    assert not (tmp_path / "t").exists()
