"""What the reader of the result page must know before believing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from darkop_dist.config import MEASURED
from darkop_dist.events.corrections.pileup import GENERATED, OUTSIDE, WEIGHT_SUM, WITHOUT_TARGET
from darkop_dist.limits import SignalResult
from darkop_dist.report.digits import number
from darkop_dist.runs import read_json
from darkop_dist.stages.context import RunContext, training_losses
from darkop_dist.stages.drift import DRIFTED, load_drift
from darkop_dist.stages.limits import LARGE_PULL, POOR_FIT
from darkop_dist.stages.luminosity import luminosity_sentences
from darkop_dist.stages.run_events import INPUTS_SCHEMA, data_fraction
from darkop_dist.stages.shown_calibration import shown_calibrations

NORMAL = 0.001
"""Deviation of a mean weight from 1 that is worth a sentence."""


def page_warnings(context: RunContext, results: tuple[SignalResult, ...]) -> Iterator[str]:
    """What a reader must know before believing the result.

    Args:
        context: the run.
        results: its limits; empty without.
    """
    if results and results[0].observed == "asimov":
        yield "There are no collision data in this search: the observation is the background expectation (Asimov)."
    for result in results[:1]:
        yield from _fit_warnings(result)
    fraction = data_fraction(context.records, context.ledger)
    if fraction < 1.0 and context.document.lumi_ifb != MEASURED:
        yield (
            f"Of the collision data {fraction:.2%} were processed: the luminosity is scaled by that, as if the lost "
            "entries were a fair sample."
        )
    if context.luminosity is not None:
        measured = context.document.lumi_ifb == MEASURED
        yield from luminosity_sentences(context.luminosity, None if measured else context.lumi_ifb)
    yield from _pileup_warnings(context)
    for closure in context.ledger.closure():
        if not closure.closed:
            yield f"{closure.dataset}: lost {closure.loss}."
        if closure.files_without_weight:
            yield (
                f"{closure.dataset}: {closure.files_without_weight} of {closure.files} files hold no selected event "
                "and do not say how many events were generated for them. The sum of weights is too small without "
                "them, and the yield too large."
            )
    for sentence in training_losses(context):
        yield f"{sentence[0].upper()}{sentence[1:]}."
    yield from _normalisation_warnings(context)
    yield from _generation_warnings(context)
    yield from _drift_warnings(context)
    if any(not shown.exact for shown in shown_calibrations(context).values()):
        yield "The p-values have no guarantee: some weights of the background are negative."
    for dataset, notes in context.notes.items():
        for text, events in notes.items():
            yield f"{dataset}: {text} ({events} events)."
    for result in results:
        for problem in (*result.limit.problems, *(result.ranking.problems if result.ranking else ())):
            yield f"Limit on {result.signal}: {problem}."
    for note in dict.fromkeys(note for result in results for note in result.notes):
        signals = [result.signal for result in results if note in result.notes]
        yield f"Model{'' if len(signals) == len(results) else ' of ' + ', '.join(signals)}: {note}."


def _pileup_warnings(context: RunContext) -> Iterator[str]:
    """Pile-up weights change shapes; whether they change the normalisation too is said."""
    for dataset, sums in context.tallies.items():
        before, after = sums.get(GENERATED, 0.0), sums.get(WEIGHT_SUM.format(way="nominal"), 0.0)
        if before and abs(after / before - 1) > NORMAL:
            yield (
                f"{dataset}: the mean pile-up weight of the events that were processed is {after / before:.4f}, not 1: "
                "the normalisation changes by that."
            )
        for name in (OUTSIDE, WITHOUT_TARGET):
            if sums.get(name):
                yield f"{dataset}: {sums[name]:.0f} {name}."


def _normalisation_warnings(context: RunContext) -> Iterator[str]:
    region = context.regions[0]
    for record in context.records:
        steps = context.cutflow.get(record.name, {}).get(region, [])
        if record.kind == "data" or not steps:
            continue
        if record.xsec_pb is None or context.lumi_ifb is None:
            yield f"{record.name} is not normalised (no cross section or luminosity): its events have raw weights."
        elif steps[-1][1] == 0 and context.role(record) == "background" and steps[0][1]:
            one = context.scales[record.name] * steps[0][2] / steps[0][1]
            yield (
                f"{record.name}: none of {steps[0][1]} events is selected in region {region}. One would stand for "
                f"{number(one)}, so up to {number(3 * one)} events (95% CL) may be missing from the background."
            )


def _generation_warnings(context: RunContext) -> Iterator[str]:
    if not context.run.inputs.exists():  # a run of an earlier version
        return
    body: dict[str, Any] = read_json(context.run.inputs, INPUTS_SCHEMA)
    silent = Counter(file["dataset"] for file in body["files"] if file.get("generated_unknown"))
    for dataset, count in silent.items():
        yield (
            f"{dataset}: {count} {'file does' if count == 1 else 'files do'} not say how many events were generated. "
            "The weights of the events that are there stand for all: right only if none was dropped."
        )


def _fit_warnings(result: SignalResult) -> Iterator[str]:
    fitted = result.background_fit
    if fitted is None or result.observed == "asimov":
        return
    observed = sum(sum(region.observed) for region in fitted.prefit)
    expected = sum(sum(region.total) for region in fitted.prefit)
    quality = fitted.goodness.p_value
    if quality is not None and quality < POOR_FIT:
        side = "below" if observed < expected else "above"
        yield (
            f"The background model does not describe the data: goodness of fit p = {quality:.2g}. Before the fit, "
            f"{observed:.0f} events are observed where {expected:.0f} are expected: the data lie {side} the simulation "
            f"by {abs(observed / expected - 1):.0%}. A limit from such a fit inherits the flaw."
        )
    large = [p for p in fitted.parameters if p.pull is not None and abs(p.pull) > LARGE_PULL]
    if large:
        pulls = ", ".join(f"{p.name} {p.pull:+.1f}" for p in large)
        yield f"Pulled by more than {LARGE_PULL:g} standard deviations in the background-only fit: {pulls}."


def _drift_warnings(context: RunContext) -> Iterator[str]:
    for drift in load_drift(context):
        tests = (
            ("the events that calibrate", drift.against_calibration),
            ("each other", drift.among),
        )
        differ = [f"{what} (p = {number(test.p_value)})" for what, test in tests if test and test.p_value <= DRIFTED]
        if differ:
            yield (
                f"Compared by {drift.by}, the scores of {drift.tested} differ from those of "
                f"{' and from '.join(differ)}: the guarantee of the p-values holds for exchangeable events."
            )
