"""Figures of generated showers beside simulated ones: distributions with their ratio, and single showers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.features import ShowerFeatures, shower_features
from darkop_dist.operators.showers.sample import Showers
from darkop_dist.report.content import PlotContext
from darkop_dist.report.style import COLOURS, SIGNAL_COLOURS, new_figure, plot_style

Floats = npt.NDArray[np.float64]
BINS = 40
LARGEST_RATIO = 0.5
"""Ratios are shown within 1 minus and plus this."""

LEAST_MEV = 5e-4
"""Least energy of a voxel in the spectrum, 0.5 keV."""

SHOWN = 4


@dataclass(frozen=True)
class _Panel:
    """A histogram of both samples.

    Attributes:
        label: the axis, with unit.
        values: of the generated showers and of the simulated ones.
        edges: of the bins.
        log_x: whether the axis is logarithmic.
        log_y: the same of the counts.
        note: what it is of, where the label does not say it.
    """

    label: str
    values: tuple[Floats, Floats]
    edges: Floats
    log_x: bool = False
    log_y: bool = True
    note: str = ""


def comparison_figure(generated: Showers, simulated: Showers, *, layer: int | None = None) -> Figure:
    """Draw eight distributions of both samples, each with the ratio of generated to simulated showers below.

    Error bars are Poisson errors of both samples; the mean energies have standard errors.

    Args:
        generated: showers of a generator.
        simulated: showers of the simulator, in the same voxels.
        layer: the layer of which energy, centre, width and hits are drawn; the one of largest mean energy by default.

    Raises:
        InputValueError: the samples are in different voxels.
    """
    if generated.geometry != simulated.geometry:
        raise InputValueError("showers", "generated and simulated in different voxels", "Sum to the same voxels first")
    features = shower_features(generated), shower_features(simulated)
    chosen = int(features[1].layer_mev.mean(0).argmax()) if layer is None else layer
    context = PlotContext(sqrt_s_tev=None)
    with plot_style(context):
        figure = new_figure(19.0, 11.5)
        grid = figure.add_gridspec(4, 4, height_ratios=[3, 1, 3, 1], hspace=0.02)
        cells = [(row, column) for row in (0, 2) for column in range(4)]
        axes = [(figure.add_subplot(grid[row, col]), figure.add_subplot(grid[row + 1, col])) for row, col in cells]
        _draw_profile(axes[0], features)
        for pair, panel in zip(axes[1:], _panels((generated, simulated), features, chosen), strict=True):
            _draw_panel(pair, panel)
        axes[0][0].legend(loc="lower center", title=f"{len(generated)} and {len(simulated)} showers", alignment="left")
    return figure


def _panels(
    samples: tuple[Showers, Showers], features: tuple[ShowerFeatures, ShowerFeatures], layer: int
) -> list[_Panel]:
    voxels = tuple(one.energies[one.energies >= LEAST_MEV].astype(np.float64) for one in samples)
    note = f"layer {layer}"

    def of(name: str) -> tuple[Floats, Floats]:
        one, two = (np.asarray(getattr(part, name), dtype=np.float64)[:, layer] for part in features)
        return one, two

    energy, hits = of("layer_mev"), tuple(100.0 * (1.0 - part) for part in of("sparsity"))
    some = tuple(part[part > 0.0] for part in energy)
    ratio = tuple(part.total_over_incident for part in features)
    low, high = np.quantile(ratio[1], [0.001, 0.999])
    centre, width = of("centre_phi_mm"), of("width_phi_mm")
    side = float(np.quantile(np.abs(centre[1]), 0.995))
    return [
        _Panel("Visible / incident energy", (ratio[0], ratio[1]), np.linspace(low, high, BINS + 1)),
        _Panel("Energy of a voxel [MeV]", (voxels[0], voxels[1]), _log_edges(voxels[1]), log_x=True),
        _Panel("Energy of the layer [MeV]", (some[0], some[1]), _log_edges(some[1]), log_x=True, note=note),
        _Panel("Centre in $y$ [mm]", centre, np.linspace(-side, side, BINS + 1), note=note),
        _Panel("Width in $y$ [mm]", width, np.linspace(0, float(np.quantile(width[1], 0.999)), BINS + 1), note=note),
        _Panel("Voxels with energy [%]", (hits[0], hits[1]), _edges_of_hits(hits[1]), note=note),
        _Panel(
            "Layer of largest energy",
            (features[0].layer_mev.argmax(1).astype(float), features[1].layer_mev.argmax(1).astype(float)),
            np.arange(features[1].layer_mev.shape[1] + 1) - 0.5,
        ),
    ]


def _log_edges(values: Floats) -> Floats:
    return np.logspace(np.log10(values.min()), np.log10(values.max()), BINS + 1)


def _edges_of_hits(values: Floats) -> Floats:
    return np.linspace(0.0, max(float(values.max()), 1.0), BINS // 2 + 1)


def _draw_profile(pair: tuple[Any, Any], features: tuple[ShowerFeatures, ShowerFeatures]) -> None:
    upper, lower = pair
    means = [part.layer_mev.mean(0) for part in features]
    errors = [part.layer_mev.std(0) / np.sqrt(len(part.layer_mev)) for part in features]
    number = np.arange(len(means[0]), dtype=np.float64)
    upper.stairs(means[1], np.arange(len(number) + 1) - 0.5, color=SIGNAL_COLOURS[1], label="Simulated")
    upper.errorbar(number, means[0], errors[0], fmt=".", color=COLOURS[0], label="Generated")
    upper.set_yscale("log")
    upper.set_ylabel("Mean energy [MeV]")
    relative = [error / np.maximum(mean, 1e-30) for error, mean in zip(errors, means, strict=True)]
    _draw_ratio(lower, number, means[0] / np.maximum(means[1], 1e-30), relative[0], relative[1])
    _finish(pair, "Layer", (-0.5, len(number) - 0.5), log_x=False)


def _draw_panel(pair: tuple[Any, Any], panel: _Panel) -> None:
    upper, lower = pair
    counts = [np.histogram(values, panel.edges)[0].astype(float) for values in panel.values]
    scale = [count / max(len(values), 1) for count, values in zip(counts, panel.values, strict=True)]
    middle = np.sqrt(panel.edges[1:] * panel.edges[:-1]) if panel.log_x else (panel.edges[1:] + panel.edges[:-1]) / 2
    upper.stairs(scale[1], panel.edges, color=SIGNAL_COLOURS[1])
    filled = counts[0] > 0
    error = scale[0][filled] / np.sqrt(counts[0][filled])
    upper.errorbar(middle[filled], scale[0][filled], error, fmt=".", color=COLOURS[0])
    if panel.log_y:
        upper.set_yscale("log")
    upper.set_ylabel("Share per bin")
    if panel.note:
        upper.set_title(panel.note, loc="right", fontsize=13)
    both = (counts[0] > 0) & (counts[1] > 0)
    relative = [1.0 / np.sqrt(count[both]) for count in counts]
    _draw_ratio(lower, middle[both], scale[0][both] / scale[1][both], relative[0], relative[1])
    _finish(pair, panel.label, (panel.edges[0], panel.edges[-1]), log_x=panel.log_x)


def _draw_ratio(axes: Any, x: Floats, ratio: Floats, ours: Floats, theirs: Floats) -> None:
    axes.axhline(1.0, color=SIGNAL_COLOURS[1], linewidth=1.0)
    axes.errorbar(x, ratio, ratio * np.hypot(ours, theirs), fmt=".", color=COLOURS[0])
    axes.set_ylim(1.0 - LARGEST_RATIO, 1.0 + LARGEST_RATIO)
    axes.set_ylabel("Ratio")


def _finish(pair: tuple[Any, Any], label: str, limits: tuple[float, float], *, log_x: bool) -> None:
    for axes in pair:
        if log_x:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlim(*limits)
    pair[0].tick_params(labelbottom=False)
    pair[1].set_xlabel(label)


def display_figure(samples: Sequence[tuple[str, Showers]], *, showers: int = SHOWN) -> Figure:
    """Draw the first showers of some samples: one row of each sample, depth against radius and azimuth unrolled.

    The upper half of a picture is the energy summed over azimuth by layer and radius, the lower half that summed over
    radius by layer and azimuth; all pictures share the colour scale.

    Args:
        samples: names and showers.
        showers: showers of each sample.
    """
    with plot_style(PlotContext(sqrt_s_tev=None)):
        figure = new_figure(4.6 * showers, 4.6 * len(samples))
        axes = figure.subplots(2 * len(samples), showers, squeeze=False)
        fields = [
            [one.energies[number].reshape(one.geometry.shape).astype(np.float64) for number in range(showers)]
            for _, one in samples
        ]
        top = max(float(field.sum(1).max()) for row in fields for field in row)
        norm = LogNorm(vmin=1e-4 * top, vmax=top)
        for row, ((name, sample), drawn) in enumerate(zip(samples, fields, strict=True)):
            for column, field in enumerate(drawn):
                upper, lower = axes[2 * row][column], axes[2 * row + 1][column]
                depth = np.arange(field.shape[0] + 1) - 0.5
                radius = np.linspace(0.0, sample.geometry.radius_mm, field.shape[2] + 1)
                angle = np.linspace(-180.0, 180.0, field.shape[1] + 1)
                image = upper.pcolormesh(depth, radius, _shown(field.sum(1)).T, norm=norm, cmap="viridis")
                lower.pcolormesh(depth, angle, _shown(field.sum(2)).T, norm=norm, cmap="viridis")
                upper.set_title(f"{name}, {sample.incident_energies[column] / 1e3:.1f} GeV", fontsize=13)
                lower.set_yticks([-180, 0, 180])
                upper.tick_params(labelbottom=False)
                lower.tick_params(labelbottom=row == len(samples) - 1)
                if row == len(samples) - 1:
                    lower.set_xlabel("Layer")
                if column == 0:
                    upper.set_ylabel("$r$ [mm]")
                    lower.set_ylabel(r"$\alpha$ [deg]")
        figure.colorbar(image, ax=axes, label="Energy [MeV]", shrink=0.6)
    return figure


def _shown(field: Floats) -> Floats:
    """Empty cells stay white."""
    return np.where(field > 0.0, field, np.nan)
