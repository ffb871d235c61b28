"""Figures of a hardware trigger: rate against threshold, students against resources, a score against what changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from darkop_dist.conformal.bounds import clopper_pearson
from darkop_dist.report.content import PlotContext
from darkop_dist.report.style import (
    COLOURS,
    SIGNAL_COLOURS,
    drawable,
    experiment_label,
    luminosity_text,
    new_figure,
    plot_style,
)

if TYPE_CHECKING:
    from darkop_dist.trigger.conditions import Conditions
    from darkop_dist.trigger.curve import RateCurve
    from darkop_dist.trigger.estimate import RateEstimate
    from darkop_dist.trigger.pareto import ParetoSet, Point
    from darkop_dist.trigger.stability import Changed, Stability
    from darkop_dist.trigger.weighted import SampledRate

GREY = "#5b6670"
CLEAR = COLOURS[:2] + COLOURS[4:]
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LEVEL = 0.68
LARGE = 10  # numbers that differ more have a logarithmic axis
Floats = npt.NDArray[np.float64]


def rate_figure(found: RateEstimate) -> Figure:
    """Draw rate against threshold: all accepted crossings, and those that no seed of the menu accepts.

    Each with the band of its intervals; a curve stops where the sample cannot say. The points are the rates at the
    threshold, with their intervals; the lines mark the threshold and the rate that was asked for.

    Args:
        found: rates of a score.
    """
    context = PlotContext(sqrt_s_tev=found.sample_energy_tev)
    with plot_style(context):
        figure = new_figure(7.2, 6.4)
        axes = figure.subplots()
        axes.set_yscale("log")
        level = f"{found.curve.confidence_level:.0%}"
        for curve, rate, colour, marker, name in (
            (found.curve, found.total, COLOURS[0], "o", "All"),
            (found.pure_curve, found.pure, COLOURS[6], "s", "Without a seed of the menu"),
        ):
            _draw_curve(axes, curve, colour, f"{name}, {level} interval")
            _draw_rate(axes, found.threshold, rate, colour, marker)
        if found.asked_hz is not None:
            axes.axhline(found.asked_hz, color=GREY, linestyle="--", label=f"Asked: {_hertz(found.asked_hz)}")
        axes.axvline(found.threshold, color=GREY, linestyle=":", label=f"Threshold: {found.threshold:.5g}")
        _limit_rates(axes, found)
        axes.set_xlabel("Threshold of the score (no unit)")
        axes.set_ylabel("Rate [Hz]")
        axes.yaxis.set_major_locator(LogLocator(numticks=14))
        axes.legend(loc="best", title=_title(found.model, found.conditions), alignment="left")
        experiment_label(axes, context)
    return figure


def pareto_figure(found: ParetoSet) -> Figure:
    """Draw efficiencies of students against LUTs: the mean over the signals above, each signal below.

    Bars and the teacher's band are binomial, of the events of each signal (Clopper and Pearson, 68%); the error of the
    mean is that of independent signals. The threshold's own error, which all share, is not in them.

    Args:
        found: students and their teacher.
    """
    signals, context = list(found.teacher), PlotContext(sqrt_s_tev=None)
    with plot_style(context):
        rows = 1 + math.ceil(len(signals) / 2)
        figure = new_figure(9.6, 2.6 + 3.0 * rows)
        grid = figure.add_gridspec(rows, 2)
        top = figure.add_subplot(grid[0, :])
        panels = [top, *(figure.add_subplot(grid[1 + place // 2, place % 2]) for place in range(len(signals)))]
        for axes, names in zip(panels, [signals, *([name] for name in signals)], strict=True):
            _draw_students(axes, found, names)
            axes.set_xlabel("LUTs (da4ml's estimate)")
            axes.set_ylabel("Mean efficiency" if axes is top else "Efficiency")
            if axes is not top:
                axes.set_title(drawable(names[0]), fontsize="medium", loc="left")
        handles, labels = top.get_legend_handles_labels()
        at = f"{found.conditions}, {_luminosity(found.luminosity)}, {_hertz(found.rate_hz)}; numbers: depth in adders"
        figure.legend(handles, labels, loc="outside upper center", ncols=5, title=drawable(at))
        experiment_label(top, context)
    return figure


def stability_figure(found: Stability) -> Figure:
    """Draw rate and mean score against pile-up and for faults of the detector, beside the unchanged ones.

    A change for which the sample cannot say something has its place and the word "refused", and no point.

    Args:
        found: a score and its changes.
    """
    context = PlotContext(sqrt_s_tev=found.sample_energy_tev)
    pileup = [found.nothing, *(one for one in found.changes if not one.is_fault)]
    faults = [one for one in found.changes if one.is_fault]
    with plot_style(context):
        figure = new_figure(10.4, 7.6)
        panels = figure.subplots(2, 2, sharex="col", sharey="row", height_ratios=(3, 2))
        columns = (
            (pileup, np.array([one.mean_collisions for one in pileup])),
            (faults, np.arange(len(faults), dtype=np.float64)),
        )
        for (rates, means), (changes, x) in zip(panels.T, columns, strict=True):
            _draw_changes(rates, means, found.nothing, changes, x)
        panels[0, 0].set_yscale("log")
        panels[0, 0].set_ylabel("Rate [Hz]")
        panels[1, 0].set_ylabel("Mean score (no unit)")
        panels[1, 0].set_xlabel("Mean number of collisions in a crossing")
        panels[1, 1].set_xticks(columns[1][1], [_folded(one.change) for one in faults], fontsize="small")
        panels[1, 1].set_xlim(-0.6, len(faults) - 0.4)
        panels[1, 1].xaxis.set_minor_locator(NullLocator())
        _limit_changes(panels, found)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        title = f"{_title(found.model, found.conditions)}, score $\\geq$ {found.threshold:.5g}"
        figure.legend(handles, labels, loc="outside upper center", ncols=3, title=title)
        experiment_label(panels[0, 0], PlotContext(sqrt_s_tev=None))
        panels[0, 1].annotate(
            luminosity_text(context), (1.0, 1.0), xytext=(0, 4), xycoords="axes fraction",
            textcoords="offset points", ha="right", va="bottom",
        )  # fmt: skip
    return figure


def _draw_curve(axes: Any, curve: RateCurve, colour: str, label: str) -> None:
    axes.fill_between(curve.thresholds, curve.low_hz, curve.high_hz, color=colour, alpha=0.25, linewidth=0)
    axes.plot(curve.thresholds, curve.rate_hz, color=colour, label=label)


def _draw_rate(axes: Any, x: float, rate: SampledRate, colour: str, marker: str) -> None:
    """A rate with its interval; of a rate of zero only the upper end can be shown."""
    points = {"color": colour, "marker": marker, "markersize": 6, "capsize": 3, "linestyle": "none"}
    if rate.rate_hz > 0:
        axes.errorbar([x], [rate.rate_hz], [[rate.rate_hz - rate.low_hz], [rate.high_hz - rate.rate_hz]], **points)
    else:
        axes.errorbar([x], [rate.high_hz], [[rate.high_hz / 2], [0.0]], uplims=True, **{**points, "marker": "_"})


def _limit_rates(axes: Any, found: RateEstimate) -> None:
    """Half a decade around the rates, from the lowest score to the highest that has one."""
    lowest = [found.asked_hz or math.inf, found.total.rate_hz or math.inf, found.pure.low_hz or math.inf]
    for curve in (found.curve, found.pure_curve):
        lowest += curve.rate_hz[np.isfinite(curve.rate_hz)].tolist()
    highest = found.conditions.crossings_hz
    low = min(*lowest, highest) / 3
    axes.set_ylim(low, 3 * highest)
    shown = found.curve.thresholds[np.isfinite(found.curve.rate_hz)].tolist()
    axes.set_xlim(0.0 if min(shown, default=0.0) >= 0 else None, 1.03 * max([*shown, found.threshold]))


def _draw_students(axes: Any, found: ParetoSet, signals: Sequence[str]) -> None:
    """Mean efficiency over some signals, a marker for each shape and its line in float, and the teacher's."""
    centre, low, high = mean_efficiency(found.teacher, found.events, signals)
    axes.axhspan(low, high, color="#e4e4e4", linewidth=0)
    axes.axhline(centre, color=GREY, linestyle="--", label=f"Teacher, {LEVEL:.0%} band")
    given = {point.shape for point in found.points}
    shapes = sorted(given, key=lambda shape: (shape.kind, [-width for width in shape.widths]))
    for shape, marker, colour in zip(shapes, MARKERS * len(shapes), CLEAR * len(shapes), strict=False):
        points = [point for point in found.points if point.shape == shape]
        drawn = np.array([(point.luts, *mean_efficiency(point.efficiency, found.events, signals)) for point in points])
        luts, values, lows, highs = drawn.T
        axes.errorbar(
            luts, values, [values - lows, highs - values], color=colour, marker=marker, markersize=6, capsize=2,
            linestyle="none", label=shape.name,
        )  # fmt: skip
        if (efficiency := found.floats.get(shape.name)) is not None:
            axes.axhline(np.mean([efficiency[name] for name in signals]), color=colour, linestyle=":", linewidth=1)
        if len(signals) > 1:
            _write_depths(axes, points, highs)
    if found.floats:
        axes.plot([], [], color=GREY, linestyle=":", linewidth=1, label="In float (colour of the shape)")
    luts = [point.luts for point in found.points]
    if max(luts) > LARGE * min(luts):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.07, y=0.2)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _write_depths(axes: Any, points: Sequence[Point], heights: Floats) -> None:
    for point, height in zip(points, heights, strict=True):
        axes.annotate(
            f"{point.depth:g}", (point.luts, height), xytext=(0, 3), textcoords="offset points", ha="center",
            va="bottom", fontsize="x-small", color=GREY,
        )  # fmt: skip


