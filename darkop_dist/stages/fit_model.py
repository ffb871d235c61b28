"""From a run to the statistical model: what the document says of the fit, and the workspace of one signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hist

from darkop_dist.config import P_VALUE, Limits
from darkop_dist.conformal import Calibration
from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError
from darkop_dist.limits import (
    Abcd,
    BackgroundMethod,
    BinUncertainty,
    ConformalBackground,
    FitSample,
    FreeNormalisation,
    RatioUncertainty,
    TransferFactors,
    Workspace,
    build_workspace,
    p_value_histogram,
)
from darkop_dist.runs import read_json
from darkop_dist.stages import calibrate
from darkop_dist.stages.context import RunContext, training_losses

LUMINOSITY = "luminosity"


def fit_samples(context: RunContext) -> tuple[FitSample, ...]:
    """The processes of the fit: datasets with the same sample name belong together."""
    names = dict.fromkeys(record.sample_name for record in context.records)
    samples = []
    for name in names:
        members = [record for record in context.records if record.sample_name == name]
        label = next((record.label for record in members if record.label), name)
        samples.append(
            FitSample(
                name=name,
                datasets=tuple(record.name for record in members),
                scales=tuple(context.scales[record.name] for record in members),
                role=context.role(members[0]),
                label=label,
            )
        )
    return tuple(samples)


def observable_label(context: RunContext) -> str:
    """What stands at the axis of the fitted observable."""
    observable = _observable(context, context.document.limits)
    if observable == P_VALUE:
        return "conformal p-value"
    return str(context.histograms.histograms[observable].axes[observable].label)


def workspace_of(context: RunContext, section: Limits, samples: Sequence[FitSample], signal: str) -> Workspace:
    """The workspace of one signal, with notes on what the run could not give it.

    Raises:
        UnknownNameError: the document names an observable, region or sample that the run does not have.
        InputValueError: a name stands for several datasets, or for one of several of a sample.
        StatisticsError: templates or counts that cannot be fitted as the document asks.
    """
    if LUMINOSITY in context.document.systematics and section.lumi_uncertainty is None:
        raise StatisticsError(
            "the systematic luminosity has no size: give limits.lumi_uncertainty, such as 0.012 for 1.2%"
        )
    observable = _observable(context, section)
    histogram, methods = _histogram_and_methods(context, section, observable)
    varied, absent = _varied(context, histogram, observable)
    others = set(context.signals) - {signal}
    free = {_sample(context, name, f"free_normalisation.{name}"): b for name, b in section.free_normalisation.items()}
    sizes = [
        BinUncertainty(_sample(context, entry.sample, "bin_uncertainties"), entry.region, entry.size, entry.kind)
        for entry in section.bin_uncertainties
    ]
    workspace = build_workspace(
        histogram,
        samples,
        signal=signal,
        regions=section.regions,
        lumi_uncertainty=section.lumi_uncertainty,
        lumi_modifier=section.lumi_modifier,
        systematics=varied,
        smoothing=section.smoothing,
        normalisation=_normalisation(context, section, signal),
        free_normalisations=[FreeNormalisation(name, bounds) for name, bounds in free.items() if name not in others],
        bin_uncertainties=[size for size in sizes if size.sample not in others],
        methods=methods,
        bin_edges_used=section.bins,
        include_overflow=section.include_overflow,
        name=context.document.name,
    )
    return replace(workspace, notes=(*absent, *_training_notes(context, observable), *workspace.notes))


def _observable(context: RunContext, section: Limits | None) -> str:
    histograms = context.histograms.histograms
    observable = (section.observable if section else None) or next(iter(histograms))
    if observable not in histograms and observable != P_VALUE:
        known = ", ".join(histograms)
        raise UnknownNameError("observable", observable, histograms, f"limits.observable must be one of {known}.")
    return observable


def _histogram_and_methods(
    context: RunContext, section: Limits, observable: str
) -> tuple[hist.Hist, tuple[BackgroundMethod, ...]]:
    """The histogram of the fit, and where the background is not simulated."""
    histograms = context.histograms.histograms
    if observable == P_VALUE:
        edges = section.p_value_bins or ()
        calibration = _calibration(context, section)
        return p_value_histogram(histograms["score"], calibration, edges), (ConformalBackground(calibration, edges),)
    methods: list[BackgroundMethod] = []
    for entry in section.transfer_factors:
        key = f"transfer_factors.{entry.name}"
        tied = {region: [_sample(context, name, key) for name in names] for region, names in entry.samples.items()}
        ratios = [RatioUncertainty(size.name, size.region, size.size) for size in entry.uncertainties]
        methods.append(TransferFactors(entry.name, tied, ratios))
    if section.abcd is not None:
        replaced = [_sample(context, name, "abcd.replaces") for name in section.abcd.replaces]
        methods.append(Abcd(section.abcd.regions, section.abcd.name, replaced, section.abcd.closure))
    return histograms[observable], tuple(methods)


def _calibration(context: RunContext, section: Limits) -> Calibration:
    """The run's calibration; no event under test may be part of it, nor of the operator's training.

    Raises:
        InputFileError: the run has no calibration.
        StatisticsError: data of a fitted region calibrate or trained the operator.
    """
    path = context.run.require(context.run.calibration, "darkop calibrate")
    body: dict[str, Any] = read_json(path, calibrate.SCHEMA)
    data = {record.name for record in context.records if record.kind == "data"}
    themselves = sorted(data & set(body["datasets"])) if body["region"] in section.regions else []
    operator = context.document.operator
    trained = operator.train.datasets if operator and operator.train else ()
    trainers = [r.name for r in context.records if r.name in data and {r.name, r.sample_name} & set(trained)]
    for names, what in ((themselves, "calibrate the p-values"), (trainers, "trained the operator")):
        if names:
            raise StatisticsError(
                f"{', '.join(names)} {what} and would be tested with them: these p-values promise nothing. Calibrate "
                "and train with other events, such as those of a control region or simulation"
            )
    return Calibration.from_dict(body["calibration"], origin=str(path))


def _varied(context: RunContext, histogram: hist.Hist, observable: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Systematics with variations of the observable, and a sentence for each that was asked for and has none."""
    variations = set(histogram.axes["variation"])
    asked = [name for name in context.document.variations if name != LUMINOSITY]
    varied = tuple(name for name in asked if {f"{name}_up", f"{name}_down"} & variations)
    absent = tuple(
        f"the systematic {name} was asked for, but no file or processor varied {observable} with it: "
        "it is not in the fit"
        for name in asked
        if name not in varied
    )
    return varied, absent


