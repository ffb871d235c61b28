"""Events of several ROOT files as one array whose columns are read, from all of the files, when they are touched."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import uproot
from coffea.nanoevents import BaseSchema, NanoEventsFactory
from coffea.nanoevents.mapping import TrivialUprootOpener
from coffea.nanoevents.util import tuple_to_key

from darkop_dist.config.access import Access
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.files import OpenFile, collector_paused, open_file
from darkop_dist.events.nanoevents import ChunkForm, SourceMapping, layout_of
from darkop_dist.events.phases import READ, phase
from darkop_dist.events.read import OpenDataSchema, translated_errors
from darkop_dist.events.remote import DEFAULT
from darkop_dist.events.source import ChunkSource


@dataclass(frozen=True)
class Part:
    """The first events of a file.

    Attributes:
        path: local path or address of a ROOT file.
        events: how many.
    """

    path: str
    events: int


class JoinedMapping(SourceMapping):
    """coffea's mapping of columns, with each column put together from all files."""

    sources: tuple[ChunkSource, ...] = ()
    singles: tuple[SourceMapping, ...] = ()

    def extract_column(self, columnhandle: Any, start: int, stop: int, allow_missing: Any, **options: Any) -> Any:
        """A column of all files; see coffea."""
        if columnhandle is None:
            return super().extract_column(columnhandle, start, stop, allow_missing, **options)
        name, parts = columnhandle.name, []
        for single, source in zip(self.singles, self.sources, strict=True):
            tree = source.file.directory[source.tree]
            if name not in tree:
                told = f"has no branch {name}, which the first file of the dataset has"
                raise InputFileError(source.file.path, told, "Load the files one by one.")
            parts.append(single.extract_column(tree[name], source.start, source.stop, allow_missing, **options))
        return ak.concatenate(parts)


def open_joined(parts: Sequence[Part], record: DatasetRecord, access: Access = DEFAULT) -> ak.Array:
    """Events of several ROOT files, in the order of the files.

    Collections and columns are those of the first file. The files stay open as long as the events live.

    Args:
        parts: the files, each with at least one event.
        record: the dataset that they belong to.
        access: how remote files are reached.

    Returns:
        NanoEvents with the metadata ``dataset``, ``filename`` (the first), ``filenames`` and ``is_data``.

    Raises:
        InputFileError: a file is missing, truncated or corrupt, or has no tree of that name; later, when a column is
            touched, a file does not have it.
    """
    metadata: dict[str, Any] = {
        "dataset": record.name,
        "filename": parts[0].path,
        "filenames": [part.path for part in parts],
        "is_data": record.kind == "data",
        "experiment": record.experiment,
        "format": record.format,
        "weights": record.weights.model_dump() if record.weights else None,
    }
    files = []
    for part in parts:
        with phase(READ), translated_errors(part.path, record.tree), collector_paused():
            files.append(open_file(part.path, access))
            files[-1].directory[record.tree]
    schema = OpenDataSchema if record.format == "nanoaod" else BaseSchema
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea warns of absent cross references, which open data often lack
        return _build(files, [part.events for part in parts], record.tree, schema, metadata)


def _build(
    files: Sequence[OpenFile], counts: Sequence[int], tree: str, schema: type[BaseSchema], metadata: dict[str, Any]
) -> ak.Array:
    first = files[0].directory[tree]
    if not isinstance(first, uproot.TTree):
        raise InputFileError(files[0].path, f"{tree!r} is no TTree", "Load such files one by one.")
    layout = layout_of(files[0], tree, schema)
    key = (str(first.file.uuid), first.object_path, f"0-{sum(counts)}")
    mapping = JoinedMapping(TrivialUprootOpener({key[0]: first.file.file_path}), 0, sum(counts), cache={}, virtual=True)
    mapping.preload_column_source(key[0], key[1], first)
    mapping.sources = tuple(ChunkSource(file, tree, 0, count) for file, count in zip(files, counts, strict=True))
    mapping.singles = tuple(_single(source) for source in mapping.sources)
    parameters = {**layout.form.parameters, "metadata": {**metadata, **layout.form.parameters.get("metadata", {})}}
    chunk = ChunkForm(layout.form.copy(parameters=parameters), layout.behavior)
    return NanoEventsFactory(chunk, mapping, tuple_to_key(key), mode="virtual").events()


def _single(source: ChunkSource) -> SourceMapping:
    opened = source.file.directory[source.tree]
    opener = TrivialUprootOpener({str(opened.file.uuid): opened.file.file_path})
    mapping = SourceMapping(opener, source.start, source.stop, cache={}, virtual=True)
    mapping.source = source
    return mapping
