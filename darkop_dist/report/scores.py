"""Distributions of the anomaly score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from darkop_dist.report.binned import binned, sample_colours
from darkop_dist.report.content import PlotContext, SamplePlot
from darkop_dist.report.poisson import garwood_errors
from darkop_dist.report.style import COLOURS, SIGNAL_COLOURS, drawable, experiment_label, new_figure, plot_style

MOST_BINS = 40


def score_figure(histogram: Any, samples: Sequence[SamplePlot], region: str, context: PlotContext) -> Figure | None:
    """Draw the score of each sample in one region, normalised to unity, as a probability density per unit of score.

    The normalisation counts events outside the axis, which are not drawn. If the histogram has a ``split`` axis, its
    splits are summed; unweighted counts of a sample with several datasets are then combined with the datasets' scales,
    which is exact only where all weights of a dataset are equal.

    Args:
        histogram: axes dataset, region, ``variation`` or ``split``, score.
        samples: the samples; empty ones are left out.
        region: one region.
        context: experiment, luminosity and energy.

    Returns:
        The figure, or None if no sample has events in the region.
    """
    axis = histogram.axes[-1]
    every = np.asarray(axis.edges, dtype=np.float64)
    colours = sample_colours(samples, COLOURS, SIGNAL_COLOURS)
    parts = [(sample, binned(histogram, sample, region)) for sample in samples]
    parts = [(sample, part) for sample, part in parts if part.values.sum() > 0.0]
    if not parts:
        return None
    chosen = _drawn_edges(np.sum([part.inside for _, part in parts], axis=0))
    edges = every[chosen]
    widths = np.diff(edges)
    with plot_style(context):
        figure = new_figure(7.2, 6.0)
        axes = figure.subplots()
        heights = []
        for sample, part in parts:
            norm = float(part.values.sum()) * widths
            inside = np.add.reduceat(part.inside, chosen[:-1])
            density = inside / norm
            heights.append(density[density > 0.0])
            label, colour = drawable(sample.label), colours[sample.name]
            if sample.role == "data":
                full = inside > 0.0
                low, high = garwood_errors(inside)
                axes.errorbar(
                    ((edges[1:] + edges[:-1]) / 2)[full], density[full], yerr=((low / norm)[full], (high / norm)[full]),
                    fmt="o", color=colour, markersize=5, linewidth=1.3, label=label, zorder=5,
                )  # fmt: skip
            else:
                dashes = "--" if sample.role == "signal" else "-"
                axes.stairs(density, edges, color=colour, linewidth=2.0, linestyle=dashes, label=label)
        drawn = np.concatenate(heights)
        if drawn.size:
            bottom, top = 0.3 * float(drawn.min()), float(drawn.max())
            axes.set_yscale("log", nonpositive="clip")
            axes.set_ylim(bottom, top * (top / bottom) ** 0.35)
        filled = np.flatnonzero(np.add.reduceat(np.sum([part.inside for _, part in parts], axis=0), chosen[:-1]))
        if filled.size:
            first, last = float(edges[filled[0]]), float(edges[filled[-1] + 1])
            if first > 0.0 and last > 100.0 * first:
                axes.set_xscale("log")
            axes.set_xlim(first, last)
        axes.set_xlabel(drawable(axis.label or axis.name))
        axes.set_ylabel("Probability density (1 / unit of score)")
        axes.legend(ncols=2 if len(parts) > 3 else 1, loc="upper right", title=drawable(region), alignment="right")
        experiment_label(axes, context)
    return figure


def _drawn_edges(entries: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Indices of the edges to draw: neighbouring bins are merged so that the range that holds events has few bins."""
    filled = np.flatnonzero(entries)
    step = max(-(-int(filled[-1] - filled[0] + 1) // MOST_BINS), 1) if filled.size else 1
    return np.unique(np.append(np.arange(0, len(entries), step), len(entries)))
