"""Chunks of a ROOT tree as coffea's NanoEvents: the form is built once per kind of file, not once per chunk."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import awkward as ak
import uproot
from coffea.nanoevents import BaseSchema, NanoEventsFactory
from coffea.nanoevents.mapping import TrivialUprootOpener, UprootSourceMapping
from coffea.nanoevents.util import tuple_to_key

from darkop_dist.events.files import OpenFile
from darkop_dist.events.phases import READ, phase
from darkop_dist.events.physlite.layout import PhysliteSchema, chunk_source, physlite_contents
from darkop_dist.events.physlite.mapping import PhysliteMapping
from darkop_dist.events.source import ChunkSource, ColumnSource

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
class ChunkForm:
    """What coffea's factory asks of a schema, for one chunk.

    Attributes:
        form: awkward's form of the events.
        methods: coffea's methods of the objects.
    """

    form: Any
    methods: Any

    def behavior(self) -> Any:
        """Methods of the objects."""
        return self.methods


class SourceMapping(UprootSourceMapping):  # type: ignore[misc]
    """coffea's mapping of columns, with those that a source can give taken from there."""

    source: ColumnSource | None = None
    layout: Layout | None = None
    made: Any = None

    def get_column_handle(self, columnsource: Any, name: str, allow_missing: Any) -> Any:
        """A column as the source gives it, or what uproot reads it with; see coffea."""
        content = self.source.content(name) if self.source is not None and not allow_missing else None
        return super().get_column_handle(columnsource, name, allow_missing) if content is None else content

    def extract_column(self, columnhandle: Any, start: int, stop: int, allow_missing: Any, **options: Any) -> Any:
        """A column as an array; see coffea."""
        if isinstance(columnhandle, ak.contents.Content):
            return ak.Array(columnhandle)
        with phase(READ):
            return super().extract_column(columnhandle, start, stop, allow_missing, **options)


def build_events(
    file: OpenFile, tree: str, schema: type[BaseSchema], start: int, stop: int, metadata: dict[str, Any]
) -> ak.Array:
    """NanoEvents of a range of entries; columns are read when they are touched."""
    return _assembled(layout_of(file, tree, schema), ChunkSource(file, tree, start, stop), file, tree, metadata)


def build_physlite(
    file: OpenFile, tree: str, mapping: PhysliteMapping, start: int, stop: int, metadata: dict[str, Any]
) -> ak.Array:
    """NanoEvents of a range of entries of PHYSLITE; columns are read and turned into NanoAOD's on touch."""
    variables, contents = physlite_contents(file, tree, mapping)
    shared = (contents.signature(), tree, PhysliteSchema)
    layout = _shared_layout(shared, lambda: _layout(PhysliteSchema, contents.form()))
    return _assembled(layout, chunk_source(variables, contents, start, stop), file, tree, metadata)


def _assembled(layout: Layout, source: ColumnSource, file: OpenFile, tree: str, metadata: dict[str, Any]) -> ak.Array:
    opened, start, stop = file.directory[tree], source.start, source.stop
    # an RNTuple has no path of its own
    key = (str(opened.file.uuid), getattr(opened, "object_path", f"/{tree}"), f"{start}-{stop}")
    mapping = SourceMapping(TrivialUprootOpener({key[0]: opened.file.file_path}), start, stop, cache={}, virtual=True)
    mapping.preload_column_source(key[0], key[1], opened)
    mapping.source = source
    mapping.layout = layout
    parameters = {**layout.form.parameters, "metadata": {**metadata, **layout.form.parameters.get("metadata", {})}}
    chunk = ChunkForm(layout.form.copy(parameters=parameters), layout.behavior)
    events = NanoEventsFactory(chunk, mapping, tuple_to_key(key), mode="virtual").events()
    mapping.made = weakref.ref(events.layout)
    return events


def source_of(events: ak.Array) -> tuple[ColumnSource, Layout] | None:
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
        if signature is None:
            file.derived[key] = _build_layout(opened, schema)
        else:
            shared = (signature, tree, schema)
            file.derived[key] = _shared_layout(shared, lambda: _build_layout(opened, schema))
    found: Layout = file.derived[key]
    return found


def _shared_layout(key: Any, build: Callable[[], Layout]) -> Layout:
    """The layout of files that are alike, built for the first of them."""
    layout = _layouts.get(key)
    if layout is None:
        layout = build()
    _layouts[key] = layout
    while len(_layouts) > MOST_LAYOUTS:
        _layouts.popitem(last=False)
    return layout


def _build_layout(tree: Any, schema: type[BaseSchema]) -> Layout:
    base = UprootSourceMapping._extract_base_form(tree)  # noqa: SLF001  # what from_root does for each chunk
    base["typenames"] = tree.typenames()
    base["parameters"]["metadata"] = {}
    return _layout(schema, base)


def _layout(schema: type[BaseSchema], base: dict[str, Any]) -> Layout:
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
