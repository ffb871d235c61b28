"""Plots of the results of workspaces, each a file, in a directory that appears complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from darkop_dist.limits import FitResult, Ranking, RegionYields
from darkop_dist.report import content
from darkop_dist.report.directory import finished_directory
from darkop_dist.report.fit_figures import correlation_figure, profile_figure, ranking_figure
from darkop_dist.report.limit_figures import pulls_figure, scan_figure
from darkop_dist.report.stack import stack_figure
from darkop_dist.report.style import save_figure
from darkop_dist.stages.limit_file import WorkspaceResult

CONTEXT = content.PlotContext(experiment="unknown", has_data=True, sqrt_s_tev=None)


def draw(results: Sequence[WorkspaceResult], directory: Path) -> Path:
    """Draw limits, pulls, impacts, correlations, profile likelihoods and the yields before and after the fit.

    Args:
        results: of workspaces; with several, each has a folder of its own.
        directory: a new directory.

    Raises:
        OutputError: the directory exists already or cannot be written.
    """
    with finished_directory(directory) as unfinished:
        for result in results:
            folder = unfinished if len(results) == 1 else unfinished / Path(result.workspace).stem
            folder.mkdir(exist_ok=True)
            for name, figure in _figures(result):
                if figure is not None:
                    save_figure(figure, folder / f"{name}.png")
                    save_figure(figure, folder / f"{name}.pdf")
    return directory


def pulls_of(fitted: FitResult) -> tuple[content.Pull, ...]:
    """The constrained parameters of a fit without those of simulation statistics' own bins, for a plot."""
    return tuple(
        content.Pull(p.name, p.pull, p.uncertainty / p.prefit_uncertainty)
        for p in fitted.parameters
        if p.pull is not None and not p.name.startswith("staterror")
    )


def impacts_of(ranking: Ranking, fitted: FitResult) -> tuple[content.ImpactBar, ...]:
    """Impacts for a plot, with fitted uncertainties in units of the constraints' widths.

    Args:
        ranking: the impacts.
        fitted: the fit with signal of the same workspace.
    """
    widths = {p.name: p.prefit_uncertainty or 1.0 for p in fitted.parameters}
    return tuple(
        content.ImpactBar(
            one.name, one.pull, one.uncertainty / widths[one.name], one.up, one.down, one.prefit_up, one.prefit_down
        )
        for one in ranking.impacts
    )


def stacked(
    region: RegionYields, *, label: str, signal: str, data_label: str, when: str, data: bool = True
) -> content.StackedBins:
    """The yields of a region for a plot.

    Args:
        region: the yields.
        label: axis title of the observable.
        signal: name of the signal's sample.
        data_label: what the points are.
        when: ``before the fit`` or ``after the fit``.
        data: whether to draw the points.
    """
    return content.StackedBins(
        region=region.region,
        label=label,
        edges=region.edges,
        yields={**region.backgrounds, **({signal: region.signal} if any(region.signal) else {})},
        total_uncertainty=region.total_uncertainty,
        data=region.observed if data else None,
        data_label=data_label,
        uncertainty_label=f"Uncertainty {when}",
    )


def _figures(result: WorkspaceResult) -> Iterator[tuple[str, Any]]:
    limit, observed = result.limit, result.observed == "data"
    shown = content.SignalLimit(
        signal=limit.signal,
        label=limit.signal,
        observed=limit.observed if observed else None,
        expected=(limit.expected[0], limit.expected[1], limit.expected[2], limit.expected[3], limit.expected[4]),
        confidence_level=limit.confidence_level,
        scan_mu=limit.scan_mu,
        scan_observed=limit.scan_cls_obs if observed else None,
        scan_expected=[[point[index] for point in limit.scan_cls_exp] for index in range(5)],
    )
    yield "cls", scan_figure(shown, CONTEXT)
    yield "pulls", pulls_figure(pulls_of(result.background_fit), CONTEXT)
    fitted = result.signal_fit
    yield "correlations", correlation_figure([p.name for p in fitted.parameters], fitted.correlation, CONTEXT)
    if result.ranking is not None:
        yield "impacts", ranking_figure(impacts_of(result.ranking, fitted), result.poi, CONTEXT)
    for scan in result.scans:
        curve = content.ProfileCurve(
            scan.parameter, scan.bestfit, scan.values, scan.twice_delta_nll, scan.confidence_level, scan.low, scan.high
        )
        yield f"profile-{scan.parameter}", profile_figure(curve, CONTEXT)
    for when, regions in (("pre-fit", result.background_fit.prefit), ("post-fit", result.background_fit.postfit)):
        for region in regions:
            yield f"{when}-{region.region}", _yields(region, limit.signal, when, observed=observed)


def _yields(region: RegionYields, signal: str, when: str, *, observed: bool) -> Any:
    words = {"pre-fit": "before the fit", "post-fit": "after the fit"}
    bins = stacked(region, label="Bin", signal=signal, data_label="Data" if observed else "Asimov", when=words[when])
    samples = [content.SamplePlot(name, name, (), role="background") for name in region.backgrounds]
    samples.append(content.SamplePlot(signal, signal, (), role="signal"))
    return stack_figure(bins, samples, CONTEXT, title=when)
