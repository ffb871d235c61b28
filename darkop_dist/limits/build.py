"""From a histogram of raw weights to a HistFactory workspace.

Assumptions:
    Bins are independent Poisson counts. Sources of uncertainty are independent of each other, each fully correlated
    over samples, regions and bins. Histograms vary smoothly between the variations of one standard deviation
    (normalisation: HistFactory's code 4; shape: code 4p). The finite number of simulated background events enters
    with one Gaussian-constrained factor per bin on the sum of the backgrounds (Barlow-Beeston lite; Conway,
    arXiv:1103.0354, section 5), the one of the signal as a normalisation per region. What the methods beside the
    simulated background assume stands at the head of their modules: transfer, abcd, conformal_background.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import hist
import numpy as np

from darkop_dist.errors import UnknownNameError, UserError
from darkop_dist.limits.channels import BackgroundMethod, Channel, Draft, check_channels
from darkop_dist.limits.modifiers import LumiModifier, Uncertainties
from darkop_dist.limits.samples import FitSample, Templates
from darkop_dist.limits.simulated import simulated_draft
from darkop_dist.limits.smoothing import Smoothing
from darkop_dist.limits.workspace import MEASUREMENT_POI, Workspace, require_schema
from darkop_dist.limits.yields import BinUncertainty, FreeNormalisation


def build_workspace(
    histogram: hist.Hist,
    samples: Sequence[FitSample],
    *,
    signal: str,
    regions: Sequence[str],
    lumi_uncertainty: float | None = None,
    lumi_modifier: LumiModifier = "normsys",
    systematics: Sequence[str] = (),
    smoothing: Smoothing | None = None,
    normalisation: Mapping[str, float | tuple[float, float]] | None = None,
    free_normalisations: Sequence[FreeNormalisation] = (),
    bin_uncertainties: Sequence[BinUncertainty] = (),
    methods: Sequence[BackgroundMethod] = (),
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
        lumi_uncertainty: relative uncertainty of the luminosity, the same for all simulation.
        lumi_modifier: ``normsys``, a log-normal factor, which cannot become negative; or ``lumi``, HistFactory's
            Gaussian one, for workspaces that are to be combined with others that have it.
        systematics: names with variations ``<name>_up`` and ``<name>_down``; each is split into normalisation
            (normsys) and shape (histosys, normalised to the nominal one). ``luminosity`` stands for
            ``lumi_uncertainty``.
        smoothing: of the varied templates; none by default, see `darkop_dist.limits.smoothing`.
        normalisation: relative uncertainty on a sample's yield, or sizes (down, up): the yield varies between
            x(1 - down) and x(1 + up).
        free_normalisations: backgrounds whose yield only the data determine.
        bin_uncertainties: uncertainties of a sample that are independent between bins.
        methods: where the background is not from simulation alone: `TransferFactors`, `Abcd`, `ConformalBackground`.
            They are applied in this order.
        bin_edges_used: edges to merge bins to, for all regions or per region; all must be edges of the histogram.
        include_overflow: add under- and overflow (and what lies outside ``bin_edges_used``) to the first and last
            bin; otherwise they are left out.
        name: name of the measurement.

    Raises:
        UnknownNameError: a signal, region, systematic or sample that does not exist.
        UserError: edges that are not the histogram's.
        InputValueError: NaN weights.
        StatisticsError: a signal or background without selected events, a bin with data and no background, a
            variation without its opposite or without nominal events, or counts that a method cannot use.
    """
    chosen = _signal_named(signal, samples)
    edges = bin_edges_used if isinstance(bin_edges_used, Mapping) else dict.fromkeys(regions, bin_edges_used or ())
    templates = Templates(histogram, {region: tuple(e) for region, e in edges.items() if len(e)}, include_overflow)
    for region in regions:
        templates.require_region(region)
    simulated = [*(sample for sample in samples if sample.role == "background"), chosen]
    for sample in simulated:
        templates.require_nominal(sample)
    for size in bin_uncertainties:
        templates.require_region(size.region)
    uncertainties = Uncertainties.checked(
        templates,
        simulated,
        lumi_uncertainty,
        systematics,
        normalisation or {},
        lumi_modifier=lumi_modifier,
        free=free_normalisations,
        bins=bin_uncertainties,
        smoothing=smoothing,
    )
    data = [sample for sample in samples if sample.role == "data"]
    draft = simulated_draft(templates, uncertainties, regions, [*data, *simulated])
    for method in methods:
        draft = method.applied(draft)
    notes = [*draft.notes, *check_channels(draft, regions, signal)]
    filled = [channel for channel in draft.channels if channel.samples]
    spec = _spec(draft, filled, name)
    require_schema(spec, name)
    return Workspace(
        signal=signal,
        spec=spec,
        observed="data" if data else "asimov",
        edges={channel.name: tuple(channel.edges.tolist()) for channel in filled},
        notes=tuple(dict.fromkeys(notes)),
    )


def _spec(draft: Draft, channels: Sequence[Channel], name: str) -> dict[str, Any]:
    """The workspace in pyhf's JSON; settings of parameters that no sample carries are left out."""
    samples = [sample for channel in channels for sample in channel.samples]
    used = {modifier["name"] for sample in samples for modifier in sample.modifiers}
    strength = {"name": MEASUREMENT_POI, "inits": [1.0], "bounds": [[0.0, _mu_bound(channels)]]}
    parameters = [strength, *(settings for settings in draft.parameters if settings["name"] in used)]
    return {
        "channels": [
            {"name": channel.name, "samples": [sample.spec for sample in channel.samples]} for channel in channels
        ],
        "observations": [{"name": channel.name, "data": channel.counts.tolist()} for channel in channels],
        "measurements": [{"name": name, "config": {"poi": MEASUREMENT_POI, "parameters": parameters}}],
        "version": "1.0.0",
    }


def _signal_named(name: str, samples: Sequence[FitSample]) -> FitSample:
    names = [sample.name for sample in samples]
    if len(set(names)) != len(names):
        raise UserError(f"sample names must differ; got {', '.join(names)}")
    signals = {sample.name: sample for sample in samples if sample.role == "signal"}
    if name not in signals:
        raise UnknownNameError("signal", name, signals, f"The signals are {', '.join(signals) or 'none'}.")
    return signals[name]


def _mu_bound(channels: Sequence[Channel]) -> float:
    """An upper bound for mu far above any limit: 40 standard deviations of mu, or 10.

    The deviation takes Poisson and simulation statistics and 20% on the background of each bin.
    """
    information = 0.0
    for channel in channels:
        if channel.signal is not None:
            values = channel.background_values
            variances = sum((sample.template.variances for sample in channel.backgrounds), np.zeros(1))
            variance = 1.0 + values + variances + (0.2 * values) ** 2
            information += float(np.sum(channel.signal.template.values**2 / variance))
    return float(max(10.0, 10.0 ** math.ceil(math.log10(40.0 / math.sqrt(information)))))
