"""Opening files of events: NanoAOD through NanoEvents in virtual mode, flat columns through the same objects."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot
from coffea.nanoevents import BaseSchema, NanoAODSchema, NanoEventsFactory
from coffea.nanoevents.mapping import SimplePreloadedColumnSource

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import DamagedFileError, InputFileError, InputValueError, UnreachableFileError
from darkop_dist.events.files import OpenFile, collector_paused, open_file, opened_by_hand
from darkop_dist.events.identity import identity_size, root_identity
from darkop_dist.events.nanoevents import build_events, source_of
from darkop_dist.events.phases import READ, phase
from darkop_dist.events.remote import open_root
from darkop_dist.events.tables import read_table

REMOTE_PACKAGES = {"root": "fsspec-xrootd", "https": "aiohttp", "http": "aiohttp", "s3": "s3fs"}


class OpenDataSchema(NanoAODSchema):  # type: ignore[misc]
    """NanoAOD as it is published: outreach files may lack event numbers or cross references."""

    error_missing_event_ids = False
    warn_missing_crossrefs = False


@dataclass(frozen=True)
class FileFacts:
    """What a file says of itself.

    Attributes:
        path: the file.
        entries: number of rows of its tree or table.
        bytes: size of the file; 0 where it cannot be known.
        sum_weights: sum of the weights generated for the file, where the file says so; None for data.
        generated_events: number of events generated for the file, where the file says so.
        identity: tells this file from every other, see ``darkop_dist.events.identity``: its size with the identifier
            that ROOT wrote into it; for tables with the time of the last change, or the hash of what a server gave.
    """

    path: str
    entries: int
    bytes: int
    sum_weights: float | None
    generated_events: int | None
    identity: str = ""


def inspect_file(path: str, record: DatasetRecord) -> FileFacts:
    """Open a file and read how much it holds.

    Args:
        path: local path or address.
        record: the dataset that the file belongs to.

    Raises:
        InputFileError: the file is missing, truncated or corrupt, has no tree of that name, lacks the column that
            holds the sum of weights, or is empty although its record does not allow that.
    """
    try:
        return _facts_of(path, record)
    except OSError as error:
        raise UnreachableFileError(
            path, f"cannot be reached ({_first_line(error)})", "Check the address, the network and your rights."
        ) from error


def _facts_of(path: str, record: DatasetRecord) -> FileFacts:
    if path.endswith(".root"):
        entries, sum_weights, generated, identity = _inspect_root(path, record)
    else:
        with translated_errors(path, record.tree):
            table = read_table(path)
        entries, generated, identity = len(table.frame), None, table.identity
        sum_weights = _file_constant(path, table.frame, record)
    if entries == 0 and not record.allow_empty:
        what = f"the tree {record.tree!r} is empty" if path.endswith(".root") else "holds no rows"
        raise InputFileError(
            path, what, f"Remove the file from dataset {record.name!r}, or set allow_empty: true if that is expected."
        )
    return FileFacts(path, entries, identity_size(identity), sum_weights, generated, identity)


def open_events(
    path: str,
    record: DatasetRecord,
    start: int | None = None,
    stop: int | None = None,
    *,
    file: Any = None,
    label: str | None = None,
) -> ak.Array:
    """Events of a range of entries.

    NanoAOD is opened lazily: columns are read when they are touched. A ROOT file stays open in the process for its
    next chunks, see ``darkop_dist.events.files.forget``. Columns of CSV and Parquet become the same kind of object,
    with one field per column.

    Args:
        path: local path or address.
        record: the dataset that the file belongs to.
        start: first entry; the beginning of the file by default.
        stop: one past the last entry; the end of the file by default.
        file: the opened ROOT file, from ``open_file`` or uproot; by default the one that this process holds open.
        label: names the file on every machine in candidates and in the split; its name by default.

    Returns:
        NanoEvents with the metadata ``dataset``, ``filename``, ``file_label``, ``entrystart``, ``entrystop`` and
        ``is_data``; for tables also ``identity``, of the file that was read.

    Raises:
        InputFileError: the file is missing, truncated or corrupt, or has no tree of that name.
    """
    metadata: dict[str, Any] = {
        "dataset": record.name,
        "filename": path,
        "is_data": record.kind == "data",
        "entrystart": start or 0,
    }
    metadata["experiment"] = record.experiment
    metadata["file_label"] = label or path.rsplit("/", 1)[-1]
    metadata |= {"format": record.format, "weights": record.weights.model_dump() if record.weights else None}
    with phase(READ), translated_errors(path, record.tree), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea warns of absent cross references, which open data often lack
        if path.endswith(".root"):
            with collector_paused():
                opened = open_file(path) if file is None else file
                opened = opened if isinstance(opened, OpenFile) else opened_by_hand(path, opened)
                entries = opened.directory[record.tree].num_entries
                first, last = min(max(start or 0, 0), entries), min(stop if stop is not None else entries, entries)
                metadata["entrystop"] = stop if stop is not None else entries
                schema = OpenDataSchema if record.format == "nanoaod" else BaseSchema
                return build_events(opened, record.tree, schema, first, last, metadata)
        whole = read_table(path)
        table = whole.frame.iloc[start:stop]
        metadata |= {"entrystop": (start or 0) + len(table), "identity": whole.identity}
        columns = {name: ak.Array(table[name].to_numpy()) for name in table.columns}
        source = SimplePreloadedColumnSource(columns, uuid.uuid4(), len(table), object_path="/Events")
        return NanoEventsFactory.from_preloaded(source, schemaclass=BaseSchema, metadata=metadata).events()


@contextmanager
def translated_errors(path: str, tree: str) -> Iterator[None]:
    """Turn what uproot and pandas raise on bad files into errors that name the file and what to do.

    Raises:
        InputFileError: for anything that is wrong with the file itself.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputFileError(
            path, "no such file", "Check the path in the document, or download the dataset."
        ) from error
    except uproot.KeyInFileError as error:
        raise InputFileError(
            path,
            f"has no {error.key!r}",
            f"Check that it is a file of events with the tree {tree!r} and that it is whole.",
        ) from error
    except ImportError as error:
        package = REMOTE_PACKAGES.get(path.partition("://")[0], "the library that the message names")
        raise InputFileError(
            path, f"needs a library that is not installed ({_first_line(error)})", f"Run: pip install {package}"
        ) from error
    except (uproot.DeserializationError, ValueError, EOFError, IndexError, AssertionError, OSError) as error:
        if isinstance(error, OSError) and not is_damage(path, error):
            raise  # another try may help, so whoever processes chunks decides
        raise DamagedFileError(
            path, f"is truncated or corrupt ({_first_line(error)})", "Download it again and compare its checksum."
        ) from error


