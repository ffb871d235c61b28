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

from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetRecord, is_root_file
from darkop_dist.errors import DamagedFileError, InputFileError, InputValueError, UnreachableFileError
from darkop_dist.events.absence import missing_columns
from darkop_dist.events.constituents import CANDIDATES, CandidatesSchema
from darkop_dist.events.declared import Ranges, declared_ranges
from darkop_dist.events.files import OpenFile, collector_paused, open_file, opened_by_hand
from darkop_dist.events.identity import identity_size, root_identity
from darkop_dist.events.nano_table import generated_of, is_nano_table, open_table, table_events
from darkop_dist.events.nanoevents import build_events, build_physlite, source_of
from darkop_dist.events.phases import READ, phase
from darkop_dist.events.physlite.bookkeeping import generated_events
from darkop_dist.events.physlite.mapping import extended, load_mapping
from darkop_dist.events.physlite.tree import TREES, tree_of_physlite
from darkop_dist.events.remote import DEFAULT, HTTP, S3, open_root
from darkop_dist.events.tables import read_table
from darkop_dist.events.xrootd import SCHEMES

NANOAOD = ("nanoaod", "pfnano")
EXTRAS = {S3: "access", **dict.fromkeys(SCHEMES, "access"), **dict.fromkeys(HTTP, "events")}
"""By the beginning of addresses, the extra of this package that brings what reads them."""
UNKNOWN_SCHEME = "Protocol not known"


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
        declared: of collision data without events, the luminosity sections that they were made from.
    """

    path: str
    entries: int
    bytes: int
    sum_weights: float | None
    generated_events: int | None
    identity: str = ""
    declared: Ranges = ()


def inspect_file(path: str, record: DatasetRecord, access: Access = DEFAULT) -> FileFacts:
    """Open a file and read how much it holds.

    Args:
        path: local path or address.
        record: the dataset that the file belongs to.
        access: how remote files are reached.

    Raises:
        InputFileError: the file is missing, truncated or corrupt, has no tree of that name, lacks the column that
            holds the sum of weights, or is empty although its record does not allow that.
    """
    try:
        return _facts_of(path, record, access)
    except OSError as error:
        told = error.strerror or _first_line(error)
        raise UnreachableFileError(
            path, f"cannot be reached ({told})", "Check the address, the network and your rights."
        ) from error


def _facts_of(path: str, record: DatasetRecord, access: Access) -> FileFacts:
    if is_root_file(path):
        entries, sum_weights, generated, identity = _inspect_root(path, record, access)
    elif is_nano_table(path, record.format):
        with translated_errors(path, record.tree):
            nano = open_table(path, access)
            sum_weights, generated = (None, None) if record.kind == "data" else generated_of(nano)
        entries, identity = nano.entries, nano.identity
    else:
        with translated_errors(path, record.tree):
            table = read_table(path, access)
        entries, generated, identity = len(table.frame), None, table.identity
        sum_weights = _file_constant(path, table.frame, record)
    if entries == 0 and not record.allow_empty:
        what = f"the tree {record.tree!r} is empty" if is_root_file(path) else "holds no rows"
        raise InputFileError(
            path, what, f"Remove the file from dataset {record.name!r}, or set allow_empty: true if that is expected."
        )
    declared: Ranges = ()
    if entries == 0 and record.kind == "data":  # else whoever reads its events reads these too
        with translated_errors(path, record.tree):
            declared = declared_ranges(path, record.format, access)
    return FileFacts(path, entries, identity_size(identity), sum_weights, generated, identity, declared)


def open_events(
    path: str,
    record: DatasetRecord,
    start: int | None = None,
    stop: int | None = None,
    *,
    file: Any = None,
    label: str | None = None,
    access: Access = DEFAULT,
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
        access: how remote files are reached.

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
    metadata |= {"experiment": record.experiment, "format": record.format}
    metadata["file_label"] = label or path.rsplit("/", 1)[-1]
    metadata["weights"] = record.weights.model_dump() if record.weights else None
    with phase(READ), translated_errors(path, record.tree), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea warns of absent cross references, which open data often lack
        if is_root_file(path):
            with collector_paused():
                opened = open_file(path, access) if file is None else file
                opened = opened if isinstance(opened, OpenFile) else opened_by_hand(path, opened)
                return _root_events(opened, record, start, stop, metadata)
        if is_nano_table(path, record.format):
            nano = open_table(path, access)
            first, last = min(start or 0, nano.entries), min(nano.entries if stop is None else stop, nano.entries)
            metadata |= {"entrystop": last, "identity": nano.identity}
            return table_events(nano, first, last, OpenDataSchema, metadata)
        whole = read_table(path, access)
        table = whole.frame.iloc[start:stop]
        metadata |= {"entrystop": (start or 0) + len(table), "identity": whole.identity}
        columns = {name: ak.Array(table[name].to_numpy()) for name in table.columns}
        source = SimplePreloadedColumnSource(columns, uuid.uuid4(), len(table), object_path="/Events")
        return NanoEventsFactory.from_preloaded(source, schemaclass=BaseSchema, metadata=metadata).events()


def _root_events(
    opened: OpenFile, record: DatasetRecord, start: int | None, stop: int | None, metadata: dict[str, Any]
) -> ak.Array:
    tree = _tree_of(opened.path, opened.directory, record)
    entries = opened.directory[tree.name].num_entries
    first, last = min(max(start or 0, 0), entries), min(stop if stop is not None else entries, entries)
    metadata["entrystop"] = stop if stop is not None else entries
    if tree.physlite:
        metadata |= {"experiment": "ATLAS", "format": "physlite"}
        return build_physlite(opened, tree.name, extended(load_mapping(), record.columns), first, last, metadata)
    schema = BaseSchema if record.format == "flat" else CandidatesSchema
    return build_events(opened, tree.name, schema, first, last, metadata)


@dataclass(frozen=True)
class _Tree:
    """Where the events of a file are.

    Attributes:
        name: of the tree.
        physlite: whether they are PHYSLITE.
    """

    name: str
    physlite: bool


def _tree_of(path: str, directory: Any, record: DatasetRecord) -> _Tree:
    """The tree of events: what the record says, or PHYSLITE's where a file has that and not the record's tree.

    A file that is named directly has no record of its own, so what it holds decides.

    Raises:
        InputFileError: PHYSLITE is asked for, and the file has none; or PFNano, and it has no candidates.
    """
    if record.format == "physlite" or (record.format in NANOAOD and record.tree not in directory):
        found = tree_of_physlite(directory)
        if found is not None:
            return _Tree(found, physlite=True)
    if record.format == "physlite":
        raise InputFileError(
            path,
            f"is not PHYSLITE of ATLAS: it has neither {' nor '.join(TREES)} with AnalysisJetsAuxDyn",
            f"Correct the format of dataset {record.name!r}, or describe the file's layout in a record of its own.",
        )
    if record.format == "pfnano" and f"{CANDIDATES[0]}_pt" not in directory[record.tree]:
        raise InputFileError(
            path, f"is not PFNano of CMS: it has no branch {CANDIDATES[0]}_pt", "Set the dataset's format to nanoaod."
        )
    return _Tree(record.tree, physlite=False)


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
        raise InputFileError(
            path, f"needs a library that is not installed ({_first_line(error)})", _to_install(path)
        ) from error
    except ValueError as error:
        if not str(error).startswith(UNKNOWN_SCHEME):
            raise _damaged(path, error) from error
        raise InputFileError(
            path,
            f"is an address of an unknown kind, {path.partition('://')[0]}://",
            "Addresses begin with root://, https://, http:// or s3://.",
        ) from error
    except (uproot.DeserializationError, EOFError, IndexError, AssertionError, OSError) as error:
        if isinstance(error, OSError) and not is_damage(path, error):
            raise  # another try may help, so whoever processes chunks decides
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> DamagedFileError:
    problem = f"is truncated or corrupt ({_first_line(error)})"
    return DamagedFileError(path, problem, "Download it again and compare its checksum.")


def _to_install(path: str) -> str:
    extra = next((extra for scheme, extra in EXTRAS.items() if path.startswith(scheme)), None)
    if extra is None:
        return "Run: pip install the library that the message names."
    return f"Run: pip install 'darkop-dist[{extra}]'"


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
        InputFileError: names the file and every column that it lacks, and the objects that it has none of.
    """
    missing = [name for name in columns if not has_column(events, name)]
    if missing:
        raise missing_columns(events, missing)


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


