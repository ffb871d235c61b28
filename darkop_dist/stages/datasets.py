"""Names of datasets for notebooks and scripts: apart from what opens them, because that takes seconds to import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from darkop_dist.catalogue.filters import select_datasets
from darkop_dist.catalogue.search import load_catalogue


def list_opendata_datasets(
    *,
    experiment: str | Sequence[str] | None = None,
    years: int | Sequence[int] | None = None,
    data_type: Literal["data", "simulation", "mc"] | None = None,
    catalogue: Sequence[str | Path] = (),
) -> tuple[str, ...]:
    """Names of the datasets of the catalogue.

    Args:
        experiment: keep these experiments: ``CMS``, ``ATLAS``, ``simulation``.
        years: keep these years of data taking; a simulation for several years counts for each of them.
        data_type: keep ``data`` or ``simulation`` (``mc`` means the same).
        catalogue: own record files, TOML or JSON.

    Returns:
        Names in alphabetical order; none if no dataset has all of the properties.

    Raises:
        UnknownNameError: a value that no dataset can have; gives the nearest ones.
    """
    known = load_catalogue([Path(path) for path in catalogue])
    found = select_datasets(known, experiment=experiment, years=years, data_type=data_type)
    return tuple(record.name for record in found)
