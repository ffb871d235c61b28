"""How figures look and how they are written: the experiment's style, its label, and files without half-written ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import mplhep
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.ticker import NullFormatter, NullLocator

from darkop_dist.errors import OutputError
from darkop_dist.report.content import PlotContext

FORMATS = (".png", ".svg", ".pdf")

COLOURS = ("#3f90da", "#ffa90e", "#92dadd", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581")
"""Petroff's ten-colour set (arXiv:2107.02270) without its red, which is kept for signals."""

SIGNAL_COLOURS = ("#bd1f01", "#1b1b1b", "#0b6e4f", "#7a21dd")
BAND_1SIGMA = "#607641"
BAND_2SIGMA = "#f5bb54"
"""Colours of the expected bands that CMS recommends since 2024; readable with colour-vision deficiencies."""

FONT: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": ["TeX Gyre Heros", "DejaVu Sans"],
        "mathtext.fontset": "custom",
        "mathtext.rm": "TeX Gyre Heros",
        "mathtext.it": "TeX Gyre Heros:italic",
        "mathtext.bf": "TeX Gyre Heros:bold",
        "mathtext.sf": "TeX Gyre Heros",
        "mathtext.tt": "TeX Gyre Heros",
        "mathtext.cal": "TeX Gyre Heros",
        "mathtext.default": "regular",
        "axes.unicode_minus": True,
        "svg.hashsalt": "darkop-dist",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
        "savefig.dpi": 110,
    }
)
"""Settings that must hold both when a figure is made and when it is written."""

SIZES: Mapping[str, Any] = MappingProxyType(
    {
        "font.size": 15,
        "axes.labelsize": 16,
        "axes.linewidth": 1.2,
        "xtick.labelsize": 14,
        "ytick.labelsize": 14,
        "xtick.major.size": 7,
        "xtick.minor.size": 3.5,
        "ytick.major.size": 7,
        "ytick.minor.size": 3.5,
        "legend.fontsize": 12.5,
        "legend.frameon": False,
        "legend.handlelength": 1.5,
        "lines.linewidth": 1.6,
        "figure.facecolor": "white",
        "axes.facecolor": "white",
        "axes.autolimit_mode": "data",
    }
)


@contextmanager
def plot_style(context: PlotContext) -> Iterator[None]:
    """Draw in the style of the experiment; nothing stays changed afterwards."""
    styles = {"CMS": mplhep.style.CMS, "ATLAS": mplhep.style.ATLAS}
    with mpl.rc_context():
        mpl.rcParams.update({**styles.get(context.experiment, mplhep.style.ROOT), **SIZES, **FONT})
        yield


def new_figure(width_in: float = 7.2, height_in: float = 6.4) -> Figure:
    """A figure that belongs to nobody: pyplot does not know it, so it cannot leak."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def settle_layout(figure: Figure) -> None:
    """Lay a finished figure out once, for all files that are written of it.

    Left to itself matplotlib does so for every file, which took a third of the time of a picture. Minor ticks without
    labels lie inside the axes and are left out meanwhile: they took half of the time of the layout.
    """
    engine = figure.get_layout_engine()
    if engine is None:
        return
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    bare = [axis for axis in axes if isinstance(axis.get_minor_formatter(), NullFormatter)]
    hidden = [(axis, axis.get_minor_locator()) for axis in bare]  # before any is changed: panels share their axes
    for axis in bare:
        axis.set_minor_locator(NullLocator())
    engine.execute(figure)
    figure.set_layout_engine("none")
    for axis, locator in hidden:
        axis.set_minor_locator(locator)


def experiment_label(axes: Any, context: PlotContext) -> None:
    """Write experiment, kind of events, luminosity and energy above the axes.

    The label says "Open Data" because the plots are no results of the collaborations.
    """
    if context.experiment == "unknown":
        return
    name = "" if context.experiment == "simulation" else context.experiment
    kind = "Open Data" if name and context.has_data else "Simulation (Open Data)" if name else "Simulation"
    size = mpl.rcParams["font.size"]
    left = axes.annotate(
        name or kind,
        (0.0, 1.0),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=1.2 * size,
        fontweight="bold",
        va="bottom",
    )
    if name:
        axes.annotate(
            kind,
            (1.0, 0.0),
            xytext=(6, 0.5),
            xycoords=left,
            textcoords="offset points",
            fontstyle="italic",
            va="bottom",
        )
    axes.annotate(
        luminosity_text(context),
        (1.0, 1.0),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
    )


def luminosity_text(context: PlotContext) -> str:
    """Such as ``16.4 fb$^{-1}$ (13 TeV)``; parts that are not known are left out."""
    lumi = "" if context.lumi_ifb is None else rf"{context.lumi_ifb:.3g} fb$^{{-1}}$"
    energy = "" if context.sqrt_s_tev is None else f"({context.sqrt_s_tev:g} TeV)"
    return f"{lumi} {energy}".strip()


def drawable(text: str) -> str:
    r"""Text that matplotlib can draw: LaTeX between dollar signs stays if it parses, else it is shown as it is written.

    >>> drawable("cost in $")
    'cost in \\$'
    """
    if "$" not in text:
        return text
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return text.replace("$", r"\$")
    return text if text.count("$") % 2 == 0 else text.replace("$", r"\$")


def check_figure_path(path: Path) -> str:
    """The suffix of a figure's file; asked before long work, what cannot be written is refused before it.

    Raises:
        OutputError: the suffix is none of a figure's, or the folder does not exist or must not be written to.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(f"{path}: figures are written as {', '.join(FORMATS)}. Choose one of these suffixes.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {path.parent} must not be written to. Choose another place.")
    return suffix


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, SVG or PDF by the suffix of the path; equal figures give equal files.

    Raises:
        OutputError: the suffix is another one, the folder does not exist, or the file cannot be written.
    """
    suffix = check_figure_path(path)
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
    unfinished = None
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=suffix, dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
        with mpl.rc_context():
            mpl.rcParams.update(FONT)
            figure.savefig(unfinished, format=suffix[1:], metadata=metadata)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    except OSError as error:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Choose another place.") from error
    return path