def _inspect_root(path: str, record: DatasetRecord, access: Access) -> tuple[int, float | None, int | None, str]:
    with translated_errors(path, record.tree), open_root(path, access) as file:
        where = _tree_of(path, file, record)
        tree = file[where.name]
        if not hasattr(tree, "num_entries"):
            raise InputFileError(path, f"{record.tree!r} is not a tree", "Name the tree of events in the record.")
        entries, identity = int(tree.num_entries), root_identity(file)
        _require_whole(path, identity_size(identity), int(file.file.fEND))
        if record.kind == "data":
            return entries, None, None, identity
        if record.weights is not None:
            return entries, _flat_root_constant(path, tree, record), None, identity
        if where.physlite:
            generated = generated_events(path, file)
            return entries, generated.sum_weights, generated.events, identity
        if "Runs" not in file:
            return entries, None, None, identity
        runs = file["Runs"]
        names = set(runs.keys())
        for sumw, count in (("genEventSumw", "genEventCount"), ("genEventSumw_", "genEventCount_")):
            if sumw in names and count in names:
                sums = runs.arrays([sumw, count], library="np")
                return entries, float(np.sum(sums[sumw])), int(np.sum(sums[count])), identity
        return entries, None, None, identity


def _require_whole(path: str, size: int, end: int) -> None:
    """Refuse a ROOT file that is shorter than its header says, as ROOT does, even if what is lost is not needed."""
    if 0 < size < end:
        raise DamagedFileError(path, f"is truncated at {size} bytes: its header says {end}", "Download it again.")


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
