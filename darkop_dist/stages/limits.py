"""Stage four: from histograms to workspace, fits, limits and significances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from darkop_dist.config import Limits
from darkop_dist.errors import FitError, StatisticsError, UnknownNameError
from darkop_dist.execution import Watch
from darkop_dist.execution.execute import cluster_of
from darkop_dist.execution.toys import toys_on
from darkop_dist.limits import FitSample, LimitsFile, SignalResult, fit, rank, upper_limit
from darkop_dist.limits.toy_store import kept_in
from darkop_dist.limits.toys import Runner, run_here
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.context import RunContext
from darkop_dist.stages.fit_model import fit_samples, workspace_of
from darkop_dist.stages.luminosity import require_distinct

TOY_SEED = 20_260_101
POOR_FIT = 0.01
LARGE_PULL = 2.0


def write_limits(context: RunContext, *, accept_loss: Sequence[str] = ()) -> LimitsFile | None:
    """Build one workspace per signal, fit it, set its limit; writes the workspaces and limits.json.

    One signal has workspace.json; several have workspace-NAME.json each. Of several signals one that fails is reported
    and the others stand. Toys are computed where the events were, and kept in ``toys/``: a run that is interrupted
    goes on from there.

    Args:
        context: the run.
        accept_loss: datasets whose lost events are accepted.

    Raises:
        LedgerError: events are missing whose loss is not accepted.
        StatisticsError: no signal has a limit: it has no selected event, or a bin cannot be fitted.
        FitError: the fit of the only signal did not converge.
        InputValueError: several files hold the same luminosity section, and the document refuses that.
        UnknownNameError: a mass is given for what is no signal.
        RunError: the cluster for the toys did not come.
    """
    section = context.document.limits
    if section is None:
        return None
    context.require_closed(accept_loss)
    require_distinct(context.document.corrections, context.luminosity)
    _require_signals(section.masses, context.signals)
    samples = fit_samples(context)
    results, problems = [], []
    with _toy_runner(context, section) as runner:
        for signal in context.signals:
            try:
                results.append(_result_of(context, section, samples, signal, runner))
            except (StatisticsError, FitError) as error:
                if len(context.signals) == 1:
                    raise
                problems.append(f"{signal} has no limit: {error}")
    if not results:
        raise StatisticsError(f"no signal has a limit. {' '.join(problems)}")
    found = LimitsFile(tuple(results), tuple(problems))
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
    found = LimitsFile.load(run.limits)
    for result in found.results:
        limit = result.limit
        level = f"{limit.confidence_level:.0%} CL"
        low, high = limit.expected[1], limit.expected[3]
        expected = f"expected {limit.expected[2]:.4g} (68%: {low:.4g} to {high:.4g})"
        if result.observed == "asimov":
            lines.append(f"{result.signal}: mu {expected} at {level}; no collision data, so nothing is observed")
            continue
        lines.append(f"{result.signal}: mu < {limit.observed:.4g} at {level}, {expected}, p0 = {limit.p0_observed:.3g}")
        lines += [f"  note: {problem}" for problem in limit.problems]
        fitted = result.background_fit
        if fitted is not None and fitted.goodness.p_value is not None:
            lines.append(f"  background-only fit: goodness of fit p = {fitted.goodness.p_value:.3g}")
    return (*lines, *found.problems)


@contextmanager
def _toy_runner(context: RunContext, section: Limits) -> Iterator[Runner]:
    """Where toys are computed: where the document has its events processed."""
    if not section.toys:
        yield run_here
        return
    with cluster_of(context.document.execution, Watch()) as client:
        yield kept_in(context.run.toys, run_here if client is None else toys_on(client))


def _require_signals(masses: Mapping[str, float], signals: Sequence[str]) -> None:
    for name in masses:
        if name not in signals:
            raise UnknownNameError("signal", name, signals, f"limits.masses: the signals are {', '.join(signals)}.")


def _result_of(
    context: RunContext, section: Limits, samples: Sequence[FitSample], signal: str, runner: Runner
) -> SignalResult:
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
        runner=runner,
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
        ranking=rank(workspace),
        mass_gev=section.masses.get(signal),
    )
