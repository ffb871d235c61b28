"""Stage one: an operator for the run, read from a checkpoint or trained on background that calibrates nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from darkop_dist.config import Training
from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.split import CHECK, TRAIN
from darkop_dist.operators.auc import evaluate_auc
from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import Checkpoint, save_checkpoint, with_auc
from darkop_dist.operators.cylinder import CylinderSettings
from darkop_dist.operators.density import DensitySettings
from darkop_dist.operators.descent import TrainingSettings
from darkop_dist.operators.evaluation import scoring_function
from darkop_dist.operators.training import Provenance, fit_density, train_cylinder
from darkop_dist.stages.search import Say, Search, dataset_names
from darkop_dist.stages.settings import search_settings, split_rule
from darkop_dist.stages.training_record import TrainingPlan, TrainingRecord, plan_training, record_of
from darkop_dist.stages.training_sample import Collector, Inputs, Sample, collect_sample, joined

MOST_EVENTS_PER_AUC = 20_000


@dataclass(frozen=True)
class TrainedOperator:
    """A checkpoint that a run trained.

    Attributes:
        checkpoint: the model with its card.
        directory: where it was written.
        record: what the training depended on and lost.
    """

    checkpoint: Checkpoint
    directory: Path
    record: TrainingRecord


def train_operator(
    search: Search, directory: Path, *, name: str, say: Say = lambda _: None, plan: TrainingPlan | None = None
) -> TrainedOperator:
    """Train the operator that the document asks for and write its checkpoint.

    The training events are the fraction that the split rule sets aside; they take no part in calibration. The card
    gets the AUC against each signal of the document, on background events that trained nothing. Files that cannot be
    read are left out, which is said, and stands in the card and in the record.

    Args:
        search: the search; its document has ``operator.train``.
        directory: where the checkpoint goes.
        name: name of the checkpoint.
        say: is told what is going on.
        plan: of ``plan_training``; made here by default.

    Raises:
        InputFileError: the document trains no operator.
        InputValueError: too few events are left to train on.
    """
    operator = search.document.operator
    if operator is None or operator.train is None:
        raise InputFileError(
            str(search.loaded.source), "trains no operator", "Add operator.train, see jobs/cylinder_fno_v1.yml."
        )
    training = operator.train
    spec = training_input(training)
    background = dataset_names(search.records, training.datasets)
    plan = plan or plan_training(search)
    sample = _collect(search, plan, background, spec, TRAIN, say=say)
    lost = record_of(plan, sample.entries)
    if not len(sample.inputs):
        reasons = "; ".join(("", *dict.fromkeys(f"{e.file}: {e.reason}" for e in lost.lost[:3])))
        raise InputValueError(
            ", ".join(background),
            f"no selected event is left to train on{reasons}",
            "Train on more events or loosen the selection",
        )
    say(f"training {training.model} on {len(sample.inputs)} events of {', '.join(background)}")
    provenance = Provenance(datasets=background, selection=_selection_text(search), lost=lost.losses)
    checkpoint = _fitted(training, sample.inputs, spec, name=name, provenance=provenance, say=say)
    areas, others = _areas(search, plan, checkpoint, background, say=say)
    saved = save_checkpoint(with_auc(checkpoint, areas), directory, overwrite=True)
    return TrainedOperator(with_auc(checkpoint, areas), saved, record_of(plan, joined((sample, *others))))


def _fitted(
    training: Training, inputs: Inputs, spec: ModelInput, *, name: str, provenance: Provenance, say: Say
) -> Checkpoint:
    settings = dict(training.settings)
    if training.model == "density":
        return fit_density(
            inputs,
            input_spec=spec,
            name=name,
            provenance=provenance,
            seed=training.seed,
            settings=DensitySettings.model_validate(settings),
        )
    own = {key: settings.pop(key) for key in list(settings) if key in TrainingSettings.model_fields}
    return train_cylinder(
        inputs,
        input_spec=spec,
        name=name,
        provenance=provenance,
        seed=training.seed,
        settings=CylinderSettings.model_validate(settings),
        training=TrainingSettings.model_validate(own),
        progress=lambda epoch: say(
            f"epoch {epoch.number + 1} of {epoch.epochs}: loss {epoch.train_loss:.4g}, "
            f"validation {epoch.validation_loss:.4g}"
        ),
    )


def _areas(
    search: Search, plan: TrainingPlan, checkpoint: Checkpoint, background: Sequence[str], *, say: Say
) -> tuple[Mapping[str, Any], list[Sample]]:
    """The AUC against each signal, and what was collected for them, without the inputs."""
    limits = search.document.limits
    if limits is None or not limits.signal:
        return {}, []
    spec, score = checkpoint.card.inputs[0], scoring_function(checkpoint)
    reference = _collect(search, plan, background, spec, CHECK, say=say)
    samples, areas = [Sample(reference.inputs[:0], reference.entries)], {}
    scores = score({spec.name: reference.inputs[:MOST_EVENTS_PER_AUC]}) if len(reference.inputs) else None
    for signal in limits.signal:
        sample = _collect(search, plan, dataset_names(search.records, (signal,)), spec, None, say=say)
        samples.append(Sample(sample.inputs[:0], sample.entries))
        if scores is not None and len(sample.inputs):
            areas[signal] = evaluate_auc(scores, score({spec.name: sample.inputs[:MOST_EVENTS_PER_AUC]}))
    return areas, samples


def _collect(
    search: Search, plan: TrainingPlan, names: Sequence[str], spec: ModelInput, part: int | None, *, say: Say
) -> Sample:
    """Model inputs of the selected events of some datasets and one part of the split; all parts if None."""
    processor = search.processor(search_settings(search), None)
    sample = collect_sample(plan.of(names), Collector(processor, split_rule(search), spec, part))
    for entry in sample.entries:
        if entry.status == "failed" and part != CHECK:
            place = f"{entry.file} [{entry.start}:{entry.stop}]"
            say(f"the training goes on without {place} of {entry.dataset}: {entry.reason}")
    return sample


def training_input(training: Training) -> ModelInput:
    """The model input that a training asks for: columns for the density, fields for cylinder operators."""
    if training.model == "density":
        transforms: dict[str, JsonValue] = {n: training.transforms.get(n, "identity") for n in training.columns}
        words = ", ".join(f"log({name})" if transforms[name] == "log" else name for name in training.columns)
        return ModelInput(
            name="columns",
            shape=(len(training.columns),),
            meaning=f"columns in this order: {words}",
            representation="columns",
            settings={"columns": list(training.columns), "transforms": transforms},
        )
    return cylinder_input()


def cylinder_input() -> ModelInput:
    """The energy-flow fields that cylinder operators take: 3 channels on 20 x 32 towers within |eta| < 4."""
    towers_eta, towers_phi = 20, 32
    channels: list[JsonValue] = ["jets", "leptons_photons", "met"]
    return ModelInput(
        name="fields",
        shape=(len(channels), towers_eta, towers_phi),
        meaning="transverse-momentum flow by (channel, eta, phi); channels jets, leptons and photons, missing momentum",
        representation="cylinder",
        settings={
            "eta_min": -4.0,
            "eta_max": 4.0,
            "towers_eta": towers_eta,
            "towers_phi": towers_phi,
            "channels": channels,
        },
    )


def _selection_text(search: Search) -> str:
    region = search.document.signal_region
    return f"{search.document.processor.rsplit('/', 1)[-1]}, signal region" + (f", {region.text}" if region else "")