def mean_efficiency(
    efficiency: Mapping[str, float], events: Mapping[str, int], signals: Sequence[str]
) -> tuple[float, float, float]:
    """Mean efficiency over signals with its interval: of one signal that of Clopper and Pearson, 68%.

    Of several, the distances to the ends add up in quadrature: the signals are independent samples.

    Args:
        efficiency: of each signal.
        events: of each signal.
        signals: those of the mean.

    Returns:
        Mean, lower and upper end.
    """
    values = np.array([efficiency[name] for name in signals])
    ends = [clopper_pearson([round(efficiency[name] * events[name])], events[name], LEVEL) for name in signals]
    low, high = (np.array([float(pair[side][0]) for pair in ends]) for side in (0, 1))
    mean, size = float(values.mean()), len(signals)
    below, above = (float(np.sqrt((distance**2).sum())) / size for distance in (values - low, high - values))
    return mean, mean - below, mean + above


def _draw_changes(rates: Any, means: Any, nothing: Changed, changes: Sequence[Changed], x: Floats) -> None:
    """Rates above and mean scores below, with the unchanged ones as lines."""
    if nothing.rate is not None and nothing.mean_score is not None:
        rates.axhspan(nothing.rate.low_hz, nothing.rate.high_hz, color="#e4e4e4", linewidth=0)
        rates.axhline(nothing.rate.rate_hz, color=GREY, linestyle="--", linewidth=1.2)
        means.axhline(nothing.mean_score, color=GREY, linestyle="--", linewidth=1.2)
    for place, one in zip(x, changes, strict=True):
        colour, marker = ("black", "D") if one is nothing else (COLOURS[0], "o")
        if one.rate is None or one.mean_score is None:
            for axes in (rates, means):
                axes.axvline(place, color=SIGNAL_COLOURS[0], linestyle=":", linewidth=1.2)
            rates.annotate(
                "refused", (place, 0.04), xycoords=("data", "axes fraction"), xytext=(4, 0),
                textcoords="offset points", rotation=90, va="bottom", color=SIGNAL_COLOURS[0], fontsize="small",
            )  # fmt: skip
            continue
        _draw_rate(rates, float(place), one.rate, colour, marker)
        means.plot([place], [one.mean_score], marker=marker, color=colour, linestyle="none", markersize=6)


