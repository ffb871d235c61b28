"""What the result page says of the p-values: read from calibration.json and the run's counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.config.anomaly import REGION, WEIGHTED
from darkop_dist.conformal import (
    Calibration,
    MondrianCalibration,
    WeightedCalibration,
    excess,
    scan_thresholds,
)
from darkop_dist.events.split import TESTED
from darkop_dist.report import content
from darkop_dist.report.digits import number
from darkop_dist.runs import read_json
from darkop_dist.stages.background import counts_by_category, score_counts
from darkop_dist.stages.calibrate import ALL, SCHEMA
from darkop_dist.stages.context import RunContext

Counts = npt.NDArray[np.int64]


def shown_calibrations(context: RunContext) -> dict[str, content.CalibrationCheck]:
    """The check of each category, or of `calibrate.ALL`; empty without p-values or without held-out background.

    Raises:
        InputFileError: calibration.json is damaged, or of an earlier version.
    """
    path = context.run.calibration
    if not path.exists():
        return {}
    body: dict[str, Any] = read_json(path, SCHEMA)
    match body["method"]:
        case "mondrian":
            parts = MondrianCalibration.from_dict(body["calibration"], origin=str(path)).categories
            counts = _data_by_category(context, body["category"])
            return {
                name: _of_counts(body, check, parts[name], counts.get(name)) for name, check in body["checks"].items()
            }
        case method if method == WEIGHTED:
            weighted = WeightedCalibration.from_dict(body["calibration"], origin=str(path))
            return {name: _of_weights(context, body, check, weighted) for name, check in body["checks"].items()}
        case _:
            plain = Calibration.from_dict(body["calibration"], origin=str(path))
            return {name: _of_counts(body, check, plain, _data(context)) for name, check in body["checks"].items()}


def anomaly_sentences(shown: Mapping[str, content.CalibrationCheck], region: str) -> Iterator[str]:
    """How many data events are anomalous, by category if there are any, and how probable that is."""
    for name, check in shown.items():
        category = "" if name == ALL else f" of category {name}"
        found = check.excess
        if found is not None:
            yield (
                f"{found.observed} of {found.total} data events in region {region}{category} have a conformal p-value "
                f"of at most {found.alpha:g}; of background like the calibration events, {found.expected:.3g} or fewer "
                f"would on average, and as many or more with probability {number(found.p_value)}."
            )
        elif check.effective_size is not None and check.data_p_values is not None and check.alpha is not None:
            values = np.asarray(check.data_p_values)
            expected = f"{check.alpha * values.size:.3g} or fewer would on average"
            yield (
                f"{int(np.sum(values <= check.alpha))} of {values.size} data events in region {region} have a weighted "
                f"conformal p-value of at most {check.alpha:g}; of background like the weighted calibration events, "
                f"{expected if check.exact else 'no number is promised: some weights are negative'}."
            )


def _of_counts(
    body: Mapping[str, Any], check: Mapping[str, Any], calibration: Calibration, counts: Counts | None
) -> content.CalibrationCheck:
    reached = counts is not None and body["alpha"] >= calibration.floor
    return content.CalibrationCheck(
        **_common(body, check),
        n=calibration.n,
        floor=calibration.floor,
        data_p_values=None if counts is None else np.repeat(calibration.bin_p_values, counts),
        excess=excess(calibration, counts, body["alpha"]) if counts is not None and reached else None,
        scan=None if counts is None or not counts.sum() else scan_thresholds(calibration, counts),
    )


def _of_weights(
    context: RunContext, body: Mapping[str, Any], check: Mapping[str, Any], calibration: WeightedCalibration
) -> content.CalibrationCheck:
    counts = _data(context)
    return content.CalibrationCheck(
        **_common(body, check),
        n=calibration.calibration.n,
        floor=calibration.floor,
        data_p_values=None if counts is None else np.repeat(calibration.bin_p_values, counts),
        effective_size=calibration.effective_size,
        exact=not calibration.folded,
    )


def _common(body: Mapping[str, Any], check: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: check[name] for name in ("levels", "fraction", "low", "high", "n_check")},
        "guarantee": body["guarantee"],
        "alpha": body["alpha"],
        "confidence": check["confidence_level"],
    }


def _data(context: RunContext) -> Counts | None:
    """Scores of all data in the first region, shape (bins + 2,)."""
    counts = context.histograms.score_counts
    if counts is None or not context.has_data:
        return None
    names = tuple(record.name for record in context.records if record.kind == "data")
    found = [score_counts(counts, names, context.regions[0], split) for split in TESTED]
    return np.asarray(sum(found), dtype=np.int64)


def _data_by_category(context: RunContext, category: str) -> dict[str, Counts]:
    """Scores of the data by category; of the category ``region``, in the first region alone as everywhere else."""
    data = [record for record in context.records if record.kind == "data"]
    found = counts_by_category(context, data, category, context.regions[0], TESTED)
    return {name: counts for name, counts in found.items() if category != REGION or name == context.regions[0]}
