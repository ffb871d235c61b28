"""Stage one: an operator for the run, read from a checkpoint or trained on background that calibrates nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from darkop_dist.config import Training
from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.identity import local_identity
from darkop_dist.events.read import open_events
from darkop_dist.events.representations import represent
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import CHECK, TRAIN, SplitRule
from darkop_dist.execution import Chunk, plan_chunks
from darkop_dist.execution.keys import hash_room, run_key
from darkop_dist.operators.auc import evaluate_auc
from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import Checkpoint, save_checkpoint, with_auc
from darkop_dist.operators.cylinder import CylinderSettings
from darkop_dist.operators.density import DensitySettings
from darkop_dist.operators.descent import TrainingSettings
from darkop_dist.operators.evaluation import scoring_function
from darkop_dist.operators.training import Provenance, fit_density, train_cylinder
from darkop_dist.runs import RunDirectory, read_json, write_json
from darkop_dist.stages.search import Say, Search, dataset_names

Inputs = npt.NDArray[np.float32]
MOST_EVENTS_PER_AUC = 20_000
TRAINING_SCHEMA = "darkop.training/1"


@dataclass(frozen=True)
class TrainedOperator:
    """A checkpoint that a run trained.

    Attributes:
        checkpoint: the model with its card.
        directory: where it was written.
    """

    checkpoint: Checkpoint
    directory: Path


def split_rule(search: Search) -> SplitRule:
    """Which events of the search train, calibrate and check."""
    document = search.document
    training = document.operator.train if document.operator else None
    anomaly = document.anomaly_detection
    return SplitRule(
        seed=anomaly.seed if anomaly else 1,
        train_fraction=training.fraction if training else 0.0,
        train_datasets=dataset_names(search.records, training.datasets) if training else (),
        check_fraction=anomaly.check_fraction if anomaly else 0.5,
    )


def search_settings(search: Search) -> SearchSettings[Any]:
    """What the processor is told."""
    document = search.document
    return SearchSettings(
        parameters=search.parameters,
        systematics=tuple(document.systematics),
        signal_region=document.signal_region,
        split=split_rule(search),
        candidates=document.report.candidates,
    )


def train_operator(search: Search, directory: Path, *, name: str, say: Say = lambda _: None) -> TrainedOperator:
    """Train the operator that the document asks for and write its checkpoint.

    The training events are the fraction that the split rule sets aside; they take no part in calibration. The card
    gets the AUC against each signal of the document, on background events that trained nothing.

    Args:
        search: the search; its document has ``operator.train``.
        directory: where the checkpoint goes.
        name: name of the checkpoint.
        say: is told what is going on.

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
    sample = _collect(search, background, spec, TRAIN)
    if not len(sample):
        raise InputValueError(
            ", ".join(background),
            "no selected event is left to train on",
            "Train on more events or loosen the selection",
        )
    say(f"training {training.model} on {len(sample)} events of {', '.join(background)}")
    provenance = Provenance(datasets=background, selection=_selection_text(search))
    settings = dict(training.settings)
    if training.model == "density":
        checkpoint = fit_density(
            sample,
            input_spec=spec,
            name=name,
            provenance=provenance,
            seed=training.seed,
            settings=DensitySettings.model_validate(settings),
        )
    else:
        own = {key: settings.pop(key) for key in list(settings) if key in TrainingSettings.model_fields}
        checkpoint = train_cylinder(
            sample,
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
    checkpoint = with_auc(checkpoint, _areas(search, checkpoint, background, spec))
    return TrainedOperator(checkpoint, save_checkpoint(checkpoint, directory, overwrite=True))


def note_training(search: Search, run: RunDirectory) -> None:
    """Write down what the training of a run depended on."""
    write_json(run.training, TRAINING_SCHEMA, {"key": training_key(search)})


def is_trained(search: Search, run: RunDirectory) -> bool:
    """Whether a run holds the checkpoint that a training would now give again."""
    if not run.training.exists() or not run.checkpoint.is_dir():
        return False
    return read_json(run.training, TRAINING_SCHEMA).get("key") == training_key(search)


def training_key(search: Search) -> str:
    """What a training depends on, as one hash: code, settings, and the files of all datasets."""
    processor = search.processor(search_settings(search), None)
    operator, limits = search.document.operator, search.document.limits
    content = {
        "run": dict(run_key(processor, None).parts),
        "operators": hash_room("operators"),
        "train": operator.train.model_dump(mode="json") if operator and operator.train else None,
        "signals": list(limits.signal) if limits else [],
        "files": [[d.record.name, path, _identity(path)] for d in search.datasets for path in d.paths],
        "chunks": search.document.execution.chunk_events,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _identity(path: str) -> str:
    try:
        return local_identity(path)
    except OSError:
        return "absent"


def _areas(search: Search, checkpoint: Checkpoint, background: Sequence[str], spec: ModelInput) -> Mapping[str, Any]:
    limits = search.document.limits
    signals = limits.signal if limits else ()
    score = scoring_function(checkpoint)
    reference = _collect(search, background, spec, CHECK)[:MOST_EVENTS_PER_AUC]
    if not len(reference):
        return {}
    reference_scores = score({spec.name: reference})
    areas = {}
    for signal in signals:
        sample = _collect(search, dataset_names(search.records, (signal,)), spec, None)[:MOST_EVENTS_PER_AUC]
        if len(sample):
            areas[signal] = evaluate_auc(reference_scores, score({spec.name: sample}))
    return areas


def _collect(search: Search, names: Sequence[str], spec: ModelInput, part: int | None) -> Inputs:
    """Model inputs of the selected events of some datasets and one part of the split; all parts if None."""
    processor = search.processor(search_settings(search), None)
    rule = split_rule(search)
    chosen = [dataset for dataset in search.datasets if dataset.record.name in names]
    records = {dataset.record.name: dataset.record for dataset in chosen}
    whole = bool(getattr(processor, "whole_files", False))
    execution = search.document.execution
    plan = plan_chunks(chosen, chunk_events=execution.chunk_events, whole_files=whole, retries=execution.retries)
    inputs = []
    for chunk in plan:
        if chunk.lost or chunk.stop == chunk.start:
            continue
        events = processor.scored_events(
            open_events(chunk.path, records[chunk.dataset], chunk.start, chunk.stop, label=chunk.label)
        )
        if part is not None:
            events = events[_part_of(rule, chunk, events) == part]
        if len(events):
            inputs.append(represent(events, spec.representation, spec.settings))
    return np.concatenate(inputs) if inputs else np.empty((0, *spec.shape), dtype=np.float32)


def _part_of(rule: SplitRule, chunk: Chunk, events: ak.Array) -> npt.NDArray[np.int8]:
    return rule.assign(chunk.dataset, chunk.label, np.asarray(ak.to_numpy(events["entry"])))


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
