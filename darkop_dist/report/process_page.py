"""The page that validates a process: one HTML file with its figures inside."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from darkop_dist.errors import OutputError
from darkop_dist.generation.process_validation import ProcessValidation
from darkop_dist.generation.spectrum import Spectrum
from darkop_dist.report.content import PlotContext
from darkop_dist.report.digits import plain
from darkop_dist.report.pages import page_template
from darkop_dist.report.poisson import garwood_errors
from darkop_dist.report.style import COLOURS, SIGNAL_COLOURS, experiment_label, new_figure, plot_style, save_figure
from darkop_dist.runs import write_atomically

CONTEXT = PlotContext()
WIDE_RATIO = 3.0


def spectrum_figure(spectrum: Spectrum, context: PlotContext = CONTEXT) -> Figure:
    """Draw a distribution as points, its expectation as a line, and their ratio below.

    Counts have central Poisson (Garwood) intervals, other values the errors that they come with. A bin without entries
    has no point, nor a ratio.

    Args:
        spectrum: the distribution.
        context: energy of the collisions.
    """
    compares = spectrum.expected.size > 0
    with plot_style(context):
        figure = new_figure(7.2, 6.4 if compares else 5.4)
        if compares:
            main, ratio = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.2, 1)})
            figure.set_layout_engine("constrained", hspace=0.0, h_pad=0.02)
            _draw_ratio(ratio, spectrum)
        else:
            main = ratio = figure.subplots()
        _draw(main, spectrum)
        experiment_label(main, context)
        _scale(main, spectrum)
        ratio.set_xlabel(spectrum.label)
        main.set_ylabel(spectrum.y_label)
        figure.align_ylabels()
    return figure


def _errors(spectrum: Spectrum) -> tuple[Any, Any]:
    counted = np.allclose(spectrum.errors, np.sqrt(np.maximum(spectrum.values, 0)))
    return garwood_errors(spectrum.values) if counted else (spectrum.errors, spectrum.errors)


def _draw(axes: Any, spectrum: Spectrum) -> None:
    middle = (spectrum.edges[1:] + spectrum.edges[:-1]) / 2
    low, high = _errors(spectrum)
    shown = spectrum.values > 0
    if spectrum.expected.size:
        axes.stairs(
            spectrum.expected, spectrum.edges, color=COLOURS[0], linewidth=2.0, label=_wrapped(spectrum.expected_label)
        )
    axes.errorbar(
        middle[shown], spectrum.values[shown], yerr=(low[shown], high[shown]), fmt="o", color="black", markersize=4.5,
        linewidth=1.3, label=f"Pythia 8, {spectrum.entries} entries",
    )  # fmt: skip
    for place, label in spectrum.marks:
        axes.axvline(
            place, ymax=0.7, color=SIGNAL_COLOURS[0], linestyle="--", linewidth=1.6, label=f"{label}: {place:.4g}"
        )
    for reference, colour in zip(spectrum.references, (SIGNAL_COLOURS[0], COLOURS[0]), strict=False):
        axes.errorbar(
            [reference.x], [reference.value], yerr=[reference.error], fmt="s", color=colour, markersize=7,
            linewidth=2.0, label=reference.label.replace("|eta|", r"$|\eta|$"),
        )  # fmt: skip


def _wrapped(text: str, width: int = 46) -> str:
    place = text.rfind(", ", 0, width)
    return text if len(text) <= width or place < 0 else f"{text[: place + 1]}\n{text[place + 2 :]}"


def _draw_ratio(axes: Any, spectrum: Spectrum) -> None:
    known = (spectrum.expected > 0) & (spectrum.values > 0)
    safe = np.where(known, spectrum.expected, 1.0)
    low, high = _errors(spectrum)
    middle = (spectrum.edges[1:] + spectrum.edges[:-1]) / 2
    axes.axhline(1.0, color=COLOURS[0], linewidth=1.6)
    axes.errorbar(
        middle[known], (spectrum.values / safe)[known], yerr=((low / safe)[known], (high / safe)[known]),
        fmt="o", color="black", markersize=4.5, linewidth=1.3,
    )  # fmt: skip
    axes.set_ylim(0.0, 2.0)
    axes.set_yticks([0.5, 1.0, 1.5])
    above = known & (spectrum.values > 2.0 * spectrum.expected)
    axes.plot(middle[above], np.full(int(above.sum()), 1.9), "^", color=SIGNAL_COLOURS[0], markersize=6)
    axes.set_ylabel("Ratio", loc="center")


def _scale(axes: Any, spectrum: Spectrum) -> None:
    if spectrum.edges[0] > 0 and spectrum.edges[-1] / spectrum.edges[0] > WIDE_RATIO and _geometric(spectrum.edges):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(_few))
    axes.set_xlim(spectrum.edges[0], spectrum.edges[-1])
    top = max(float((spectrum.values + _errors(spectrum)[1]).max()), float(np.max(spectrum.expected, initial=0.0)))
    entries = sum(1 + label.count("\n") for label in axes.get_legend_handles_labels()[1])
    headroom = 0.12 + 0.085 * entries
    if spectrum.log:
        positive = np.concatenate([spectrum.values[spectrum.values > 0], spectrum.expected[spectrum.expected > 0.3]])
        bottom = 0.5 * float(positive.min()) if positive.size else 0.1
        axes.set_yscale("log")
        axes.set_ylim(bottom, top * (top / bottom) ** (headroom / (1 - headroom)))
    else:
        axes.set_ylim(0, top / (1 - headroom))
    axes.legend(loc="upper right", title=spectrum.title, title_fontsize=12.5, alignment="right")
    if spectrum.expected.size:
        axes.xaxis.set_tick_params(labelbottom=False, which="both")


def _geometric(edges: Any) -> bool:
    return bool(np.allclose(np.diff(np.log(edges)), np.diff(np.log(edges))[0]))


def _few(value: float, _: object) -> str:
    """Label 2 and 5 of every power of ten."""
    first = f"{value:e}"[0]
    return f"{value:g}" if first in "25" else ""


def write_process_page(found: ProcessValidation, target: Path) -> Path:
    """Write the page of a process.

    Args:
        found: what was compared.
        target: the HTML file; its folder is made.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="darkop-") as folder:
            pictures = [_picture(spectrum, Path(folder)) for spectrum in found.spectra]
        write_atomically(target, page_template("process.html.j2").render(found=found, pictures=pictures))
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror}). Choose another place.") from error
    return target


def _picture(spectrum: Spectrum, folder: Path) -> dict[str, str]:
    picture = save_figure(spectrum_figure(spectrum), folder / f"{spectrum.name}.png")
    title, verdict = plain(spectrum.title), plain(spectrum.verdict)
    return {
        "title": title,
        "caption": f"{title}: {verdict}" if verdict else title,
        "data": base64.b64encode(picture.read_bytes()).decode(),
    }
