"""Stage five: the result page, from the files of the run directory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hist

from darkop_dist.config import MEASURED
from darkop_dist.errors import InputFileError
from darkop_dist.events.view import EventView
from darkop_dist.execution import Ledger
from darkop_dist.execution.limiting import breakdown, limiting_sentence
from darkop_dist.execution.timeline import load_clock, timeline_of
from darkop_dist.histograms.candidates import IDENTITY
from darkop_dist.limits import LimitsFile, RegionYields, SignalResult
from darkop_dist.report import content, page
from darkop_dist.report.headline import limit_sentence
from darkop_dist.runs import read_json
from darkop_dist.stages import calibrate, provenance
from darkop_dist.stages.choose import choice_sentence
from darkop_dist.stages.context import RunContext
from darkop_dist.stages.drift import load_drift
from darkop_dist.stages.fit_model import fit_samples, observable_label
from darkop_dist.stages.limit_plots import impacts_of, pulls_of, stacked
from darkop_dist.stages.served import read_served
from darkop_dist.stages.shown_calibration import anomaly_sentences, shown_calibrations
from darkop_dist.stages.warnings import page_warnings

WITHOUT_ITS_CUT = "signal without its cut"


def write_report(context: RunContext) -> Path:
    """Write ``report/`` of a run.

    Returns:
        Its index.html.

    Raises:
        InputFileError: a file of the run is damaged.
        OutputError: the page cannot be written.
    """
    found = LimitsFile.load(context.run.limits) if context.run.limits.exists() else LimitsFile(())
    results = found.results
    calibrations = shown_calibrations(context)
    calibration = calibrations.get(calibrate.ALL)
    limits = tuple(_limit(result) for result in results)
    content_of_page = content.PageInput(
        name=context.document.name,
        subtitle=context.document.description,
        facts=_facts(context),
        headline=tuple(_headline(context, limits, calibrations)),
        warnings=(*page_warnings(context, results), *found.problems),
        context=_plot_context(context),
        samples=_samples(context),
        cutflows=tuple(_cutflows(context)),
        observables=tuple(_observables(context)),
        scores=context.histograms.histograms.get("score"),
        calibration=calibration,
        categories={} if calibration else calibrations,
        drift=load_drift(context),
        limits=limits,
        mass_limits=_mass_limits(found),
        fit=_fit(context, results[0]) if results else None,
        candidates=tuple(_candidates(context)),
        ledger=tuple(_ledger(context)),
        events_pass=_events_pass(context),
        provenance=_provenance(context),
    )
    return page.write_page(content_of_page, context.run.report, force=True)


def _facts(context: RunContext) -> dict[str, str]:
    document = context.document
    facts = {"processor": document.processor.rsplit("/", 1)[-1]}
    if context.lumi_ifb is not None:
        measured = " (measured: certified sections that were processed)" if document.lumi_ifb == MEASURED else ""
        facts["integrated luminosity"] = f"{context.lumi_ifb:g}/fb{measured}"
    if document.signal_region is not None:
        facts["signal region"] = document.signal_region.text
    facts["systematic variations"] = ", ".join(document.systematics) or "none"
    if document.limits is not None:
        facts["fit"] = f"{document.limits.observable or 'first observable'} in {', '.join(document.limits.regions)}"
    if document.operator is not None:
        train = document.operator.train
        facts["operator"] = choice_sentence(context.run) or (
            f"{train.model} trained in this run on {', '.join(train.datasets)}"
            if train
            else f"checkpoint {str(document.operator.checkpoint).rsplit('/', 1)[-1]}"
        )
        facts["AUC of the operator, from its card"] = _areas(context)
        if (served := read_served(context.run)) is not None:
            facts["operator served at"] = f"{served['at']}, fingerprint {served['fingerprint'][:16]}"
    return facts


def _areas(context: RunContext) -> str:
    card = context.operator_card
    if card is None:
        return "unknown: only the server has the card"
    areas = card.auc
    found = [f"{auc.value:.3f} ± {auc.uncertainty:.3f} against {signal}" for signal, auc in areas.items()]
    return "; ".join(found) or "none was measured"


def _headline(
    context: RunContext, limits: tuple[content.SignalLimit, ...], calibrations: Mapping[str, content.CalibrationCheck]
) -> Iterator[str]:
    yield from (limit_sentence(limit) for limit in limits)
    if not limits:
        yield "No limit was asked for."
    yield from anomaly_sentences(calibrations, context.regions[0])


def _plot_context(context: RunContext) -> content.PlotContext:
    data = [record for record in context.records if record.kind == "data"]
    experiment: Any = data[0].experiment if data else "simulation"
    return content.PlotContext(
        experiment=experiment, has_data=bool(data), lumi_ifb=context.lumi_ifb, sqrt_s_tev=context.document.energy_tev
    )


def _samples(context: RunContext) -> tuple[content.SamplePlot, ...]:
    return tuple(
        content.SamplePlot(
            name=sample.name,
            label=sample.label,
            datasets=sample.datasets,
            scales=dict(zip(sample.datasets, sample.scales, strict=True)),
            role=sample.role,
        )
        for sample in fit_samples(context)
    )


def _cutflows(context: RunContext) -> Iterator[content.Cutflow]:
    kinds = {record.name: record.kind for record in context.records}
    for dataset, regions in context.cutflow.items():
        for region, steps in regions.items():
            yield content.Cutflow(
                dataset=dataset,
                region=region,
                steps=tuple(content.CutStep(str(n), int(e), float(w)) for n, e, w in steps),
                scale=context.scales[dataset],
                is_data=kinds[dataset] == "data",
            )


def _observables(context: RunContext) -> Iterator[content.ObservablePlot]:
    limits, booked = context.document.limits, [name for name in context.histograms.histograms if name != "score"]
    fitted = (limits.observable if limits else None) or next(iter(booked), "")
    for name, histogram in context.histograms.histograms.items():
        if name == "score":
            continue
        filled = list(histogram.axes["region"])
        regions = tuple(region for region in context.regions if region in filled)
        if regions:
            yield content.ObservablePlot(
                title=_title(histogram), histogram=histogram, regions=regions, important=name == fitted
            )
        if WITHOUT_ITS_CUT in filled:
            yield content.ObservablePlot(
                title=_title(histogram),
                histogram=histogram,
                regions=(WITHOUT_ITS_CUT,),
                kind="n-1",
                threshold=context.thresholds.get(name, (None, "above"))[0],
                keeps=context.thresholds.get(name, (None, "above"))[1],
                important=name == fitted,
            )


def _title(histogram: hist.Hist) -> str:
    return str(histogram.axes[-1].label).split(" [", maxsplit=1)[0]


def _limit(result: SignalResult) -> content.SignalLimit:
    limit = result.limit
    low2, low1, median, high1, high2 = limit.expected
    observed = result.observed == "data"
    fitted = result.signal_fit
    return content.SignalLimit(
        signal=result.signal,
        label=result.label,
        observed=limit.observed if observed else None,
        expected=(low2, low1, median, high1, high2),
        confidence_level=limit.confidence_level,
        xsec_pb=limit.xsec_limit_pb / limit.observed if limit.xsec_limit_pb and limit.observed else None,
        scan_mu=limit.scan_mu,
        scan_observed=limit.scan_cls_obs if observed else None,
        scan_expected=[[point[index] for point in limit.scan_cls_exp] for index in range(5)],
        p0=limit.p0_observed if observed else None,
        z=limit.z_observed if observed else None,
        mu_hat=fitted.mu_hat if fitted and observed else None,
        mu_hat_uncertainty=fitted.mu_hat_uncertainty if fitted and observed else None,
        method=f"{limit.method} CLs, {limit.statistic}",
    )


def _fit(context: RunContext, result: SignalResult) -> content.FitSummary | None:
    fitted = result.background_fit
    if fitted is None:
        return None
    label = observable_label(context)
    return content.FitSummary(
        hypothesis="background only",
        goodness_of_fit_p=fitted.goodness.p_value if result.observed == "data" else None,
        goodness_of_fit_method="saturated model, asymptotic chi-square",
        pulls=pulls_of(fitted),
        impacts=impacts_of(result.ranking, result.signal_fit) if result.ranking and result.signal_fit else (),
        parameters=tuple(p.name for p in result.signal_fit.parameters) if result.signal_fit else (),
        correlation=result.signal_fit.correlation if result.signal_fit else (),
        prefit=tuple(_bins(region, label, result, "before the fit") for region in fitted.prefit),
        postfit=tuple(_bins(region, label, result, "after the fit") for region in fitted.postfit),
    )


def _mass_limits(found: LimitsFile) -> content.MassLimits | None:
    scan = found.mass_scan()
    if scan is None:
        return None
    return content.MassLimits(
        masses=scan.masses,
        observed=scan.observed if found.results[0].observed == "data" else None,
        expected=tuple(zip(*scan.expected, strict=True)),
        confidence_level=found.results[0].limit.confidence_level,
        limit_label=r"Limit on the cross section $\sigma$ [pb]"
        if scan.cross_section
        else r"Limit on the signal strength $\mu$",
    )


def _bins(region: RegionYields, label: str, result: SignalResult, when: str) -> content.StackedBins:
    data_label = "Data" if result.observed == "data" else "Asimov"
    return stacked(region, label=label, signal=result.signal, data_label=data_label, when=when)


def _candidates(context: RunContext) -> Iterator[content.Candidate]:
    if context.histograms.score_counts is None:
        return
    views = {}
    if context.run.displays.exists():
        body: dict[str, Any] = read_json(context.run.displays, calibrate.DISPLAYS_SCHEMA)
        views = {(v["dataset"], v["file"], v["entry"]): EventView.from_dict(v["view"]) for v in body["displays"]}
    titles = {name: h.axes[-1].label for name, h in context.histograms.histograms.items()}
    for row in calibrate.top_candidates(context, context.document.report.displays).to_pylist():
        view = views.get((row["dataset"], row["file"], row["entry"]))
        p_value = row.get("p_value")
        yield content.Candidate(
            dataset=row["dataset"],
            run=row["run"],
            luminosity_block=row["luminosity_block"],
            event=row["event"],
            region=row["region"],
            score=row["score"],
            p_value=p_value,
            place=f"{row['file']}, {row['entry']}",
            observables={titles.get(k, k): v for k, v in row.items() if k not in (*IDENTITY, "p_value")},
            view=view.scored(score=row["score"], p_value=p_value, dataset=row["dataset"]) if view else None,
        )


def _ledger(context: RunContext) -> Iterator[content.LedgerRow]:
    for closure in context.ledger.closure():
        own = [e for e in context.ledger.entries if e.dataset == closure.dataset]
        retried, empty = (sum(e.status == status for e in own) for status in ("retried", "skipped"))
        notes = [f"{retried} chunks retried"] if retried else []
        notes += [f"{empty} file{'s' if empty > 1 else ''} without rows"] if empty else []
        scored = Ledger(tuple(own)).scored_sentence
        notes += [scored] if scored else []
        reasons = sorted({e.reason for e in own if e.status in ("retried", "failed")})
        yield content.LedgerRow(
            dataset=closure.dataset,
            files=closure.files,
            chunks=closure.chunks,
            done=closure.chunks - closure.failed,
            failed=closure.failed,
            entries_expected=closure.expected,
            entries_processed=closure.processed,
            entries_lost=closure.lost,
            sum_of_weights=closure.sum_weights,
            closed=closure.closed,
            notes="; ".join([*notes, *reasons]),
        )


def _events_pass(context: RunContext) -> content.PassOverEvents | None:
    run = context.run
    if not run.timeline.exists():
        return None
    timeline = timeline_of(context.ledger.entries, load_clock(run.timeline))
    return content.PassOverEvents(
        timeline=timeline,
        sentence=limiting_sentence(timeline),
        shares=breakdown(timeline),
        dask_report=f"../{run.performance.name}" if run.performance.exists() else "",
    )


def _provenance(context: RunContext) -> content.Provenance:
    if not context.run.provenance.exists():
        return content.Provenance()
    try:
        body: dict[str, Any] = read_json(context.run.provenance, provenance.SCHEMA)
        return content.Provenance(
            command=body["command"],
            versions=body["versions"],
            hashes=body["hashes"],
            seeds=body["seeds"],
            times_s=body["times_s"],
        )
    except KeyError as error:
        raise InputFileError(str(context.run.provenance), f"lacks {error}", "Run the search again.") from error
