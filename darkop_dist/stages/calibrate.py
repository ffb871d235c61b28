"""Stage three: from merged background scores to conformal p-values of the candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hist
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from darkop_dist.config import CONTROL_REGION, DatasetRecord
from darkop_dist.conformal.calibration import Calibration, from_counts
from darkop_dist.conformal.uniformity import CalibrationCheck, check_uniformity
from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.events.read import open_events
from darkop_dist.events.view import view_of
from darkop_dist.execution.plan import file_labels
from darkop_dist.histograms import load_candidates, save_candidates
from darkop_dist.runs import write_json
from darkop_dist.stages.context import RunContext
from darkop_dist.stages.drift import write_drift

SCHEMA = "darkop.calibration/1"
DISPLAYS_SCHEMA = "darkop.displays/1"


@dataclass(frozen=True)
class CalibrationResult:
    """Calibration of a run.

    Attributes:
        calibration: counts per score bin.
        check: how held-out background fares; None if nothing was held out.
        alpha: the level of the search.
        guarantee: what the p-values promise, and under which assumption.
        datasets: the datasets whose events calibrate.
        region: the region that they come from.
    """

    calibration: Calibration
    check: CalibrationCheck | None
    alpha: float
    guarantee: str
    datasets: tuple[str, ...]
    region: str


def calibrate_run(context: RunContext) -> CalibrationResult | None:
    """Calibrate, check, and give every candidate its p-value; None if the document asks for no p-values.

    Raises:
        StatisticsError: alpha lies below the floor 1/(n+1), or no background event calibrates.
        UnknownNameError: the document names a region that the processor does not have.
    """
    section, counts = context.document.anomaly_detection, context.histograms.score_counts
    if section is None or counts is None or context.histograms.fingerprint is None:
        return None
    records = _background(context)
    region = section.region or ("signal" if CONTROL_REGION not in section.background else _control_region(context))
    if region not in context.regions:
        raise UnknownNameError("region", region, context.regions, f"The processor has {', '.join(context.regions)}.")
    names = tuple(record.name for record in records)
    calibrating = score_counts(counts, names, region, "calibrate")
    edges = counts.axes["score"].edges.tolist()
    source = f"{', '.join(names)} in region {region}"
    calibration = from_counts(calibrating, edges, source, context.histograms.fingerprint)
    if calibration.n == 0:
        raise StatisticsError(f"no event of {source} calibrates: process more events, or name another background.")
    calibration.require_alpha(section.alpha)
    held_out = score_counts(counts, names, region, "check")
    check = check_uniformity(calibration, held_out) if held_out.sum() else None
    result = CalibrationResult(calibration, check, section.alpha, _guarantee(records, region), names, region)
    write_json(
        context.run.calibration,
        SCHEMA,
        {
            "alpha": section.alpha,
            "floor": calibration.floor,
            "guarantee": result.guarantee,
            "datasets": list(names),
            "region": region,
            "calibration": calibration.to_dict(),
            "check": check.to_dict() if check else None,
        },
    )
    _give_p_values(context, calibration)
    write_drift(context, calibrating, names, region)
    return result


def write_displays(context: RunContext) -> None:
    """Read the objects of the top candidates and write displays.json.

    Flat columns hold no objects to draw: for them the file is empty and says so.
    """
    table = top_candidates(context, context.document.report.displays)
    records = {record.name: record for record in context.records}
    files: dict[tuple[str, str], str] = {}
    for name in records:
        paths = tuple(dict.fromkeys(entry.file for entry in context.ledger.entries if entry.dataset == name))
        files |= {(name, label): path for path, label in file_labels(paths).items()}
    views: list[dict[str, Any]] = []
    for row in table.to_pylist():
        record = records[row["dataset"]]
        if record.format != "nanoaod":
            continue
        events = open_events(files[row["dataset"], row["file"]], record, row["entry"], row["entry"] + 1)
        view = view_of(events, experiment=record.experiment).to_dict()
        views.append({"file": row["file"], "entry": row["entry"], "dataset": row["dataset"], "view": view})
    write_json(context.run.displays, DISPLAYS_SCHEMA, {"displays": views})


def top_candidates(context: RunContext, most: int) -> pa.Table:
    """The candidates that the page shows, highest score first.

    Collision data of the signal region; where there are none, background events that neither trained nor calibrate.
    """
    table = load_candidates(context.run.candidates)
    wanted = [r.name for r in context.records if context.role(r) == ("data" if context.has_data else "background")]
    region = context.regions[0]
    keep = [
        row["dataset"] in wanted and row["region"] == region and (context.has_data or row["split"] == "check")
        for row in table.select(["dataset", "region", "split"]).to_pylist()
    ]
    table = table.filter(pa.array(keep, pa.bool_()))
    return table.sort_by(
        [("score", "descending"), ("dataset", "ascending"), ("file", "ascending"), ("entry", "ascending")]
    )[:most]


def _background(context: RunContext) -> tuple[DatasetRecord, ...]:
    section = context.document.anomaly_detection
    names = section.background if section else ()
    if CONTROL_REGION in names:
        return tuple(record for record in context.records if record.kind == "data")
    return tuple(record for record in context.records if record.name in names or record.sample_name in names)


def _control_region(context: RunContext) -> str:
    if len(context.regions) < 2:
        raise StatisticsError(
            "the background is the control region, but the processor has none: name datasets in "
            "anomaly_detection.background instead."
        )
    return context.regions[1]


def score_counts(counts: hist.Hist, datasets: tuple[str, ...], region: str, split: str) -> npt.NDArray[np.int64]:
    """Integer counts of some datasets, one region and one split, shape (bins + 2,) with under- and overflow."""
    total = np.zeros(counts.axes["score"].size + 2, dtype=np.int64)
    for dataset in datasets:
        names = (dataset, region, split)
        if all(name in list(axis) for name, axis in zip(names, counts.axes[:3], strict=True)):
            index = tuple(axis.index(name) for name, axis in zip(names, counts.axes[:3], strict=True))
            total += np.asarray(counts.view(flow=True)[index], dtype=np.int64)
    return total


def _guarantee(records: tuple[DatasetRecord, ...], region: str) -> str:
    names = ", ".join(record.name for record in records)
    exact = "P(p <= a) <= a holds exactly in finite samples for any event exchangeable with the calibration events"
    if all(record.kind == "data" for record in records):
        return (
            f"{exact}: collision data of region {region} ({names}). Where regions differ in their scores, it does not."
        )
    negative = (
        " Events count once whatever their generator weight; where weights are negative or unequal, the calibration "
        "stands for the unweighted sample."
    )
    pooled = " Several samples are pooled as they were simulated, not by cross section." if len(records) > 1 else ""
    return (
        f"{exact}: simulated events of {names} in region {region}.{negative}{pooled} For collision data the p-values "
        "are as good as this simulation and no better."
    )


def _give_p_values(context: RunContext, calibration: Calibration) -> None:
    table = load_candidates(context.run.candidates)
    p_values = calibration.p_values(table["score"].to_numpy().astype(np.float32))
    if "p_value" in table.column_names:
        table = table.drop_columns(["p_value"])
    save_candidates(context.run.candidates, table.append_column("p_value", pa.array(p_values, pa.float64())))
