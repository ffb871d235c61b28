"""All results of any HistFactory workspace: limits, fits, impacts and scans, without a run around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from darkop_dist.errors import InputFileError
from darkop_dist.execution.sites import get_client
from darkop_dist.execution.toys import toys_on
from darkop_dist.limits import (
    ClsValues,
    FitResult,
    LikelihoodScan,
    LimitResult,
    Ranking,
    Workspace,
    cls_values,
    fit,
    rank,
    scan_likelihood,
    upper_limit,
)
from darkop_dist.limits.authority import pyhf_difference
from darkop_dist.limits.toy_store import kept_in
from darkop_dist.limits.toys import Runner, run_here
from darkop_dist.runs import RunDirectory


@dataclass(frozen=True)
class LimitRequest:
    """What is wanted of a workspace.

    Attributes:
        mu: a signal strength whose CLs is wanted too.
        confidence_level: of the limits.
        statistic: test statistic of the limits.
        toys: pseudo-experiments per hypothesis and point; 0 for the asymptotic formulae.
        seed: of their random numbers.
        keep: directory that keeps the toys, so that an interrupted scan goes on.
        where: where toys are computed: ``local``, or a cluster as in ``execution.where`` of a document.
        workers: how many workers of that cluster.
        impacts: find the impacts of all nuisance parameters.
        scans: parameters whose profile likelihood is scanned.
    """

    mu: float | None = None
    confidence_level: float = 0.95
    statistic: Literal["qtilde", "q"] = "qtilde"
    toys: int = 0
    seed: int = 1
    keep: Path | None = None
    where: str = "local"
    workers: int = 1
    impacts: bool = True
    scans: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkspaceResult:
    """What was found.

    Attributes:
        workspace: the file.
        sha256: of the workspace as this package writes it.
        poi: the parameter of interest.
        observed: ``asimov`` where the background expectation stands for data.
        limit: the upper limit and the significance.
        cls: CLs at the strength that was asked for.
        background_fit: the fit without signal.
        signal_fit: the fit with signal.
        ranking: the impacts.
        scans: profile likelihoods.
        pyhf_difference: pyhf's -2 ln L at the parameters of ``signal_fit`` less ours; None if pyhf cannot read the
            workspace.
        notes: on how the workspace was read.
    """

    workspace: str
    sha256: str
    poi: str
    observed: str
    limit: LimitResult
    cls: ClsValues | None
    background_fit: FitResult
    signal_fit: FitResult
    ranking: Ranking | None
    scans: tuple[LikelihoodScan, ...]
    pyhf_difference: float | None
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """All that was left out or fell back, in sentences."""
        ranking = self.ranking.problems if self.ranking else ()
        scans = (problem for scan in self.scans for problem in scan.problems)
        return (*self.notes, *self.limit.problems, *ranking, *scans)


def workspaces_of(path: Path) -> tuple[Path, ...]:
    """The workspace files that a path means: itself, or all of a run directory.

    Raises:
        InputFileError: there is none.
    """
    if path.is_file():
        return (path,)
    if not path.exists():
        raise InputFileError(str(path), "no such file or run directory", "Name a workspace in JSON or a run.")
    single = RunDirectory(path).workspace
    found = (single,) if single.exists() else tuple(sorted(path.glob("workspace-*.json")))
    if not found:
        raise InputFileError(str(path), "holds no workspace", "Run darkop limits on it, or name a workspace file.")
    return found


def analyse(
    paths: Sequence[Path], request: LimitRequest, say: Callable[[str], None] = lambda _text: None
) -> tuple[WorkspaceResult, ...]:
    """Find all results of some workspaces.

    Args:
        paths: workspace files.
        request: what is wanted.
        say: is told what happens.

    Raises:
        InputFileError: a file is missing or is no workspace.
        StatisticsError: a workspace has no signal, or nothing can be excluded.
        FitError: a fit did not converge.
        RunError: the cluster for the toys did not come.
    """
    with ExitStack() as stack:
        runner: Runner = run_here
        if request.toys and request.where != "local":
            client = stack.enter_context(get_client(request.where, workers=request.workers, say=say))
            say(f"dashboard: {client.dashboard_link}")
            runner = toys_on(client)
        if request.keep is not None:
            runner = kept_in(request.keep, runner)
        return tuple(_analyse(path, request, runner, say) for path in paths)


def _analyse(path: Path, request: LimitRequest, runner: Runner, say: Callable[[str], None]) -> WorkspaceResult:
    workspace = Workspace.load(path)
    say(f"{path.name}: limits, fits{' and impacts' if request.impacts else ''}")
    signal_fit = fit(workspace, hypothesis="signal+background")
    return WorkspaceResult(
        workspace=str(path),
        sha256=workspace.sha256,
        poi=workspace.poi,
        observed=workspace.observed,
        limit=upper_limit(
            workspace,
            signal=workspace.signal or path.stem,
            confidence_level=request.confidence_level,
            statistic=request.statistic,
            toys=request.toys,
            seed=request.seed,
            runner=runner,
        ),
        cls=None if request.mu is None else cls_values(workspace, request.mu, statistic=request.statistic),
        background_fit=fit(workspace, hypothesis="background-only"),
        signal_fit=signal_fit,
        ranking=rank(workspace) if request.impacts else None,
        scans=tuple(scan_likelihood(workspace, name) for name in request.scans),
        pyhf_difference=pyhf_difference(workspace, signal_fit),
        notes=workspace.notes,
    )
