"""``darkop trigger pareto`` and ``stability``; tables and figures of the trigger's commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT
from darkop_dist.errors import MissingExtraError

if TYPE_CHECKING:
    from darkop_dist.trigger.conditions import Conditions
    from darkop_dist.trigger.pareto import ParetoSet
    from darkop_dist.trigger.stability import Changed, Stability

PARETO_FIGURE = "pareto.png"
PlotOption = Annotated[Path | None, typer.Option(help="Draw it into this file: .png, .svg or .pdf.")]
ConditionsOption = Annotated[str, typer.Option(help="Of the LHC: run2-2018, run3-high-pileup or hl-lhc.")]
LuminosityOption = Annotated[float, typer.Option(help="In 1/(cm2 s).")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``darkop trigger``."""
    app.command("pareto")(pareto)
    app.command("stability")(stability)


def pareto(
    folder: Annotated[Path, typer.Argument(help="A folder of darkop trigger train.")],
    plot: PlotOption = None,
) -> None:
    """Students of a training again: a table, and a figure of efficiency against LUTs."""
    from darkop_dist.trigger.pareto import read_pareto

    check_plot(plot)
    found = read_pareto(folder)
    show_pareto(found)
    if plot is not None:
        draw_pareto(found, plot)


def stability(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint.")],
    sample: Annotated[Path, typer.Option(help="Zero bias.")],
    rate: Annotated[float, typer.Option(help="In Hz, unchanged; gives the threshold.")] = 1000.0,
    threshold: Annotated[float | None, typer.Option(help="Lowest accepted score, instead of a rate.")] = None,
    conditions: ConditionsOption = "run3-high-pileup",
    luminosity: LuminosityOption = 2e34,
    collisions: Annotated[
        list[float] | None, typer.Option(help="Another mean number of collisions in a crossing; repeatable.")
    ] = None,
    plot: PlotOption = None,
) -> None:
    """Score and rate of zero bias against pile-up, and with dead and noisy parts of the detector."""
    from darkop_dist.trigger.stability import estimate_stability

    check_plot(plot)
    found = estimate_stability(
        checkpoint,
        sample=sample,
        conditions=conditions,
        luminosity=luminosity,
        rate_hz=rate,
        threshold=threshold,
        mean_collisions=tuple(collisions or ()),
    )
    OUT.print(conditions_line(found.conditions, found.sample_mean_collisions, found.sample_energy_tev), markup=False)
    table = Table(f"score >= {found.threshold:g}", "mean score", "rate (Hz)", "68% interval (Hz)", "ratio", box=None)
    for one in (found.nothing, *found.changes):
        table.add_row(*_stability_row(found, one))
    OUT.print(table)
    for one in found.changes:
        if one.refused:
            OUT.print(f"{one.change}: {one.refused}", markup=False)
    if plot is not None:
        from darkop_dist.report.style import save_figure
        from darkop_dist.report.trigger_figures import stability_figure

        OUT.print(f"figure: {save_figure(stability_figure(found), plot)}", markup=False)


def check_plot(plot: Path | None) -> None:
    """Find out before the work whether a figure can be drawn and written.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the suffix is none of a figure's, or the folder does not exist or must not be written to.
    """
    if plot is None:
        return
    try:
        from darkop_dist.report.style import check_figure_path
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "report") from error
    check_figure_path(plot)


def conditions_line(at: Conditions, sample_mean_collisions: float, sample_energy_tev: float) -> str:
    """Conditions of a rate, and those of the sample that it is of."""
    return (
        f"{at.name}, {at.luminosity:g}/(cm2 s), {at.colliding_bunches} bunches: {at.mean_collisions:.1f} collisions "
        f"a crossing (sample: {sample_mean_collisions:g} at {sample_energy_tev:g} TeV, the LHC {at.energy_tev:g} TeV)"
    )


def show_pareto(found: ParetoSet) -> None:
    """Print students and their teacher."""
    table = Table("student", "LUTs (estimate)", "depth", *found.teacher, box=None)
    table.add_row("teacher", "", "", *(f"{value:.3f}" for value in found.teacher.values()))
    for name, efficiency in found.floats.items():
        table.add_row(f"{name} in float", "", "", *(f"{value:.3f}" for value in efficiency.values()))
    for point in found.points:
        row = (f"{value:.3f}" for value in point.efficiency.values())
        table.add_row(point.name, f"{point.luts:.0f}", f"{point.depth:g}", *row)
    OUT.print(table)


def draw_pareto(found: ParetoSet, path: Path) -> None:
    """Draw students and their teacher into a file.

    Raises:
        OutputError: it cannot be written.
    """
    from darkop_dist.report.style import save_figure
    from darkop_dist.report.trigger_figures import pareto_figure

    OUT.print(f"figure: {save_figure(pareto_figure(found), path)}", markup=False)


def draw_trained(found: ParetoSet, folder: Path) -> None:
    """Draw the students of a training into its folder; without matplotlib only say so, the training stands."""
    try:
        check_plot(folder / PARETO_FIGURE)
    except MissingExtraError as error:
        ERR.print(f"{PARETO_FIGURE} is not drawn: {error}. Draw it later with darkop trigger pareto", markup=False)
        return
    draw_pareto(found, folder / PARETO_FIGURE)


def _stability_row(found: Stability, one: Changed) -> tuple[str, ...]:
    if one.rate is None or one.mean_score is None:
        return one.change, "", "refused", "", ""
    rate, ratio = one.rate, found.ratio(one)
    return (
        one.change,
        f"{one.mean_score:.4g}",
        f"{rate.rate_hz:.4g}",
        f"{rate.low_hz:.4g} to {rate.high_hz:.4g}",
        "" if ratio is None else f"{ratio:.3f}",
    )
