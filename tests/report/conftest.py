"""A search that never happened but has the shapes of one: falling spectra, a small signal, 40 CMS-like events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import hist
import numpy as np
import pytest
from scipy import stats

from darkop_dist.conformal import excess, from_scores, scan_thresholds
from darkop_dist.events.view import DisplayObject, EventView
from darkop_dist.execution.timeline import Span, Timeline, WorkerTime
from darkop_dist.report.content import (
    CalibrationCheck,
    Candidate,
    Cutflow,
    CutStep,
    FitSummary,
    LedgerRow,
    ObservablePlot,
    PageInput,
    PassOverEvents,
    PlotContext,
    Provenance,
    Pull,
    SamplePlot,
    SignalLimit,
    StackedBins,
)

EDGES = [250.0, 280.0, 310.0, 350.0, 400.0, 470.0, 560.0, 700.0, 900.0, 1400.0]
LUMI_IFB = 16.39
SLOPE_GEV = {"zjets": 85.0, "wjets": 80.0, "ttbar": 95.0, "dm-axial": 240.0}
EXPECTED = {"zjets": 5200.0, "wjets": 2600.0, "ttbar": 700.0, "dm-axial": 60.0}

SAMPLES = (
    SamplePlot("data", "Data", ("met-2016",), role="data"),
    SamplePlot("ttbar", r"$t\bar{t}$", ("ttbar",), {"ttbar": 700.0 / 20000}),
    SamplePlot("wjets", r"$W\to\ell\nu$ + jets", ("wjets",), {"wjets": 2600.0 / 20000}),
    SamplePlot("zjets", r"$Z\to\nu\nu$ + jets", ("zjets",), {"zjets": 5200.0 / 20000}),
    SamplePlot(
        "dm-axial",
        r"$Z'_{A}$ (1 TeV, 100 GeV)",
        ("dm-axial",),
        {"dm-axial": 60.0 / 20000},
        role="signal",
        overlay_scale=10.0,
    ),
)


def _recoil(rng: np.random.Generator, name: str, size: int) -> np.ndarray:
    return 240.0 + rng.exponential(SLOPE_GEV[name], size)


def _booked(rng: np.random.Generator) -> hist.Hist:
    booked = hist.Hist(
        hist.axis.StrCategory([], growth=True, name="dataset"),
        hist.axis.StrCategory([], growth=True, name="region"),
        hist.axis.StrCategory([], growth=True, name="variation"),
        hist.axis.Variable(EDGES, name="recoil", label="recoil [GeV]"),
        storage=hist.storage.Weight(),
    )
    for name, expected in EXPECTED.items():
        recoil = _recoil(rng, name, 20000)
        for variation, factor in (("nominal", 1.0), ("jet_energy_scale_up", 1.02), ("jet_energy_scale_down", 0.98)):
            booked.fill(dataset=name, region="signal", variation=variation, recoil=factor * recoil)
        if name != "dm-axial":
            seen = _recoil(rng, name, rng.poisson(expected))
            booked.fill(dataset="met-2016", region="signal", variation="nominal", recoil=seen)
    return booked


def _dphi(rng: np.random.Generator) -> hist.Hist:
    booked = hist.Hist(
        hist.axis.StrCategory([], growth=True, name="dataset"),
        hist.axis.StrCategory([], growth=True, name="region"),
        hist.axis.StrCategory([], growth=True, name="variation"),
        hist.axis.Regular(16, 0.0, 3.2, name="dphi", label=r"min $\Delta\phi$(jet, recoil) [rad]"),
        storage=hist.storage.Weight(),
    )
    for name in EXPECTED:
        values = np.abs(np.pi - np.abs(rng.normal(0.0, 0.9, 20000)))
        booked.fill(dataset=name, region="signal", variation="nominal", dphi=values)
    booked.fill(
        dataset="met-2016", region="signal", variation="nominal", dphi=np.abs(np.pi - np.abs(rng.normal(0, 0.9, 8500)))
    )
    return booked


def _scores(rng: np.random.Generator) -> hist.Hist:
    booked = hist.Hist(
        hist.axis.StrCategory([], growth=True, name="dataset"),
        hist.axis.StrCategory([], growth=True, name="region"),
        hist.axis.StrCategory([], growth=True, name="split"),
        hist.axis.Variable(np.linspace(0.0, 12.0, 41), name="score", label="FNO reconstruction error"),
        storage=hist.storage.Int64(),
    )
    shapes = {"zjets": (3.0, 0.6), "wjets": (3.2, 0.6), "ttbar": (3.6, 0.65), "dm-axial": (6.0, 0.9)}
    for name, (shape, scale) in shapes.items():
        for split, size in (("calibrate", 15000), ("check", 5000)):
            booked.fill(dataset=name, region="signal", split=split, score=rng.gamma(shape, scale, size))
    booked.fill(dataset="met-2016", region="signal", split="check", score=rng.gamma(3.05, 0.6, 8500))
    return booked


def _check(rng: np.random.Generator) -> CalibrationCheck:
    n, n_check = 30000, 10000
    calibration, held_out = np.sort(rng.gamma(3.0, 0.6, n)), rng.gamma(3.0, 0.6, n_check)

    def p_values(scores: np.ndarray) -> np.ndarray:
        return (1 + n - np.searchsorted(calibration, scores)) / (n + 1)

    levels = np.geomspace(1.0 / (n + 1), 1.0, 25)
    counts = np.array([(p_values(held_out) <= level).sum() for level in levels])
    low = np.where(counts > 0, stats.beta.ppf(0.025, np.maximum(counts, 1), n_check - counts + 1), 0.0)
    high = np.where(counts < n_check, stats.beta.isf(0.025, counts + 1, np.maximum(n_check - counts, 1)), 1.0)
    data = rng.gamma(3.05, 0.6, 8500)
    edges = np.linspace(0.0, 20.0, 2001).tolist()
    binned = from_scores(calibration, edges=edges, source="background", fingerprint="f")
    tested = from_scores(data, edges=edges, source="data", fingerprint="f").counts
    return CalibrationCheck(
        levels=levels, fraction=counts / n_check, low=low, high=high, n=n, n_check=n_check, floor=1.0 / (n + 1), alpha=1e-3,
        guarantee=(
            "For background events exchangeable with the calibrating ones, P(p ≤ a) ≤ a for every a, averaged over "
            "calibration samples; no property of the score is needed."
        ),
        data_p_values=p_values(data), excess=excess(binned, tested, 1e-3), scan=scan_thresholds(binned, tested),
    )  # fmt: skip


def event_view(rng: np.random.Generator | None = None) -> EventView:
    """A mono-jet event with a recoiling jet, softer jets, a muon and an electron in one of the jets."""
    return EventView(
        experiment="CMS", run=281707, luminosity_block=1021, event=1722401887, dataset="met-2016", score=11.23, p_value=3.3e-5,
        objects=(
            DisplayObject("jet", 612.4, 0.43, 3.05, 61.2, 0.012),
            DisplayObject("jet", 84.1, -1.62, -2.31, 11.8, 0.731),
            DisplayObject("jet", 41.7, 2.24, 0.92, 7.3, 0.055),
            DisplayObject("fatjet", 640.2, 0.44, 3.04, 84.9),
            DisplayObject("muon", 31.6, -1.55, -2.2, 0.1057),
            DisplayObject("electron", 12.9, -0.7, 1.31, 0.000511),
            DisplayObject("photon", 24.4, 1.1, -1.0),
            DisplayObject("tau", 22.0, -2.1, 2.0, 0.9),
            DisplayObject("met", 577.9, None, -0.12),
        ),
    )  # fmt: skip


def _fit(booked: hist.Hist) -> FitSummary:
    def stacked(factor: float, uncertainty: float) -> StackedBins:
        yields = {}
        for sample in SAMPLES[1:]:
            cells = booked[{"dataset": sample.name, "region": "signal", "variation": "nominal"}]
            yields[sample.name] = factor * cells.values() * sample.scales[sample.name]
        total = sum(values for name, values in yields.items() if name != "dm-axial")
        data = booked[{"dataset": "met-2016", "region": "signal", "variation": "nominal"}].values()
        return StackedBins("signal", "recoil [GeV]", EDGES, yields, uncertainty * total, data)

    names = (
        "jet_energy_scale",
        "jet_energy_resolution",
        "pileup_reweighting",
        "luminosity",
        "xsec_ttbar",
        "xsec_wjets",
    )
    pulls = tuple(Pull(name, value, 0.9) for name, value in zip(names, (-1.4, 0.2, 0.1, -0.6, -2.3, 0.4), strict=True))
    return FitSummary(
        "background only",
        2.1e-9,
        "saturated model, asymptotic chi-square",
        pulls,
        (stacked(1.15, 0.12),),
        (stacked(1.0, 0.03),),
    )


def _limit() -> SignalLimit:
    mu = np.linspace(0.05, 4.0, 41)
    rows = tuple(np.minimum(1.0, np.exp(-mu * 3.0 / reach)) for reach in (0.55, 0.74, 1.02, 1.42, 1.9))
    return SignalLimit(
        "dm-axial", SAMPLES[-1].label, observed=1.21, expected=(0.55, 0.74, 1.02, 1.42, 1.9), xsec_pb=0.00366, scan_mu=mu,
        scan_observed=np.exp(-mu * 3.0 / 1.21), scan_expected=rows, p0=0.21, z=0.81, mu_hat=0.31, mu_hat_uncertainty=0.52,
        method="CLs with the q̃μ statistic, asymptotic formulae (arXiv:1007.1727)",
    )  # fmt: skip


def _cutflows() -> tuple[Cutflow, ...]:
    names = (
        "all events",
        "trigger",
        "recoil > 250 GeV",
        "leading jet pT > 100 GeV, |η| < 2.4",
        "lepton vetoes",
        "min Δφ > 0.5",
    )
    kept = (1.0, 0.9, 0.12, 0.1, 0.06, 0.04)
    rows = []
    for name in ("met-2016", "ttbar", "wjets", "zjets", "dm-axial"):
        total, data = 2_512_344, name == "met-2016"
        steps = tuple(
            CutStep(step, int(total * part), total * part * (1.0 if data else 0.97))
            for step, part in zip(names, kept, strict=True)
        )
        rows.append(Cutflow(name, "signal", steps, 1.0 if data else 0.0123, data))
    return tuple(rows)


def timeline(workers: int, chunks: int, seed: int = 8) -> Timeline:
    """Workers that begin within two seconds and go from chunk to chunk; a chunk in ten fails; the driver merges last."""
    rng = np.random.default_rng(seed)
    free = rng.uniform(0.0, 2.0, workers)
    spans: dict[str, list[Span]] = {}
    for index in range(chunks):
        worker = int(np.argmin(free))
        read_s, compute_s, score_s = (float(value) for value in rng.gamma(6.0, (0.5, 0.2, 0.1)))
        span = Span(float(free[worker]), read_s, compute_s, score_s, 0.0, failed=index % 10 == 9, keep_s=0.05)
        spans.setdefault(f"tcp://10.0.0.{worker // 8}:{40000 + worker}", []).append(span)
        free[worker] = span.stop_s + 0.02
    last = float(free.max())
    sums = {
        name: sum(getattr(span, name) for lane in spans.values() for span in lane)
        for name in ("read_s", "compute_s", "score_s", "keep_s")
    }
    return Timeline(
        wall_s=last + 0.5, workers=workers, spans={name: tuple(spans[name]) for name in sorted(spans)},
        driver=(Span(last, merge_s=0.5),), total=WorkerTime(**sums), chunks=chunks,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_timeline() -> Callable[..., Timeline]:
    """Makes the timeline of a run that never happened."""
    return timeline


@pytest.fixture(scope="session")
def full_page() -> PageInput:
    """A page with something in every section."""
    rng = np.random.default_rng(20261)
    booked = _booked(rng)
    view = event_view()
    limit = _limit()
    heavier = replace(
        limit,
        signal="dm-vector",
        label=r"$Z'_{V}$ (2 TeV)",
        observed=6.1,
        expected=(3.1, 4.2, 5.9, 8.4, 11.8),
        scan_mu=None,
    )
    return PageInput(
        name="Mono-jet dark matter search",
        subtitle="A made-up example with the shapes of a real search",
        facts={"Collisions": "CMS 2016 G and H, 13 TeV, 16.39/fb ± 1.2%", "Operator": "cylinder-fno-v1", "Processor": "processors/monojet.py:MonoJet"},
        warnings=("Data lie below the simulation: goodness of fit p = 2.1e-9.",),
        context=PlotContext("CMS", has_data=True, lumi_ifb=LUMI_IFB),
        samples=SAMPLES,
        cutflows=_cutflows(),
        observables=(
            ObservablePlot("Hadronic recoil", booked),
            ObservablePlot("Angle to the jets", _dphi(rng), kind="n-1", threshold=0.5),
        ),
        scores=_scores(rng),
        calibration=_check(rng),
        limits=(replace(limit), heavier),
        fit=_fit(booked),
        candidates=(
            Candidate("met-2016", 281707, 1021, 1722401887, 11.23, 3.3e-5, "signal", {"recoil [GeV]": 577.9}, view),
            Candidate("met-2016", -1, 0, 0, 10.4, 6.7e-5, "signal", {"recoil [GeV]": 401.2}),
        ),
        ledger=(
            LedgerRow("met-2016", 3, 12, 12, 0, 2_512_344, 2_512_344, 0, None, True),
            LedgerRow("zjets", 2, 8, 7, 1, 2_000_000, 1_750_000, 250_000, 1.6975e6, False, "1 chunk failed: truncated file"),
        ),
        events_pass=PassOverEvents(timeline(2, 40), "62% of the 2 workers' time went into reading: <faster storage> would help.", "reading 62%"),
        provenance=Provenance(
            "darkop run jobs/monojet.yml", {"darkop-dist": "0.1.0", "pyhf": "0.7.6"}, {"document": "9f" * 32}, {"split": 7},
            {"process": 83.2, "limits": 4.31},
        ),
    )  # fmt: skip
