"""Datasets by name for notebooks and scripts, and a search in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import awkward as ak

from darkop_dist.catalogue.cache import Lease
from darkop_dist.catalogue.files import resolve_files
from darkop_dist.catalogue.search import load_catalogue, record_of_file
from darkop_dist.config import DatasetRecord, is_file_entry
from darkop_dist.config.access import Access, user_access
from darkop_dist.config.datasets import DatasetFile, is_root_file
from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.joined import Part, open_joined
from darkop_dist.events.read import open_events
from darkop_dist.events.remote import is_remote
from darkop_dist.execution.plan import FileQuestion, LostFile, look_at
from darkop_dist.generation.materialise import materialise
from darkop_dist.runs import RunDirectory, cache_directory
from darkop_dist.stages.cached import described, file_cache
from darkop_dist.stages.dask_events import dask_events
from darkop_dist.stages.fetch_files import Fetching, fetch_to_cache
from darkop_dist.stages.pipeline import Request, run_search

TRIES = 3
"""How often a request is made for notebooks, where no run tries again, unless ``access.tries`` says otherwise."""
PARTITION_EVENTS = 100_000
JOINED = ("nanoaod", "flat")
"""Formats of which several files are one lazy array; of the others all columns are read when files are joined."""


def load_opendata(
    name: str | Path,
    *,
    max_events: int | None = None,
    mode: Literal["virtual", "dask"] = "virtual",
    catalogue: Sequence[str | Path] = (),
    cached: bool = False,
) -> ak.Array:
    """Events of a dataset by its name in the catalogue, or of a file.

    A column is read when it is touched, of all files. Datasets that are made on demand are generated first and kept in
    the cache. Remote files are read over the network, as the user's own file of access says (``DARKOP_ACCESS``): of a
    file's mirrors and replicas, the first that can be opened is read.

    Args:
        name: name of a dataset, or path of a ROOT, CSV or Parquet file.
        max_events: most events; the first file alone if it has enough, all events by default.
        mode: ``virtual`` gives NanoEvents; ``dask`` gives the same as a collection of dask-awkward, of ROOT files,
            computed by ``.compute()`` in partitions of 100 000 events at most, each of them with the columns needed.
        catalogue: own record files, TOML or JSON.
        cached: read remote files from the cache; what is not there is downloaded first, and stays as long as the events
            live.

    Returns:
        One array of events, in the order of the files, or the collection. Tables are read at once.

    Raises:
        UnknownNameError: the catalogue has no dataset of that name; gives the nearest ones.
        InputFileError: a file is missing or cannot be used.
        MissingExtraError: ``dask`` needs dask-awkward, which is not installed.
    """
    if mode not in ("virtual", "dask"):
        raise InputValueError("mode", f"is {mode!r}", "Use 'virtual' or 'dask'")
    record = _record(str(name), catalogue)
    if record.generated is not None:
        record = materialise(record, cache_directory() / "generated")
    access = user_access()
    if "tries" not in access.model_fields_set:
        access = access.model_copy(update={"tries": TRIES})
    leases: list[Lease] = []
    parts = _parts(record, access, max_events, leases if cached else None)
    events = _dask(parts, record, access) if mode == "dask" else _virtual(parts, record, access)
    if leases:  # awkward hands attributes on to whatever is made of these events, and never stores those with an @
        (events._meta if mode == "dask" else events).attrs["@leases"] = leases  # noqa: SLF001  # dask-awkward's are fixed
    return events


def _dask(parts: Sequence[Part], record: DatasetRecord, access: Access) -> ak.Array:
    if not all(is_root_file(part.path) for part in parts):
        raise InputFileError(record.name, "holds tables, not trees", "Load it with mode='virtual'.")
    if record.format not in JOINED:
        told = f"is of the format {record.format}, which comes in virtual mode alone"
        raise InputFileError(record.name, told, "Load it with mode='virtual'.")
    return dask_events(parts, record, access, PARTITION_EVENTS)


def _virtual(parts: Sequence[Part], record: DatasetRecord, access: Access) -> ak.Array:
    if len(parts) > 1 and record.format in JOINED and all(is_root_file(part.path) for part in parts):
        return open_joined(parts, record, access)
    opened = [open_events(part.path, record, 0, part.events, access=access) for part in parts]
    return opened[0] if len(opened) == 1 else ak.concatenate(opened)


def _parts(record: DatasetRecord, access: Access, max_events: int | None, leases: list[Lease] | None) -> list[Part]:
    """The files to be read, each with how many of its events; every one has been opened.

    With ``leases``, remote files are read from the cache, and what keeps them there is added.
    """
    parts, left = [], max_events
    files = resolve_files(record, Path.cwd(), cache_directory() / "archives")
    for file in described(record, files):
        copies: tuple[str, ...] = access.addresses((file.uri, *file.replicas))
        if leases is not None and is_remote(file.uri):
            copies = (_cached(file, access, leases),)
        facts = look_at(FileQuestion(copies, record, file.events, 0, access))
        if isinstance(facts, LostFile):
            raise facts.error
        stop = facts.entries if left is None else min(facts.entries, left)
        if stop:
            parts.append(Part(facts.path, stop))
        left = None if left is None else left - stop
        if left == 0:
            break
    if not parts:
        raise InputFileError(record.name, "no file of the dataset holds an event", "Check its files.")
    return parts


def _cached(file: DatasetFile, access: Access, leases: list[Lease]) -> str:
    """The copy of a file in the cache, fetched if need be, with what keeps it there."""
    found = fetch_to_cache([file], file_cache(), Fetching(access=access))
    if found.lease is not None:
        leases.append(found.lease)
    return str(found.files[file.uri].path)


def run(
    document: str | Path,
    *,
    output: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    accept_loss: Sequence[str] = (),
    cached: bool = False,
) -> RunDirectory:
    """Run a search from its document to limits and a result page.

    Args:
        document: path of the analysis document.
        output: directory of the result; the document's by default.
        force: replace an existing result.
        resume: take up what an unfinished or finished run at that place has processed, where it still holds.
        accept_loss: names of datasets whose lost events are accepted.
        cached: read remote files from the cache; what is not there is downloaded first.

    Returns:
        The directory of the result.
    """
    place = Path(output) if output else None
    return run_search(Request(Path(document), place, force, resume, tuple(accept_loss), cached=cached))


def _record(name: str, catalogue: Sequence[str | Path]) -> DatasetRecord:
    if not is_file_entry(name):
        return load_catalogue([Path(path) for path in catalogue]).find(name)
    return record_of_file(name)
