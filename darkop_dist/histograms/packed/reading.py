"""From a packed result back to the Python object."""

from __future__ import annotations

import builtins
import importlib
from collections import OrderedDict, defaultdict
from typing import Any

from darkop_dist.histograms.candidates import Candidates
from darkop_dist.histograms.groups import ScoreGroups
from darkop_dist.histograms.packed import cells
from darkop_dist.histograms.packed.blobs import value_of
from darkop_dist.histograms.packed.container import Packed, from_raw_bytes
from darkop_dist.histograms.packed.structure import (
    Blob,
    Branch,
    Cells,
    Joined,
    Node,
    Numbers,
    Plain,
    Sequence,
    Wrapped,
)
from darkop_dist.histograms.packed.writing import FACTORIES

_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_BUILTINS = set(FACTORIES.values())
_COFFEA = (
    "dict_accumulator", "defaultdict_accumulator", "value_accumulator", "column_accumulator", "list_accumulator",
    "set_accumulator",
)  # fmt: skip


def unpack(packed: Packed) -> Any:
    """The result that was packed, equal to it in types, order, options and bits."""
    return read_node(packed.structure.root, packed)


def read_payload(payload: bytes | memoryview) -> Any:
    """The value of a separate payload."""
    return unpack(from_raw_bytes(payload))


def read_node(node: Node, packed: Packed) -> Any:
    """The value of one node of a packed result."""
    match node:
        case Branch():
            return _branch(node, packed)
        case Numbers():
            return _numbers(node, packed)
        case Cells():
            return cells.rebuild(node, packed.numbers[node.bucket][node.start : node.start + node.size])
        case Joined():
            return read_payload(packed.joined[node.index])
        case Wrapped():
            return _wrapped(node, packed)
        case Sequence():
            kind = _SEQUENCES.get(node.kind) or _coffea(node.kind)
            return kind(read_node(item, packed) for item in node.items)
        case Blob():
            content = packed.numbers[node.bucket][node.start : node.start + node.size]
            return value_of(node.kind, node.about, content)
        case Plain():
            return node.value


def _branch(node: Branch, packed: Packed) -> Any:
    items = [(key, read_node(child, packed)) for key, child in node.items]
    factory = None if node.factory is None else _factory(node.factory)
    match node.kind:
        case "dict":
            return dict(items)
        case "OrderedDict":
            return OrderedDict(items)
        case "defaultdict":
            return defaultdict(factory, items)
        case "coffea.defaultdict_accumulator":
            return _coffea(node.kind)(factory, items)
    return _coffea(node.kind)(items)


def _numbers(node: Numbers, packed: Packed) -> Any:
    found = packed.numbers[node.bucket][node.start : node.start + node.size]
    if node.form == "array":
        return found.reshape(node.shape).copy()
    return found[0] if node.form == "scalar" else found[0].item()


def _wrapped(node: Wrapped, packed: Packed) -> Any:
    child = read_node(node.child, packed)
    match node.kind:
        case "candidates":
            return Candidates(child, int(node.about))
        case "score groups":
            return ScoreGroups(child)
        case "coffea.column_accumulator":
            return _coffea(node.kind)(child)
    made = _coffea(node.kind)(_factory(node.about))
    made.value = child
    return made


def _factory(name: str) -> Any:
    if name in _BUILTINS:
        return getattr(builtins, name)
    return {"defaultdict": defaultdict, "OrderedDict": OrderedDict}.get(name) or _coffea(name)


def _coffea(kind: str) -> Any:
    name = kind.removeprefix("coffea.")
    if name not in _COFFEA:
        raise ValueError(f"unknown kind {kind!r}")
    return getattr(importlib.import_module("coffea.processor.accumulator"), name)
