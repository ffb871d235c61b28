"""What a fit found as plots: impacts, correlations, profile likelihoods, and limits against mass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from darkop_dist.report.content import ImpactBar, MassLimits, PlotContext, ProfileCurve
from darkop_dist.report.style import BAND_1SIGMA, BAND_2SIGMA, drawable, experiment_label, new_figure, plot_style

MOST_IMPACTS = 20
MOST_CORRELATED = 30
SMALLEST_CORRELATION = 0.1  # that a parameter needs with any other to be drawn
UP, DOWN = "#3f90da", "#bd1f01"


def ranking_figure(impacts: Sequence[ImpactBar], strength: str, context: PlotContext) -> Figure | None:
    """Draw how far nuisance parameters move the fitted strength, with their pulls; the largest 20.

    Args:
        impacts: largest first.
        strength: name of the parameter of interest.
        context: experiment, luminosity and energy.

    Returns:
        The figure, or None without impacts.
    """
    shown = impacts[:MOST_IMPACTS]
    if not shown:
        return None
    rows = np.arange(len(shown))
    with plot_style(context):
        figure = new_figure(8.6, 2.2 + 0.36 * len(shown))
        axes = figure.subplots()
        for values, colour, label in (
            ([one.prefit_up for one in shown], UP, "pre-fit, +1 s.d."),
            ([one.prefit_down for one in shown], DOWN, "pre-fit, -1 s.d."),
        ):
            widths = [0.0 if value is None else value for value in values]
            axes.barh(rows, widths, height=0.72, facecolor="none", edgecolor=colour, linewidth=1.3, label=label)
        axes.barh(rows, [one.up for one in shown], height=0.72, color=UP, alpha=0.75, label="post-fit, +1 s.d.")
        axes.barh(rows, [one.down for one in shown], height=0.72, color=DOWN, alpha=0.75, label="post-fit, -1 s.d.")
        sizes = [abs(v) for one in shown for v in (one.up, one.down, one.prefit_up, one.prefit_down) if v is not None]
        reach = 1.25 * max(sizes) or 1.0
        axes.set_xlim(-reach, reach)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(rows, [drawable(one.name) for one in shown], fontsize=11)
        axes.yaxis.set_tick_params(which="both", left=False, right=False)
        axes.set_xlabel(rf"Impact on $\Delta${drawable(_symbol(strength))} (filled and outlined bars)")
        pulled = axes.twiny()
        with_pull = [(row, one) for row, one in zip(rows, shown, strict=True) if one.pull is not None]
        pulled.errorbar(
            [one.pull or 0.0 for _, one in with_pull],
            [row for row, _ in with_pull],
            xerr=[one.constraint for _, one in with_pull],
            fmt="o", color="black", markersize=4, linewidth=1.3, label="pull",
        )  # fmt: skip
        farthest = max([2.2, *(1.1 * (abs(one.pull or 0.0) + one.constraint) for _, one in with_pull)])
        pulled.set_xlim(-farthest, farthest)
        pulled.set_xlabel(r"$(\hat{\theta} - \theta_{0}) / \Delta\theta$ (points)", fontsize=13, labelpad=8)
        pulled.axvline(0.0, color="#444444", linewidth=1.0, linestyle=":")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=11)
    return figure


def correlation_figure(names: Sequence[str], matrix: npt.ArrayLike, context: PlotContext) -> Figure | None:
    """Draw the correlations of the parameters that have one of at least 0.1 with another; the strongest 30.

    Args:
        names: of the parameters.
        matrix: correlations, shape (parameters, parameters); rows of zeros were held.
        context: experiment, luminosity and energy.

    Returns:
        The figure, or None where nothing is correlated.
    """
    if not len(names):
        return None
    correlation = np.asarray(matrix, dtype=np.float64)
    off_diagonal = np.abs(correlation - np.diag(np.diag(correlation)))
    strongest = off_diagonal.max(axis=1, initial=0.0)
    chosen = [int(row) for row in np.argsort(-strongest)[:MOST_CORRELATED] if strongest[row] >= SMALLEST_CORRELATION]
    if len(chosen) < 2:
        return None
    chosen.sort()
    shown = correlation[np.ix_(chosen, chosen)]
    labels = [drawable(names[row]) for row in chosen]
    with plot_style(context):
        figure = new_figure(3.4 + 0.36 * len(chosen), 2.8 + 0.36 * len(chosen))
        axes = figure.subplots()
        image = axes.imshow(shown, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
        axes.set_xticks(range(len(chosen)), labels, rotation=90, fontsize=10)
        axes.set_yticks(range(len(chosen)), labels, fontsize=10)
        axes.tick_params(which="both", length=0)
        if len(chosen) <= 16:
            for row, values in enumerate(shown):
                for column, value in enumerate(values):
                    if abs(value) >= 0.05:
                        colour = "white" if abs(value) > 0.6 else "black"
                        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        figure.colorbar(image, ax=axes, shrink=0.8, label="Correlation")
    return figure


def profile_figure(curve: ProfileCurve, context: PlotContext) -> Figure:
    """Draw a profile likelihood with its interval."""
    with plot_style(context):
        figure = new_figure(7.2, 5.4)
        axes = figure.subplots()
        low = curve.low if curve.low is not None else min(curve.values)
        high = curve.high if curve.high is not None else max(curve.values)
        label = f"{100 * curve.confidence_level:.3g}% interval: {_end(curve.low)} to {_end(curve.high)}"
        axes.axvspan(low, high, color=BAND_1SIGMA, alpha=0.35, linewidth=0, label=label)
        axes.plot(curve.values, curve.twice_delta_nll, "o-", color="black", markersize=3.5, label="Profile likelihood")
        axes.plot(
            [curve.bestfit],
            [0.0],
            "x",
            color="#bd1f01",
            markersize=9,
            clip_on=False,
            label=f"Best fit: {curve.bestfit:.4g}",
        )
        top = max(4.5, 1.35 * max(curve.twice_delta_nll))
        for level, name in ((1.0, "68%"), (3.84, "95%")):
            axes.axhline(level, color="#777777", linewidth=1.0, linestyle=":")
            axes.annotate(
                name, (1.0, level), xycoords=("axes fraction", "data"), xytext=(-4, 2), textcoords="offset points",
                ha="right", fontsize=11, color="#555555",
            )  # fmt: skip
        axes.set_ylim(0.0, top)
        axes.set_xlim(min(curve.values), max(curve.values))
        axes.set_xlabel(drawable(_symbol(curve.parameter)))
        axes.set_ylabel(r"$-2\,\Delta\ln L$")
        axes.legend(loc="upper center")
        experiment_label(axes, context)
    return figure


def mass_figure(
    limits: MassLimits, context: PlotContext, *, prediction: Callable[[float], float] | None = None
) -> Figure:
    """Draw limits against mass with the expected bands ("Brazil plot").

    Args:
        limits: observed and expected limits by mass.
        context: experiment, luminosity and energy.
        prediction: the model's cross section by mass, drawn as a line.
    """
    masses = np.asarray(limits.masses, dtype=np.float64)
    minus2, minus1, median, plus1, plus2 = (np.asarray(row, dtype=np.float64) for row in limits.expected)
    with plot_style(context):
        figure = new_figure(7.6, 6.0)
        axes = figure.subplots()
        axes.fill_between(masses, minus2, plus2, color=BAND_2SIGMA, linewidth=0, label=r"Expected $\pm$ 2 s.d.")
        axes.fill_between(masses, minus1, plus1, color=BAND_1SIGMA, linewidth=0, label=r"Expected $\pm$ 1 s.d.")
        axes.plot(masses, median, "--", color="black", label="Expected median")
        drawn = [minus2, plus2]
        if limits.observed is not None:
            axes.plot(masses, limits.observed, "o-", color="black", markersize=3.5, label="Observed")
            drawn.append(np.asarray(limits.observed, dtype=np.float64))
        if prediction is not None:
            line = np.array([prediction(float(mass)) for mass in masses])
            axes.plot(masses, line, color="#bd1f01", linewidth=1.8, label=drawable(limits.prediction_label))
            drawn.append(line)
        axes.set_yscale("log")
        low, high = min(float(row.min()) for row in drawn), max(float(row.max()) for row in drawn)
        axes.set_ylim(low / 2.0, high * (high / low) ** 0.35 * 2.0)
        axes.set_xlim(masses.min(), masses.max())
        axes.set_xlabel(drawable(limits.mass_label))
        axes.set_ylabel(drawable(limits.limit_label))
        axes.legend(loc="upper right", title=f"{100 * limits.confidence_level:g}% CL upper limits", alignment="right")
        experiment_label(axes, context)
    return figure


def _symbol(name: str) -> str:
    return r"$\mu$" if name == "mu" else name


def _end(value: float | None) -> str:
    return "bound" if value is None else f"{value:.4g}"
