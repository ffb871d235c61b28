"""Stage three: from merged background scores to conformal p-values of the candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from darkop_dist.config.anomaly import REGION, WEIGHTED
from darkop_dist.config.datasets import EVENT_FORMATS
from darkop_dist.conformal import (
    Calibration,
    CalibrationCheck,
    MondrianCalibration,
    WeightedCalibration,
    check_uniformity,
    check_weighted_uniformity,
)
from darkop_dist.errors import StatisticsError
from darkop_dist.events.read import open_events
from darkop_dist.events.split import TESTED
from darkop_dist.events.view import view_of
from darkop_dist.execution.plan import file_labels
from darkop_dist.histograms import load_candidates, save_candidates
from darkop_dist.runs import write_json
from darkop_dist.stages.background import (
    CALIBRATE,
    CHECK,
    Background,
    background_of,
    by_category,
    candidate_categories,
    counts_by_category,
    unweighted,
    weighted,
)
from darkop_dist.stages.context import RunContext
from darkop_dist.stages.drift import write_drift

SCHEMA = "darkop.calibration/2"
DISPLAYS_SCHEMA = "darkop.displays/1"
ALL = "all"
"""Name of the one check where there are no categories."""

AnyCalibration: TypeAlias = Calibration | WeightedCalibration | MondrianCalibration


@dataclass(frozen=True)
class CalibrationResult:
    """Calibration of a run.

    Attributes:
        calibration: counts per score bin, their weights, or counts by category.
        checks: how held-out background fares, by category or `ALL`; without those where nothing was held out.
        alpha: the level of the search.
        guarantee: what the p-values promise, and under which assumption.
        background: the events that calibrate.
    """

    calibration: AnyCalibration
    checks: Mapping[str, CalibrationCheck]
    alpha: float
    guarantee: str
    background: Background

    @property
    def floor(self) -> float:
        """The smallest p-value that can occur; of categories, that of the one with most events."""
        if isinstance(self.calibration, MondrianCalibration):
            return min(self.calibration.floors.values())
        return self.calibration.floor

    @property
    def summary(self) -> str:
        """Numbers of events and floors in a line for each category."""
        match self.calibration:
            case MondrianCalibration():
                return "\n".join(f"{name}: {_numbers(one)}" for name, one in self.calibration.categories.items())
            case WeightedCalibration() as found:
                return (
                    f"n = {found.calibration.n} events calibrate, as good as {found.effective_size:.4g} unweighted "
                    f"ones, floor w*/(sum w + w*) = {found.floor:.3g}"
                )
            case Calibration() as found:
                return _numbers(found)


def calibrate_run(context: RunContext) -> CalibrationResult | None:
    """Calibrate, check, and give every candidate its p-value; None if the document asks for no p-values.

    Raises:
        StatisticsError: alpha lies below a floor, or no background event calibrates.
        UnknownNameError: the document names a region that the processor does not have.
    """
    section, counts = context.document.anomaly_detection, context.histograms.score_counts
    if section is None or counts is None or context.histograms.fingerprint is None:
        return None
    background = background_of(context)
    if section.method == WEIGHTED:
        result = _weighted(context, background, section.alpha)
    elif section.category is not None:
        result = _by_category(context, background, section.alpha)
    else:
        result = _unweighted(context, background, section.alpha)
    _write(context, result)
    _give_p_values(context, result)
    exchangeable = isinstance(result.calibration, Calibration) or background.category == REGION
    compared = unweighted(context, background, CALIBRATE).counts if exchangeable else None
    write_drift(context, compared, background.names, background.region)
    return result


def _unweighted(context: RunContext, background: Background, alpha: float) -> CalibrationResult:
    calibration, held_out = (unweighted(context, background, split) for split in (CALIBRATE, CHECK))
    if calibration.n == 0:
        raise _nothing(background)
    calibration.require_alpha(alpha)
    checks = {ALL: check_uniformity(calibration, held_out.counts)} if held_out.n else {}
    return CalibrationResult(calibration, checks, alpha, _guarantee(background), background)


def _by_category(context: RunContext, background: Background, alpha: float) -> CalibrationResult:
    """Categories that hold collision data, or without any the background, must reach alpha; others may have few."""
    calibration, held_out = (by_category(context, background, split) for split in (CALIBRATE, CHECK))
    data = [record for record in context.records if record.kind == "data"]
    category = background.category or REGION
    tested = counts_by_category(context, data or background.records, category, context.regions[0], TESTED)
    MondrianCalibration({name: calibration.categories[name] for name in tested}).require_alpha(alpha)
    checks = {
        name: check_uniformity(one, held_out.categories[name].counts)
        for name, one in calibration.categories.items()
        if one.n and held_out.categories[name].n
    }
    return CalibrationResult(calibration, checks, alpha, _guarantee(background), background)


def _weighted(context: RunContext, background: Background, alpha: float) -> CalibrationResult:
    calibration, held_out = (weighted(context, background, split) for split in (CALIBRATE, CHECK))
    if calibration is None:
        raise _nothing(background)
    calibration.require_alpha(alpha)
    checks = {ALL: check_weighted_uniformity(calibration, held_out)} if held_out else {}
    scaled = [record.name for record in background.records if record.xsec_pb is not None and context.lumi_ifb]
    rule = "their generator weight" + (" times cross section over sum of weights" if scaled else "")
    guarantee = (
        f"{calibration.guarantee[0].upper()}{calibration.guarantee[1:]}: simulated events of {background.source} with "
        f"{rule}. For collision data the p-values are as good as this simulation and no better."
    )
    return CalibrationResult(calibration, checks, alpha, guarantee, background)


def _nothing(background: Background) -> StatisticsError:
    return StatisticsError(
        f"no event of {background.source} calibrates: process more events, or name another background."
    )


def _numbers(calibration: Calibration) -> str:
    return f"n = {calibration.n} events calibrate, floor 1/(n+1) = {calibration.floor:.3g}"


def _write(context: RunContext, result: CalibrationResult) -> None:
    kinds = {Calibration: "conformal", WeightedCalibration: WEIGHTED, MondrianCalibration: "mondrian"}
    background = result.background
    write_json(
        context.run.calibration,
        SCHEMA,
        {
            "method": kinds[type(result.calibration)],
            "category": background.category,
            "alpha": result.alpha,
            "floor": result.floor,
            "guarantee": result.guarantee,
            "datasets": list(background.names),
            "region": background.region,
            "calibration": result.calibration.to_dict(),
            "checks": {name: check.to_dict() for name, check in result.checks.items()},
        },
    )


def _guarantee(background: Background) -> str:
    names, region = ", ".join(background.names), background.region
    exact = "P(p <= a) <= a holds exactly in finite samples for any event exchangeable with the calibration events"
    if background.category is not None:
        exact += f" of its own category ({background.category}), in every category by itself"
    where = "the event's own region" if background.category == REGION else f"region {region}"
    if all(record.kind == "data" for record in background.records):
        return f"{exact}: collision data of {where} ({names}). Where regions differ in their scores, it does not."
    negative = (
        " Events count once whatever their generator weight; where weights are negative or unequal, the calibration "
        "stands for the unweighted sample."
    )
    several = len(background.records) > 1
    pooled = " Several samples are pooled as they were simulated, not by cross section." if several else ""
    return (
        f"{exact}: simulated events of {names} in {where}.{negative}{pooled} For collision data the p-values "
        "are as good as this simulation and no better."
    )


def _give_p_values(context: RunContext, result: CalibrationResult) -> None:
    table = load_candidates(context.run.candidates)
    scores = table["score"].to_numpy().astype(np.float32)
    if isinstance(result.calibration, MondrianCalibration):
        categories = candidate_categories(context, table, result.background.category or REGION)
        p_values = result.calibration.p_values(scores, categories)
    else:
        p_values = result.calibration.p_values(scores)
    if "p_value" in table.column_names:
        table = table.drop_columns(["p_value"])
    save_candidates(context.run.candidates, table.append_column("p_value", pa.array(p_values, pa.float64())))


def write_displays(context: RunContext) -> None:
    """Read the objects of the top candidates and write displays.json.

    Flat columns hold no objects to draw: for them the file is empty and says so.
    """
    table = top_candidates(context, context.document.report.displays)
    records = {record.name: record for record in context.records}
    files: dict[tuple[str, str], str] = {}
    for name in records:
        read = {entry.replica_of or entry.file: entry.file for entry in context.ledger.entries if entry.dataset == name}
        files |= {(name, label): read[path] for path, label in file_labels(tuple(read)).items()}
    views: list[dict[str, Any]] = []
    for row in table.to_pylist():
        record = records[row["dataset"]]
        if record.format not in EVENT_FORMATS:
            continue
        first, access = row["entry"], context.document.access
        events = open_events(files[row["dataset"], row["file"]], record, first, first + 1, access=access)
        view = view_of(events).to_dict()
        views.append({"file": row["file"], "entry": row["entry"], "dataset": row["dataset"], "view": view})
    write_json(context.run.displays, DISPLAYS_SCHEMA, {"displays": views})


def top_candidates(context: RunContext, most: int) -> pa.Table:
    """The candidates that the page shows, highest score first.

    Collision data of the signal region, but for those that chose the model; where there are none, background events
    that neither trained nor calibrate.
    """
    table = load_candidates(context.run.candidates)
    wanted = [r.name for r in context.records if context.role(r) == ("data" if context.has_data else "background")]
    region = context.regions[0]
    keep = [
        row["dataset"] in wanted
        and row["region"] == region
        and row["split"] in (TESTED if context.has_data else (CHECK,))
        for row in table.select(["dataset", "region", "split"]).to_pylist()
    ]
    table = table.filter(pa.array(keep, pa.bool_()))
    return table.sort_by(
        [("score", "descending"), ("dataset", "ascending"), ("file", "ascending"), ("entry", "ascending")]
    )[:most]
