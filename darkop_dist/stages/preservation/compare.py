"""What a run gave again, against what a package holds: bit by bit, or by the largest relative difference."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hist
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from darkop_dist.execution import load_ledger
from darkop_dist.histograms import HistogramSet, load_candidates, load_histograms
from darkop_dist.limits import LimitsFile
from darkop_dist.runs import RunDirectory, read_json
from darkop_dist.stages.preservation.inputs import GENERATED, LOCAL
from darkop_dist.stages.run_events import CUTFLOW_SCHEMA, INPUTS_SCHEMA

LIMITS = 1e-6
"""Largest relative difference of limits: fits end where their minimiser is content."""
OTHER_LIBRARIES = 1e-6
"""Largest relative difference of everything else if libraries that compute differ; 0 if they are the same."""
SHOWN = 3
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """The comparison of one result.

    Attributes:
        what: the result.
        agrees: whether it agrees within the tolerance.
        difference: largest relative difference of a number; 0 for equal to the last bit, infinite where the shapes,
            names or numbers of entries differ.
        tolerance: the largest that is allowed.
        detail: what differs, in words; empty if nothing does.
    """

    what: str
    agrees: bool
    difference: float
    tolerance: float
    detail: str = ""


def compare(packaged: RunDirectory, again: RunDirectory, inputs: Mapping[str, Any], *, exact: bool) -> list[Finding]:
    """Compare every result that a package holds.

    Args:
        packaged: the results in the package.
        again: the run that was made from it.
        inputs: ``inputs.json`` of the package.
        exact: the same libraries computed both, so that everything but limits must be equal to the last bit.

    Raises:
        InputFileError: a file cannot be read.
    """
    tolerance = 0.0 if exact else OTHER_LIBRARIES
    first, second = load_histograms(packaged.histograms), load_histograms(again.histograms)
    findings = [
        _inputs(inputs, again),
        _same("operator", first.fingerprint, second.fingerprint, "fingerprint"),
        _ledger(packaged, again),
        _tree("cutflow", _cutflow(packaged), _cutflow(again), tolerance),
        *_histograms(first, second, tolerance),
    ]
    if packaged.calibration.exists():
        findings.append(
            _files("calibration", packaged.calibration, again.calibration, tolerance, "darkop.calibration/2")
        )
    if packaged.lumi.exists():
        findings.append(_luminosity(packaged, again, tolerance))
    findings.append(_candidates(packaged, again, tolerance))
    workspaces = sorted(packaged.path.glob("workspace*.json"))
    findings += [_files(path.stem, path, again.path / path.name, tolerance, None) for path in workspaces]
    if packaged.limits.exists():
        findings += _limits(packaged, again)
    return findings


def _inputs(listed: Mapping[str, Any], again: RunDirectory) -> Finding:
    """The input files by dataset and label: size, entries and whatever else tells them apart wherever they lie."""
    found = {(f["dataset"], f["label"]): f for f in _listed(again)}
    wanted = {(f["dataset"], f["label"]): f for f in listed["files"] if not f["path"].startswith(GENERATED)}
    others = [label for (_, label), file in wanted.items() if not _is_copy(file, found.get((_, label)))]
    detail = f"other files: {_some(others)}" if others else ""
    return Finding("inputs", not others, math.inf if others else 0.0, 0.0, detail)


def _listed(run: RunDirectory) -> list[dict[str, Any]]:
    body: dict[str, Any] = read_json(run.inputs, INPUTS_SCHEMA)
    return list(body["files"])


def _is_copy(file: Mapping[str, Any], found: Mapping[str, Any] | None) -> bool:
    if found is None or found["entries"] != file["entries"]:
        return False
    if file["path"].startswith(LOCAL):  # its content was checked before; copies differ in their times
        return bool(file["bytes"] == found["bytes"])
    return bool(file["identity"] == found["identity"])


def _same(what: str, first: object, second: object, noun: str) -> Finding:
    agrees = first == second
    detail = "" if agrees else f"{noun} {str(second)[:16]} instead of {str(first)[:16]}"
    return Finding(what, agrees, 0.0 if agrees else math.inf, 0.0, detail)


def _ledger(packaged: RunDirectory, again: RunDirectory) -> Finding:
    first, second = load_ledger(packaged.ledger), load_ledger(again.ledger)
    if first.digest == second.digest:
        return Finding("ledger", agrees=True, difference=0.0, tolerance=0.0)
    counts = ({c.dataset: c.processed for c in ledger.closure()} for ledger in (first, second))
    before, now = counts
    changed = [f"{n}: {now.get(n, 0)} entries instead of {before.get(n, 0)}" for n in before if now.get(n) != before[n]]
    detail = _some(changed) or "other files or chunks, with the same entries"
    return Finding("ledger", agrees=False, difference=math.inf, tolerance=0.0, detail=detail)


def _cutflow(run: RunDirectory) -> object:
    return read_json(run.cutflow, CUTFLOW_SCHEMA)["cutflow"]


def _histograms(first: HistogramSet, second: HistogramSet, tolerance: float) -> Iterator[Finding]:
    before, now = _named(first), _named(second)
    for name in [*before, *(name for name in now if name not in before)]:
        what = f"histogram {name}"
        if name not in now or name not in before:
            detail = "is absent now" if name in before else "was not there"
            yield Finding(what, agrees=False, difference=math.inf, tolerance=tolerance, detail=detail)
        elif before[name].axes != now[name].axes:
            detail = "has other axes"
            yield Finding(what, agrees=False, difference=math.inf, tolerance=tolerance, detail=detail)
        else:
            yield _bins(what, before[name], now[name], tolerance)
    yield _tree("sizes of weights", dict(first.weight_sizes), dict(second.weight_sizes), tolerance)


def _named(found: HistogramSet) -> dict[str, hist.Hist]:
    scores = {
        "score counts": found.score_counts,
        "score weights": found.score_weights,
        "score counts by category": found.category_counts,
    }
    return dict(found.histograms) | {name: value for name, value in scores.items() if value is not None}


def _bins(what: str, first: hist.Hist, second: hist.Hist, tolerance: float) -> Finding:
    pairs = [(first.values(flow=True), second.values(flow=True))]
    if first.variances(flow=True) is not None and second.variances(flow=True) is not None:
        pairs.append((first.variances(flow=True), second.variances(flow=True)))
    differences = [_relative(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    largest = max(float(found.max(initial=0.0)) for found in differences)
    count = int(np.count_nonzero(differences[0]))
    detail = f"{count} of {differences[0].size} bins differ" if largest else ""
    return Finding(what, largest <= tolerance, largest, tolerance, detail)


def _relative(first: Numbers, second: Numbers) -> Numbers:
    """|a - b| / max(|a|, |b|) by element: 0 where they are equal or both NaN, infinite where one is not finite."""
    equal = (first == second) | (np.isnan(first) & np.isnan(second))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.abs(first - second) / np.maximum(np.abs(first), np.abs(second))
    found[~np.isfinite(found)] = np.inf
    return np.where(equal, 0.0, found)


def _files(what: str, first: Path, second: Path, tolerance: float, schema: str | None) -> Finding:
    if not second.exists():
        return Finding(what, agrees=False, difference=math.inf, tolerance=tolerance, detail="is absent now")
    before, now = (read_json(path, schema) if schema else _plain(path) for path in (first, second))
    return _tree(what, before | {"writer": ""}, now | {"writer": ""}, tolerance)


def _plain(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return body


def _tree(what: str, first: object, second: object, tolerance: float) -> Finding:
    """Compare plain values: names and texts must be the same, numbers may differ by the tolerance."""
    found = sorted(_differences(first, second, ""), key=lambda pair: -pair[1])
    largest = found[0][1] if found else 0.0
    detail = f"{len(found)} values differ: {_some([place for place, _ in found])}" if found else ""
    return Finding(what, largest <= tolerance, largest, tolerance, detail)


def _differences(first: object, second: object, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in [*first, *(key for key in second if key not in first)]:
            if key in first and key in second:
                yield from _differences(first[key], second[key], f"{place}.{key}".removeprefix("."))
            else:
                yield f"{place}.{key}".removeprefix("."), math.inf
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple):
        if len(first) != len(second):
            yield f"{place} ({len(second)} entries instead of {len(first)})", math.inf
            return
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            yield from _differences(a, b, f"{place}[{index}]")
    elif _is_number(first) and _is_number(second):
        difference = float(_relative(np.array([first], np.float64), np.array([second], np.float64))[0])
        if difference:
            yield place, difference
    elif first != second:
        yield place, math.inf


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _luminosity(packaged: RunDirectory, again: RunDirectory, tolerance: float) -> Finding:
    """Without the paths of files, which differ, and the ledger's digest, which is compared by itself."""
    if not again.lumi.exists():
        return Finding("luminosity", agrees=False, difference=math.inf, tolerance=tolerance, detail="is absent now")
    before, now = (_plain(run.lumi) | {"writer": "", "ledger_digest": ""} for run in (packaged, again))
    for body in (before, now):
        body["datasets"] = [{**found, "repeated_files": len(found["repeated_files"])} for found in body["datasets"]]
    return _tree("luminosity", before, now, tolerance)


