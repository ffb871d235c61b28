"""From booked histograms to the yields that a plot draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from darkop_dist.report.content import ObservablePlot, SamplePlot, StackedBins

Floats = npt.NDArray[np.float64]
NOMINAL = "nominal"


@dataclass(frozen=True)
class Binned:
    """Weighted bins of one sample, flow bins included.

    Attributes:
        values: expected events, shape (bins + 2,): underflow, bins, overflow.
        variances: their variances, same shape.
    """

    values: Floats
    variances: Floats

    @property
    def inside(self) -> Floats:
        """Expected events without flow bins, shape (bins,)."""
        return self.values[1:-1]


def regions_of(histogram: Any) -> tuple[str, ...]:
    """The regions of a histogram in the order of booking."""
    return tuple(histogram.axes["region"])


def binned(histogram: Any, sample: SamplePlot, region: str, variation: str = NOMINAL) -> Binned:
    """Sum the datasets of a sample, each with its own scale.

    Args:
        histogram: axes dataset, region, ``variation`` or ``split``, observable. Splits are summed.
        sample: the sample; datasets that the histogram does not have count as empty.
        region: one region.
        variation: one variation. A dataset that has no entries in it is taken as unaffected: its nominal bins.

    Returns:
        Expected events per bin with their statistical variances.
    """
    bins = len(histogram.axes[-1]) + 2
    values, variances = np.zeros(bins), np.zeros(bins)
    for dataset in sample.datasets:
        if dataset not in histogram.axes["dataset"] or region not in histogram.axes["region"]:
            continue
        cells = histogram[{"dataset": hist.loc(dataset), "region": hist.loc(region)}]
        if "split" in cells.axes.name:
            chosen = cells[{"split": sum}]
        else:
            chosen = _variation(cells, variation)
            if variation != NOMINAL and not np.any(chosen.values(flow=True)):
                chosen = _variation(cells, NOMINAL)
        scale = sample.scales.get(dataset, 1.0)
        values += scale * chosen.values(flow=True)
        variances += scale**2 * chosen.variances(flow=True)
    return Binned(values, variances)


def _variation(cells: Any, variation: str) -> Any:
    if variation not in cells.axes["variation"]:
        return cells[{"variation": sum}] * 0.0
    return cells[{"variation": hist.loc(variation)}]


def summed_background(histogram: Any, samples: Iterable[SamplePlot], region: str, variation: str = NOMINAL) -> Binned:
    """The sum of all background samples in one region."""
    bins = len(histogram.axes[-1]) + 2
    values, variances = np.zeros(bins), np.zeros(bins)
    for sample in samples:
        if sample.role == "background":
            part = binned(histogram, sample, region, variation)
            values += part.values
            variances += part.variances
    return Binned(values, variances)


def background_uncertainty(histogram: Any, samples: Sequence[SamplePlot], region: str) -> tuple[Floats, str]:
    """Uncertainty of the summed background from the size of the simulated samples and the booked variations.

    Each variation contributes, per bin, the larger of its two shifts; variations are added in quadrature to the
    statistical uncertainty. Normalisation uncertainties that are not booked as variations are not in it.

    Returns:
        The absolute uncertainty of shape (bins,), and what it holds.
    """
    nominal = summed_background(histogram, samples, region)
    variance = nominal.variances[1:-1].copy()
    names = set(histogram.axes["variation"])
    sources = sorted({name.removesuffix("_up").removesuffix("_down") for name in names if name != NOMINAL})
    for source in sources:
        shifts = [
            np.abs(summed_background(histogram, samples, region, name).inside - nominal.inside)
            for name in (f"{source}_up", f"{source}_down")
            if name in names
        ]
        if shifts:
            variance += np.max(shifts, axis=0) ** 2
    return np.sqrt(variance), "Stat. + syst." if sources else "MC stat."


def stacked_bins(plot: ObservablePlot, samples: Sequence[SamplePlot], region: str) -> StackedBins | None:
    """The bins of one region as a data/MC plot wants them; None if the region holds no events."""
    histogram = plot.histogram
    parts = {sample.name: binned(histogram, sample, region) for sample in samples}
    if not any(np.any(part.values) for part in parts.values()):
        return None
    uncertainty, label = background_uncertainty(histogram, samples, region)
    data_parts = [parts[sample.name] for sample in samples if sample.role == "data"]
    background = summed_background(histogram, samples, region)
    data = np.sum([part.values for part in data_parts], axis=0) if data_parts else None
    outside = {"background": _outside(background.values)}
    if data is not None:
        outside["data"] = _outside(data)
    return StackedBins(
        region=region,
        label=histogram.axes[-1].label or histogram.axes[-1].name,
        edges=np.asarray(histogram.axes[-1].edges, dtype=np.float64),
        yields={sample.name: parts[sample.name].inside for sample in samples if sample.role != "data"},
        total_uncertainty=uncertainty,
        data=None if data is None else data[1:-1],
        uncertainty_label=label,
        outside=outside,
    )


def _outside(values: Floats) -> tuple[float, float]:
    return float(values[0]), float(values[-1])


def sample_colours(
    samples: Iterable[SamplePlot], background: Sequence[str], signal: Sequence[str]
) -> Mapping[str, str]:
    """One colour per sample: its own, black for data, else the next of the palette."""
    colours: dict[str, str] = {}
    used = {"background": 0, "signal": 0}
    palettes = {"background": background, "signal": signal}
    for sample in samples:
        if sample.role == "data":
            colours[sample.name] = sample.colour or "black"
            continue
        palette = palettes[sample.role]
        colours[sample.name] = sample.colour or palette[used[sample.role] % len(palette)]
        used[sample.role] += 1
    return colours
