"""Cutflows as tables: one table per region, datasets side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darkop_dist.report.content import Cutflow
from darkop_dist.report.digits import ABSENT, number, percent

MOST_COLUMNS = 5


@dataclass(frozen=True)
class CutflowCell:
    """One dataset after one cut, as text.

    Attributes:
        weighted: sum of weights scaled to expected events (data: events).
        events: number of events.
        step: efficiency of this cut, weighted, relative to the step before.
        total: efficiency of all cuts so far, weighted, relative to the first step.
    """

    weighted: str = ABSENT
    events: str = ABSENT
    step: str = ABSENT
    total: str = ABSENT


@dataclass(frozen=True)
class CutflowTable:
    """A table that fits on a page.

    Attributes:
        region: the region.
        datasets: the columns.
        rows: name of the cut and one cell per dataset.
    """

    region: str
    datasets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[CutflowCell, ...]], ...]


def cutflow_tables(cutflows: Iterable[Cutflow]) -> tuple[CutflowTable, ...]:
    """Arrange cutflows by region, at most five datasets side by side.

    Datasets may have different steps: the rows are all names in the order of their first appearance.
    """
    by_region: dict[str, list[Cutflow]] = {}
    for cutflow in cutflows:
        by_region.setdefault(cutflow.region, []).append(cutflow)
    return tuple(
        _table(region, found[start : start + MOST_COLUMNS])
        for region, found in by_region.items()
        for start in range(0, len(found), MOST_COLUMNS)
    )


def _table(region: str, cutflows: Sequence[Cutflow]) -> CutflowTable:
    names = tuple(dict.fromkeys(step.name for cutflow in cutflows for step in cutflow.steps))
    columns = [_column(cutflow) for cutflow in cutflows]
    rows = tuple((name, tuple(column.get(name, CutflowCell()) for column in columns)) for name in names)
    return CutflowTable(region, tuple(cutflow.dataset for cutflow in cutflows), rows)


def _column(cutflow: Cutflow) -> dict[str, CutflowCell]:
    cells: dict[str, CutflowCell] = {}
    first = cutflow.steps[0].weight if cutflow.steps else 0.0
    before: float | None = None
    for step in cutflow.steps:
        cells[step.name] = CutflowCell(
            weighted=number(step.events) if cutflow.is_data else number(step.weight * cutflow.scale, 4),
            events=number(step.events),
            step=ABSENT if before is None else percent(step.weight, before),
            total=percent(step.weight, first),
        )
        before = step.weight
    return cells
