"""Figures of calorimeter showers: two samples beside each other, and single showers unrolled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from darkop_dist.errors import InputValueError, OutputError
from darkop_dist.operators.showers.features import ShowerFeatures, shower_features
from darkop_dist.operators.showers.sample import READOUT_MEV, Showers
from darkop_dist.report.content import PlotContext
from darkop_dist.report.style import COLOURS, SIGNAL_COLOURS, new_figure, plot_style, save_figure

Floats = npt.NDArray[np.float64]
Names = tuple[str, str]

NAMES: Names = ("Generated", "Geant4")
LAYER_SHARES = (0.1, 0.25, 0.5, 0.75)
"""Where in depth the layers stand whose spectra are drawn: before, in and behind the maximum, and the tail."""


def draw_showers(folder: Path, generated: Showers, reference: Showers, *, names: Names = NAMES) -> list[Path]:
    """Draw all figures of two samples as PNG into a folder, which is made if it is absent; returns their paths.

    Args:
        folder: where the figures go.
        generated: showers to be judged, as they are read out: calibrated, small voxels set to zero.
        reference: showers of the simulator, likewise.
        names: what the two are called in the legends.

    Raises:
        InputValueError: the samples have different voxels, or one has no showers.
        OutputError: the folder or a figure cannot be written.
    """
    if generated.geometry != reference.geometry or not len(generated) or not len(reference):
        raise InputValueError(
            "showers",
            f"{len(generated)} showers of {generated.geometry.shape} voxels, {len(reference)} of "
            f"{reference.geometry.shape}",
            "Give showers of both kinds in the same voxels",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}). Choose another place.") from error
    return [save_figure(figure, folder / f"{name}.png") for name, figure in _figures(generated, reference, names)]


def profile_figure(generated: ShowerFeatures, reference: ShowerFeatures, *, names: Names = NAMES) -> Figure:
    """Draw the mean energy of each layer with the error of the mean, and the ratio with both errors.

    The energies of the particles vary more than the showers do, so the errors of neighbouring layers go together.
    """
    with plot_style(PlotContext()):
        figure, main, ratio = _panels()
        layers = np.arange(reference.layer_mev.shape[1])
        means, errors = [], []
        for one, name, colour, marker in zip((generated, reference), names, _colours(), "os", strict=True):
            mean = one.layer_mev.mean(axis=0)
            error = one.layer_mev.std(axis=0) / np.sqrt(len(one.layer_mev))
            main.errorbar(layers, mean, error, fmt=marker, ms=4, color=colour, label=name)
            means.append(mean)
            errors.append(error)
        main.set_yscale("log")
        main.set_ylabel("Mean energy of the layer [MeV]")
        main.legend()
        _draw_ratio(ratio, layers, means, errors, names)
        ratio.set_xlabel("Layer")
    return figure


def histogram_figure(
    values: tuple[npt.NDArray[Any], npt.NDArray[Any]], edges: Floats, *, label: str, names: Names = NAMES
) -> Figure:
    """Draw two histograms normalised to one, with the ratio below; errors are those of the counts.

    Bins that are even in log10 give a logarithmic axis; values outside the bins are left out, and where there are any
    the legend says which share: empty layers have no place on a logarithmic axis.

    Args:
        values: of the generated showers and of the reference.
        edges: of the bins.
        label: of the axis, with its unit.
        names: of the two in the legend.
    """
    with plot_style(PlotContext()):
        figure, main, ratio = _panels()
        shares, errors = [], []
        for one, name, colour in zip(values, names, _colours(), strict=True):
            counts = np.histogram(one, edges)[0]
            total = max(int(counts.sum()), 1)
            outside = 1.0 - counts.sum() / max(one.size, 1)
            shown = f"{name} ({outside:.1%} empty or outside)" if outside > 5e-4 else name
            shares.append(counts / total)
            errors.append(np.sqrt(counts) / total)
            main.stairs(shares[-1], edges, color=colour, label=shown, lw=1.8)
            low, high = shares[-1] - errors[-1], shares[-1] + errors[-1]
            main.fill_between(
                edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=colour, alpha=0.25, lw=0
            )
        if edges[0] > 0.0 and np.allclose(np.diff(np.log(edges)), np.log(edges[1] / edges[0])):
            main.set_xscale("log")
        main.set_yscale("log")
        top = max(float(share.max()) for share in shares)
        least = min((float(share[share > 0.0].min()) for share in shares if share.any()), default=1e-3)
        main.set_ylim(0.5 * least, 10.0 * top if top > 0.0 else 1.0)
        main.set_xlim(edges[0], edges[-1])
        main.set_ylabel("Share of the entries")
        main.legend()
        centres = np.sqrt(edges[1:] * edges[:-1]) if main.get_xscale() == "log" else 0.5 * (edges[1:] + edges[:-1])
        _draw_ratio(ratio, centres, shares, errors, names)
        ratio.set_xlabel(label)
    return figure


def display_figure(showers: Showers, *, chosen: int = 0, name: str = "Geant4") -> Figure:
    """Draw one shower unrolled: depth against azimuth and depth against radius, summed over the third, in log colour.

    Args:
        showers: the sample.
        chosen: which of its showers.
        name: what the sample is called.
    """
    voxels = showers.energies[chosen].reshape(showers.geometry.shape).astype(np.float64)
    layers = showers.geometry.layers
    views = (
        (voxels.sum(axis=2).T, (0, layers, -180, 180), "Azimuth [degrees]"),
        (voxels.sum(axis=1).T, (0, layers, 0, showers.geometry.radius_mm), "Radius [mm]"),
    )
    top = max(float(view.max()) for view, _, _ in views)
    scale = LogNorm(vmin=READOUT_MEV, vmax=max(top, 10.0 * READOUT_MEV))
    with plot_style(PlotContext()):
        figure = new_figure(8.6, 7.2)
        pair = figure.subplots(2, 1, sharex=True)
        for axes, (view, extent, label) in zip(pair, views, strict=True):
            image = axes.imshow(
                np.ma.masked_less_equal(view, 0.0),
                origin="lower",
                aspect="auto",
                extent=extent,
                norm=scale,
                cmap="viridis",
                interpolation="nearest",
            )
            axes.set_ylabel(label)
        pair[0].set_yticks([-180, -90, 0, 90, 180])
        pair[1].set_xlabel("Layer")
        energy = showers.incident_energies[chosen] / 1000.0
        pair[0].set_title(f"{name}: one shower of a particle of {energy:.3g} GeV", fontsize=14, loc="left")
        figure.colorbar(image, ax=list(pair), label="Energy [MeV]")
    return figure


def _figures(generated: Showers, reference: Showers, names: Names) -> Iterator[tuple[str, Figure]]:
    ours, theirs = shower_features(generated), shower_features(reference)
    yield "mean_layer_energy", profile_figure(ours, theirs, names=names)
    depth = reference.geometry.layers
    for layer in sorted({int(share * depth) for share in LAYER_SHARES}):
        pair = ours.layer_mev[:, layer], theirs.layer_mev[:, layer]
        label = f"Energy of layer {layer} [MeV]"
        yield f"layer_{layer}_energy", histogram_figure(pair, _log_edges(pair[1]), label=label, names=names)
    filled = generated.energies[generated.energies > 0.0], reference.energies[reference.energies > 0.0]
    label = "Energy of a voxel that is not empty [MeV]"
    yield "voxel_energy", histogram_figure(filled, _log_edges(reference.energies), label=label, names=names)
    yield (
        "total_over_incident",
        histogram_figure(
            (ours.total_over_incident, theirs.total_over_incident),
            np.linspace(0.5, 1.5, 51),
            label="Total energy / incident energy",
            names=names,
        ),
    )
    for field, edges, label in (
        ("sparsity", np.linspace(0.0, 1.0, 41), "Share of empty voxels of a layer"),
        ("centre_eta_mm", np.linspace(-30.0, 30.0, 51), r"Centre of a layer along $r\,\cos\alpha$ [mm]"),
        ("centre_phi_mm", np.linspace(-30.0, 30.0, 51), r"Centre of a layer along $r\,\sin\alpha$ [mm]"),
        ("width_eta_mm", np.linspace(0.0, 30.0, 51), r"Width of a layer along $r\,\cos\alpha$ [mm]"),
        ("width_phi_mm", np.linspace(0.0, 30.0, 51), r"Width of a layer along $r\,\sin\alpha$ [mm]"),
    ):
        every = field == "sparsity"
        first, second = (getattr(one, field)[every | (one.layer_mev > 0.0)] for one in (ours, theirs))
        yield field, histogram_figure((first, second), edges, label=label, names=names)
    particle = int(np.argmax(reference.incident_energies))
    nearest = int(np.argmin(np.abs(generated.incident_energies - reference.incident_energies[particle])))
    yield "display_generated", display_figure(generated, chosen=nearest, name=names[0])
    yield "display_reference", display_figure(reference, chosen=particle, name=names[1])


def _log_edges(reference: npt.NDArray[Any], bins: int = 40) -> Floats:
    top = max(float(reference.max()), 10.0 * READOUT_MEV)
    return np.geomspace(READOUT_MEV, 1.05 * top, bins + 1)


def _colours() -> Names:
    return SIGNAL_COLOURS[0], COLOURS[0]


def _panels() -> tuple[Figure, Any, Any]:
    figure = new_figure(7.2, 6.8)
    main, ratio = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    return figure, main, ratio


def _draw_ratio(axes: Any, x: npt.NDArray[Any], values: list[Floats], errors: list[Floats], names: Names) -> None:
    """The first over the second with the first's errors, and the second's as a band around 1."""
    (ours, theirs), (error, base) = values, errors
    shown = theirs > 0.0
    safe = np.where(shown, theirs, 1.0)
    axes.axhline(1.0, color="0.4", lw=1)
    axes.fill_between(
        x, 1.0 - base / safe, 1.0 + base / safe, where=shown, color=_colours()[1], alpha=0.3, lw=0, step="mid"
    )
    axes.errorbar(x[shown], (ours / safe)[shown], (error / safe)[shown], fmt="o", ms=3, color=_colours()[0])
    axes.set_ylim(0.5, 1.5)
    axes.set_ylabel("Ratio" if len(names[0]) + len(names[1]) > 16 else f"{names[0]} /\n{names[1]}", fontsize=13)
