"""An operator for the run, chosen without labels on events that take no further part in calibration and tests."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.config.operator import Operator
from darkop_dist.conformal import ModelChoice, choose_model, from_scores
from darkop_dist.errors import InputValueError
from darkop_dist.events.split import CHOOSE
from darkop_dist.operators import find_checkpoint
from darkop_dist.operators.card import ModelInput
from darkop_dist.runs import RunDirectory, read_json, write_json
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.resolve import resolve
from darkop_dist.stages.run_events import plan_tasks
from darkop_dist.stages.search import Say, Search, dataset_names
from darkop_dist.stages.settings import search_settings, split_rule
from darkop_dist.stages.training_sample import Collector, Sample, collect_sample

SCHEMA = "darkop.choice/1"


def models_of(operator: Operator) -> dict[str, Scorer]:
    """The models to choose from, by the name in the document.

    Raises:
        UserError: one of them does not exist or cannot be read.
        InputValueError: two are the same, or they take different inputs: they must see the same events.
    """
    models: dict[str, Scorer] = {}
    for name in operator.choose_from or ():
        scorer = resolve(name)
        for other, known in models.items():
            both = f"{name} and {other}"
            if known.fingerprint == scorer.fingerprint:
                raise InputValueError("operator.choose_from", f"{both} are the same model", "Keep one")
            if known.inputs != scorer.inputs:
                redo = "Name models of the same input"
                raise InputValueError("operator.choose_from", f"{both} take different inputs", redo)
        models[name] = scorer
    return models


def choose_operator(search: Search, run: RunDirectory, *, say: Say = lambda _: None) -> Scorer:
    """Rate all models with ARGOS, in this process, write choice.json, and copy the best one into the run.

    The collision data and the background of the split ``choose`` are read beforehand, through the processor's
    ``scored_events``. The pass over the events gives the same events the same split, by the same rule, so that they
    calibrate, check and test nothing. All of them are in memory at once.

    Raises:
        UserError: a model or a file cannot be used.
        StatisticsError: too few events choose.
    """
    operator, section = search.document.operator, search.document.anomaly_detection
    if operator is None or section is None or not operator.choose_from:
        raise InputValueError("operator", "chooses from no models", "Add operator.choose_from")
    models = models_of(operator)
    data = [record.name for record in search.records if record.kind == "data"]
    first = next(iter(models.values()))
    found, known = (
        _collect(search, first, names, say) for names in (data, dataset_names(search.records, section.background))
    )
    say(f"choosing from {len(models)} models on {len(found.inputs)} data and {len(known.inputs)} background events")
    counts = {
        name: (_counts(scorer, found), _counts(scorer, known), scorer.score_axis.edges)
        for name, scorer in models.items()
    }
    choice = choose_model(counts, fewest_template_events=operator.choose_events)
    _write(run, choice, models, operator, (found, known))
    shutil.rmtree(run.checkpoint, ignore_errors=True)
    shutil.copytree(find_checkpoint(choice.best), run.checkpoint)
    return resolve(run.checkpoint, operator.serve)


def choice_sentence(run: RunDirectory) -> str:
    """What was tried and what was taken; empty where there was no choice.

    Raises:
        InputFileError: choice.json is damaged.
    """
    if not run.choice.exists():
        return ""
    body: dict[str, Any] = read_json(run.choice, SCHEMA)
    tried = [
        f"{_short(name)} {rated['value']:.3g} ± {rated['uncertainty']:.2g}" for name, rated in body["tried"].items()
    ]
    return (
        f"{_short(body['best'])}, the largest ARGOS of {len(tried)} models tried ({'; '.join(tried)}) on "
        f"{body['data_events']} data and {body['background_events']} background events, a fraction of "
        f"{body['fraction']:g}, which calibrate, check and test nothing; spectra and limits count them"
    )


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _collect(search: Search, scorer: Scorer, names: Sequence[str], say: Say) -> Sample:
    spec = scorer.inputs[0]
    wanted = ModelInput(
        name=spec.name,
        shape=spec.shape,
        meaning=spec.meaning,
        representation=spec.representation,
        settings=dict(spec.settings),  # type: ignore[arg-type]  # JSON values, from a card
    )
    processor = search.processor(search_settings(search), None)
    tasks = [task for task in plan_tasks(search, None) if task.chunk.dataset in names]
    sample = collect_sample(tasks, Collector(processor, split_rule(search), wanted, CHOOSE))
    for entry in sample.entries:
        if entry.status == "failed":
            say(f"the choice goes on without {entry.file} [{entry.start}:{entry.stop}]: {entry.reason}")
    return sample


def _counts(scorer: Scorer, sample: Sample) -> npt.NDArray[np.int64]:
    scores = scorer.score({scorer.inputs[0].name: sample.inputs})
    edges = scorer.score_axis.edges
    return from_scores(scores, edges=edges, source="choice", fingerprint=scorer.fingerprint).counts


def _write(
    run: RunDirectory,
    choice: ModelChoice,
    models: Mapping[str, Scorer],
    operator: Operator,
    samples: tuple[Sample, Sample],
) -> None:
    failed = [entry for sample in samples for entry in sample.entries if entry.status == "failed"]
    content = {
        "best": choice.best,
        "tried": {
            name: asdict(rated) | {"fingerprint": models[name].fingerprint} for name, rated in choice.tried.items()
        },
        "fraction": operator.choose_fraction,
        "fewest_background_events": operator.choose_events,
        "data_events": len(samples[0].inputs),
        "background_events": len(samples[1].inputs),
        "lost": [f"{entry.file} [{entry.start}:{entry.stop}]: {entry.reason}" for entry in failed],
    }
    write_json(run.choice, SCHEMA, content)
