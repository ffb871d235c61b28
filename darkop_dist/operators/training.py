"""Training: from the model inputs of background events to a checkpoint."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from darkop_dist.errors import InputValueError
from darkop_dist.operators import cylinder, density
from darkop_dist.operators.card import Card, Losses, ModelInput, ModelScoreAxis, TrainedOn, architecture_json
from darkop_dist.operators.checkpoint import Checkpoint, Weights, fingerprint_of
from darkop_dist.operators.cylinder import CylinderSettings
from darkop_dist.operators.density import DensitySettings
from darkop_dist.operators.descent import Epoch, TrainingSettings, descend
from darkop_dist.operators.evaluation import cylinder_scores
from darkop_dist.operators.score_axis import fix_score_axis
from darkop_dist.operators.split import Split, split_sample

UNWEIGHTED = "Trained on unweighted events: generator weights are ignored."


@dataclass(frozen=True)
class Provenance:
    """Where training events come from.

    Attributes:
        datasets: names of the datasets.
        selection: the selection that the events passed.
        lost: what could not be read of them, in words.
    """

    datasets: tuple[str, ...]
    selection: str
    lost: tuple[str, ...] = ()


def train_cylinder(
    fields: npt.NDArray[np.float32],
    *,
    input_spec: ModelInput,
    name: str,
    provenance: Provenance,
    seed: int,
    settings: CylinderSettings | None = None,
    training: TrainingSettings | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> Checkpoint:
    """Train the cylinder autoencoder on background events.

    The sample is split once (see `split.split_sample`): the training part makes the gradient steps, the validation part
    chooses the epoch, the axis part fixes the score axis. Events that calibrate p-values must be none of them. The
    same seed gives the same weights on the same machine with the same number of torch threads.

    Args:
        fields: shape (events, channels, towers_eta, towers_phi).
        input_spec: what the fields are.
        name: name of the checkpoint.
        provenance: where the events come from.
        seed: seed of the split, the weights and the order of the events.
        settings: settings of the network.
        training: settings of the training.
        progress: called after each epoch.

    Raises:
        InputValueError: the fields do not have the shape of ``input_spec``, are not finite, are too few, or the grid is
            too coarse.
        FitError: the loss is not finite.
    """
    settings, training = settings or CylinderSettings(), training or TrainingSettings()
    _check_sample(fields, input_spec, axes=3)
    rng = np.random.default_rng(seed)
    parts = split_sample(len(fields), rng)
    began = time.perf_counter()
    try:
        weights, losses = descend(fields, parts, settings, training, rng=rng, progress=progress)
    except ValueError as error:
        raise InputValueError(input_spec.name, str(error), "Use a finer grid or fewer modes") from error
    score = cylinder_scores(settings, weights, (fields.shape[2], fields.shape[3]))
    return make_checkpoint(
        Made(cylinder.ARCHITECTURE, settings.model_dump(mode="json"), weights, cylinder.SCORE, losses, (UNWEIGHTED,)),
        axis=fix_score_axis(score(fields[parts.axis]), label="reconstruction error", sample=_sample(provenance)),
        input_spec=input_spec,
        name=name,
        provenance=provenance,
        parts=parts,
        seed=seed,
        training=training.model_dump(mode="json"),
        seconds=time.perf_counter() - began,
    )


def fit_density(
    columns: npt.NDArray[np.float32],
    *,
    input_spec: ModelInput,
    name: str,
    provenance: Provenance,
    seed: int,
    settings: DensitySettings | None = None,
) -> Checkpoint:
    """Fit a Gaussian mixture to the columns of background events.

    Args:
        columns: shape (events, columns), transformed as ``input_spec`` says.
        input_spec: what the columns are.
        name: name of the checkpoint.
        provenance: where the events come from.
        seed: seed of the split and of the starts of EM.
        settings: settings of the mixture.

    Raises:
        InputValueError: the columns do not have the shape of ``input_spec``, are not finite, constant or too few.
        FitError: EM did not converge.
    """
    settings = settings or DensitySettings()
    _check_sample(columns, input_spec, axes=1)
    parts = split_sample(len(columns), np.random.default_rng(seed))
    began = time.perf_counter()
    weights = density.fit_mixture(columns[parts.train].astype(np.float64), settings, seed)

    def loss(rows: npt.NDArray[np.int64]) -> float:
        return float(density.score_mixture(columns[rows], weights).mean(dtype=np.float64))

    losses = Losses(train=(loss(parts.train),), validation=(loss(parts.validation),), kept_epoch=0)
    axis_scores = density.score_mixture(columns[parts.axis], weights)
    return make_checkpoint(
        Made(density.ARCHITECTURE, settings.model_dump(mode="json"), weights, density.SCORE, losses, (UNWEIGHTED,)),
        axis=fix_score_axis(axis_scores, label=r"$-\log$ density", sample=_sample(provenance)),
        input_spec=input_spec,
        name=name,
        provenance=provenance,
        parts=parts,
        seed=seed,
        training={},
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True)
class Made:
    """What a training or a fit made, before it gets its card."""

    architecture: str
    settings: dict[str, JsonValue]
    weights: Weights
    score: str
    losses: Losses
    approximations: tuple[str, ...]


def _check_sample(sample: npt.NDArray[np.float32], spec: ModelInput, axes: int) -> None:
    if len(spec.shape) != axes or sample.shape[1:] != spec.shape or sample.dtype != np.float32:
        raise InputValueError(
            spec.name,
            f"the sample is {sample.dtype} of shape {sample.shape}, the input float32 of shape (events, "
            f"{', '.join(map(str, spec.shape))})",
            "Make the sample with the representation and settings of the input",
        )
    if not np.isfinite(sample).all():
        raise InputValueError(spec.name, "the sample is not finite", "Remove the events with NaN or infinite values")


def _sample(provenance: Provenance) -> str:
    return f"{', '.join(provenance.datasets)} ({provenance.selection})"


def make_checkpoint(
    made: Made,
    *,
    axis: ModelScoreAxis,
    input_spec: ModelInput,
    name: str,
    provenance: Provenance,
    parts: Split,
    seed: int,
    training: dict[str, JsonValue],
    seconds: float,
) -> Checkpoint:
    """A checkpoint with its card.

    Args:
        made: the model.
        axis: the binning of its score.
        input_spec: what it takes.
        name: of the checkpoint.
        provenance: where the events come from.
        parts: which of them trained, validated and fixed the axis.
        seed: of the training.
        training: its settings.
        seconds: its duration.
    """
    inputs = (input_spec,)
    return Checkpoint(
        Card(
            name=name,
            architecture=made.architecture,
            settings=made.settings,
            inputs=inputs,
            score_axis=axis,
            score=made.score,
            fingerprint=fingerprint_of(made.weights, architecture_json(made.architecture, made.settings, inputs, axis)),
            trained_on=TrainedOn(
                datasets=provenance.datasets,
                selection=provenance.selection,
                events=len(parts.train),
                validation_events=len(parts.validation),
                score_axis_events=len(parts.axis),
                seed=seed,
                settings=training,
                seconds=seconds,
                losses=made.losses,
                lost=provenance.lost,
            ),
            approximations=made.approximations,
            created_with=_versions(),
        ),
        made.weights,
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("darkop-dist", "numpy", "torch", "scikit-learn", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a source tree that is not installed
            found[package] = "not installed"
    return found
