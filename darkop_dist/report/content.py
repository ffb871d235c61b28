"""What a result page shows, as plain frozen values; whatever does not exist stays None or empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from darkop_dist.events.view import EventView

if TYPE_CHECKING:
    from darkop_dist.conformal import Drift, Excess, ThresholdScan
    from darkop_dist.execution.timeline import Timeline

Numbers = Sequence[float] | npt.NDArray[np.float64]
Role = Literal["data", "background", "signal"]


@dataclass(frozen=True)
class PlotContext:
    """What every plot says about where its events come from.

    Attributes:
        experiment: whose style and name the plots carry; none if it is unknown.
        has_data: collision data are shown; without them the plots say "Simulation".
        lumi_ifb: integrated luminosity in 1/fb.
        sqrt_s_tev: centre-of-mass energy in TeV.
    """

    experiment: Literal["CMS", "ATLAS", "simulation", "unknown"] = "simulation"
    has_data: bool = False
    lumi_ifb: float | None = None
    sqrt_s_tev: float | None = 13.0


@dataclass(frozen=True)
class SamplePlot:
    """One sample of the plots: datasets that are drawn and fitted as one process.

    Attributes:
        name: name of the sample in fits.
        label: name in plots; LaTeX between dollar signs.
        datasets: the datasets that it sums.
        scales: by dataset, the factor from raw weights to expected events; 1 where a dataset is absent (data).
        role: how it is drawn: points, stack or line.
        colour: matplotlib colour; the style's next colour by default.
        overlay_scale: factor on the line of a signal, written in the legend.
    """

    name: str
    label: str
    datasets: tuple[str, ...]
    scales: Mapping[str, float] = field(default_factory=dict)
    role: Role = "background"
    colour: str | None = None
    overlay_scale: float = 1.0


@dataclass(frozen=True)
class ObservablePlot:
    """A booked histogram to be drawn as data over simulation.

    Attributes:
        title: what the plot shows.
        histogram: ``hist.Hist`` with the axes dataset, region, variation and one observable; storage Weight, filled
            with raw weights.
        regions: the regions to draw; empty draws every region that holds events.
        kind: ``n-1`` marks the distribution of a cut variable with all other cuts applied.
        threshold: the cut, in units of the observable, drawn as a line.
        keeps: the side of the threshold that the selection keeps.
        important: it stays in view where the page has so many that the others are folded away.
    """

    title: str
    histogram: Any
    regions: tuple[str, ...] = ()
    kind: Literal["observable", "n-1"] = "observable"
    threshold: float | None = None
    keeps: Literal["above", "below"] = "above"
    important: bool = True


@dataclass(frozen=True)
class StackedBins:
    """Binned yields of one region, before or after a fit.

    Attributes:
        region: name of the region.
        label: axis title of the observable with its unit, such as ``recoil [GeV]``.
        edges: increasing bin edges, shape (bins + 1,).
        yields: expected events by sample name, each of shape (bins,).
        total_uncertainty: absolute uncertainty of the summed background, shape (bins,).
        data: observed counts, shape (bins,); None if there are none.
        data_label: what the points are; say so if they are an Asimov data set.
        uncertainty_label: what the band holds.
        outside: events below the first and above the last edge, by ``data`` and ``background``: (below, above).
    """

    region: str
    label: str
    edges: Numbers
    yields: Mapping[str, Numbers]
    total_uncertainty: Numbers
    data: Numbers | None = None
    data_label: str = "Data"
    uncertainty_label: str = "Uncertainty"
    outside: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class CutStep:
    """One step of a cutflow.

    Attributes:
        name: the cut that was applied last.
        events: number of events that pass this and all earlier cuts.
        weight: sum of their raw weights.
    """

    name: str
    events: int
    weight: float


@dataclass(frozen=True)
class Cutflow:
    """The cutflow of one dataset in one region.

    Attributes:
        dataset: name of the dataset.
        region: name of the region.
        steps: the steps in the order of the selection, the first one before any cut.
        scale: factor from raw weights to expected events; 1 for data.
        is_data: collision data.
    """

    dataset: str
    region: str
    steps: tuple[CutStep, ...]
    scale: float = 1.0
    is_data: bool = False


@dataclass(frozen=True)
class CalibrationCheck:
    """How often held-out background reaches a p-value of at most a level.

    Attributes:
        levels: the levels a, increasing, shape (levels,).
        fraction: fraction of held-out events with p <= a, shape (levels,).
        low: lower end of the Clopper-Pearson interval, shape (levels,).
        high: upper end, shape (levels,).
        n: number of events that calibrated.
        n_check: number of held-out events.
        floor: smallest p-value that can be given, 1/(n + 1).
        alpha: the level of the search.
        confidence: coverage of the interval.
        guarantee: the guarantee with its assumptions, in sentences.
        data_p_values: p-values of the data, shape (events,).
        excess: how many of the data reach the level of the search.
        scan: the same at several levels, with the significance after the search for the largest.
        effective_size: of weighted events, as how many unweighted ones they fluctuate; None for unweighted ones.
        exact: the guarantee holds; it does not where weights are negative.
    """

    levels: Numbers
    fraction: Numbers
    low: Numbers
    high: Numbers
    n: int
    floor: float
    guarantee: str
    n_check: int | None = None
    alpha: float | None = None
    confidence: float = 0.95
    data_p_values: Numbers | None = None
    excess: Excess | None = None
    scan: ThresholdScan | None = None
    effective_size: float | None = None
    exact: bool = True


@dataclass(frozen=True)
class SignalLimit:
    """Upper limit on one signal.

    Attributes:
        signal: name of the signal.
        label: name in plots; the signal's name by default.
        observed: observed limit on the signal strength; None without data.
        expected: expected limits at -2, -1, 0, 1, 2 standard deviations.
        confidence_level: such as 0.95.
        xsec_pb: cross section in pb that signal strength 1 stands for.
        scan_mu: signal strengths of the scan, shape (points,).
        scan_observed: observed CLs, shape (points,).
        scan_expected: expected CLs at -2, -1, 0, 1, 2 standard deviations, shape (5, points).
        p0: observed p-value of the background-only hypothesis.
        z: its significance in standard deviations.
        mu_hat: best-fit signal strength.
        mu_hat_uncertainty: its uncertainty.
        method: how the limit was found.
    """

    signal: str
    label: str | None = None
    observed: float | None = None
    expected: tuple[float, float, float, float, float] | None = None
    confidence_level: float = 0.95
    xsec_pb: float | None = None
    scan_mu: Numbers | None = None
    scan_observed: Numbers | None = None
    scan_expected: Sequence[Numbers] | None = None
    p0: float | None = None
    z: float | None = None
    mu_hat: float | None = None
    mu_hat_uncertainty: float | None = None
    method: str = ""


@dataclass(frozen=True)
class Pull:
    """One nuisance parameter after the fit.

    Attributes:
        name: name of the parameter.
        value: (fitted - nominal) / prior standard deviation.
        uncertainty: fitted uncertainty in units of the prior standard deviation.
    """

    name: str
    value: float
    uncertainty: float


@dataclass(frozen=True)
class ImpactBar:
    """How far a nuisance parameter moves the fitted signal strength.

    Attributes:
        name: name of the parameter.
        pull: (fitted - nominal) / prior standard deviation; None for free parameters.
        constraint: fitted uncertainty in units of the prior standard deviation.
        up: change of the strength at one fitted standard deviation above.
        down: the same below.
        prefit_up: the same with the prior standard deviation; None for free parameters.
        prefit_down: the same below.
    """

    name: str
    pull: float | None
    constraint: float
    up: float
    down: float
    prefit_up: float | None
    prefit_down: float | None


@dataclass(frozen=True)
class ProfileCurve:
    """A profile likelihood along one parameter.

    Attributes:
        parameter: its name.
        bestfit: where the minimum is.
        values: points, increasing.
        twice_delta_nll: -2 ln L above its minimum at each.
        confidence_level: of the interval.
        low: its lower end; None where a bound comes first.
        high: its upper end.
    """

    parameter: str
    bestfit: float
    values: Numbers
    twice_delta_nll: Numbers
    confidence_level: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MassLimits:
    """Limits against mass.

    Attributes:
        masses: increasing, shape (masses,).
        observed: limits, shape (masses,); None without data.
        expected: at -2, -1, 0, 1, 2 sigma, five rows of shape (masses,).
        confidence_level: of the limits.
        mass_label: axis title with its unit.
        limit_label: axis title with its unit.
        prediction_label: name of the model's line.
    """

    masses: Numbers
    observed: Numbers | None
    expected: Sequence[Numbers]
    confidence_level: float = 0.95
    mass_label: str = "Resonance mass [GeV]"
    limit_label: str = r"Limit on the signal strength $\mu$"
    prediction_label: str = "Prediction"


@dataclass(frozen=True)
class FitSummary:
    """The fit of the model to the data.

    Attributes:
        hypothesis: what was fitted, such as ``background only``.
        goodness_of_fit_p: p-value of the fit's quality.
        goodness_of_fit_method: how it was found, such as ``saturated model, asymptotic chi-square``.
        pulls: the constrained nuisance parameters.
        prefit: yields per region before the fit.
        postfit: yields per region after the fit.
        impacts: how far nuisance parameters move the signal strength, largest first.
        parameters: names of the parameters of the fit with signal.
        correlation: their correlations, shape (parameters, parameters).
    """

    hypothesis: str = ""
    goodness_of_fit_p: float | None = None
    goodness_of_fit_method: str = ""
    pulls: tuple[Pull, ...] = ()
    prefit: tuple[StackedBins, ...] = ()
    postfit: tuple[StackedBins, ...] = ()
    impacts: tuple[ImpactBar, ...] = ()
    parameters: tuple[str, ...] = ()
    correlation: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Candidate:
    """One of the most anomalous events.

    Attributes:
        dataset: where it comes from.
        run: run number; -1 if the file has none.
        luminosity_block: luminosity block.
        event: event number.
        region: region that selected it.
        score: anomaly score.
        p_value: conformal p-value.
        observables: values by name with unit, such as ``recoil [GeV]``.
        view: its objects for a display.
        place: file and entry, which find the event again where the file holds no event numbers.
    """

    dataset: str
    run: int
    luminosity_block: int
    event: int
    score: float
    p_value: float | None = None
    region: str = ""
    observables: Mapping[str, float] = field(default_factory=dict)
    view: EventView | None = None
    place: str = ""


@dataclass(frozen=True)
class LedgerRow:
    """What became of the entries of one dataset.

    Attributes:
        dataset: name of the dataset.
        files: number of files.
        chunks: number of chunks.
        done: chunks that were processed.
        failed: chunks that were not.
        entries_expected: entries in the catalogue or the files.
        entries_processed: entries that were read and processed.
        entries_lost: entries that are known to be lost.
        sum_of_weights: sum of generator weights of the processed entries; None for data.
        closed: expected = processed + lost, and the loss is accepted.
        notes: reasons and retries.
    """

    dataset: str
    files: int
    chunks: int
    done: int
    failed: int
    entries_expected: int | None
    entries_processed: int
    entries_lost: int
    sum_of_weights: float | None
    closed: bool
    notes: str = ""


@dataclass(frozen=True)
class PassOverEvents:
    """Where the time of the pass over the events went.

    Attributes:
        timeline: what every worker did when.
        sentence: what limits the run.
        shares: every phase with its share of the workers' time.
        dask_report: address of Dask's own performance report, as seen from the page; empty if there is none.
    """

    timeline: Timeline
    sentence: str
    shares: str = ""
    dask_report: str = ""


@dataclass(frozen=True)
class Provenance:
    """What the result was made with.

    Attributes:
        command: the command that makes it again.
        versions: version by package.
        hashes: SHA-256 by thing.
        seeds: seed by use.
        times_s: wall-clock seconds by stage.
    """

    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    times_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PageInput:
    """Everything that a result page shows.

    Attributes:
        name: name of the search.
        subtitle: one line below it.
        facts: what was searched, where and how: value by name.
        headline: the result in sentences, with guarantee and method; made from ``limits`` if empty.
        warnings: what a reader must know before believing the result, shown first.
        context: experiment, luminosity and energy of the plots.
        samples: the samples of the plots, in the order of the stack from bottom to top.
        cutflows: one per dataset and region.
        observables: histograms drawn as data over simulation.
        scores: ``hist.Hist`` of scores: axes dataset, region, ``variation`` or ``split``, score.
        calibration: the check of the p-values.
        categories: one check for each category, instead, where p-values are given by category.
        drift: tests of runs and of files.
        limits: one per signal.
        fit: the fit to the data.
        candidates: the most anomalous events, most anomalous first.
        ledger: one row per dataset.
        events_pass: where the time of the pass over the events went.
        provenance: what the result was made with.
        mass_limits: the limits against mass; None if the signals have none.
    """

    name: str
    subtitle: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    headline: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    context: PlotContext = field(default_factory=PlotContext)
    samples: tuple[SamplePlot, ...] = ()
    cutflows: tuple[Cutflow, ...] = ()
    observables: tuple[ObservablePlot, ...] = ()
    scores: Any = None
    calibration: CalibrationCheck | None = None
    categories: Mapping[str, CalibrationCheck] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    limits: tuple[SignalLimit, ...] = ()
    fit: FitSummary | None = None
    candidates: tuple[Candidate, ...] = ()
    ledger: tuple[LedgerRow, ...] = ()
    events_pass: PassOverEvents | None = None
    provenance: Provenance = field(default_factory=Provenance)
    mass_limits: MassLimits | None = None
