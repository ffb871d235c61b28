"""Quantised students: torch and the exact network agree bit for bit, resources fall, a teacher is learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from level1_events import random_inputs

from darkop_dist.errors import FitError, InputValueError
from darkop_dist.operators.fixed_point import FixedPointSettings, score_bits
from darkop_dist.operators.fixed_point_training import (
    Distillation,
    QuantisationSettings,
    Student,
    train_student,
)

SETTINGS = FixedPointSettings(input_shape=(57,), widths=(8, 2), score="squares", score_integer=12, score_fraction=4)


def distillation(events: int = 4000) -> Distillation:
    """A teacher that counts two transverse momenta."""
    inputs = random_inputs(events)
    target = np.hypot(inputs[:, 27], inputs[:, 3]) / 256.0
    most = np.abs(random_inputs(20_000)).max(axis=0).astype(np.float64) + 1
    return Distillation(
        inputs, target.astype(np.float32), np.ones(events, dtype=np.float32), np.tile([64.0, 128.0, 128.0], 19), most
    )


def test_torch_and_the_exact_network_agree() -> None:
    torch.manual_seed(1)
    data = distillation(400)
    student = Student(SETTINGS, QuantisationSettings(), data, np.random.default_rng(6))
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "bits" in name:
                parameter.add_(torch.randn_like(parameter))
    inputs = torch.tensor(data.inputs)
    student.calibrate(inputs)
    student.rounding = True
    with torch.no_grad():
        outputs, _ = student(inputs)
    np.testing.assert_array_equal(student.network().outputs(data.inputs), outputs.double().numpy())


def test_before_rounding_the_network_is_the_float_model() -> None:
    data = distillation(400)
    student = Student(SETTINGS, QuantisationSettings(), data, np.random.default_rng(6))
    with torch.no_grad():
        outputs, _ = student(torch.tensor(data.inputs))
    np.testing.assert_allclose(student.network().outputs(data.inputs), outputs.double().numpy(), rtol=1e-4, atol=1e-5)


def test_an_autoencoder_gives_an_error_that_torch_and_the_exact_network_share() -> None:
    compared = np.arange(0, 57, 3)
    data = replace(distillation(400), error_inputs=compared)
    settings = SETTINGS.model_copy(update={"widths": (8, 19), "score": "error", "score_integer": 14})
    student = Student(settings, QuantisationSettings(), data, np.random.default_rng(6))
    student.calibrate(torch.tensor(data.inputs))
    student.rounding = True
    network = student.network()
    wide = replace(network, settings=score_bits(network, data.inputs))
    with torch.no_grad():
        expected = student.score(torch.tensor(data.inputs)).double().numpy()
    np.testing.assert_array_equal(wide.score(data.inputs), expected.astype(np.float32))
    with pytest.raises(InputValueError, match="0 inputs are compared with 19 outputs"):
        train_student(distillation(400), settings, QuantisationSettings(epochs=1), seed=1)


def test_a_teacher_is_learned_and_resources_fall() -> None:
    training = QuantisationSettings(epochs=24, float_epochs=6, batch=64, beta_first=1e-7, beta_last=1e-4)
    data = distillation()
    epochs = train_student(data, SETTINGS, training, seed=1)
    rounded = [epoch for epoch in epochs if epoch.rounded]
    assert len(rounded) == 18
    assert rounded[-1].ebops < 0.3 * rounded[0].ebops
    best = min(rounded, key=lambda epoch: epoch.loss)
    network = best.network
    found = np.sqrt((network.outputs(data.inputs) ** 2).sum(axis=1))
    assert np.corrcoef(found, data.target)[0, 1] > 0.9
    again = train_student(data, SETTINGS, training, seed=1)
    assert again[-1].loss == epochs[-1].loss, "the same seed, the same student"
    last = rounded[-1].network
    assert np.mean([np.mean(layer.weight == 0) for layer in last.layers]) > 0.3, "weights without bits are pruned"


def test_bad_input() -> None:
    data = distillation(400)
    with pytest.raises(InputValueError, match=r"shape \(400, 57\)"):
        train_student(data, SETTINGS.model_copy(update={"input_shape": (56,)}), QuantisationSettings(epochs=1), seed=1)
    broken = Distillation(data.inputs, data.target * np.float32(np.nan), data.weight, data.scale, data.most)
    with pytest.raises(FitError, match="not finite after epoch 0"):
        train_student(broken, SETTINGS, QuantisationSettings(epochs=1), seed=1)
