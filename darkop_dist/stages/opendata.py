"""Datasets by name for notebooks and scripts, and a search in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import awkward as ak

from darkop_dist.catalogue.files import resolve_files
from darkop_dist.catalogue.search import load_catalogue, record_of_file
from darkop_dist.config import DatasetRecord, is_file_entry
from darkop_dist.errors import InputFileError
from darkop_dist.events.read import inspect_file, open_events
from darkop_dist.generation.materialise import materialise
from darkop_dist.runs import RunDirectory, cache_directory
from darkop_dist.stages.pipeline import Request, run_search


def load_opendata(name: str | Path, *, max_events: int | None = None, catalogue: Sequence[str | Path] = ()) -> ak.Array:
    """Events of a dataset by its name in the catalogue, or of a file.

    NanoAOD comes as NanoEvents in virtual mode: a column is read when it is touched. Datasets that are made on demand
    are generated first and kept in the cache. Remote files are read over the network.

    Args:
        name: name of a dataset, or path of a ROOT, CSV or Parquet file.
        max_events: most events; the first file alone if it has enough, all events by default.
        catalogue: own record files, TOML or JSON.

    Returns:
        One array of events, in the order of the files.

    Raises:
        UnknownNameError: the catalogue has no dataset of that name; gives the nearest ones.
        InputFileError: a file is missing or cannot be used.
    """
    record = _record(str(name), catalogue)
    if record.generated is not None:
        record = materialise(record, cache_directory() / "generated")
    files = resolve_files(record, Path.cwd(), cache_directory() / "archives")
    parts, left = [], max_events
    for file in files:
        path = str(file.path_or_url)
        facts = inspect_file(path, record)
        stop = facts.entries if left is None else min(facts.entries, left)
        if stop:
            parts.append(open_events(path, record, 0, stop))
        left = None if left is None else left - stop
        if left == 0:
            break
    if not parts:
        raise InputFileError(record.name, "no file of the dataset holds an event", "Check its files.")
    return parts[0] if len(parts) == 1 else ak.concatenate(parts)


def list_opendata_datasets(
    *,
    experiment: Sequence[str] | None = None,
    years: Sequence[int] | None = None,
    data_type: Literal["data", "simulation"] | None = None,
) -> tuple[str, ...]:
    """Names of the datasets of the catalogue.

    Args:
        experiment: keep these experiments: ``CMS``, ``ATLAS``, ``simulation``.
        years: keep these years of data taking.
        data_type: keep ``data`` or ``simulation``.
    """
    found = load_catalogue().list_datasets(years=years, kind=data_type)
    return tuple(record.name for record in found if experiment is None or record.experiment in experiment)


def run(
    document: str | Path,
    *,
    output: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    accept_loss: Sequence[str] = (),
) -> RunDirectory:
    """Run a search from its document to limits and a result page.

    Args:
        document: path of the analysis document.
        output: directory of the result; the document's by default.
        force: replace an existing result.
        resume: take up what an unfinished or finished run at that place has processed, where it still holds.
        accept_loss: names of datasets whose lost events are accepted.

    Returns:
        The directory of the result.
    """
    return run_search(Request(Path(document), Path(output) if output else None, force, resume, tuple(accept_loss)))


def _record(name: str, catalogue: Sequence[str | Path]) -> DatasetRecord:
    if not is_file_entry(name):
        return load_catalogue([Path(path) for path in catalogue]).find(name)
    return record_of_file(name)
