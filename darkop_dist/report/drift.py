"""Runs and files against what calibrates: one point each, and a sentence with the p-value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from darkop_dist.report.content import PlotContext
from darkop_dist.report.digits import number
from darkop_dist.report.style import drawable, experiment_label, new_figure, plot_style

if TYPE_CHECKING:
    from darkop_dist.conformal import Drift, Exchangeability, Group

CALIBRATION = "calibration"
NAMES_FIT = 40
"""Groups up to which the axis has all their names."""
MOST_NAMED = 3
SEEN = 0.05
"""Groups with a p-value below it stand out."""


def drift_figure(drift: Drift, context: PlotContext) -> Figure:
    """Draw the mean rank of the scores of each run or file with its error, and that of what calibrates as a band.

    Args:
        drift: the tests.
        context: what every plot says.
    """
    test = drift.drawn
    groups = [group for group in test.groups if group.name != CALIBRATION]
    with plot_style(context):
        figure = new_figure(10.5, 6.0)
        axes = figure.subplots()
        axes.axhline(0.5, color="#444444", linewidth=1.0, linestyle=":", label="All exchangeable")
        for group in test.groups:
            if group.name == CALIBRATION:
                axes.axhspan(
                    group.mean - group.sigma, group.mean + group.sigma, color="#ffa90e", alpha=0.55, linewidth=0,
                    label=f"Calibration (n = {group.events:,})",
                )  # fmt: skip
        _draw_groups(axes, drift.by, groups)
        axes.set_xlim(-0.7, len(groups) - 0.3)
        axes.set_ylabel("Mean fraction of events that score higher")
        axes.set_xlabel(f"{drift.by.capitalize()}s in order of their names")
        _name_groups(axes, groups)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.25 * (high - low))
        axes.legend(loc="upper left", ncols=2)
        experiment_label(axes, context)
    return figure


def _draw_groups(axes: Any, by: str, groups: list[Group]) -> None:
    places = np.arange(len(groups))
    far = np.array([group.p_value < SEEN for group in groups])
    for chosen, colour, label in (
        (~far, "black", f"One {by}, ±1 s.d. ({len(groups)} in all)"),
        (far, "#bd1f01", f"p < {SEEN:g} with the search over {by}s"),
    ):
        if chosen.any():
            shown = [group for group, drawn in zip(groups, chosen, strict=True) if drawn]
            axes.errorbar(
                places[chosen], [group.mean for group in shown], yerr=[group.sigma for group in shown], fmt="o",
                color=colour, markersize=4.0, linewidth=1.1, label=label,
            )  # fmt: skip


def _name_groups(axes: Any, groups: list[Group]) -> None:
    places = np.arange(len(groups))
    axes.minorticks_off()
    if len(groups) > NAMES_FIT:
        places = np.unique(np.linspace(0, len(groups) - 1, NAMES_FIT // 2).astype(int))
    names = [groups[place].name for place in places]
    axes.set_xticks(places, [drawable(name if len(name) <= 24 else f"…{name[-23:]}") for name in names])
    axes.tick_params(axis="x", labelrotation=90, labelsize=9)


def drift_sentences(drift: Drift) -> tuple[str, ...]:
    """What the tests say, a sentence each."""
    said = []
    if drift.against_calibration is not None:
        test = drift.against_calibration
        _, tested = test.groups
        said.append(
            f"The {number(tested.events)} events of {drift.tested} and those that calibrate, tested for "
            f"exchangeability: p = {number(test.p_value)} ({tested.name} {_side(tested)})."
        )
    if drift.among is not None:
        test = drift.among
        said.append(
            f"The {len(test.groups)} {drift.by}s of {drift.tested} among themselves: p = {number(test.p_value)}; "
            f"{_farthest(drift.by, test)}."
        )
    return tuple(said)


def _side(group: Group) -> str:
    size = number(abs(group.deviation), 2)
    return f"scores {'higher' if group.deviation < 0 else 'lower'} than the rest by {size} standard deviations"


def _farthest(by: str, test: Exchangeability) -> str:
    """The groups that deviate, the farthest first; else the farthest."""
    far = sorted(test.groups, key=lambda group: -abs(group.deviation))
    named = [group for group in far if group.p_value < SEEN] or far[:1]
    more = len(named) - MOST_NAMED
    said = "; ".join(f"{by} {group.name} {_side(group)}" for group in named[:MOST_NAMED])
    return f"{said}; {more} more differ" if more > 0 else said
