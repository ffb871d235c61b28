"""Limits and the fit behind them as plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from darkop_dist.report.content import PlotContext, Pull, SignalLimit
from darkop_dist.report.style import BAND_1SIGMA, BAND_2SIGMA, drawable, experiment_label, new_figure, plot_style

STRENGTH = r"Signal strength $\mu$"
MOST_PULLS = 40


def scan_figure(limit: SignalLimit, context: PlotContext) -> Figure | None:
    """Draw CLs against the signal strength with the expected bands and the limit where CLs falls below 1 - CL.

    Returns:
        The figure, or None if the limit holds no scan.
    """
    if limit.scan_mu is None or (limit.scan_observed is None and limit.scan_expected is None):
        return None
    mu = np.asarray(limit.scan_mu, dtype=np.float64)
    size = 1.0 - limit.confidence_level
    with plot_style(context):
        figure = new_figure(7.2, 5.8)
        axes = figure.subplots()
        if limit.scan_expected is not None:
            minus2, minus1, median, plus1, plus2 = (np.asarray(row, dtype=np.float64) for row in limit.scan_expected)
            axes.fill_between(mu, minus2, plus2, color=BAND_2SIGMA, linewidth=0, label=r"Expected $\pm$ 2 s.d.")
            axes.fill_between(mu, minus1, plus1, color=BAND_1SIGMA, linewidth=0, label=r"Expected $\pm$ 1 s.d.")
            axes.plot(mu, median, "--", color="black", label="Expected median")
        if limit.scan_observed is not None:
            axes.plot(mu, limit.scan_observed, "o-", color="black", markersize=3.5, label="Observed")
        axes.axhline(size, color="#bd1f01", linewidth=1.5)
        axes.annotate(
            f"{size:.3g}", (0.0, size), xycoords=("axes fraction", "data"), xytext=(6, 3), textcoords="offset points",
            color="#bd1f01", va="bottom",
        )  # fmt: skip
        for value, name, dashes in (
            (limit.observed, "Observed limit", "-"),
            (None if limit.expected is None else limit.expected[2], "Expected limit", "--"),
        ):
            if value is not None and mu.min() <= value <= mu.max():
                text = rf"{name}: $\mu$ < {value:.3g}"
                axes.plot([value, value], [0.0, 0.3], color="#bd1f01", linestyle=dashes, linewidth=1.8, label=text)
        axes.set_xlim(mu.min(), mu.max())
        axes.set_ylim(0.0, 1.05)
        axes.set_xlabel(STRENGTH)
        axes.set_ylabel(r"CL$_{s}$")
        title = drawable(limit.label or limit.signal)
        axes.legend(loc="upper right", title=title, alignment="right")
        experiment_label(axes, context)
    return figure


def limit_summary_figure(limits: Sequence[SignalLimit], context: PlotContext) -> Figure | None:
    """Draw the limits on the signal strength of all signals, one bar with expected bands each.

    Returns:
        The figure, or None if no signal has a limit.
    """
    shown = [limit for limit in limits if limit.observed is not None or limit.expected is not None]
    if not shown:
        return None
    with plot_style(context):
        figure = new_figure(7.2, 2.6 + 0.55 * len(shown))
        axes = figure.subplots()
        for row, limit in enumerate(shown):
            _draw_bar(axes, row, limit, first=row == 0)
        values = [
            value
            for limit in shown
            for value in (*(limit.expected or ()), limit.observed)
            if value is not None and value > 0
        ]
        axes.axvline(1.0, ymax=0.8, color="#444444", linewidth=1.2, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(min(*values, 1.0) / 1.6, max(*values, 1.0) * 1.6)
        axes.set_yticks(range(len(shown)), [drawable(limit.label or limit.signal) for limit in shown])
        axes.set_ylim(len(shown) - 0.4, -1.1 - 0.35 * len(shown))
        axes.tick_params(axis="y", which="both", left=False, right=False)
        axes.minorticks_on()
        axes.yaxis.set_tick_params(which="minor", left=False, right=False)
        level = 100 * shown[0].confidence_level
        axes.set_xlabel(rf"{level:g}% CL upper limit on the signal strength $\mu$")
        axes.legend(loc="upper right", ncols=4, columnspacing=1.0, handletextpad=0.5)
        experiment_label(axes, context)
    return figure


def _draw_bar(axes: Any, row: int, limit: SignalLimit, *, first: bool) -> None:
    def named(text: str) -> str | None:
        return text if first else None

    if limit.expected is not None:
        minus2, minus1, median, plus1, plus2 = limit.expected
        axes.barh(row, plus2 - minus2, left=minus2, height=0.6, color=BAND_2SIGMA, label=named(r"$\pm$ 2 s.d."))
        axes.barh(row, plus1 - minus1, left=minus1, height=0.6, color=BAND_1SIGMA, label=named(r"$\pm$ 1 s.d."))
        axes.plot([median, median], [row - 0.3, row + 0.3], "--", color="black", label=named("Expected"))
    if limit.observed is not None:
        axes.plot(
            [limit.observed] * 2, [row - 0.3, row + 0.3], "-", color="black", linewidth=2.2, label=named("Observed")
        )
        axes.plot(limit.observed, row, "o", color="black", markersize=6)


def most_pulled(pulls: Sequence[Pull], most: int = MOST_PULLS) -> tuple[Pull, ...]:
    """All pulls in their order if they are few, else those farthest from their nominal value, farthest first."""
    if len(pulls) <= most:
        return tuple(pulls)
    return tuple(sorted(pulls, key=lambda pull: -abs(pull.value))[:most])


def pulls_figure(pulls: Sequence[Pull], context: PlotContext) -> Figure | None:
    """Draw the pulls of the nuisance parameters with their fitted uncertainties.

    Returns:
        The figure with at most 40 parameters, or None without any.
    """
    if not pulls:
        return None
    shown = most_pulled(pulls)
    rows = np.arange(len(shown))
    values = np.asarray([pull.value for pull in shown])
    errors = np.asarray([pull.uncertainty for pull in shown])
    with plot_style(context):
        figure = new_figure(7.2, 1.7 + 0.34 * len(shown))
        axes = figure.subplots()
        axes.axvspan(-2.0, 2.0, color=BAND_2SIGMA, linewidth=0)
        axes.axvspan(-1.0, 1.0, color=BAND_1SIGMA, linewidth=0)
        axes.axvline(0.0, color="#444444", linewidth=1.0, linestyle=":")
        axes.errorbar(values, rows, xerr=errors, fmt="o", color="black", markersize=5, linewidth=1.6)
        reach = max(2.6, 1.1 * float(np.max(np.abs(values) + errors)))
        axes.set_xlim(-reach, reach)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(rows, [drawable(pull.name) for pull in shown], fontsize=12)
        axes.yaxis.set_tick_params(which="both", left=False, right=False)
        axes.set_xlabel(r"$(\hat{\theta} - \theta_{0}) / \Delta\theta$")
        experiment_label(axes, context)
    return figure
