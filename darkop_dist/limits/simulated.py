"""Backgrounds as they were simulated: templates with their uncertainties, the starting point of every method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darkop_dist.limits.channels import Channel, ChannelSample, Draft
from darkop_dist.limits.modifiers import Uncertainties, background_statistics, signal_statistics
from darkop_dist.limits.samples import FitSample, Floats, Template, Templates
from darkop_dist.limits.workspace import MEASUREMENT_POI


def simulated_draft(
    templates: Templates, uncertainties: Uncertainties, regions: Sequence[str], samples: Sequence[FitSample]
) -> Draft:
    """The regions with data, simulated backgrounds and one signal.

    Args:
        templates: where the templates are.
        uncertainties: what changes them.
        regions: the regions of the fit.
        samples: data, backgrounds and exactly one signal.

    Raises:
        InputValueError: weights that are not finite.
        StatisticsError: an uncertainty that does not fit its sample.
    """
    notes: list[str] = []
    channels = tuple(_channel(templates, uncertainties, region, samples, notes) for region in regions)
    present = {found.name for channel in channels for found in channel.backgrounds}
    notes += [
        f"sample {sample.name} has no events in any region; dropped"
        for sample in samples
        if sample.role == "background" and sample.name not in present
    ]
    return Draft(channels, uncertainties.parameters(), tuple(notes))


def _channel(
    templates: Templates, uncertainties: Uncertainties, region: str, samples: Sequence[FitSample], notes: list[str]
) -> Channel:
    edges = templates.region_edges(region)
    data, backgrounds, signals = (
        [sample for sample in samples if sample.role == role] for role in ("data", "background", "signal")
    )
    empty = np.zeros(len(edges) - 1)
    raw = {sample.name: templates.read(sample, region) for sample in backgrounds}
    found = []
    for sample in backgrounds:
        template = _usable(raw[sample.name], sample.name, region, edges, notes)
        if template is not None:
            modifiers = uncertainties.modifiers(sample, region, template, notes)
            found.append(ChannelSample(sample.name, template, (*modifiers, background_statistics(region, template))))
    return Channel(
        region,
        edges,
        sum((templates.read(sample, region).values for sample in data), empty) if data else None,
        tuple(found),
        _signal(templates, uncertainties, region, signals[0], notes),
        sum((template.values for template in raw.values()), empty),
    )


def _signal(
    templates: Templates, uncertainties: Uncertainties, region: str, signal: FitSample, notes: list[str]
) -> ChannelSample | None:
    template = _usable(templates.read(signal, region), signal.name, region, templates.region_edges(region), notes)
    if template is None:
        return None
    strength = {"name": MEASUREMENT_POI, "type": "normfactor", "data": None}
    others = uncertainties.modifiers(signal, region, template, notes)
    return ChannelSample(signal.name, template, (strength, *others, *signal_statistics(region, signal.name, template)))


def _usable(template: Template, sample: str, region: str, edges: Floats, notes: list[str]) -> Template | None:
    """The template without negative bins, or None if nothing is left; both are noted."""
    negative = template.values < 0
    notes.extend(
        f"sample {sample}, region {region}, {edges[i]:g} to {edges[i + 1]:g}: "
        f"the sum of weights {template.values[i]:.4g} is negative; set to 0"
        for i in np.flatnonzero(negative)
    )
    values = np.where(negative, 0.0, template.values)
    if not np.any(values > 0):
        notes.append(f"sample {sample} has no events in region {region}; left out there")
        return None
    return Template(values, template.variances)
