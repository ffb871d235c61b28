"""Distillation without a generator: targets, judges, checkpoints that score, and the curve of students."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("da4ml")
from level1_events import checkpoint_of, made_up, random_inputs, random_network

from darkop_dist.errors import InputFileError, InputValueError, OutputError, StatisticsError
from darkop_dist.operators.checkpoint import load_checkpoint, save_checkpoint
from darkop_dist.operators.fixed_point_training import HELD, Epoch, QuantisationSettings
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.trigger import pareto
from darkop_dist.trigger.conditions import find_conditions
from darkop_dist.trigger.distil import Yardstick, distillation, judge, score_sample, student_checkpoint
from darkop_dist.trigger.pareto import ParetoSet, Point, candidates_within, make_pareto, read_pareto
from darkop_dist.trigger.shapes import shape_of

CONDITIONS = find_conditions("run2-2018", 2.0033e34)  # 56 collisions, as the made-up samples have


def test_a_student_is_a_checkpoint_like_others(tmp_path: Path) -> None:
    network, inputs = random_network(2), random_inputs(300)
    folder = save_checkpoint(checkpoint_of(network), tmp_path / "student")
    scorer = LocalScorer.from_checkpoint(folder)
    np.testing.assert_array_equal(scorer.score({"level1": inputs}), network.score(inputs))
    assert scorer.inputs[0].representation == "level1"
    assert "distilled from the operator" in scorer.card.approximations[-1]
    assert "used neither for gradient steps nor for stopping" in scorer.card.score_axis.fixed_on
    with pytest.raises(InputValueError, match="not finite"):
        scorer.score({"level1": inputs * np.float32(np.nan)})
    np.testing.assert_array_equal(score_sample(load_checkpoint(folder), made_up(inputs)), network.score(inputs))


def test_no_event_of_the_score_axis_made_a_gradient_step() -> None:
    """Training events are all the same here, so that an axis with them in it would be refused."""
    network, inputs = random_network(2), random_inputs(2000)
    inputs[np.arange(2000) % HELD != 0] = 0
    axis = student_checkpoint(
        network, made_up(inputs), name="held", teacher="0" * 64, seed=1, training=QuantisationSettings(),
        epochs=(Epoch(0, 0.1, 1.0, network),), kept=0, seconds=1.0,
    ).card.score_axis  # fmt: skip
    assert axis.edges[0] == network.score(inputs[::HELD]).min()


def test_every_stratum_is_equally_loud() -> None:
    sample = made_up(random_inputs(1000)).rows(np.r_[np.arange(0, 1000, 2), np.arange(1, 200, 2)])
    data = distillation(sample, np.linspace(0.0, 4.0, len(sample), dtype=np.float32), shape_of("4-2"))
    stratum = sample.crossings.stratum
    assert data.weight[stratum == 0].sum() == pytest.approx(data.weight[stratum == 1].sum())
    assert data.weight.mean() == pytest.approx(1.0)
    assert data.target[0] == 0.0
    assert np.median(data.target) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(InputValueError, match="a score is negative"):
        distillation(sample, -np.ones(len(sample), dtype=np.float32), shape_of("4-2"))


def test_a_judge_keeps_the_rate() -> None:
    zero_bias, signal = made_up(random_inputs(4000, 3)), made_up(random_inputs(500, 4), kind="signal")
    judged = judge(lambda sample: sample.inputs[:, 27], Yardstick(zero_bias, {"one": signal}, CONDITIONS, 1e6))
    above = np.mean(zero_bias.inputs[:, 27] >= judged.threshold) * CONDITIONS.crossings_hz
    assert above <= 1e6
    assert judged.efficiency["one"] == np.mean(signal.inputs[:, 27] >= judged.threshold)
    assert judged.mean == judged.efficiency["one"]


def test_a_student_with_too_few_scores_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputValueError("score axis", "more than 45% of the scores are the same number", "Train with more events")

    sample, said = made_up(random_inputs(2000, 3)), []
    monkeypatch.setattr(pareto, "student_checkpoint", refuse)
    yardstick = Yardstick(sample, {"one": made_up(random_inputs(50), kind="signal")}, CONDITIONS, 2e6)
    training = QuantisationSettings(epochs=3, float_epochs=1, batch=256)
    with pytest.raises(StatisticsError, match="no student can be judged at 2e"):
        make_pareto(
            sample, yardstick, tmp_path / "set", teacher=checkpoint_of(random_network(6, (8, 4))), shapes=(shape_of("4-2"),),
            training=training, say=said.append,
        )  # fmt: skip
    assert any("is left out: score axis: more than 45%" in line for line in said)


def test_students_that_nothing_beats(tmp_path: Path) -> None:
    sample, signal = made_up(random_inputs(3000, 3)), made_up(random_inputs(300, 4), kind="signal")
    teacher = checkpoint_of(random_network(6, (8, 4)))
    yardstick = Yardstick(sample, {"one": signal}, CONDITIONS, 2e6)
    training = QuantisationSettings(epochs=12, float_epochs=3, batch=128, beta_first=1e-7, beta_last=1e-4)
    said: list[str] = []
    target = tmp_path / "set"
    found = make_pareto(
        sample, yardstick, target, teacher=teacher, shapes=(shape_of("4-2"),), training=training, say=said.append
    )
    assert read_pareto(target) == found
    assert [path.name for path in tmp_path.iterdir()] == ["set"], "nothing half-written beside it"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file/set: cannot be written"):
        make_pareto(sample, yardstick, tmp_path / "file" / "set", teacher=teacher)
    for one in found.points:
        assert not any(
            other.luts <= one.luts and other.depth <= one.depth and other.mean_efficiency > one.mean_efficiency
            for other in found.points
        )
        card = load_checkpoint(target / one.name).card
        assert "its epoch was chosen by efficiency at 2e+06 Hz for one" in card.approximations
        assert card.trained_on.losses.kept_epoch == one.epoch
    with pytest.raises(InputValueError, match="a rate needs zero bias"):
        make_pareto(signal, yardstick, tmp_path / "a", teacher=teacher)
    with pytest.raises(OutputError, match="exists already"):
        make_pareto(sample, yardstick, target, teacher=teacher, shapes=(shape_of("4-2"),), training=training)
    with pytest.raises(StatisticsError, match="cannot say which score gives 1 Hz"):
        make_pareto(sample, Yardstick(sample, {"one": signal}, CONDITIONS, 1.0), tmp_path / "b", teacher=teacher)


def test_the_best_within_a_budget(tmp_path: Path) -> None:
    def point(name: str, luts: float, depth: float, efficiency: float) -> Point:
        return Point(
            name=name, widths=(3,), epoch=1, loss=0.1, ebops=10.0, luts=luts, depth=depth,
            efficiency={"one": efficiency}, mean_efficiency=efficiency,
        )  # fmt: skip

    points = (point("small", 100, 10, 0.3), point("middle", 500, 20, 0.5), point("large", 5000, 30, 0.6))
    made = ParetoSet(
        rate_hz=1e3, conditions="run2-2018", luminosity=2e34, events={"one": 9}, teacher={"one": 0.6}, points=points
    )
    found = candidates_within(made, most_depth=22, most_luts=1e9)
    assert [one.name for one in found] == ["middle", "small"], "the most efficient first"
    assert [one.name for one in candidates_within(made, most_depth=99, most_luts=400)] == ["small"]
    with pytest.raises(InputValueError, match=r"at most 5 adders in a row.*The nearest, small, has 10 and 100"):
        candidates_within(made, most_depth=5, most_luts=1e9)
    with pytest.raises(InputFileError, match="no Pareto set"):
        read_pareto(tmp_path / "absent")
