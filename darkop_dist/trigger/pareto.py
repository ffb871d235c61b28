"""The curve between resources and efficiency: students of several widths, judged, and the best within limits.

A Pareto set is a folder: ``teacher`` and one checkpoint for each kept student, and ``pareto.json`` with what each takes
and finds. Widths, precision and pruning are all on it: the widths by hand, the rest by the training (see
`operators.fixed_point_training`).
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkop_dist.errors import InputFileError, InputValueError, OutputError, StatisticsError
from darkop_dist.operators.checkpoint import Checkpoint, save_checkpoint
from darkop_dist.operators.fixed_point_training import Epoch, QuantisationSettings
from darkop_dist.trigger.distil import (
    Yardstick,
    distillation,
    judge,
    judge_network,
    score_sample,
    student_checkpoint,
    timed,
    train_students,
    train_teacher,
)
from darkop_dist.trigger.logic import ranges_of, trace_logic
from darkop_dist.trigger.sample import Level1Sample, require_zero_bias
from darkop_dist.trigger.shapes import Kind, Shape, shape_of

FILE = "pareto.json"
SHAPES = tuple(map(shape_of, ("32-16-3", "16-8-3", "16-3", "8-3", "autoencoder:8-4-8", "regions:2-8-3")))
EVERY = 3  # of the epochs one is judged: neighbours hardly differ
Say = Callable[[str], None]


class Point(BaseModel):
    """A student.

    Attributes:
        name: of its checkpoint, a folder beside the file.
        kind: encoder, autoencoder or regions.
        widths: outputs of its layers, as in its shape.
        epoch: of its training.
        loss: distance to the teacher's scores on the validation events.
        ebops: products of bits.
        luts: da4ml's estimate.
        depth: its estimate of the longest chain of adders.
        efficiency: of each signal, at the rate of the set.
        mean_efficiency: over the signals.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind = "encoder"
    widths: tuple[int, ...]
    epoch: int
    loss: float
    ebops: float
    luts: float
    depth: float
    efficiency: dict[str, float]
    mean_efficiency: float

    @property
    def shape(self) -> Shape:
        """The student's shape."""
        return Shape(self.kind, self.widths)


