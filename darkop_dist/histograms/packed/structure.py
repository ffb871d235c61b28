"""What a packed result is made of, apart from its numbers: a tree whose leaves say where their numbers lie.

Numbers that add lie together by type, in *buckets*: one array of all float64, one of all int64, and so on. Two results
with the same structure are added with one numpy addition per bucket.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, TypeAlias

from darkop_dist.histograms.packed.plain import decode_plain, encode_plain

COMPONENTS = {"Double": 1, "Int64": 1, "AtomicInt64": 1, "Weight": 2, "Mean": 3, "WeightedMean": 4}
"""Storages of histograms, with the numbers per cell."""
ACCUMULATORS = ("coffea.dict_accumulator", "coffea.defaultdict_accumulator", "coffea.value_accumulator")
"""Their sums begin with an identity, and so do their new entries."""
_ADDED_ALIKE = "coffea.column_accumulator"


@dataclass(frozen=True)
class Branch:
    """A mapping; ``factory`` names what a defaultdict makes of a missing key."""

    kind: str
    factory: str | None
    items: tuple[tuple[Any, Node], ...]


@dataclass(frozen=True)
class Numbers:
    """Numbers that add; ``form`` is ``float``, ``int`` or ``complex`` (Python's), ``scalar`` or ``array`` (numpy's)."""

    form: str
    bucket: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Axis:
    """An axis of a histogram.

    Attributes:
        kind: name of its class.
        options: underflow, overflow, circular, growth.
        about: its metadata, as ``encode_plain`` writes them.
        extent: number of bins with flow.
        categories: of a category axis.
        detail: what else builds it: edges, or first bin and size.
    """

    kind: str
    options: tuple[bool, bool, bool, bool]
    about: str
    extent: int
    categories: tuple[str | int, ...] | None
    detail: str

    @property
    def grows_by_category(self) -> bool:
        """Whether sums take in the categories of both."""
        return self.categories is not None and self.options[3]


@dataclass(frozen=True)
class Cells:
    """A histogram; its cells lie in C order, components (such as value and variance) innermost."""

    kind: str
    about: str
    storage: str
    axes: tuple[Axis, ...]
    variance_known: bool
    bucket: str
    start: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins with flow along each axis, then components."""
        return (*(axis.extent for axis in self.axes), COMPONENTS[self.storage])

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Joined:
    """A value that does not add number by number; ``index`` says which of the separate payloads holds it."""

    kind: str
    index: int


@dataclass(frozen=True)
class Wrapped:
    """An object around one value: a value or column accumulator, candidates, score groups."""

    kind: str
    about: str
    child: Node


@dataclass(frozen=True)
class Sequence:
    """A list, tuple or set inside a separate payload."""

    kind: str
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Blob:
    """Bytes with a meaning, inside a separate payload."""

    kind: str
    about: str
    size: int
    start: int

    @property
    def bucket(self) -> str:
        """Bytes have a bucket of their own."""
        return BYTES


@dataclass(frozen=True)
class Plain:
    """A value that the structure holds itself: None anywhere; text, truth and whole numbers in a separate payload."""

    value: Any


BYTES = "bytes"
Node: TypeAlias = Branch | Numbers | Cells | Joined | Wrapped | Sequence | Blob | Plain


@dataclass(frozen=True)
class Structure:
    """A tree with its canonical text.

    Attributes:
        root: the tree.
        header: its canonical JSON; equal structures have equal headers.
        digest: SHA-256 of the header.
    """

    root: Node
    header: bytes = field(repr=False)
    digest: bytes

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Numbers per bucket, in order of bucket."""
        return dict(sorted(self._counts[0].items()))

    @cached_property
    def joined(self) -> int:
        """Number of separate payloads."""
        return self._counts[1]

    @cached_property
    def accumulates(self) -> bool:
        """Whether the first addition differs from those that follow."""
        return self._counts[2]

    @cached_property
    def _counts(self) -> tuple[Counter[str], int, bool]:
        sizes: Counter[str] = Counter()
        joined, accumulates, stack = 0, False, [self.root]
        while stack:
            node = stack.pop()
            match node:
                case Numbers() | Cells() | Blob():
                    sizes[node.bucket] += node.size
                case Joined():
                    joined += 1
                    accumulates |= node.kind.startswith("coffea.") and node.kind != _ADDED_ALIKE
                case Branch():
                    stack += [child for _, child in node.items]
                    accumulates |= node.kind in ACCUMULATORS
                case Wrapped():
                    stack.append(node.child)
                    accumulates |= node.kind in ACCUMULATORS
                case Sequence():
                    stack += node.items
        return sizes, joined, accumulates


def structure_of(root: Node) -> Structure:
    """A tree with its text."""
    header = json.dumps(_encode(root), separators=(",", ":"), allow_nan=False).encode()
    return Structure(root, header, sha256(header).digest())


@lru_cache(maxsize=256)
def structure_from(header: bytes) -> Structure:
    """The tree of a text that ``structure_of`` made.

    Raises:
        ValueError, TypeError, KeyError, IndexError: the text is not one.
    """
    return Structure(_decode(json.loads(header), Counter()), header, sha256(header).digest())


def _encode(node: Node) -> list[Any]:
    match node:
        case Branch():
            return ["d", node.kind, node.factory, [[encode_plain(key), _encode(child)] for key, child in node.items]]
        case Numbers():
            return ["n", node.form, node.bucket, list(node.shape)]
        case Cells():
            axes = [[a.kind, list(a.options), a.about, a.extent, a.categories, a.detail] for a in node.axes]
            return ["h", node.kind, node.about, node.storage, axes, node.variance_known, node.bucket]
        case Joined():
            return ["j", node.kind]
        case Wrapped():
            return ["w", node.kind, node.about, _encode(node.child)]
        case Sequence():
            return ["s", node.kind, [_encode(item) for item in node.items]]
        case Blob():
            return ["b", node.kind, node.about, node.size]
        case Plain():
            return ["p", encode_plain(node.value)]


def _decode(found: list[Any], at: Counter[str]) -> Node:
    letter, *rest = found
    node: Node
    match letter:
        case "d":
            kind, factory, items = rest
            return Branch(kind, factory, tuple((decode_plain(key), _decode(child, at)) for key, child in items))
        case "n":
            form, bucket, shape = rest
            node = Numbers(form, bucket, tuple(shape), at[bucket])
        case "h":
            kind, about, storage, axes, known, bucket = rest
            built = tuple(Axis(k, tuple(o), a, n, None if c is None else tuple(c), d) for k, o, a, n, c, d in axes)
            node = Cells(kind, about, storage, built, known, bucket, at[bucket])
        case "j":
            at["joined"] += 1
            return Joined(rest[0], at["joined"] - 1)
        case "w":
            return Wrapped(rest[0], rest[1], _decode(rest[2], at))
        case "s":
            return Sequence(rest[0], tuple(_decode(item, at) for item in rest[1]))
        case "b":
            node = Blob(rest[0], rest[1], rest[2], at[BYTES])
        case "p":
            return Plain(decode_plain(rest[0]))
        case _:
            raise ValueError(f"unknown node {letter!r}")
    at[node.bucket] += node.size
    return node
