"""Data over stacked simulation with a ratio panel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from darkop_dist.report.binned import sample_colours
from darkop_dist.report.content import PlotContext, SamplePlot, StackedBins
from darkop_dist.report.poisson import garwood_errors
from darkop_dist.report.style import (
    COLOURS,
    SIGNAL_COLOURS,
    drawable,
    experiment_label,
    new_figure,
    plot_style,
)

Floats = npt.NDArray[np.float64]
WIDEST_LEGEND = 40  # characters of two columns side by side
WIDE = 100.0  # p-values: bins from zero whose first is narrower than this share of the axis would not be seen
BAND = {"facecolor": "none", "edgecolor": "#444444", "hatch": "////", "linewidth": 0.0}


def stack_figure(
    bins: StackedBins,
    samples: Sequence[SamplePlot],
    context: PlotContext,
    *,
    title: str = "",
    log: bool | None = None,
    threshold: float | None = None,
    keeps: str = "above",
) -> Figure:
    """Draw data, stacked backgrounds with their uncertainty, signals as lines, and data over background.

    Data carry central Poisson (Garwood) intervals of one standard deviation, zero counts included; a bin that expects
    and holds nothing is left empty. Bins of different width are divided by their width. The band of the ratio is the
    uncertainty of the background alone, that of the points the data's alone. Signals are not part of the stack nor of
    the ratio. Events outside the axis are not drawn.

    Args:
        bins: the yields.
        samples: labels, order, roles and colours; samples without a yield are left out, yields without a sample are
            backgrounds.
        context: experiment, luminosity and energy.
        title: such as ``pre-fit``, written with the region's name.
        log: logarithmic axis; by default if the yields span more than a factor 50.
        threshold: cut on the observable, drawn as a line.
        keeps: side that the cut keeps, ``above`` or ``below``.

    Returns:
        The figure.
    """
    edges = np.asarray(bins.edges, dtype=np.float64)
    widths = np.diff(edges)
    divisor = np.ones_like(widths) if _uniform(widths) else widths
    with plot_style(context):
        figure = new_figure(7.2, 7.2 if bins.data is not None else 5.8)
        if bins.data is None:
            main, ratio = figure.subplots(), None
        else:
            main, ratio = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.2, 1)})
            figure.set_layout_engine("constrained", hspace=0.0, h_pad=0.02)
        background = _draw_stack(main, bins, samples, edges, divisor)
        if bins.data is not None:
            _draw_data(main, edges, np.asarray(bins.data, dtype=np.float64), background, divisor, label=bins.data_label)
        _scale_counts(main, bins, background, divisor, log=log)
        main.set_ylabel(_count_label(bins.label, widths))
        main.set_xlim(edges[0], edges[-1])
        if edges[0] == 0.0 and edges[-1] > WIDE * edges[1]:
            main.set_xscale("symlog", linthresh=edges[1])
        _legend(main, drawable(f"{bins.region}, {title}" if title else bins.region))
        experiment_label(main, context)
        lowest = main
        if ratio is not None and bins.data is not None:
            _draw_ratio(ratio, edges, np.asarray(bins.data, dtype=np.float64), background, bins)
            lowest = ratio
        lowest.set_xlabel(drawable(bins.label))
        if threshold is not None:
            _draw_threshold(main, threshold, keeps)
        figure.align_ylabels()
    return figure


def _uniform(widths: Floats) -> bool:
    return bool(np.allclose(widths, widths[0], rtol=1e-6))


def _count_label(label: str, widths: Floats) -> str:
    unit = re.search(r"\[([^\]]+)\]\s*$", label)
    name = "" if unit is None else f" {drawable(unit.group(1))}"
    if _uniform(widths):
        return f"Events / {widths[0]:.4g}{name}" if name or not np.isclose(widths[0], 1.0) else "Events"
    return f"Events /{name}" if name else "Events / unit width"


def _draw_stack(axes: Any, bins: StackedBins, samples: Sequence[SamplePlot], edges: Floats, divisor: Floats) -> Floats:
    known = {sample.name for sample in samples}
    # a fit may have backgrounds that no dataset stands for, such as ABCD's
    others = [SamplePlot(name, name.replace("_", " "), ()) for name in bins.yields if name not in known]
    colours = sample_colours([*samples, *others], COLOURS, SIGNAL_COLOURS)
    total = np.zeros(len(edges) - 1)
    for sample in (*samples, *others):
        if sample.name not in bins.yields or sample.role == "data":
            continue
        values = np.asarray(bins.yields[sample.name], dtype=np.float64)
        label, colour = drawable(sample.label), colours[sample.name]
        if sample.role == "signal":
            factor = "" if np.isclose(sample.overlay_scale, 1.0) else rf" $\times$ {sample.overlay_scale:g}"
            line = sample.overlay_scale * values / divisor
            axes.stairs(line, edges, color=colour, linewidth=2.2, label=label + factor, zorder=4)
        else:
            top = total + values
            axes.stairs(
                top / divisor, edges, baseline=total / divisor, fill=True, facecolor=colour, edgecolor="#333333",
                linewidth=0.7, label=label, zorder=2,
            )  # fmt: skip
            total = top
    band = np.asarray(bins.total_uncertainty, dtype=np.float64)
    if np.any(total):
        lower = np.clip(total - band, 0.0, None) / divisor
        axes.stairs(
            (total + band) / divisor, edges, baseline=lower, fill=True, label=bins.uncertainty_label, zorder=3, **BAND
        )
    return total


def _shown(data: Floats, background: Floats) -> npt.NDArray[np.bool_]:
    return (data > 0.0) | (background > 0.0)


def _draw_data(axes: Any, edges: Floats, data: Floats, background: Floats, divisor: Floats, *, label: str) -> None:
    shown = _shown(data, background)
    low, high = garwood_errors(data)
    axes.errorbar(
        ((edges[1:] + edges[:-1]) / 2)[shown], (data / divisor)[shown],
        yerr=((low / divisor)[shown], (high / divisor)[shown]),
        fmt="o", color="black", markersize=5.5, linewidth=1.4, label=drawable(label), zorder=6,
    )  # fmt: skip


def _scale_counts(axes: Any, bins: StackedBins, background: Floats, divisor: Floats, *, log: bool | None) -> None:
    curves = [background / divisor]
    if bins.data is not None:
        curves.append(np.asarray(bins.data, dtype=np.float64) / divisor)
    shown = np.concatenate(curves)
    positive = shown[shown > 0.0]
    if not positive.size:
        return
    top = float(axes.dataLim.y1)  # of all that was drawn: stack, band, signals and error bars
    labels = axes.get_legend_handles_labels()[1]
    headroom = min(0.14 + 0.06 * -(-len(labels) // _legend_columns(labels)), 0.6)
    if log if log is not None else top / float(positive.min()) > 50.0:
        axes.set_yscale("log", nonpositive="clip")
        bottom = max(0.3 * float(positive.min()), 1e-6 * top)
        axes.set_ylim(bottom, top * (top / bottom) ** (headroom / (1.0 - headroom)))
    else:
        axes.set_ylim(0.0, top / (1.0 - headroom))


def _legend(axes: Any, title: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = _legend_columns(labels)
    axes.legend(handles, labels, ncols=columns, loc="upper right", title=title, title_fontsize=13, alignment="right")


def _legend_columns(labels: Sequence[str]) -> int:
    """Two columns for more than three entries, if both fit into the axes."""
    half = -(-len(labels) // 2)
    widest = sum(max(map(len, column)) for column in (labels[:half], labels[half:]) if column)
    return 2 if len(labels) > 3 and widest <= WIDEST_LEGEND else 1


def _draw_ratio(axes: Any, edges: Floats, data: Floats, background: Floats, bins: StackedBins) -> None:
    known = background > 0.0
    safe = np.where(known, background, 1.0)
    ratio = data / safe
    low, high = (length / safe for length in garwood_errors(data))
    band = np.where(known, np.asarray(bins.total_uncertainty, dtype=np.float64) / safe, 0.0)
    axes.stairs(1.0 + band, edges, baseline=np.clip(1.0 - band, 0.0, None), fill=True, **BAND)
    axes.axhline(1.0, color="#444444", linewidth=1.0)
    middle = (edges[1:] + edges[:-1]) / 2
    axes.errorbar(
        middle[known], ratio[known], yerr=(low[known], high[known]), fmt="o", color="black", markersize=5, linewidth=1.4
    )
    busy = known & (data > 0.0)
    spread = float(np.max(np.abs(ratio[busy] - 1.0), initial=0.0))
    half = 0.5 if spread < 0.4 else 1.0
    axes.set_ylim(1.0 - half, 1.0 + half)
    above, below = known & (ratio > 1.0 + half), known & (ratio < 1.0 - half)
    for beyond, marker, height in ((above, "^", 1.0 + 0.9 * half), (below, "v", 1.0 - 0.9 * half)):
        axes.plot(middle[beyond], np.full(int(beyond.sum()), height), marker, color="#bd1f01", markersize=7)
    axes.set_ylabel(f"{drawable(bins.data_label)} / bkg.", loc="center")


def _draw_threshold(axes: Any, threshold: float, keeps: str) -> None:
    axes.axvline(threshold, ymax=0.58, color="#bd1f01", linewidth=1.6, linestyle="--", zorder=5)
    start, end = axes.get_xlim()
    length = 0.07 * (end - start) * (1.0 if keeps == "above" else -1.0)
    axes.annotate(
        "", xy=(threshold + length, 0.58), xytext=(threshold, 0.58), xycoords=("data", "axes fraction"),
        textcoords=("data", "axes fraction"), arrowprops={"arrowstyle": "-|>", "color": "#bd1f01", "linewidth": 1.6},
        zorder=5,
    )  # fmt: skip
