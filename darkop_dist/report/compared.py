"""What was measured here beside what others have published: one figure for a few curves, with their ratio below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from darkop_dist.generation.comparison import Comparison, Quantity
from darkop_dist.report.content import PlotContext
from darkop_dist.report.style import COLOURS, experiment_label, new_figure, plot_style

CURVES_PER_FIGURE = 3
MARKERS = ("o", "s", "^")


@dataclass(frozen=True)
class ComparedQuantity:
    """Curves of one quantity.

    Attributes:
        name: file name of its figures.
        what: what it is.
        curves: the curves.
    """

    name: str
    what: Quantity
    curves: tuple[Comparison, ...]

    @property
    def scale(self) -> float:
        """What numbers are multiplied by to have the unit in which they are shown."""
        return 100.0 if self.what.percent else 1.0


def compared_figures(quantity: ComparedQuantity, context: PlotContext) -> tuple[Figure, ...]:
    """Draw the curves of a quantity, a few in each figure."""
    chunks = [
        quantity.curves[first : first + CURVES_PER_FIGURE]
        for first in range(0, len(quantity.curves), CURVES_PER_FIGURE)
    ]
    return tuple(_figure(quantity, curves, context) for curves in chunks)


def _figure(quantity: ComparedQuantity, curves: tuple[Comparison, ...], context: PlotContext) -> Figure:
    with plot_style(context):
        figure = new_figure(7.2, 6.6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for curve, colour, marker in zip(curves, COLOURS[:2] + COLOURS[4:], MARKERS, strict=False):
            x, ours, error, known = (np.asarray(v) for v in (curve.x, curve.ours, curve.error, curve.published))
            points = {"fmt": marker, "color": colour, "markersize": 6, "capsize": 2}
            upper.plot(
                x, quantity.scale * known, color=colour, linewidth=1.6, marker="_" if len(x) > 1 else "D", markersize=9,
                markerfacecolor="none", zorder=1,
            )  # fmt: skip
            upper.errorbar(x, quantity.scale * ours, quantity.scale * error, label=curve.label, **points)
            lower.errorbar(x, ours / known, error / known, **points)
        _arrange(upper, lower, quantity, curves)
        experiment_label(upper, context)
    return figure


def _arrange(upper: Any, lower: Any, quantity: ComparedQuantity, curves: tuple[Comparison, ...]) -> None:
    x = np.concatenate([curve.x for curve in curves])
    tolerance = max(curve.tolerance for curve in curves)
    lower.axhspan(1 - tolerance, 1 + tolerance, color="#e4e4e4", linewidth=0)
    lower.axhline(1.0, color="#444444", linewidth=1.0)
    if "GeV" in quantity.what.x:
        low, high = (x.min() / 1.3, x.max() * 1.3) if np.ptp(x) else (x.min() / 3, x.max() * 3)
        lower.set_xscale("log")
        _plain_numbers(lower.xaxis, np.array([low, high]))
        lower.set_xlim(low, high)
    else:
        lower.set_xlim(x.min() - 0.05 * np.ptp(x) - 1, x.max() + 0.05 * np.ptp(x) + 1)
    values = np.concatenate([np.asarray(curve.ours + curve.published) for curve in curves]) * quantity.scale
    if values.min() > 0 and values.max() / values.min() > 12:
        upper.set_yscale("log")
        _plain_numbers(upper.yaxis, values)
        upper.set_ylim(values.min() / 1.6, values.max() * 4)
    else:
        span = max(float(np.ptp(values)), 0.05 * float(values.max()))
        room = 0.3 if "efficiency" in quantity.what.y else 0.75
        upper.set_ylim(max(0.0, values.min() - (1.05 - room) * span), values.max() + room * span)
    ratios = np.concatenate([np.asarray(curve.ours) / np.asarray(curve.published) for curve in curves])
    reach = 1.3 * max(2 * tolerance, float(np.abs(ratios - 1).max()))
    lower.set_ylim(1 - reach, 1 + reach)
    lower.yaxis.set_major_locator(MaxNLocator(4, prune="upper"))
    lower.set_xlabel(_with_indices(quantity.what.x))
    upper.set_ylabel(_with_indices(quantity.what.y))
    lower.set_ylabel("ours / published", fontsize="small")
    alone = any(len(curve.x) == 1 for curve in curves)
    upper.plot(
        [], [], color="#444444", linewidth=1.6, label="lines, diamonds: published" if alone else "lines: published"
    )
    upper.legend(loc="lower left" if "efficiency" in quantity.what.y else "upper right")


def _plain_numbers(axis: Any, values: npt.NDArray[np.float64]) -> None:
    """1, 10, 100 on a logarithmic axis, with 2 and 5 between them where there is room."""
    decades = np.log10(values.max() / values.min())
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def _with_indices(label: str) -> str:
    for plain, drawn in (("pT", "$p_{T}$"), ("ET", "$E_{T}$"), ("d0", "$d_{0}$"), ("dz", "$d_{z}$")):
        label = label.replace(plain, drawn)
    return label