def _training_notes(context: RunContext, observable: str) -> tuple[str, ...]:
    operator = context.document.operator
    if operator is None:
        return ()
    notes = training_losses(context)
    if observable != "score" or operator.train is None:
        return notes
    names = ", ".join(operator.train.datasets)
    return (*notes, f"the score is fitted, and its templates of {names} hold the events that trained the operator")


def _normalisation(context: RunContext, section: Limits, signal: str) -> dict[str, tuple[float, float]]:
    """Sizes by sample, without those of other signals; a dataset's name stands for its sample if it is alone there.

    Raises:
        InputValueError: a name stands for one of several datasets of a sample, or two names for one sample.
    """
    found: dict[str, tuple[float, float]] = {}
    for name, sizes in section.normalisation.items():
        sample = _sample(context, name, f"normalisation.{name}")
        if sample in found:
            raise _one_of_several(context, sample, f"normalisation.{name}")
        if sample == signal or sample not in context.signals:
            found[sample] = sizes
    return found


def _sample(context: RunContext, name: str, key: str) -> str:
    """The sample that a name in the document stands for; a dataset's name stands for its sample if it is alone there.

    Raises:
        InputValueError: the name is that of one of several datasets of a sample.
    """
    samples = [r.sample_name for r in context.records if name in (r.name, r.sample_name)]
    sample = samples[0] if samples else name
    if name != sample and sum(record.sample_name == sample for record in context.records) > 1:
        raise _one_of_several(context, sample, key)
    return sample


def _one_of_several(context: RunContext, sample: str, key: str) -> InputValueError:
    members = [record.name for record in context.records if record.sample_name == sample]
    return InputValueError(
        f"limits.{key}",
        f"the sample {sample} is made of {', '.join(members)} and has one uncertainty",
        f"Give one size for {sample}, or give the datasets samples of their own",
    )
