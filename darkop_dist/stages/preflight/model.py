"""Whether what the document says of operator and limits goes together with what the processor gives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from darkop_dist.config import P_VALUE, Limits
from darkop_dist.errors import DarkopError, nearest_names
from darkop_dist.events.read import open_events
from darkop_dist.events.representations import represent
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.resolve import resolve
from darkop_dist.stages.choose import models_of
from darkop_dist.stages.preflight.finding import Finding, failure, in_time
from darkop_dist.stages.preflight.trial import Trial
from darkop_dist.stages.search import Search
from darkop_dist.stages.train import training_input

SCORED_EVENTS = 256
VARIATIONS = ("jet_energy_scale", "jet_energy_resolution", "pileup_reweighting")


def check_scorer(search: Search) -> tuple[Finding, Scorer | None]:
    """Score a batch with the operator of the document."""
    operator = search.document.operator
    if operator is None:
        return Finding("scorer", "operator", "skipped", "the document has no operator"), None
    if operator.choose_from is not None:
        try:
            models = models_of(operator)
        except DarkopError as error:
            return failure("scorer", "operator.choose_from", error), None
        return Finding("scorer", "operator.choose_from", "ok", f"{len(models)} models to choose from"), None
    if operator.checkpoint is None:
        return Finding("scorer", "operator.train", "skipped", "it is trained at the start of the run"), None
    try:
        scorer = resolve(operator.checkpoint, operator.serve)
        batch = {
            spec.name: np.full((SCORED_EVENTS, *spec.shape), 0.5, dtype=np.dtype(spec.dtype)) for spec in scorer.inputs
        }
        scorer.score(batch)
        began = time.perf_counter()
        scores = scorer.score(batch)
    except DarkopError as error:
        return failure("scorer", str(operator.checkpoint), error), None
    rate = len(scores) / (time.perf_counter() - began)
    message = (
        f"{operator.serve.at}, fingerprint {scorer.fingerprint[:12]}, {rate:.0f} events/s in batches of {len(scores)}"
    )
    numbers: dict[str, float | int | str] = {"fingerprint": scorer.fingerprint, "events_per_s": round(rate)}
    return Finding("scorer", str(operator.checkpoint), "ok", message, numbers=numbers), scorer


def check_training(search: Search, trials: Sequence[Trial], processor: Any) -> tuple[Finding, ...]:
    """Whether the events of the training datasets can become the operator's inputs."""
    operator = search.document.operator
    if operator is None or operator.train is None:
        return ()
    spec = training_input(operator.train)
    names = operator.train.datasets
    found = []
    for trial in trials:
        record, chunk = trial.dataset.record, trial.task.chunk
        if record.name not in names and record.sample_name not in names:
            continue
        began = time.perf_counter()
        try:
            events = open_events(
                chunk.path, record, 0, min(chunk.file_entries, 1000), label=chunk.label, access=search.document.access
            )
            inputs = represent(processor.scored_events(events), spec.representation, spec.settings)
        except DarkopError as error:
            found.append(failure("training", record.name, error))
            continue
        took = in_time(time.perf_counter() - began)
        message = f"{len(inputs)} of {len(events)} events become inputs of shape {inputs.shape[1:]} in {took}"
        found.append(Finding("training", record.name, "ok", message, numbers={"events": len(inputs)}))
    return tuple(found)


def check_limits(search: Search, trials: Sequence[Trial], processor: Any) -> tuple[Finding, ...]:
    """Whether the processor fills what the fit asks for: observable, regions, bins and systematics."""
    limits = search.document.limits
    if limits is None:
        return ()
    outputs = [trial.output for trial in trials if isinstance(trial.output, dict) and trial.output.get("histograms")]
    if not outputs:
        return (Finding("limits", "limits", "skipped", "no dataset could be tried"),)
    histograms = outputs[0]["histograms"]
    observable = limits.observable or next(iter(histograms))
    if observable == P_VALUE:
        return (Finding("limits", observable, "skipped", "p-values have no bins before the calibration is there"),)
    if observable == "score" and search.document.operator is not None:
        return (Finding("limits", observable, "skipped", "the score is not binned before the operator is there"),)
    if observable not in histograms:
        near = nearest_names(observable, histograms)
        message = f"the processor fills no {observable!r}, but {', '.join(histograms)}"
        hint = f"Did you mean {' or '.join(near)}?" if near else "Name one of these."
        return (Finding("limits", "limits.observable", "failed", message, hint),)
    found = [*_regions(limits, outputs, observable, processor), *_bins(limits, histograms[observable])]
    found += _systematics(search, outputs, observable)
    if not found:
        bins = len(limits.bins or histograms[observable].axes[3].edges) - 1
        found.append(
            Finding("limits", observable, "ok", f"{bins} bins in {', '.join(limits.regions)}", numbers={"bins": bins})
        )
    return tuple(found)


def _regions(limits: Limits, outputs: Sequence[Any], observable: str, processor: Any) -> list[Finding]:
    known = dict.fromkeys(getattr(processor, "regions", ()))
    for output in outputs:
        known |= dict.fromkeys(output["histograms"][observable].axes["region"])
    missing = [region for region in limits.regions if region not in known]
    if not missing:
        return []
    near = nearest_names(missing[0], known)
    message = f"the processor has no region {', '.join(missing)}, but {', '.join(known)}"
    hint = f"Did you mean {' or '.join(near)}?" if near else "Name some of these."
    return [Finding("limits", "limits.regions", "failed", message, hint)]


def _bins(limits: Limits, histogram: Any) -> list[Finding]:
    edges = np.asarray(histogram.axes[3].edges, dtype=np.float64)
    foreign = [edge for edge in limits.bins or () if not np.any(np.isclose(edges, edge))]
    if not foreign:
        return []
    message = f"{', '.join(f'{edge:g}' for edge in foreign)} are no edges of the histogram"
    known = ", ".join(f"{edge:g}" for edge in edges)
    return [Finding("limits", "limits.bins", "failed", message, f"Use some of {known}.")]


def _systematics(search: Search, outputs: Sequence[Any], observable: str) -> list[Finding]:
    filled = {name for output in outputs for name in output["histograms"][observable].axes["variation"]}
    absent = [
        name
        for name in search.document.systematics
        if name in VARIATIONS and not {f"{name}_up", f"{name}_down"} <= filled
    ]
    message = f"no dataset varies {observable} with {', '.join(absent)}: the fit goes without"
    return [Finding("limits", "systematics", "warning", message, "Remove them, or use files that allow it.")] * bool(
        absent
    )
