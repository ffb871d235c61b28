"""Chunks of a ROOT tree as coffea's NanoEvents: the form is built once per kind of file, not once per chunk."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import awkward as ak
import uproot
from coffea.nanoevents import BaseSchema, NanoEventsFactory
from coffea.nanoevents.mapping import TrivialUprootOpener, UprootSourceMapping
from coffea.nanoevents.util import tuple_to_key

from darkop_dist.events.files import OpenFile
from darkop_dist.events.phases import READ, phase
from darkop_dist.events.source import ChunkSource

MOST_LAYOUTS = 16
_layouts: OrderedDict[Any, Layout] = OrderedDict()


@dataclass(frozen=True)
class Layout:
    """How a schema arranges the columns of a tree.

    Attributes:
        form: awkward's form of the events, without metadata of a chunk.
        behavior: coffea's methods of the objects.
        fields: fields of each collection by its name; empty for a plain column.
    """

    form: Any
    behavior: Any
    fields: dict[str, frozenset[str]]


@dataclass(frozen=True)
class _ChunkSchema:
    """What coffea's factory asks of a schema, for one chunk."""

    form: Any
    methods: Any

    def behavior(self) -> Any:
        return self.methods


class SourceMapping(UprootSourceMapping):  # type: ignore[misc]
    """coffea's mapping of columns, with those that a source can read taken from there."""

    source: ChunkSource | None = None
    layout: Layout | None = None
    made: Any = None

    def extract_column(self, columnhandle: Any, start: int, stop: int, allow_missing: Any, **options: Any) -> Any:
        """A column as an array; see coffea."""
        source = self.source
        branch = source.branch(columnhandle.name) if source is not None and columnhandle is not None else None
        if source is None or branch is None or allow_missing:
            with phase(READ):
                return super().extract_column(columnhandle, start, stop, allow_missing, **options)
        content = ak.contents.NumpyArray(source.column(branch.name))
        if branch.counter is None:
            return ak.Array(content)
        return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(source.offsets(branch.counter)), content))


def build_events(
    file: OpenFile, tree: str, schema: type[BaseSchema], start: int, stop: int, metadata: dict[str, Any]
) -> ak.Array:
    """NanoEvents of a range of entries; columns are read when they are touched."""
    opened = file.directory[tree]
    layout = layout_of(file, tree, schema)
    key = (str(opened.file.uuid), opened.object_path, f"{start}-{stop}")
    mapping = SourceMapping(TrivialUprootOpener({key[0]: opened.file.file_path}), start, stop, cache={}, virtual=True)
    mapping.preload_column_source(key[0], key[1], opened)
    mapping.source = ChunkSource(file, tree, start, stop)
    mapping.layout = layout
    parameters = {**layout.form.parameters, "metadata": {**metadata, **layout.form.parameters.get("metadata", {})}}
    chunk = _ChunkSchema(layout.form.copy(parameters=parameters), layout.behavior)
    events = NanoEventsFactory(chunk, mapping, tuple_to_key(key), mode="virtual").events()
    mapping.made = weakref.ref(events.layout)
    return events


def source_of(events: ak.Array) -> tuple[ChunkSource, Layout] | None:
    """Where the columns of events come from; None unless these are the events of a chunk as they were opened."""
    factory = (events.attrs or {}).get("@events_factory")
    mapping = getattr(factory, "_mapping", None)
    if not isinstance(mapping, SourceMapping) or mapping.source is None or mapping.layout is None:
        return None
    if mapping.made is None or mapping.made() is not events.layout:
        return None  # a selection of the events, or a field was set
    return mapping.source, mapping.layout


def layout_of(file: OpenFile, tree: str, schema: type[BaseSchema]) -> Layout:
    """The arrangement of a tree's columns, from an earlier file with the same columns if there was one."""
    key = ("layout", tree, schema)
    if key not in file.derived:
        opened = file.directory[tree]
        signature = _signature(opened)
        shared = None if signature is None else (signature, tree, schema)
        layout = _layouts.get(shared) if shared is not None else None
        if layout is None:
            layout = _build_layout(opened, schema)
        if shared is not None:
            _layouts[shared] = layout
            while len(_layouts) > MOST_LAYOUTS:
                _layouts.popitem(last=False)
        file.derived[key] = layout
    found: Layout = file.derived[key]
    return found


def _build_layout(tree: Any, schema: type[BaseSchema]) -> Layout:
    base = UprootSourceMapping._extract_base_form(tree)  # noqa: SLF001  # what from_root does for each chunk
    base["typenames"] = tree.typenames()
    base["parameters"]["metadata"] = {}
    form = ak.forms.from_dict(schema(base).form)
    fields = {}
    for name, content in zip(form.fields, form.contents, strict=True):
        inner = content.content if isinstance(content, ak.forms.ListOffsetForm) else content
        fields[name] = frozenset(inner.fields)
    return Layout(form, schema.behavior(), fields)


def _signature(tree: Any) -> str | None:
    """What the form depends on; None for trees with more than plain branches."""
    if not isinstance(tree, uproot.TTree):
        return None
    digest = hashlib.sha256(repr((tree.name, tree.title)).encode())
    for branch in tree.branches:
        leaves = branch.member("fLeaves")
        if branch.classname != "TBranch" or branch.branches:
            return None
        parts = [branch.name, branch.title]
        for leaf in leaves:
            count = leaf.member("fLeafCount")
            about = (leaf.classname, leaf.member("fName"), leaf.member("fTitle"), leaf.member("fLen"))
            counted = None if count is None else count.member("fName")
            parts.append(repr((*about, leaf.member("fLenType"), leaf.member("fIsUnsigned"), counted)))
        digest.update("\0".join(parts).encode())
    return digest.hexdigest()
