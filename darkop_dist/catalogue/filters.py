"""The values that a list of datasets can be filtered by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from darkop_dist.catalogue.search import Catalogue
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import UnknownNameError

EXPERIMENTS: tuple[str, ...] = get_args(DatasetRecord.model_fields["experiment"].annotation)
FORMATS: tuple[str, ...] = get_args(DatasetRecord.model_fields["format"].annotation)
KINDS: tuple[str, ...] = get_args(DatasetRecord.model_fields["kind"].annotation)

_KIND_ALIASES = {"mc": "simulation"}


def select_datasets(
    catalogue: Catalogue,
    *,
    experiment: str | Sequence[str] | None = None,
    years: int | Sequence[int] | None = None,
    data_type: str | None = None,
    formats: str | Sequence[str] | None = None,
    pattern: str | None = None,
) -> tuple[DatasetRecord, ...]:
    """The records with given properties, whose values are checked first.

    Args:
        catalogue: where to look.
        experiment: ``CMS``, ``ATLAS`` or ``simulation``, in any case, or several; all by default.
        years: years of data taking; all by default.
        data_type: ``data`` or ``simulation`` (``mc`` means the same); both by default.
        formats: layouts of the files; all by default.
        pattern: glob over names, or text that stands in a name or title; all by default.

    Returns:
        Records by name, none if nothing has all of the properties. Their file lists are not read.

    Raises:
        UnknownNameError: a value that no dataset can have; gives the nearest ones.
    """
    known_years = sorted(
        {year for record in catalogue.records.values() for year in (record.year, *record.years) if year}
    )
    chosen = None if years is None else [years] if isinstance(years, int) else list(years)
    for year in chosen or ():
        if year not in known_years:
            known = [str(each) for each in known_years]
            raise UnknownNameError("year", str(year), known, f"The catalogue has {', '.join(known)}.")
    kind = None if data_type is None else _choice("type of data", _KIND_ALIASES.get(data_type, data_type), KINDS)
    kinds: dict[str | None, Literal["data", "simulation"] | None] = {"data": "data", "simulation": "simulation"}
    return catalogue.list_datasets(
        experiment=_choices("experiment", experiment, EXPERIMENTS),
        years=chosen,
        kind=kinds.get(kind),
        formats=_choices("format", formats, FORMATS),
        pattern=pattern,
    )


def _choices(what: str, values: str | Iterable[str] | None, known: Sequence[str]) -> list[str] | None:
    if values is None:
        return None
    return [_choice(what, value, known) for value in ([values] if isinstance(values, str) else values)]


def _choice(what: str, value: str, known: Sequence[str]) -> str:
    by_folded = {choice.casefold(): choice for choice in known}
    if value.casefold() not in by_folded:
        raise UnknownNameError(what, value, known, f"Choose from {', '.join(known)}.")
    return by_folded[value.casefold()]