class ParetoSet(BaseModel):
    """Students of one teacher.

    Attributes:
        schema_version: of this layout.
        rate_hz: at which efficiencies are compared.
        conditions: of the LHC.
        luminosity: in 1/(cm2 s).
        events: of each signal.
        teacher: its efficiencies.
        floats: those of models of the students' shapes that were trained without rounding, by shape.
        points: the students, those first that take least.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    rate_hz: Annotated[float, Field(gt=0)]
    conditions: str
    luminosity: float
    events: dict[str, int]
    teacher: dict[str, float]
    floats: dict[str, dict[str, float]] = {}
    points: tuple[Point, ...]


def make_pareto(
    sample: Level1Sample,
    yardstick: Yardstick,
    folder: str | Path,
    *,
    teacher: Checkpoint | None = None,
    shapes: Sequence[Shape] = SHAPES,
    training: QuantisationSettings | None = None,
    seed: int = 3,
    say: Say = print,
) -> ParetoSet:
    """Train a teacher if none is given, then students of each shape, and keep those that none of their kind beats.

    The folder appears at the end, whole.

    Args:
        sample: zero bias to learn from, in strata.
        yardstick: where students are judged.
        folder: to write; must not exist.
        teacher: the full operator.
        shapes: of the students.
        training: of the students.
        seed: of all trainings.
        say: told what happens.

    Raises:
        OutputError: the folder exists or cannot be written.
        InputValueError: a sample of a signal stands where one of zero bias must.
        StatisticsError: the yardstick's sample cannot say which score gives the rate.
    """
    target, settings = Path(folder), training or QuantisationSettings()
    if target.exists():
        raise OutputError(f"{target}: exists already. Choose another folder")
    partial = target.with_name(f".{target.name}.partial-{uuid.uuid4().hex[:8]}")
    try:  # before hours of training
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Choose another folder") from error
    for events in (sample, yardstick.zero_bias):
        require_zero_bias(events)
    full = teacher or train_teacher(
        sample,
        name="teacher",
        seed=seed,
        progress=lambda epoch: say(f"teacher, epoch {epoch.number + 1}: validation loss {epoch.validation_loss:.4f}"),
    )
    scores = score_sample(full, sample)
    reference = judge(lambda events: score_sample(full, events), yardstick)
    say(f"teacher: {_shown(reference.efficiency)} at {yardstick.rate_hz:g} Hz")
    points: list[tuple[Point, Checkpoint]] = []
    floats: dict[str, dict[str, float]] = {}
    for shape in shapes:
        data = distillation(sample, scores, shape)
        clock = timed()
        unrounded = train_students(data, shape.settings, settings.model_copy(update={"quantised": False}), seed=seed)
        if (judged := judge_network(min(unrounded, key=lambda epoch: epoch.loss).network, yardstick)) is not None:
            floats[shape.name] = judged.efficiency
            say(f"{shape.name} in float: {_shown(judged.efficiency)} ({clock():.0f} s)")
        clock = timed()
        epochs = train_students(data, shape.settings, settings, seed=seed)
        for epoch in epochs[::-EVERY]:
            point = _point(epoch, shape, yardstick)
            if point is None:
                continue
            try:
                student = student_checkpoint(
                    epoch.network, sample, name=point.name, teacher=full.card.fingerprint, seed=seed,
                    training=settings, epochs=epochs, kept=epoch.number, seconds=clock(),
                    chosen_by=f"efficiency at {yardstick.rate_hz:g} Hz for {', '.join(yardstick.signals)}",
                )  # fmt: skip
            except InputValueError as error:  # so few bits that most crossings have one score
                say(f"{point.name} is left out: {error}")
                continue
            points.append((point, student))
        say(f"students {shape.name}: {len(epochs)} epochs in {clock():.0f} s")
    if not points:
        raise StatisticsError(
            f"no student can be judged at {yardstick.rate_hz:g} Hz: too few crossings lie above a threshold of that "
            "rate. Give a larger sample of zero bias, a higher rate, or more epochs"
        )
    front = [kept for kept in points if not any(_beats(other, kept[0]) for other, _ in points)]
    front.sort(key=lambda kept: kept[0].luts)
    found = ParetoSet(
        rate_hz=yardstick.rate_hz,
        conditions=yardstick.conditions.name,
        luminosity=yardstick.conditions.luminosity,
        events=reference.events,
        teacher=reference.efficiency,
        floats=floats,
        points=tuple(point for point, _ in front),
    )
    try:
        save_checkpoint(full, partial / "teacher")
        for point, student in front:
            save_checkpoint(student, partial / point.name)
        (partial / FILE).write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.rename(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def read_pareto(folder: str | Path) -> ParetoSet:
    """Read a Pareto set.

    Raises:
        InputFileError: there is none.
    """
    path = Path(folder) / FILE
    try:
        return ParetoSet.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise InputFileError(str(path), f"is no Pareto set ({error})", "Make it with darkop trigger train") from error


def candidates_within(found: ParetoSet, *, most_depth: float, most_luts: float) -> tuple[Point, ...]:
    """The students whose estimates stay within limits, those of the best mean efficiency first.

    Raises:
        InputValueError: no student stays within them; names the nearest.
    """
    fits = [point for point in found.points if point.depth <= most_depth and point.luts <= most_luts]
    if not fits:
        nearest = min(found.points, key=lambda point: max(point.depth / most_depth, point.luts / most_luts))
        raise InputValueError(
            "budget",
            f"no student has at most {most_depth:.3g} adders in a row"
            + (f" and {most_luts:g} LUTs" if np.isfinite(most_luts) else ""),
            f"The nearest, {nearest.name}, has {nearest.depth:g} and {nearest.luts:.0f}. Train smaller ones",
        )
    return tuple(sorted(fits, key=lambda point: -point.mean_efficiency))


def _point(epoch: Epoch, shape: Shape, yardstick: Yardstick) -> Point | None:
    judged = judge_network(epoch.network, yardstick) if epoch.rounded else None
    if judged is None:
        return None
    try:
        logic = trace_logic(epoch.network, *ranges_of(epoch.network), depth=0)
    except InputValueError:  # everything is pruned
        return None
    return Point(
        name=f"student-{shape.name}-epoch-{epoch.number}",
        kind=shape.kind,
        widths=shape.widths,
        epoch=epoch.number,
        loss=epoch.loss,
        ebops=epoch.ebops,
        luts=float(logic.cost),
        depth=float(logic.latency[1]),
        efficiency=judged.efficiency,
        mean_efficiency=judged.mean,
    )


def _beats(one: Point, other: Point) -> bool:
    """Whether a student of the same kind is at least as good in everything and better in something."""
    first = (-one.luts, -one.depth, one.mean_efficiency)
    second = (-other.luts, -other.depth, other.mean_efficiency)
    return one.kind == other.kind and first != second and all(a >= b for a, b in zip(first, second, strict=True))


def _shown(efficiency: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in efficiency.items())
