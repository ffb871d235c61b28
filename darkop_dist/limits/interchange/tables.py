"""The tables of a submission, before any library writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from darkop_dist.errors import UserError
from darkop_dist.limits.fit import FitResult, RegionYields
from darkop_dist.limits.likelihood import likelihood_of
from darkop_dist.limits.results import SignalResult
from darkop_dist.limits.samples import Floats
from darkop_dist.limits.workspace import Workspace

Errors = Sequence[float] | Sequence[tuple[float, float]]
Qualifier = tuple[str, float | str, str]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its title.
        values: numbers or words, or (low, high) of bins.
        is_independent: it says where, not what.
        unit: its unit.
        errors: by label, one number per value, or (down, up) with their signs.
        qualifiers: name, value and unit.
    """

    name: str
    values: Sequence[float | str | tuple[float, float]]
    is_independent: bool = False
    unit: str = ""
    errors: Mapping[str, Errors] = field(default_factory=dict)
    qualifiers: tuple[Qualifier, ...] = ()

    @property
    def is_binned(self) -> bool:
        """Whether the values are bins."""
        return bool(self.values) and isinstance(self.values[0], tuple)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: its name.
        description: what it shows and how it was found.
        location: where the same stands in a publication or on the result page.
        columns: the columns, independent ones first.
        observables: keywords of what is measured.
    """

    name: str
    description: str
    location: str
    columns: tuple[Column, ...]
    observables: tuple[str, ...] = ()


def limit_table(
    results: Sequence[SignalResult], point_label: str, point_unit: str, points: Mapping[str, float]
) -> Table:
    """Observed and expected limits with their bands of one and two standard deviations, a row per signal.

    Raises:
        UserError: some signals have a point and others not.
    """
    absent = [result.signal for result in results if result.signal not in points]
    if points and absent:
        raise UserError(f"the signal {absent[0]} has no point on the axis {point_label}; give all of them one, or none")
    rows = sorted(results, key=lambda result: points[result.signal]) if points else list(results)
    where = (
        Column(point_label or "point", [points[row.signal] for row in rows], is_independent=True, unit=point_unit)
        if points
        else Column("signal", [row.signal for row in rows], is_independent=True)
    )
    first = rows[0].limit
    level = f"{100 * first.confidence_level:g}%"
    columns = [where, *_limits(rows, "signal strength", "", level)]
    if all(row.limit.xsec_limit_pb is not None for row in rows):
        columns += _limits(rows, "cross section", "pb", level)
    how = f"Upper limits at {level} CL (CLs, statistic {first.statistic}). {first.assumptions}"
    if any(row.observed == "asimov" for row in rows):
        how += " There are no collision data, so nothing is observed."
    return Table("Limits", how, "limits", tuple(columns), ("CLS",))


def _limits(rows: Sequence[SignalResult], what: str, unit: str, level: str) -> list[Column]:
    qualifiers: tuple[Qualifier, ...] = (("LIMIT", f"{level} CL upper limit on the {what}", ""),)
    pairs = [
        (row.limit.observed, row.limit.expected)
        if not unit
        else (float(row.limit.xsec_limit_pb or 0.0), row.limit.xsec_limit_expected_pb or ())
        for row in rows
    ]
    bands = {f"{sigmas} s.d.": [(e[2 - sigmas] - e[2], e[2 + sigmas] - e[2]) for _, e in pairs] for sigmas in (1, 2)}
    columns = []
    if all(row.observed == "data" for row in rows):
        columns.append(Column(f"Observed limit on the {what}", [o for o, _ in pairs], unit=unit, qualifiers=qualifiers))
    name = f"Expected limit on the {what}"
    columns.append(Column(name, [e[2] for _, e in pairs], unit=unit, errors=bands, qualifiers=qualifiers))
    return columns


def yield_tables(results: Sequence[SignalResult], fitted: FitResult, observable: str, unit: str) -> list[Table]:
    """Events per bin of each region, before and after the background-only fit."""
    tables = []
    for when, regions in (("before", fitted.prefit), ("after", fitted.postfit)):
        for region in regions:
            columns = [Column(observable, list(pairwise(region.edges)), is_independent=True, unit=unit)]
            if results[0].observed == "data":
                columns.append(Column("Data", region.observed))
            columns += [Column(name, values) for name, values in region.backgrounds.items()]
            label = {"uncertainty": region.total_uncertainty}
            columns.append(Column("Background", region.total, errors=label))
            if when == "before":
                columns += _signals(results, region)
            how = {
                "before": "before any fit; the uncertainty is that of the constraints, without correlations",
                "after": "after a fit of the backgrounds alone; the uncertainty has the fit's correlations",
            }
            description = f"Events in the region {region.region} {how[when]}."
            name = f"Yields {region.region} {when} the fit"
            tables.append(Table(name, description, "yields", tuple(columns), ("N",)))
    return tables


def _signals(results: Sequence[SignalResult], region: RegionYields) -> list[Column]:
    """Each signal at mu = 1; nothing of signals without a fit."""
    found = []
    for result in results:
        if result.background_fit is not None:
            mine = next(one for one in result.background_fit.prefit if one.region == region.region)
            found.append(Column(f"{result.signal} at signal strength 1", mine.signal))
    return found


def covariance_table(workspace: Workspace, fitted: FitResult) -> Table:
    """Covariance of the expected background in all bins after the background-only fit, in long form."""
    covariance = background_covariance(workspace, fitted)
    names = [f"{region.region} bin {place + 1}" for region in fitted.postfit for place in range(len(region.total))]
    first, second = np.divmod(np.arange(covariance.size), len(names))
    columns = (
        Column("first bin", [names[place] for place in first], is_independent=True),
        Column("second bin", [names[place] for place in second], is_independent=True),
        Column("Covariance", covariance.ravel().tolist()),
    )
    description = (
        "Covariance of the expected background events after a fit of the backgrounds alone, propagated linearly from "
        "the parameters; bins are numbered from 1 in the order of the tables of yields."
    )
    return Table("Background covariance", description, "yields", columns, ("N",))


def background_covariance(workspace: Workspace, fitted: FitResult) -> Floats:
    """Covariance of the expected background events of all bins, shape (bins, bins), bins in the order of the fit.

    Args:
        workspace: what was fitted.
        fitted: its background-only fit.
    """
    model = likelihood_of(workspace).model
    values = np.array([parameter.bestfit for parameter in fitted.parameters])
    widths = np.array([parameter.uncertainty for parameter in fitted.parameters])
    _, slopes = model.expected_and_slopes(values)
    scaled = slopes * widths
    return np.asarray(scaled @ np.array(fitted.correlation) @ scaled.T, dtype=np.float64)


def cutflow_table(region: str, flows: Sequence[tuple[str, Sequence[str], Sequence[float]]]) -> Table:
    """Expected events after each step; a dataset that lacks a step has a dash there.

    Args:
        region: the region.
        flows: dataset, steps and events.
    """
    steps = list(dict.fromkeys(step for _, names, _ in flows for step in names))
    columns = [Column("step", steps, is_independent=True)]
    for dataset, names, events in flows:
        after = dict(zip(names, events, strict=True))
        columns.append(Column(dataset, [after.get(step, "-") for step in steps]))
    description = f"Expected events after each step of the selection of the region {region}; of data, their number."
    return Table(f"Cutflow {region}", description, "cutflow", tuple(columns), ("N",))
