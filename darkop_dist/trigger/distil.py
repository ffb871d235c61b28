"""Distillation: a full operator scores zero-bias crossings, and small fixed-point networks learn its order.

The teacher is a Fourier operator autoencoder on the eta-phi cylinder (``operators.cylinder``), trained on the objects
of zero-bias crossings as fields. The students see the same 57 integers. Their target is a monotone transform of the
teacher's score, sqrt(score / median), which spreads the bulk and keeps the tail; every stratum of hard collisions is
equally loud in the loss, since a rate of 1 kHz is decided by the tail.

A student is judged where it will be used: efficiency for each signal at a fixed rate, with the rate from another
zero-bias sample than the one it learned from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.events.level1 import decode, input_ranges
from darkop_dist.events.representations import represent
from darkop_dist.operators.card import Losses, ModelInput
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.operators.cylinder import CylinderSettings
from darkop_dist.operators.descent import Epoch as TeacherEpoch
from darkop_dist.operators.descent import TrainingSettings
from darkop_dist.operators.evaluation import scoring_function
from darkop_dist.operators.fixed_point import (
    ARCHITECTURE,
    SCORES,
    FixedPointNetwork,
    FixedPointSettings,
    score_bits,
    weights_of,
)
from darkop_dist.operators.fixed_point_training import (
    HELD,
    Distillation,
    Epoch,
    QuantisationSettings,
    train_student,
)
from darkop_dist.operators.score_axis import fix_score_axis
from darkop_dist.operators.split import Split
from darkop_dist.operators.training import Made, Provenance, make_checkpoint, train_cylinder
from darkop_dist.trigger.conditions import Conditions
from darkop_dist.trigger.sample import Level1Sample
from darkop_dist.trigger.shapes import MOMENTA, Shape
from darkop_dist.trigger.weighted import threshold_for, weights_at

ROWS = 10_000
TEACHER_EVENTS = AXIS_EVENTS = 20_000
LEVEL1 = ModelInput(
    name="level1",
    shape=(57,),
    meaning="missing momentum, 4 electrons or photons, 4 muons, 10 jets: (pt, eta, phi) each, in steps of the hardware",
    representation="level1",
    settings={},
)
FIELDS = ModelInput(
    name="fields",
    shape=(3, 16, 24),
    meaning="transverse momenta of jets, of electrons, photons and muons, and missing momentum, in 10 GeV",
    representation="cylinder",
    settings={
        "eta_min": -5.0,
        "eta_max": 5.0,
        "towers_eta": 16,
        "towers_phi": 24,
        "channels": ["jets", "leptons_photons", "met"],
        "sigma": 0.35,
        "scale": "linear",
        "pt_unit_gev": 10.0,
        "pt_min_gev": {},
    },
)
TEACHER = CylinderSettings(width=8, modes_eta=6, modes_phi=6, latent_channels=3, latent_eta=3, latent_phi=3)
APPROXIMATIONS = (
    "trained on simulated zero-bias crossings: Pythia 8 at 13 TeV and a parametrised trigger (darkop_dist/trigger)",
    "its score is in fixed point: cut down to the step, saturated",
)


@dataclass(frozen=True)
class Yardstick:
    """Where students are judged.

    Attributes:
        zero_bias: crossings that give the rate; not those of the training.
        signals: samples by name.
        conditions: of the LHC.
        rate_hz: at which efficiencies are compared.
    """

    zero_bias: Level1Sample
    signals: Mapping[str, Level1Sample]
    conditions: Conditions
    rate_hz: float = 1000.0


@dataclass(frozen=True)
class Judged:
    """A model at a rate.

    Attributes:
        threshold: the lowest accepted score.
        efficiency: share of accepted events of each signal.
        events: events of each signal.
    """

    threshold: float
    efficiency: dict[str, float]
    events: dict[str, int]

    @property
    def mean(self) -> float:
        """Mean efficiency over the signals."""
        return float(np.mean(list(self.efficiency.values())))


def train_teacher(
    sample: Level1Sample,
    *,
    name: str,
    seed: int,
    epochs: int = 8,
    progress: Callable[[TeacherEpoch], None] | None = None,
) -> Checkpoint:
    """Train the full operator on zero-bias crossings, drawn as often as they happen and none of them twice.

    Args:
        sample: zero bias.
        name: of the checkpoint.
        seed: of the draw and of the training.
        epochs: of the training.
        progress: called after each epoch.
    """
    weight = sample.crossings.weight
    rng, events = np.random.default_rng(seed), min(TEACHER_EVENTS, len(weight))
    rows = rng.choice(len(weight), events, replace=False, p=weight / weight.sum())
    fields = _fields(sample.inputs[rows], FIELDS)
    return train_cylinder(
        fields,
        input_spec=FIELDS,
        name=name,
        provenance=_provenance(sample),
        seed=seed,
        settings=TEACHER,
        training=TrainingSettings(epochs=epochs),
        progress=progress,
    )


def score_sample(checkpoint: Checkpoint, sample: Level1Sample) -> npt.NDArray[np.float32]:
    """Scores of a checkpoint for a sample, whatever representation it takes.

    Raises:
        InputValueError: the checkpoint wants something that the trigger does not see.
    """
    spec = checkpoint.card.inputs[0]
    score = scoring_function(checkpoint)
    if spec.representation == "level1":
        whole = sample.regions if spec.shape != LEVEL1.shape else sample.inputs
        return score({spec.name: whole})
    if spec.representation != "cylinder" or "candidates" in str(spec.settings.get("channels")):
        raise InputValueError(
            checkpoint.card.name, f"its input {spec.name} cannot be made of a trigger's objects", "Use another operator"
        )
    found = [
        score({spec.name: _fields(sample.inputs[start : start + ROWS], spec)}) for start in range(0, len(sample), ROWS)
    ]
    return np.concatenate([np.empty(0, dtype=np.float32), *found])


def distillation(sample: Level1Sample, scores: npt.NDArray[np.float32], shape: Shape) -> Distillation:
    """What students learn of a teacher's scores.

    Args:
        sample: zero bias, in strata.
        scores: of the teacher, 0 or more, shape (crossings,).
        shape: of the student.
    """
    if scores.min(initial=0.0) < 0:
        raise InputValueError("teacher", "a score is negative", "Use a teacher whose score is an error or a distance")
    target = np.sqrt(scores / max(float(np.median(scores)), 1e-12))
    stratum = sample.crossings.stratum.astype(np.int64)
    share = np.bincount(stratum, minlength=int(stratum.max()) + 1) / len(stratum)
    weight = 1.0 / (share[stratum] * np.count_nonzero(share))
    inputs = shape.inputs(sample).reshape(len(sample), -1)
    if shape.kind == "regions":
        most = np.full(inputs.shape[1], 1023.0)
        scale = np.full(inputs.shape[1], 64.0)
    else:
        low, high = input_ranges()
        most = np.maximum(high, -low).astype(np.float64)
        scale = np.tile([64.0, 128.0, 128.0], inputs.shape[1] // 3)
    compared = MOMENTA if shape.kind == "autoencoder" else MOMENTA[:0]
    return Distillation(inputs, target.astype(np.float32), weight.astype(np.float32), scale, most, compared)


def train_students(
    data: Distillation,
    settings: FixedPointSettings,
    training: QuantisationSettings,
    *,
    seed: int,
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Epoch, ...]:
    """Students along the curve between resources and fidelity, their scores in a format that fits."""
    found = train_student(data, settings, training, seed=seed, progress=progress)
    return tuple(replace(epoch, network=with_score_bits(epoch.network, data.inputs)) for epoch in found)


def with_score_bits(network: FixedPointNetwork, inputs: npt.NDArray[np.float32]) -> FixedPointNetwork:
    """The network with a score that these events do not saturate."""
    return replace(network, settings=score_bits(network, inputs))


def judge(score: Callable[[Level1Sample], npt.NDArray[np.float32]], yardstick: Yardstick) -> Judged:
    """Efficiencies of a model at the yardstick's rate.

    Args:
        score: scores of a sample.
        yardstick: where it is judged.

    Raises:
        StatisticsError: the zero-bias sample cannot say which score gives the rate.
    """
    conditions = yardstick.conditions
    weight = weights_at(yardstick.zero_bias, conditions)
    cut = threshold_for(score(yardstick.zero_bias), weight, conditions.crossings_hz, yardstick.rate_hz)
    return Judged(
        threshold=cut,
        efficiency={name: float((score(sample) >= cut).mean()) for name, sample in yardstick.signals.items()},
        events={name: len(sample) for name, sample in yardstick.signals.items()},
    )


def judge_network(network: FixedPointNetwork, yardstick: Yardstick) -> Judged | None:
    """`judge` for a network; None where the sample cannot say, as for a score with too few different values."""
    regions = len(network.settings.input_shape) > 1
    try:
        return judge(lambda sample: network.score(sample.regions if regions else sample.inputs), yardstick)
    except StatisticsError:
        return None


def student_checkpoint(
    network: FixedPointNetwork,
    sample: Level1Sample,
    *,
    name: str,
    teacher: str,
    seed: int,
    training: QuantisationSettings,
    epochs: Sequence[Epoch],
    kept: int,
    seconds: float,
    chosen_by: str | None = None,
) -> Checkpoint:
    """A checkpoint of a student.

    Args:
        network: in fixed point.
        sample: what it learned from; the tenth of it that made no gradient step fixes the score axis.
        name: of the checkpoint.
        teacher: fingerprint of the teacher.
        seed: of the training.
        training: its settings.
        epochs: all of the training.
        kept: number of the epoch.
        seconds: duration of the training.
        chosen_by: how the epoch was chosen, if not by its loss.
    """
    settings = network.settings
    regions = len(settings.input_shape) > 1
    weight = sample.crossings.weight
    everything = np.arange(len(sample))
    held = everything % HELD == 0  # as in the training, which stops at no loss and so leaves them untouched
    chances = np.where(held, weight, 0.0)
    rows = np.random.default_rng(seed).choice(len(weight), AXIS_EVENTS, p=chances / chances.sum())
    part = sample.rows(rows)
    axis = fix_score_axis(
        network.score(part.regions if regions else part.inputs),
        label="trigger score",
        sample=f"{sample.about.process}, drawn as often as they happen",
    )
    spec = (
        LEVEL1
        if not regions
        else LEVEL1.model_copy(
            update={
                "name": "regions",
                "shape": settings.input_shape,
                "meaning": "transverse energy of 4 x 4 towers, in steps of the hardware, (pseudorapidity, azimuth)",
            }
        )
    )
    losses = tuple(epoch.loss for epoch in epochs)
    made = Made(
        ARCHITECTURE,
        settings.model_dump(mode="json"),
        weights_of(network),
        SCORES[settings.score],
        Losses(train=losses, validation=losses, kept_epoch=kept),
        (
            *APPROXIMATIONS,
            *(() if chosen_by is None else (f"its epoch was chosen by {chosen_by}",)),
            f"distilled from the operator with fingerprint {teacher}",
        ),
    )
    return make_checkpoint(
        made,
        axis=axis,
        input_spec=spec,
        name=name,
        provenance=_provenance(sample),
        parts=Split(everything[~held], everything[held], np.sort(rows)),
        seed=seed,
        training=training.model_dump(mode="json"),
        seconds=seconds,
    )


def timed() -> Callable[[], float]:
    """A clock that starts now and tells seconds."""
    began = time.perf_counter()
    return lambda: time.perf_counter() - began


def _fields(inputs: npt.NDArray[np.float32], spec: ModelInput) -> npt.NDArray[np.float32]:
    return represent(decode(inputs), spec.representation, spec.settings)


def _provenance(sample: Level1Sample) -> Provenance:
    about = sample.about
    return Provenance(
        datasets=(f"{about.process}, {about.mean_collisions:g} collisions a crossing, seed {about.seed}",),
        selection="every crossing, weighted to zero bias",
        lost=(),
    )
