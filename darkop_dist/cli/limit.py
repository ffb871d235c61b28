"""``darkop limit``: all results of any HistFactory workspace."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT

if TYPE_CHECKING:
    from darkop_dist.limits import Ranking
    from darkop_dist.stages.limit_file import WorkspaceResult

MOST_SHOWN = 10
SIGMAS = ("-2 sigma", "-1 sigma", "median", "+1 sigma", "+2 sigma")


def limit(
    path: Annotated[Path, typer.Argument(help="A workspace in pyhf's JSON, or a run directory.", metavar="WORKSPACE")],
    mu: Annotated[float | None, typer.Option(help="Signal strength whose CLs is wanted too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    level: Annotated[float, typer.Option(help="Confidence level of the limits.")] = 0.95,
    statistic: Annotated[
        Literal["qtilde", "q"], typer.Option(help="Test statistic: qtilde (strength not below zero) or q.")
    ] = "qtilde",
    toys: Annotated[int, typer.Option(min=0, help="Pseudo-experiments per hypothesis and point; 0: asymptotic.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the toys.")] = 1,
    keep: Annotated[Path | None, typer.Option(help="Keep the toys in this directory and go on from there.")] = None,
    where: Annotated[str, typer.Option(help="Where toys run: local, dask, dask://HOST:PORT, slurm, ...")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Workers of that cluster.")] = 1,
    impacts: Annotated[bool, typer.Option(help="Rank the nuisance parameters.")] = True,
    scan: Annotated[list[str] | None, typer.Option(help="Scan the likelihood of this parameter; repeatable.")] = None,
    yields: Annotated[bool, typer.Option("--yields", help="Print the yields before and after the fit.")] = False,
    plots: Annotated[Path | None, typer.Option(help="Draw everything into this new directory.")] = None,
) -> None:
    """Limits, significance, fits, impacts and scans of any HistFactory workspace or of a run."""
    from darkop_dist.stages.limit_file import LimitRequest, analyse, workspaces_of

    request = LimitRequest(mu, level, statistic, toys, seed, keep, where, workers, impacts, tuple(scan or ()))
    results = analyse(workspaces_of(path), request, lambda text: ERR.print(text, markup=False))
    if as_json:
        sys.stdout.write(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    else:
        for result in results:
            _print(result, yields=yields)
    if plots is not None:
        from darkop_dist.stages.limit_plots import draw

        ERR.print(f"plots: {draw(results, plots)}", markup=False)


def _print(result: WorkspaceResult, *, yields: bool) -> None:
    found, fitted = result.limit, result.signal_fit
    regions = ", ".join(region.region for region in fitted.prefit)
    OUT.print(f"{result.workspace}: signal {found.signal}, regions {regions}", markup=False)
    table = Table("", "observed", *SIGMAS, box=None)
    error = "" if found.observed_error is None else f" ± {found.observed_error:.2g}"
    bands = [f"{value:.4g}" for value in found.expected]
    table.add_row(f"{found.confidence_level:.4g} CL: {result.poi} <", f"{found.observed:.4g}{error}", *bands)
    if result.cls is not None:
        values = [f"{value:.4g}" for value in result.cls.expected]
        table.add_row(f"CLs at {result.poi} = {result.cls.mu:g}", f"{result.cls.observed:.8g}", *values)
    OUT.print(table)
    OUT.print(f"best fit    {result.poi} = {fitted.mu_hat:.4g} ± {fitted.mu_hat_uncertainty:.3g}", markup=False)
    OUT.print(
        f"discovery   p0 = {found.p0_observed:.4g} ({found.z_observed:.2f} sigma), expected at {result.poi} = 1: "
        f"{found.p0_expected:.4g} ({found.z_expected:.2f} sigma)",
        markup=False,
    )
    if found.p0_toys is not None:
        OUT.print(
            f"from toys   p0 = {found.p0_toys:.4g}, fit without signal p = {found.goodness_p_toys:.4g}", markup=False
        )
    for name, one in (("without", result.background_fit), ("with", result.signal_fit)):
        good = one.goodness
        p_value = "" if good.p_value is None else f", p = {good.p_value:.3g}"
        OUT.print(f"fit {name} signal: chi2/ndof = {good.chi2:.4g}/{good.ndof}{p_value}", markup=False)
    for scan in result.scans:
        low, high = ("none" if end is None else f"{end:.4g}" for end in (scan.low, scan.high))
        OUT.print(f"interval    {scan.parameter}: {low} to {high} at {scan.confidence_level:g} CL", markup=False)
    if result.ranking is not None:
        _print_ranking(result.ranking, result.poi)
    if yields:
        _print_yields(result)
    if result.pyhf_difference is None:
        OUT.print("check       pyhf cannot read this workspace", markup=False)
    else:
        OUT.print(
            f"check       pyhf's -2 ln L at the fitted parameters differs by {result.pyhf_difference:.1g}", markup=False
        )
    OUT.print(f"rests on    {found.assumptions}", markup=False)
    for problem in result.problems:
        OUT.print(f"note        {problem}", markup=False)


def _print_ranking(ranking: Ranking, poi: str) -> None:
    table = Table("parameter", "pull", "constraint", f"{poi} at +1 sd", f"{poi} at -1 sd", box=None)
    for impact in ranking.impacts[:MOST_SHOWN]:
        pull = "free" if impact.pull is None else f"{impact.pull:+.2f}"
        table.add_row(impact.name, pull, f"±{impact.uncertainty:.3g}", f"{impact.up:+.3g}", f"{impact.down:+.3g}")
    left = len(ranking.impacts) - MOST_SHOWN
    OUT.print(
        f"impacts     around {poi} = {ranking.mu_hat:.4g} ± {ranking.mu_hat_uncertainty:.3g}, free to be negative",
        markup=False,
    )
    OUT.print(table)
    if left > 0:
        OUT.print(f"and {left} parameters with smaller impacts (--json has all)", markup=False)


def _print_yields(result: WorkspaceResult) -> None:
    for before, after in zip(result.background_fit.prefit, result.background_fit.postfit, strict=True):
        table = Table(before.region, "before the fit", "after it", box=None)
        for name in before.backgrounds:
            sums = (f"{sum(region.backgrounds[name]):.4g}" for region in (before, after))
            table.add_row(name, *sums)
        table.add_row("background", f"{sum(before.total):.4g}", f"{sum(after.total):.4g}")
        table.add_row("signal at 1", f"{sum(before.signal):.4g}", "")
        table.add_row("observed", f"{sum(before.observed):.4g}", "")
        OUT.print(table)
