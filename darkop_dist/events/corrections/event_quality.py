"""Which events may be used: certified sections, MET filters and triggers."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError, UnknownNameError, nearest_names
from darkop_dist.events.corrections.certified import CertifiedSections
from darkop_dist.events.declared import COLUMNS
from darkop_dist.events.event_columns import EventColumns
from darkop_dist.events.read import require_columns

Mask = npt.NDArray[np.bool_]
Note = Callable[[str], None]
FILTERS, TRIGGERS = "met_filters.toml", "triggers.toml"
COLLECTIONS = ("Flag", "HLT", "L1")


def recommended_filters(year: str, *, is_data: bool) -> tuple[str, ...]:
    """MET filters that CMS recommends for a year, such as ``2016postVFP``; see ``met_filters.toml`` for their source.

    Raises:
        UnknownNameError: the table has no such year.
    """
    return tuple(_year(FILTERS, year)["data" if is_data else "simulation"])


def trigger_paths(names: Iterable[str], year: str | None) -> tuple[str, ...]:
    """HLT paths by name or group of a year, such as ``met``; see ``triggers.toml`` for their source.

    Raises:
        UnknownNameError: the table has no such year, or the year no such group.
    """
    found: list[str] = []
    for name in names:
        if name.startswith("HLT_"):
            found.append(name)
            continue
        groups = _year(TRIGGERS, year or "no year")
        if name not in groups:
            what = "Name a group of the year or a path that begins with HLT_."
            raise UnknownNameError("group of triggers", name, groups, what)
        found += groups[name]
    return tuple(dict.fromkeys(found))


def passes_certification(events: ak.Array, certified: CertifiedSections) -> Mask:
    """Which events of collision data lie in certified sections, shape (events,).

    Raises:
        InputFileError: the file has no run or section numbers.
    """
    require_columns(events, COLUMNS)
    read = EventColumns(events)
    return certified.contain(*(read.per_event(name) for name in COLUMNS))


def passes_filters(events: ak.Array, names: Sequence[str], note: Note, optional: Sequence[str] = ()) -> Mask:
    """Which events pass all filters, shape (events,).

    A filter that simulation lacks, or that is optional, is left out and noted.

    Args:
        events: the events.
        names: branches such as ``Flag_goodVertices``.
        note: is told about filters that are left out.
        optional: filters that files of collision data may lack.

    Raises:
        InputFileError: a file of collision data lacks one that is not optional.
    """
    passed = np.ones(len(events), np.bool_)
    for values in _bits(events, names, optional, note, "MET filter"):
        passed &= values
    return passed


def passes_triggers(events: ak.Array, names: Sequence[str], note: Note, optional: Sequence[str] = ()) -> Mask:
    """Which events pass one of the triggers, shape (events,); prescales are not known and not applied.

    Args:
        events: the events.
        names: branches such as ``HLT_IsoMu24``.
        note: is told about paths that are left out.
        optional: paths that files of collision data may lack.

    Returns:
        For simulation that has none of the paths, all events.

    Raises:
        InputFileError: a file of collision data lacks a path that is not optional, or all of them.
    """
    found = _bits(events, names, optional, note, "trigger")
    if found or not names:
        return np.logical_or.reduce(found) if found else np.ones(len(events), np.bool_)
    if _is_data(events):
        raise _absent(events, names[0], "trigger")
    note("none of the triggers is in the file: no trigger was required")
    return np.ones(len(events), np.bool_)


def _bits(events: ak.Array, names: Sequence[str], optional: Sequence[str], note: Note, kind: str) -> list[Mask]:
    read, found = EventColumns(events), []
    columns = {name: _column(read, name) for name in names}
    read.load(column for column in columns.values() if column is not None)
    for name, column in columns.items():
        if column is not None:
            found.append(read.per_event(column).astype(np.bool_))
        elif _is_data(events) and name not in optional:
            raise _absent(events, name, kind)
        else:
            note(f"{kind} {name} is not in the file: not applied")
    return found


def _column(read: EventColumns, name: str) -> str | None:
    """How NanoEvents calls a branch: a field of the collection ``HLT``, or by its own name; None if it is absent."""
    collection, _, field = name.partition("_")
    return next((column for column in (f"{collection}.{field}", name) if read.has(column)), None)


def _absent(events: ak.Array, name: str, kind: str) -> InputFileError:
    collection, _, field = name.partition("_")
    known = ak.fields(events[collection]) if collection in ak.fields(events) else []
    near = nearest_names(field, known)
    hint = f" Nearest in the file: {', '.join(f'{collection}_{other}' for other in near)}." if near else ""
    path = str((events.metadata or {}).get("filename", "events"))
    what = f"Correct the name, or list it in corrections.optional if the file may lack it.{hint}"
    return InputFileError(path, f"has no {kind} {name}", what)


def _is_data(events: ak.Array) -> bool:
    return bool((events.metadata or {}).get("is_data", False))


def _year(table: str, year: str) -> dict[str, Any]:
    years = _table(table)
    if year not in years:
        raise UnknownNameError("year of data taking", year, years, f"The table has {', '.join(years)}.")
    found: dict[str, Any] = years[year]
    return found


@lru_cache(maxsize=2)
def _table(name: str) -> dict[str, dict[str, Any]]:
    content = tomllib.loads((Path(__file__).parent / name).read_text())
    return {year: body for year, body in content.items() if isinstance(body, dict)}