def is_damage(path: str, error: OSError) -> bool:
    """Whether an error of input means that the file itself is short, rather than that it cannot be reached.

    uproot raises OSError without a number if it receives fewer bytes than the file promises; on a local file another
    try cannot help.
    """
    return error.errno is None and "://" not in path


def require_columns(events: ak.Array, columns: tuple[str, ...]) -> None:
    """Check that columns exist before a processor relies on them.

    Args:
        events: the events.
        columns: names such as ``mtt`` or ``Jet.pt``.

    Raises:
        InputFileError: names the file and every column that it lacks.
    """
    missing = [name for name in columns if not has_column(events, name)]
    if missing:
        path = str(events.metadata.get("filename", "events")) if events.metadata else "events"
        branches = ", ".join(name.replace(".", "_") for name in missing)
        raise InputFileError(
            path,
            f"has no {'branch' if len(missing) == 1 else 'branches'} {branches}",
            "Use files that hold them, or a processor that does without them.",
        )


def has_column(events: ak.Array, name: str) -> bool:
    """Whether the events have a column, such as ``mtt``, or a collection's field, such as ``Jet.pt``."""
    collection, _, field = name.partition(".")
    found = source_of(events)
    if found is not None:
        fields = found[1].fields
        return collection in fields and (not field or field in fields[collection])
    if collection not in ak.fields(events):
        return False
    return not field or field in ak.fields(events[collection])


def _inspect_root(path: str, record: DatasetRecord) -> tuple[int, float | None, int | None, str]:
    with translated_errors(path, record.tree), open_root(path) as file:
        tree = file[record.tree]
        if not hasattr(tree, "num_entries"):
            raise InputFileError(path, f"{record.tree!r} is not a tree", "Name the tree of events in the record.")
        entries, identity = int(tree.num_entries), root_identity(file)
        if record.kind == "data":
            return entries, None, None, identity
        if record.weights is not None:
            return entries, _flat_root_constant(path, tree, record), None, identity
        if "Runs" not in file:
            return entries, None, None, identity
        runs = file["Runs"]
        names = set(runs.keys())
        for sumw, count in (("genEventSumw", "genEventCount"), ("genEventSumw_", "genEventCount_")):
            if sumw in names and count in names:
                sums = runs.arrays([sumw, count], library="np")
                return entries, float(np.sum(sums[sumw])), int(np.sum(sums[count])), identity
        return entries, None, None, identity


def _flat_root_constant(path: str, tree: Any, record: DatasetRecord) -> float | None:
    column = record.weights.sum_weights if record.weights else None
    if column is None or tree.num_entries == 0:
        return None
    if column not in tree:
        raise InputFileError(path, f"has no branch {column}", "Correct weights.sum_weights of the dataset.")
    return _one_number(path, column, tree[column].array(library="np"))


def _file_constant(path: str, table: Any, record: DatasetRecord) -> float | None:
    column = record.weights.sum_weights if record.weights else None
    if record.kind == "data" or column is None or len(table) == 0:
        return None
    if column not in table.columns:
        raise InputFileError(path, f"has no column {column}", "Correct weights.sum_weights of the dataset.")
    return _one_number(path, column, table[column].to_numpy())


def _one_number(path: str, column: str, values: npt.NDArray[np.floating]) -> float:
    if not np.isfinite(values[0]) or np.any(values != values[0]):
        raise InputValueError(
            path,
            f"column {column} is not one finite number in all rows",
            "Correct weights.sum_weights of the dataset, or do not join files with different sums",
        )
    return float(values[0])


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
