"""Event displays: the transverse view, the eta-phi plane and a table of the objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from darkop_dist.events.view import DisplayObject, EventView, view_of
from darkop_dist.report.content import PlotContext
from darkop_dist.report.digits import ABSENT, number
from darkop_dist.report.style import drawable, new_figure, plot_style, save_figure

if TYPE_CHECKING:
    import awkward as ak

SYMBOLS = {
    "jet": "j",
    "fatjet": "J",
    "muon": "μ",
    "electron": "e",
    "photon": "\N{GREEK SMALL LETTER GAMMA}",
    "tau": "τ",
    "met": "MET",
}
NAMES = {
    "jet": "Jet",
    "fatjet": "Large-R jet",
    "muon": "Muon",
    "electron": "Electron",
    "photon": "Photon",
    "tau": "Tau",
    "met": "Missing pT",
}
COLOURS = {
    "jet": "#3f90da",
    "fatjet": "#92dadd",
    "muon": "#bd1f01",
    "electron": "#0b6e4f",
    "photon": "#c98a00",
    "tau": "#832db6",
    "met": "#1b1b1b",
}
RADIUS = {"jet": 0.4, "fatjet": 0.8}
MARKERS = {"muon": "s", "electron": "D", "photon": "o", "tau": "^"}
LABEL_SIDES = {"muon": (1, 1), "electron": (1, -1), "photon": (-1, -1), "tau": (-1, 1)}
MINUS = "\N{MINUS SIGN}"
MOST_ROWS = 14
MOST_LABELS = 10
LABEL_RAD = 0.2


def visualize_event(event: EventView | ak.Record | ak.Array, save_path: str | Path | None = None) -> Figure:
    """Draw one event.

    Left: the transverse plane; lengths are proportional to the square root of the transverse momentum, jets are wedges
    as wide as their radius parameter. Right: the eta-phi plane with jets as circles of R = 0.4 (large-R jets 0.8); the
    missing transverse momentum has no eta and is a line in phi. Below: the numbers.

    Args:
        event: an `EventView`, or one NanoEvents record of CMS (see `view_of` for what is shown of it).
        save_path: where to write it, as PNG, SVG or PDF by its suffix.

    Returns:
        The figure.

    Raises:
        OutputError: the file cannot be written or the suffix is another one.
    """
    view = event if isinstance(event, EventView) else view_of(event)
    figure = display_figure(view)
    if save_path is not None:
        save_figure(figure, Path(save_path))
    return figure


def display_figure(view: EventView) -> Figure:
    """Draw one event; see `visualize_event`."""
    named = _named(view.objects)
    context = PlotContext(
        experiment="CMS" if view.experiment == "CMS" else "ATLAS" if view.experiment == "ATLAS" else "simulation"
    )
    rows = min(len(named), MOST_ROWS) + 1
    with plot_style(context):
        height = 5.0 + 0.27 * rows
        figure = new_figure(10.4, height)
        grid = figure.add_gridspec(2, 2, height_ratios=(4.2, 0.27 * rows), width_ratios=(1.0, 1.12))
        _draw_transverse(figure.add_subplot(grid[0, 0]), named)
        _draw_plane(figure.add_subplot(grid[0, 1]), named)
        _draw_table(figure.add_subplot(grid[1, :]), named)
        figure.suptitle(_title(view), fontsize=14, x=0.02, ha="left", linespacing=1.4)
    return figure


def _title(view: EventView) -> str:
    origin = "Simulation" if view.experiment == "simulation" else f"{view.experiment} Open Data"
    identity = "no run and event numbers in the file"
    if view.run >= 0:
        identity = f"run {view.run}, luminosity block {view.luminosity_block}, event {view.event}"
    values = [view.dataset] if view.dataset else []
    if view.score is not None:
        values.append(f"anomaly score {view.score:.4g}")
    if view.p_value is not None:
        values.append(f"p-value {number(view.p_value)}")
    lines = [f"{origin}   {identity}", ",  ".join(values)]
    return "\n".join(drawable(line) for line in lines if line)


def _named(objects: Sequence[DisplayObject]) -> list[tuple[str, DisplayObject]]:
    counts: dict[str, int] = {}
    named = []
    for item in objects:
        counts[item.kind] = counts.get(item.kind, 0) + 1
        number = "" if item.kind == "met" else str(counts[item.kind])
        named.append((SYMBOLS[item.kind] + number, item))
    return named


def _draw_transverse(axes: Any, named: Sequence[tuple[str, DisplayObject]]) -> None:
    longest = math.sqrt(max((item.pt_gev for _, item in named), default=1.0))
    axes.set_aspect("equal")
    axes.set_xlim(-1.3, 1.3)
    axes.set_ylim(-1.3, 1.3)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.minorticks_off()
    axes.set_title(r"Transverse plane (length $\propto$ $p_{T}^{1/2}$)", fontsize=13, loc="left")
    axes.add_patch(Ellipse((0, 0), 2.0, 2.0, fill=False, color="#bbbbbb", linewidth=1.0))
    placed: list[float] = []
    for name, item in named:
        length = math.sqrt(item.pt_gev) / longest
        colour = COLOURS[item.kind]
        if item.kind in RADIUS:
            arc = np.linspace(item.phi - RADIUS[item.kind], item.phi + RADIUS[item.kind], 30)
            x, y = np.append(0.0, length * np.cos(arc)), np.append(0.0, length * np.sin(arc))
            axes.fill(x, y, facecolor=colour, edgecolor=colour, alpha=0.35 if item.kind == "fatjet" else 0.55)
        else:
            dashes = "--" if item.kind == "met" else "-"
            tip = (length * math.cos(item.phi), length * math.sin(item.phi))
            style = {
                "arrowstyle": "-|>",
                "color": colour,
                "linewidth": 2.4,
                "linestyle": dashes,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            axes.annotate("", tip, (0.0, 0.0), arrowprops=style)
        if item.kind == "met" or len(placed) < MOST_LABELS:
            angle = _free_angle(item.phi, placed)
            axes.text(
                1.12 * math.cos(angle), 1.12 * math.sin(angle), name, color=_dark(item.kind), ha="center", va="center",
                fontsize=13, fontweight="bold",
            )  # fmt: skip
            placed.append(angle)
    _draw_compass(axes)


def _free_angle(phi: float, taken: Sequence[float]) -> float:
    """The angle nearest to phi at which a label overlaps no other."""
    steps = (0.05 * step * sign for step in range(60) for sign in (1, -1))
    free = (phi + step for step in steps if all(abs(_wrapped(phi + step - other)) > LABEL_RAD for other in taken))
    return next(free, phi)


def _draw_compass(axes: Any) -> None:
    corner = (-1.24, -1.22)
    arrow = {"arrowstyle": "-|>", "color": "#777777", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (-1.0, -1.22), corner, arrowprops=arrow)
    axes.annotate("", (-1.24, -0.98), corner, arrowprops=arrow)
    axes.text(-0.97, -1.22, "x", color="#777777", va="center", fontsize=11)
    axes.text(-1.24, -0.96, "y", color="#777777", ha="center", fontsize=11)


def _draw_plane(axes: Any, named: Sequence[tuple[str, DisplayObject]]) -> None:
    reach = max([math.pi, *(abs(item.eta) + 0.6 for _, item in named if item.eta is not None)])
    axes.set_aspect("equal")
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-math.pi, math.pi)
    axes.set_xlabel(r"$\eta$")
    axes.set_ylabel(r"$\phi$ [rad]", labelpad=0)
    axes.set_yticks(
        [-math.pi, -math.pi / 2, 0.0, math.pi / 2, math.pi], [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"]
    )
    axes.set_title("Jets: circles of R = 0.4 (large-R: 0.8)", fontsize=13, loc="left")
    for position, (name, item) in enumerate(named):
        phi = _wrapped(item.phi)
        colour = COLOURS[item.kind]
        if item.eta is None:
            axes.axhline(phi, color=colour, linestyle="--", linewidth=1.8)
        elif item.kind in RADIUS:
            for turn in (-2 * math.pi, 0.0, 2 * math.pi):
                axes.add_patch(_circle(item.eta, phi + turn, item.kind))
        else:
            axes.plot(item.eta, phi, marker=MARKERS[item.kind], color=colour, markersize=7, linestyle="none")
        if position < MOST_LABELS or item.kind == "met":
            _label_in_plane(axes, name, item, reach)


def _label_in_plane(axes: Any, name: str, item: DisplayObject, reach: float) -> None:
    phi = _wrapped(item.phi)
    if item.eta is None:
        x, y = 0.97 * reach, phi + (0.16 if phi < 2.8 else -0.2)
    elif item.kind in RADIUS:
        outside = RADIUS[item.kind] + 0.12
        x, y = item.eta - outside * (1 if item.kind == "jet" else -1), phi
    else:
        right, up = LABEL_SIDES[item.kind]
        x, y = item.eta + 0.12 * right, phi + 0.2 * up
    axes.text(
        x, min(max(y, -math.pi + 0.18), math.pi - 0.18), name, color=_dark(item.kind), va="center", fontsize=12,
        ha="right" if item.kind in {"met", "jet", "photon", "tau"} else "left", fontweight="bold", clip_on=True,
        zorder=5,
    )  # fmt: skip


def _circle(eta: float, phi: float, kind: str) -> Any:
    size = 2.0 * RADIUS[kind]
    alpha = 0.35 if kind == "fatjet" else 0.55
    return Ellipse((eta, phi), size, size, facecolor=COLOURS[kind], edgecolor=_dark(kind), alpha=alpha)


def _draw_table(axes: Any, named: Sequence[tuple[str, DisplayObject]]) -> None:
    axes.axis("off")
    if not named:
        axes.text(0.5, 0.5, "No object above the thresholds.", ha="center", va="center", fontsize=13)
        return
    table = axes.table(
        cellText=[_row(name, item) for name, item in named[:MOST_ROWS]],
        colLabels=["", "Object", r"p$_{T}$ [GeV]", r"$\eta$", r"$\phi$ [rad]", "Mass [GeV]", "b-tag"],
        colWidths=[0.08, 0.2, 0.15, 0.13, 0.15, 0.16, 0.13],
        cellLoc="right",
        colLoc="right",
        bbox=(0.0, 0.0, 1.0, 1.0),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(12)
    for (row, column), cell in table.get_celld().items():
        cell.visible_edges = "B" if row == 0 else ""
        if column < 2:
            cell.set_text_props(ha="left")
            cell._loc = "left"  # noqa: SLF001 - matplotlib has no public way to align one column
        if row > 0 and column == 0:
            cell.set_text_props(color=_dark(named[row - 1][1].kind), fontweight="bold")
    if len(named) > MOST_ROWS:
        axes.annotate(
            f"{len(named) - MOST_ROWS} more objects are drawn and not listed.", (0.0, 0.0), xytext=(0, -4),
            xycoords="axes fraction", textcoords="offset points", va="top", fontsize=11,
        )  # fmt: skip


def _row(name: str, item: DisplayObject) -> list[str]:
    return [
        name,
        NAMES[item.kind],
        f"{item.pt_gev:.1f}",
        ABSENT if item.eta is None else f"{item.eta:.2f}".replace("-", MINUS),
        f"{_wrapped(item.phi):.2f}".replace("-", MINUS),
        f"{item.mass_gev:.1f}" if item.kind in {"jet", "fatjet", "tau"} else ABSENT,
        ABSENT if item.btag is None else f"{item.btag:.3f}".replace("-", MINUS),
    ]


def _dark(kind: str) -> str:
    return {"jet": "#14507f", "fatjet": "#21757a"}.get(kind, COLOURS[kind])


def _wrapped(angle: float) -> float:
    return math.remainder(angle, 2.0 * math.pi)
