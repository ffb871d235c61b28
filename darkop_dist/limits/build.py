"""From a histogram of raw weights to a HistFactory workspace.

Assumptions:
    Bins are independent Poisson counts. Sources of uncertainty are independent of each other, each fully correlated
    over samples, regions and bins. Histograms vary smoothly between the variations of one standard deviation
    (normalisation: HistFactory's code 4; shape: code 4p). The finite number of simulated background events enters
    with one Gaussian-constrained factor per bin on the sum of the backgrounds (Barlow-Beeston lite; Conway,
    arXiv:1103.0354, section 5), the one of the signal as a normalisation per region.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hist
import numpy as np

from darkop_dist.errors import StatisticsError, UnknownNameError, UserError
from darkop_dist.limits.modifiers import Uncertainties, background_statistics, signal_statistics
from darkop_dist.limits.samples import FitSample, Floats, Template, Templates
from darkop_dist.limits.workspace import MEASUREMENT_POI, Workspace, require_schema


@dataclass(frozen=True)
class _Channel:
    name: str
    edges: Floats
    observed: list[float]
    backgrounds: dict[str, Template]
    signal: Template | None
    spec: dict[str, Any]


def build_workspace(
    histogram: hist.Hist,
    samples: Sequence[FitSample],
    *,
    signal: str,
    regions: Sequence[str],
    lumi_uncertainty: float | None = None,
    systematics: Sequence[str] = (),
    normalisation: Mapping[str, float | tuple[float, float]] | None = None,
    bin_edges_used: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    include_overflow: bool = True,
    name: str = "darkop",
) -> Workspace:
    """Build the model of one signal.

    Args:
        histogram: raw weights with the axes dataset, region, variation, observable, and Weight storage.
        samples: the processes. Signals other than ``signal`` take no part. Without a data sample, the background
            expectation stands for data ("asimov").
        signal: name of the signal's sample; its strength ``mu`` is the parameter of interest.
        regions: regions to fit together; each becomes a channel.
        lumi_uncertainty: relative uncertainty of the luminosity: a log-normal factor, the same for all simulation.
        systematics: names with variations ``<name>_up`` and ``<name>_down``; each is split into normalisation
            (normsys) and shape (histosys, normalised to the nominal one). ``luminosity`` stands for
            ``lumi_uncertainty``.
        normalisation: relative uncertainty on a sample's yield, or sizes (down, up): the yield varies between
            x(1 - down) and x(1 + up).
        bin_edges_used: edges to merge bins to, for all regions or per region; all must be edges of the histogram.
        include_overflow: add under- and overflow (and what lies outside ``bin_edges_used``) to the first and last
            bin; otherwise they are left out.
        name: name of the measurement.

    Raises:
        UnknownNameError: a signal, region, systematic or sample that does not exist.
        UserError: edges that are not the histogram's.
        InputValueError: NaN weights.
        StatisticsError: a signal or background without selected events, or a bin with data and no background.
    """
    chosen = _signal_named(signal, samples)
    edges = bin_edges_used if isinstance(bin_edges_used, Mapping) else dict.fromkeys(regions, bin_edges_used or ())
    templates = Templates(histogram, {region: tuple(e) for region, e in edges.items() if len(e)}, include_overflow)
    for region in regions:
        templates.require_region(region)
    backgrounds = [sample for sample in samples if sample.role == "background"]
    uncertainties = Uncertainties.checked(
        templates, [*backgrounds, chosen], lumi_uncertainty, systematics, normalisation or {}
    )
    data = [sample for sample in samples if sample.role == "data"]
    notes: list[str] = []
    channels = [
        _channel(templates, uncertainties, region, data=data, backgrounds=backgrounds, signal=chosen, notes=notes)
        for region in regions
    ]
    _require_events(channels, backgrounds, chosen, regions, notes)
    _require_background_under_signal(channels)

    filled = [channel for channel in channels if channel.spec["samples"]]
    spec = {
        "channels": [channel.spec for channel in filled],
        "observations": [{"name": channel.name, "data": channel.observed} for channel in filled],
        "measurements": [
            {
                "name": name,
                "config": {
                    "poi": MEASUREMENT_POI,
                    "parameters": [{"name": MEASUREMENT_POI, "inits": [1.0], "bounds": [[0.0, _mu_bound(filled)]]}],
                },
            }
        ],
        "version": "1.0.0",
    }
    require_schema(spec, name)
    return Workspace(
        signal=signal,
        spec=spec,
        observed="data" if data else "asimov",
        edges={channel.name: tuple(channel.edges.tolist()) for channel in filled},
        notes=tuple(dict.fromkeys(notes)),
    )


def _channel(
    templates: Templates,
    uncertainties: Uncertainties,
    region: str,
    *,
    data: Sequence[FitSample],
    backgrounds: Sequence[FitSample],
    signal: FitSample,
    notes: list[str],
) -> _Channel:
    edges = templates.region_edges(region)
    raw = {sample.name: templates.read(sample, region) for sample in backgrounds}
    total = np.sum([template.values for template in raw.values()], axis=0) if raw else np.zeros(len(edges) - 1)
    observed = np.sum([templates.read(sample, region).values for sample in data], axis=0) if data else None
    _require_background(region, edges, total, observed)
    kept = {sample: _usable(raw[sample.name], sample.name, region, edges, notes) for sample in backgrounds}
    expected = np.sum([template.values for template in kept.values() if template is not None], axis=0)
    signal_template = _usable(templates.read(signal, region), signal.name, region, edges, notes)
    specs = [
        {
            "name": sample.name,
            "data": template.values.tolist(),
            "modifiers": [
                *uncertainties.modifiers(sample, region, template, notes),
                background_statistics(region, template),
            ],
        }
        for sample, template in kept.items()
        if template is not None
    ]
    if signal_template is not None:
        modifiers = [{"name": MEASUREMENT_POI, "type": "normfactor", "data": None}]
        modifiers += uncertainties.modifiers(signal, region, signal_template, notes)
        modifiers += signal_statistics(region, signal.name, signal_template)
        specs.append({"name": signal.name, "data": signal_template.values.tolist(), "modifiers": modifiers})
    empty = np.broadcast_to(expected <= 0, total.shape)
    for low, high in _bins(edges, empty):
        notes.append(f"region {region}, {low:g} to {high:g}: neither background nor signal was simulated there")
    values = np.broadcast_to(expected, total.shape) if observed is None else observed
    return _Channel(
        region,
        edges,
        np.asarray(values, dtype=np.float64).tolist(),
        {sample.name: template for sample, template in kept.items() if template is not None},
        signal_template,
        {"name": region, "samples": specs},
    )


def _usable(template: Template, sample: str, region: str, edges: Floats, notes: list[str]) -> Template | None:
    """The template without negative bins, or None if nothing is left; both are noted."""
    negative = template.values < 0
    for (low, high), value in zip(_bins(edges, negative), template.values[negative], strict=True):
        notes.append(
            f"sample {sample}, region {region}, {low:g} to {high:g}: "
            f"the sum of weights {value:.4g} is negative; set to 0"
        )
    values = np.where(negative, 0.0, template.values)
    if not np.any(values > 0):
        notes.append(f"sample {sample} has no events in region {region}; left out there")
        return None
    return Template(values, template.variances)


def _require_background(region: str, edges: Floats, total: Floats, observed: Floats | None, what: str = "data") -> None:
    if observed is None:
        return
    if np.any(observed < 0):
        raise StatisticsError(f"region {region}: the data have negative counts; fill data with weight 1 and scale 1")
    impossible = _bins(edges, (total <= 0) & (observed > 0))
    if impossible:
        shown = ", ".join(f"{low:g} to {high:g}" for low, high in impossible)
        raise StatisticsError(
            f"region {region}: {what} but no expected background in the bins {shown}; merge these bins with their "
            "neighbours (limits.bins in the document) or simulate more background"
        )


def _require_background_under_signal(channels: Sequence[_Channel]) -> None:
    """A bin with signal and no background would exclude any signal with a handful of events."""
    for channel in channels:
        if channel.signal is not None:
            expected = sum(template.values for template in channel.backgrounds.values())
            total = np.broadcast_to(expected, channel.signal.values.shape)
            _require_background(channel.name, channel.edges, total, channel.signal.values, "signal")


def _require_events(
    channels: Sequence[_Channel],
    backgrounds: Sequence[FitSample],
    signal: FitSample,
    regions: Sequence[str],
    notes: list[str],
) -> None:
    if all(channel.signal is None for channel in channels):
        raise StatisticsError(
            f"the signal {signal.name} has no selected events in the regions {', '.join(regions)}; "
            "check its datasets and the selection, or fit other regions"
        )
    if not any(channel.backgrounds for channel in channels):
        raise StatisticsError(
            f"no background has selected events in the regions {', '.join(regions)}; add simulated backgrounds"
        )
    notes.extend(
        f"sample {sample.name} has no events in any region; dropped"
        for sample in backgrounds
        if all(sample.name not in channel.backgrounds for channel in channels)
    )
    notes.extend(
        f"region {channel.name} has neither background nor signal nor data; left out"
        for channel in channels
        if not channel.spec["samples"]
    )


def _signal_named(name: str, samples: Sequence[FitSample]) -> FitSample:
    names = [sample.name for sample in samples]
    if len(set(names)) != len(names):
        raise UserError(f"sample names must differ; got {', '.join(names)}")
    signals = {sample.name: sample for sample in samples if sample.role == "signal"}
    if name not in signals:
        raise UnknownNameError("signal", name, signals, f"The signals are {', '.join(signals) or 'none'}.")
    return signals[name]


def _bins(edges: Floats, chosen: np.typing.NDArray[np.bool_]) -> list[tuple[float, float]]:
    return [(float(edges[i]), float(edges[i + 1])) for i in np.flatnonzero(chosen)]


def _mu_bound(channels: Sequence[_Channel]) -> float:
    """An upper bound for mu far above any limit: 40 standard deviations of mu, or 10.

    The deviation takes Poisson and simulation statistics and 20% on the background of each bin.
    """
    information = 0.0
    for channel in channels:
        if channel.signal is not None:
            values = sum((template.values for template in channel.backgrounds.values()), np.zeros(1))
            variances = sum((template.variances for template in channel.backgrounds.values()), np.zeros(1))
            variance = 1.0 + values + variances + (0.2 * values) ** 2
            information += float(np.sum(channel.signal.values**2 / variance))
    return float(max(10.0, 10.0 ** math.ceil(math.log10(40.0 / math.sqrt(information)))))
