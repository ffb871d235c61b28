"""Events as a collection of dask-awkward, for work in notebooks."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

from coffea.nanoevents import BaseSchema, NanoEventsFactory

from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import MissingExtraError
from darkop_dist.events.joined import Part
from darkop_dist.events.read import OpenDataSchema, translated_errors
from darkop_dist.events.remote import is_remote, root_options


def dask_events(parts: Sequence[Part], record: DatasetRecord, access: Access, partition_events: int) -> Any:
    """A collection of NanoEvents, as coffea makes it, over ROOT files in their order.

    Nothing but the first file's headers is read before something is computed, and then the columns needed alone.

    Args:
        parts: the files, each with how many of its events.
        record: the dataset that they belong to.
        access: how remote files are reached.
        partition_events: most events of a partition.

    Raises:
        MissingExtraError: dask-awkward is not installed.
        InputFileError: the first file has no tree of that name.
    """
    try:
        dask_awkward: Any = importlib.import_module("dask_awkward")
    except ImportError as error:
        raise MissingExtraError("dask_awkward", "notebook") from error
    runs = [list(group) for _, group in groupby(parts, key=lambda part: is_remote(part.path))]
    with translated_errors(parts[0].path, record.tree):
        made = [_collection(run, record, access, partition_events) for run in runs]
    return made[0] if len(made) == 1 else dask_awkward.concatenate(made)


def _collection(parts: Sequence[Part], record: DatasetRecord, access: Access, partition_events: int) -> Any:
    """Files that are opened alike, either all of them remote or none."""
    files = {part.path: {"object_path": record.tree, "steps": _steps(part.events, partition_events)} for part in parts}
    metadata = {"dataset": record.name, "is_data": record.kind == "data", "experiment": record.experiment}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea warns of absent cross references, which open data often lack
        return NanoEventsFactory.from_root(
            files,
            mode="dask",
            schemaclass=OpenDataSchema if record.format == "nanoaod" else BaseSchema,
            metadata=metadata,
            uproot_options=root_options(parts[0].path, access),
        ).events()


def _steps(events: int, most: int) -> list[list[int]]:
    count = -(-events // most)
    edges = [part * events // count for part in range(count + 1)]
    return [list(step) for step in pairwise(edges)]
