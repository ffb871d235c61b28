"""What every worker did when: reading, computing, waiting for scores, writing and merging on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from darkop_dist.report.content import PlotContext
from darkop_dist.report.style import new_figure, plot_style

if TYPE_CHECKING:
    from darkop_dist.execution.timeline import Span, Timeline

    Values = npt.NDArray[np.float64]

PHASES = {
    "read_s": ("Reading", "#3f90da"),
    "compute_s": ("Computing", "#ffa90e"),
    "score_s": ("Waiting for scores", "#832db6"),
    "keep_s": ("Writing results", "#92dadd"),
    "merge_s": ("Merging", "#5b6670"),
}
"""From Petroff's colours; neighbours differ in lightness too, so the phases stay apart in print without colour."""

DRAWN_IN_TURN = "Within a chunk the phases alternate; they are drawn one after the other."
FAILED = ("Given up", "#bd1f01")
IDLE = ("Idle", "#eceff1")
MOST_LANES = 12
MOST_SPANS = 400
BINS = 120
NAME_LENGTH = 18


def timeline_figure(timeline: Timeline) -> Figure | None:
    """Draw what the workers did: one lane each if they and their chunks are few, else how many did what.

    The phases of one chunk alternate in truth and are drawn one after the other, since only their sums are known.

    Args:
        timeline: where the time went.

    Returns:
        The figure; None if nothing was timed.
    """
    if not timeline.chunks:
        return None
    drawn = sum(len(spans) for spans in timeline.spans.values())
    lanes = has_lanes(timeline) and drawn <= MOST_SPANS
    with plot_style(PlotContext()):
        figure = new_figure(10.5, _height(timeline) if lanes else 5.6)
        if lanes:
            axes = figure.subplots()
            _draw_lanes(axes, timeline)
        else:
            axes = _draw_shares(figure, timeline)
        scale, unit = _unit(timeline.wall_s)
        axes.set_xlim(0.0, timeline.wall_s / scale)
        axes.set_xlabel(f"Time since the pass over the events began [{unit}]")
        figure.legend(handles=_handles(timeline), loc="outside upper left", ncols=7, columnspacing=1.2)
    return figure


def has_lanes(timeline: Timeline) -> bool:
    """Whether the workers are few enough for one lane each."""
    return timeline.workers + bool(timeline.driver) <= MOST_LANES


def _height(timeline: Timeline) -> float:
    return 1.9 + 0.42 * max(timeline.workers + bool(timeline.driver), 2)


def _handles(timeline: Timeline) -> list[Patch]:
    total = timeline.total
    merged = total.merge_s or timeline.driver
    shown = [PHASES[name] for name in PHASES if (merged if name == "merge_s" else getattr(total, name))]
    if any(span.failed for spans in timeline.spans.values() for span in spans):
        shown.append(FAILED)
    return [
        *(Patch(facecolor=colour, label=label) for label, colour in shown),
        Patch(facecolor=IDLE[1], edgecolor="#b0b8be", linewidth=0.8, label=IDLE[0]),
    ]


def _draw_lanes(axes: Any, timeline: Timeline) -> None:
    scale, _ = _unit(timeline.wall_s)
    unused = timeline.workers - len(timeline.spans)
    rows = [(_short(name), spans) for name, spans in timeline.spans.items()]
    rows += [("(no chunk)", ())] * unused
    rows += [("driver", timeline.driver)] if timeline.driver else []
    for row, (_, spans) in enumerate(rows):
        axes.broken_barh([(0.0, timeline.wall_s / scale)], (row - 0.4, 0.8), color=IDLE[1], linewidth=0)
        for name, (_, colour) in PHASES.items():
            starts, lengths = _pieces(spans, name)
            bars = list(zip(starts / scale, lengths / scale, strict=True))
            axes.broken_barh(bars, (row - 0.4, 0.8), facecolor=colour, linewidth=0)
        failed = [(span.start_s / scale, span.wall_s / scale) for span in spans if span.failed]
        axes.broken_barh(failed, (row - 0.4, 0.8), facecolor=FAILED[1], linewidth=0)
        ends = [span.stop_s / scale for span in spans]
        axes.vlines(ends, row - 0.4, row + 0.4, color="white", linewidth=0.9)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=12)
    axes.tick_params(axis="y", which="both", left=False, right=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_ylabel("Worker", loc="center")


def _draw_shares(figure: Figure, timeline: Timeline) -> Any:
    """How many workers did what, averaged over each of at most ``BINS`` stretches of time."""
    heights = [6, 1] if timeline.driver else [1]
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    axes = panels[0, 0]
    scale, _ = _unit(timeline.wall_s)
    edges = np.linspace(0.0, timeline.wall_s, BINS + 1)
    spans = [span for lane in timeline.spans.values() for span in lane]
    below = np.zeros(BINS)
    kept, failed = ([span for span in spans if span.failed is lost] for lost in (False, True))
    layers = [(busy_workers(*_pieces(kept, name), edges), colour) for name, (_, colour) in PHASES.items()]
    lost = [busy_workers(*_pieces(failed, name), edges) for name in PHASES]
    for busy, colour in (*layers, (np.sum(lost, axis=0), FAILED[1])):
        axes.stairs(below + busy, edges / scale, baseline=below, fill=True, color=colour, linewidth=0)
        below = below + busy
    axes.set_facecolor(IDLE[1])
    axes.set_ylim(0.0, timeline.workers)
    axes.set_ylabel("Workers busy")
    if timeline.driver:
        busy = busy_workers(*_pieces(timeline.driver, "merge_s"), edges)
        panels[1, 0].stairs(busy, edges / scale, fill=True, color=PHASES["merge_s"][1], linewidth=0)
        panels[1, 0].set(ylim=(0.0, 1.0), yticks=[0.0, 1.0], facecolor=IDLE[1])
        panels[1, 0].set_ylabel("Driver\nbusy", fontsize=12, loc="center")
        panels[1, 0].minorticks_off()
    return panels[-1, 0]


def _pieces(spans: Sequence[Span], phase: str) -> tuple[Values, Values]:
    """Start and length of one phase in every span, the phases one after the other."""
    table = np.array([[span.start_s, *(getattr(span, name) for name in PHASES)] for span in spans])
    if not table.size:
        return np.zeros(0), np.zeros(0)
    column = 1 + list(PHASES).index(phase)
    return table[:, :column].sum(axis=1), table[:, column]


def busy_workers(starts: Values, lengths: Values, edges: Values) -> Values:
    """How many pieces run on average in each bin of time.

    Args:
        starts: when each piece begins, shape (pieces,).
        lengths: how long it lasts, shape (pieces,).
        edges: increasing edges of the bins, shape (bins + 1,).

    Returns:
        Mean number of running pieces, shape (bins,).
    """
    spent = _time_before(starts, edges) - _time_before(starts + lengths, edges)
    return np.asarray(np.diff(spent) / np.diff(edges))


def _time_before(instants: Values, edges: Values) -> Values:
    """Sum over the instants of the time that has passed since, at each edge."""
    ordered = np.sort(instants)
    count = np.searchsorted(ordered, edges)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    return np.asarray(count * edges - sums[count])


def _unit(wall_s: float) -> tuple[float, str]:
    if wall_s < 300:
        return 1.0, "s"
    return (60.0, "min") if wall_s < 3 * 3600 else (3600.0, "h")


def _short(name: str) -> str:
    name = name.rsplit("://", maxsplit=1)[-1]
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
