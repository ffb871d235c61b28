"""Training: it learns, it is deterministic, and the parts of the sample keep apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from darkop_dist.errors import FitError, InputValueError
from darkop_dist.operators.auc import evaluate_auc
from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import Checkpoint, verify
from darkop_dist.operators.cylinder import CylinderSettings
from darkop_dist.operators.descent import Epoch, TrainingSettings
from darkop_dist.operators.evaluation import scoring_function
from darkop_dist.operators.split import split_sample
from darkop_dist.operators.training import Provenance, fit_density, train_cylinder

Make = Callable[..., Any]


def test_the_loss_falls_and_hot_towers_are_anomalous(trained: Checkpoint, make_dijets: Make) -> None:
    losses = trained.card.trained_on.losses
    assert losses.validation[losses.kept_epoch] == min(losses.validation)
    assert losses.validation[losses.kept_epoch] < 0.6 * losses.validation[0]
    assert losses.train[-1] < 0.6 * losses.train[0]
    score = scoring_function(trained)
    background = score({"fields": make_dijets(400, seed=21)})
    auc = evaluate_auc(background, score({"fields": make_dijets(200, seed=22, hot=2)}))
    assert auc.value - 5 * auc.uncertainty > 0.5
    # and the same background again is not
    null = evaluate_auc(background, score({"fields": make_dijets(200, seed=23)}))
    assert abs(null.value - 0.5) < 4 * null.uncertainty


def test_the_same_seed_gives_the_same_model(train_toy: Make, make_dijets: Make) -> None:
    fields = make_dijets(300, seed=2)
    first, second, other = (train_toy(fields, seed=seed, epochs=2) for seed in (7, 7, 8))
    assert first.card.fingerprint == second.card.fingerprint != other.card.fingerprint
    verify(first, "test")


def test_the_card_says_what_was_done(trained: Checkpoint) -> None:
    card = trained.card
    assert card.trained_on.datasets == ("toy dijets",)
    assert (card.trained_on.events, card.trained_on.validation_events, card.trained_on.score_axis_events) == (
        600,
        80,
        120,
    )
    assert card.trained_on.seconds > 0
    assert card.auc == {}
    assert "unweighted" in card.approximations[0]
    assert "120 events of toy dijets (none)" in card.score_axis.fixed_on
    assert {"torch", "numpy"} <= card.created_with.keys()


def test_the_events_of_the_axis_do_not_train(train_toy: Make, make_dijets: Make) -> None:
    fields = make_dijets(300, seed=3)
    axis = split_sample(300, np.random.default_rng(7)).axis
    changed = fields.copy()
    changed[axis] = make_dijets(300, seed=4, hot=3)[axis]
    first, second = train_toy(fields, seed=7, epochs=1), train_toy(changed, seed=7, epochs=1)
    for name, weights in first.weights.items():
        np.testing.assert_array_equal(weights, second.weights[name])
    assert first.card.score_axis.edges != second.card.score_axis.edges


def test_progress_and_early_stopping(fields_input: ModelInput, toy: Provenance, make_dijets: Make) -> None:
    seen: list[Epoch] = []
    checkpoint = train_cylinder(
        np.random.default_rng(3).normal(size=(250, 2, 8, 16)).astype(np.float32),  # noise: nothing to learn
        input_spec=fields_input,
        name="noise",
        provenance=toy,
        seed=1,
        settings=CylinderSettings(width=8, modes_eta=4, modes_phi=4, layers=2),
        training=TrainingSettings(epochs=60, batch=16, learning_rate=3e-2, patience=2),
        progress=seen.append,
    )
    losses = checkpoint.card.trained_on.losses
    assert [epoch.number for epoch in seen] == list(range(len(losses.train)))
    assert [epoch.validation_loss for epoch in seen] == list(losses.validation)
    assert len(losses.train) == losses.kept_epoch + 3 < 60


@pytest.mark.parametrize("events", [200, 201, 1000, 12345])
def test_the_parts_are_disjoint_and_complete(events: int) -> None:
    parts = split_sample(events, np.random.default_rng(1))
    together = np.concatenate([parts.train, parts.validation, parts.axis])
    np.testing.assert_array_equal(np.sort(together), np.arange(events))
    assert len(parts.axis) >= 50


def test_bad_samples_are_refused(train_toy: Make, make_dijets: Make) -> None:
    with pytest.raises(InputValueError, match="100 events are too few, it takes 200"):
        train_toy(make_dijets(100, seed=1))
    with pytest.raises(InputValueError, match=r"fields: the sample is float64 of shape \(300, 2, 8, 16\)"):
        train_toy(make_dijets(300, seed=1).astype(np.float64))
    with pytest.raises(InputValueError, match="fields: the sample is not finite"):
        train_toy(make_dijets(300, seed=1) * np.float32(np.nan))


def test_a_diverging_training_and_a_coarse_grid_are_refused(
    fields_input: ModelInput, toy: Provenance, make_dijets: Make
) -> None:
    def train(**more: Any) -> Checkpoint:
        return train_cylinder(
            make_dijets(300, seed=1), input_spec=fields_input, name="bad", provenance=toy, seed=1, **more
        )

    with pytest.raises(InputValueError, match="8 x 16 towers are too few for 9 x 8 modes"):
        train(settings=CylinderSettings(modes_eta=9))
    huge = make_dijets(300, seed=1)
    huge[split_sample(300, np.random.default_rng(1)).validation] *= np.float32(1e30)
    with pytest.raises(FitError, match=r"loss is not finite after epoch 0\. Use a smaller"):
        train_cylinder(huge, input_spec=fields_input, name="bad", provenance=toy, seed=1)


def columns_input(names: list[str]) -> ModelInput:
    return ModelInput(
        name="columns",
        shape=(len(names),),
        meaning="toy columns",
        representation="columns",
        settings={"columns": list(names), "transforms": {}},
    )


def test_a_density_finds_the_improbable(toy: Provenance) -> None:
    rng = np.random.default_rng(5)
    background = rng.normal([100.0, -3.0], [20.0, 0.1], (2000, 2)).astype(np.float32)
    signal = rng.normal([150.0, -2.8], [10.0, 0.05], (300, 2)).astype(np.float32)
    checkpoint = fit_density(
        background[:1000], input_spec=columns_input(["mass", "log_x"]), name="toy-density", provenance=toy, seed=3
    )
    again = fit_density(
        background[:1000], input_spec=columns_input(["mass", "log_x"]), name="toy-density", provenance=toy, seed=3
    )
    assert checkpoint.card.fingerprint == again.card.fingerprint
    score = scoring_function(checkpoint)
    auc = evaluate_auc(score({"columns": background[1000:]}), score({"columns": signal}))
    assert auc.value - 5 * auc.uncertainty > 0.5
