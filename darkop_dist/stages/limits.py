"""Stage four: from histograms to workspace, fits, limits and significances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darkop_dist.config import Limits
from darkop_dist.limits import FitSample, LimitsFile, SignalResult, fit, upper_limit
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.context import RunContext
from darkop_dist.stages.fit_model import fit_samples, workspace_of

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
    workspace = workspace_of(context, section, samples, signal)
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
        notes=workspace.notes,
    )
