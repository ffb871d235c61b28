"""Stage four: from histograms to workspace, fits, limits and significances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darkop_dist.config import Limits
from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError
from darkop_dist.limits import FitSample, LimitsFile, SignalResult, build_workspace, fit, upper_limit
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.context import RunContext, training_losses

LUMINOSITY = "luminosity"
TOY_SEED = 20_260_101
POOR_FIT = 0.01
LARGE_PULL = 2.0


def write_limits(context: RunContext, *, accept_loss: Sequence[str] = ()) -> LimitsFile | None:
    """Build one workspace per signal, fit it, set its limit; writes the workspaces and limits.json.

    One signal has workspace.json; several have workspace-NAME.json each.

    Args:
        context: the run.
        accept_loss: datasets whose lost events are accepted.

    Raises:
        LedgerError: events are missing whose loss is not accepted.
        StatisticsError: a signal has no selected event, or a bin cannot be fitted.
        FitError: a fit did not converge.
    """
    section = context.document.limits
    if section is None:
        return None
    context.require_closed(accept_loss)
    samples = fit_samples(context)
    results = []
    for signal in context.signals:
        result = _result_of(context, section, samples, signal)
        results.append(result)
    found = LimitsFile(tuple(results))
    found.save(context.run.limits)
    return found


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


def workspace_path(context: RunContext, signal: str) -> Path:
    """Where the workspace of a signal is."""
    run = context.run
    return run.workspace if len(context.signals) == 1 else run.path / f"workspace-{signal}.json"


def headlines(run: RunDirectory) -> tuple[str, ...]:
    """The limits of a run as lines for the console."""
    if not run.limits.exists():
        return ("no limits: the document asks for none",)
    lines = []
    for result in LimitsFile.load(run.limits).results:
        limit = result.limit
        level = f"{limit.confidence_level:.0%} CL"
        low, high = limit.expected[1], limit.expected[3]
        expected = f"expected {limit.expected[2]:.4g} (68%: {low:.4g} to {high:.4g})"
        if result.observed == "asimov":
            lines.append(f"{result.signal}: mu {expected} at {level}; no collision data, so nothing is observed")
            continue
        lines.append(f"{result.signal}: mu < {limit.observed:.4g} at {level}, {expected}, p0 = {limit.p0_observed:.3g}")
        fitted = result.background_fit
        if fitted is not None and fitted.goodness.p_value is not None:
            lines.append(f"  background-only fit: goodness of fit p = {fitted.goodness.p_value:.3g}")
    return tuple(lines)


def _result_of(context: RunContext, section: Limits, samples: Sequence[FitSample], signal: str) -> SignalResult:
    histograms = context.histograms.histograms
    observable = section.observable or next(iter(histograms))
    if observable not in histograms:
        known = ", ".join(histograms)
        raise UnknownNameError("observable", observable, histograms, f"limits.observable must be one of {known}.")
    uncertainty = section.lumi_uncertainty
    if LUMINOSITY in context.document.systematics and uncertainty is None:
        raise StatisticsError(
            "the systematic luminosity has no size: give limits.lumi_uncertainty, such as 0.012 for 1.2%"
        )
    varied, absent = _varied(context, observable)
    workspace = build_workspace(
        histograms[observable],
        samples,
        signal=signal,
        regions=section.regions,
        lumi_uncertainty=uncertainty,
        systematics=varied,
        normalisation=_normalisation(context, section, signal),
        bin_edges_used=section.bins,
        include_overflow=section.include_overflow,
        name=context.document.name,
    )
    notes = (*absent, *_training_notes(context, observable), *workspace.notes)
    workspace.save(workspace_path(context, signal))
    members = [record for record in context.records if record.sample_name == signal]
    cross_section = sum(r.xsec_pb * r.k_factor for r in members if r.xsec_pb is not None)
    limit = upper_limit(
        workspace,
        signal=signal,
        confidence_level=section.confidence_level,
        statistic=section.statistic,
        toys=section.toys,
        seed=TOY_SEED,
        xsec_pb=cross_section or None,
    )
    return SignalResult(
        signal=signal,
        label=next(sample.label for sample in samples if sample.name == signal),
        workspace_sha256=workspace.sha256,
        observed=workspace.observed,
        limit=limit,
        background_fit=fit(workspace, hypothesis="background-only"),
        signal_fit=fit(workspace, hypothesis="signal+background"),
        notes=notes,
    )


def _varied(context: RunContext, observable: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Systematics with variations of the observable, and a sentence for each that was asked for and has none."""
    variations = set(context.histograms.histograms[observable].axes["variation"])
    asked = [name for name in context.document.systematics if name != LUMINOSITY]
    varied = tuple(name for name in asked if {f"{name}_up", f"{name}_down"} <= variations)
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
        samples = [r.sample_name for r in context.records if name in (r.name, r.sample_name)]
        sample = samples[0] if samples else name
        members = [record.name for record in context.records if record.sample_name == sample]
        if sample in found or (name != sample and len(members) > 1):
            raise InputValueError(
                f"limits.normalisation.{name}",
                f"the sample {sample} is made of {', '.join(members)} and has one uncertainty",
                f"Give one size for {sample}, or give the datasets samples of their own",
            )
        if sample == signal or sample not in context.signals:
            found[sample] = sizes
    return found
