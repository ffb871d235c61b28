"""Throughput and latency of a pool against the number of clients, with the law and the point of saturation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from darkop_dist.errors import StatisticsError
from darkop_dist.report.content import PlotContext
from darkop_dist.report.style import COLOURS, new_figure, plot_style
from darkop_dist.scoring.capacity import fit_scaling

if TYPE_CHECKING:
    from darkop_dist.scoring.capacity import Curve

LAW_POINTS = 200


def load_figure(curve: Curve) -> Figure:
    """Draw a measured curve: events per second above, median and 99% quantile of the time to an answer below.

    Args:
        curve: what was measured.
    """
    with plot_style(PlotContext()):
        figure = new_figure(7.2, 7.6)
        upper, lower = figure.subplots(2, 1, sharex=True)
        _draw_rates(upper, curve)
        _draw_times(lower, curve)
        clients = [point.clients for point in curve.points]
        for axes, top in ((upper, 0.77), (lower, 1.0)):  # below the legend
            axes.axvline(curve.saturation.clients, ymax=top, color="#5b6670", linestyle=":")
        lower.set_xscale("log", base=2)
        lower.set_xticks(clients, [str(number) for number in clients])
        lower.minorticks_off()
        lower.set_xlabel("Clients, one request each under way")
    return figure


def _draw_rates(axes: Any, curve: Curve) -> None:
    clients = np.array([point.clients for point in curve.points])
    rates = np.array([point.events_per_s for point in curve.points])
    scale, unit = (1000.0, "1000 events / s") if rates.max() >= 2000 else (1.0, "Events / s")
    axes.plot(clients, rates / scale, "o", color=COLOURS[0], label="Measured")
    try:
        law = fit_scaling(curve)
    except StatisticsError:
        law = None
    if law is not None:
        many = curve.replicas or 1
        drawn = np.geomspace(max(clients[0], many), clients[-1], LAW_POINTS)
        modelled = [law.events_per_s(number / many) * many for number in drawn]
        axes.plot(drawn, np.array(modelled) / scale, color=COLOURS[1], label="Scalability law, fitted")
    axes.set_ylim(0, 1.35 * rates.max() / scale)
    axes.set_ylabel(unit)
    replicas = "1 replica" if curve.replicas == 1 else f"{curve.replicas or 'unknown number of'} replicas"
    axes.set_title(f"{curve.model}: {replicas}, {curve.events} events a request", fontsize="small", loc="left")
    axes.plot([], [], color="#5b6670", linestyle=":", label="95% of the most")
    axes.legend(loc="upper left", ncols=2)


def _draw_times(axes: Any, curve: Curve) -> None:
    clients = [point.clients for point in curve.points]
    for quantile, marker, colour, label in (("p99_s", "s", COLOURS[4], "99%"), ("p50_s", "o", COLOURS[0], "Median")):
        times = [1e3 * getattr(point, quantile) for point in curve.points]
        axes.plot(clients, times, marker=marker, color=colour, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("Time to an answer [ms]")
    axes.legend(loc="upper left")