def _candidates(packaged: RunDirectory, again: RunDirectory, tolerance: float) -> Finding:
    first, second = load_candidates(packaged.candidates), load_candidates(again.candidates)
    if first.column_names != second.column_names or first.num_rows != second.num_rows:
        detail = f"{second.num_rows} rows instead of {first.num_rows}"
        if first.column_names != second.column_names:
            detail = f"other columns: {_some(sorted(set(first.column_names) ^ set(second.column_names)))}"
        return Finding("candidates", agrees=False, difference=math.inf, tolerance=tolerance, detail=detail)
    columns = {name: _column(first[name], second[name]) for name in first.column_names}
    largest = max(columns.values(), default=0.0)
    differing = [name for name, difference in columns.items() if difference]
    detail = f"columns that differ: {_some(differing)}" if differing else ""
    return Finding("candidates", largest <= tolerance, largest, tolerance, detail)


def _column(first: pa.ChunkedArray, second: pa.ChunkedArray) -> float:
    if not pa.types.is_floating(first.type):
        return 0.0 if first.to_pylist() == second.to_pylist() else math.inf
    a, b = (np.asarray(column.to_numpy(), np.float64) for column in (first, second))
    return float(_relative(a, b).max(initial=0.0))


def _limits(packaged: RunDirectory, again: RunDirectory) -> Iterator[Finding]:
    before = {result.signal: result for result in LimitsFile.load(packaged.limits).results}
    now = {r.signal: r for r in LimitsFile.load(again.limits).results} if again.limits.exists() else {}
    parts: Sequence[tuple[str, Callable[[Any], object]]] = (
        ("observed limit", lambda limit: [limit.observed]),
        ("expected limits", lambda limit: list(limit.expected)),
        ("p0", lambda limit: [limit.p0_observed, limit.p0_expected]),
    )
    for signal, result in before.items():
        for name, part in parts:
            what = f"{name} of {signal}"
            if signal in now:
                yield _tree(what, part(result.limit), part(now[signal].limit), LIMITS)
            else:
                yield Finding(what, agrees=False, difference=math.inf, tolerance=LIMITS, detail="is absent now")


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{', '.join(texts[:SHOWN])}{more}"