def _limit_changes(panels: Any, found: Stability) -> None:
    """Limits of all axes, and the words of the legend."""
    axes = panels[0, 0]
    level = LEVEL if found.nothing.rate is None else found.nothing.rate.confidence_level
    axes.plot([], [], color=GREY, linestyle="--", label=f"Unchanged, {level:.0%} band")
    axes.plot([], [], marker="D", color="black", linestyle="none", label="Unchanged")
    axes.plot([], [], marker="o", color=COLOURS[0], linestyle="none", label=f"Changed, {level:.0%} interval")
    rates = [one.rate for one in (found.nothing, *found.changes) if one.rate is not None]
    ends = [end for rate in rates for end in (rate.low_hz, rate.rate_hz, rate.high_hz) if end > 0]
    if ends:
        axes.set_ylim(min(ends) / 1.6, max(ends) * 1.6)
        near = max(ends) / min(ends) < 300
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    means = [one.mean_score for one in (found.nothing, *found.changes) if one.mean_score is not None]
    panels[1, 0].set_ylim(min(0.0, *means) * 1.15, max(0.0, *means) * 1.15 or 1.0)
    collisions = [one.mean_collisions for one in (found.nothing, *found.changes) if not one.is_fault]
    reach = 0.08 * (max(collisions) - min(collisions)) or 1.0
    panels[1, 0].set_xlim(min(collisions) - reach, max(collisions) + reach)


def _title(model: str, at: Conditions) -> str:
    lines = (
        model,
        f"{at.name}: {_luminosity(at.luminosity)}",
        f"{at.colliding_bunches} bunches, {at.mean_collisions:.1f} collisions a crossing",
    )
    return "\n".join(drawable(line) for line in lines)


def _luminosity(value: float) -> str:
    """Such as 2 x 10^34 / (cm^2 s)."""
    exponent = math.floor(math.log10(value))
    return rf"{value / 10**exponent:.3g}$\times$10$^{{{exponent}}}$ cm$^{{-2}}$s$^{{-1}}$"


def _hertz(value: float) -> str:
    for unit, size in (("MHz", 1e6), ("kHz", 1e3)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g} Hz"


def _folded(text: str) -> str:
    """Words in lines of about 14 characters, below a tick."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > 14 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
