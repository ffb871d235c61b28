"""How the numbers of two results come to lie together, worked out once for each pair of structures."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from darkop_dist.histograms.packed.structure import (
    ACCUMULATORS,
    Axis,
    Branch,
    Cells,
    Joined,
    Node,
    Numbers,
    Plain,
    Structure,
    Wrapped,
    structure_of,
)

Places = npt.NDArray[np.int64]
_LONG_RUN = 12
_PLANS_MOST = 4096


class OnlyObjectsError(Exception):
    """Two structures that are added as objects: of different types or shapes."""


@dataclass(frozen=True)
class Move:
    """Where the numbers of one bucket go.

    Attributes:
        runs: (to, from, length) of neighbours that stay neighbours; used if ``places`` is None.
        places: otherwise the place of each number.
    """

    runs: tuple[tuple[int, int, int], ...]
    places: Places | None


@dataclass(frozen=True)
class Plan:
    """The sum of a first and a second structure.

    Attributes:
        structure: of the sum.
        grows: whether the numbers of the first have to move.
        first: by bucket, where the numbers of the first go, if it grows.
        second: by bucket, where the numbers of the second are added.
        relaid: by bucket, ranges of the sum that are histograms with new or reordered categories: boost-histogram adds
            both to zero there, which takes the sign from a negative zero.
        first_joined: the payload of the sum that each payload of the first belongs to.
        second_joined: the same for the second.
    """

    structure: Structure
    grows: bool
    first: Mapping[str, Move]
    second: Mapping[str, Move]
    relaid: Mapping[str, tuple[tuple[int, int], ...]]
    first_joined: tuple[int, ...]
    second_joined: tuple[int, ...]


_plans: OrderedDict[tuple[bytes, bytes], Plan | None] = OrderedDict()
_sums: WeakValueDictionary[bytes, Structure] = WeakValueDictionary()


def plan_of(first: Structure, second: Structure) -> Plan:
    """How to add the second to the first.

    Raises:
        OnlyObjectsError: they can only be added as objects.
    """
    pair = first.digest, second.digest
    if pair not in _plans:
        _plans[pair] = _plan(first, second)
        if len(_plans) > _PLANS_MOST:
            _plans.popitem(last=False)
    found = _plans[pair]
    if found is None:
        raise OnlyObjectsError
    return found


def _plan(first: Structure, second: Structure) -> Plan | None:
    layout = _Layout()
    try:
        root = layout.both(first.root, second.root)
    except OnlyObjectsError:
        return None
    structure = structure_of(root)
    structure = first if structure.digest == first.digest else _sums.setdefault(structure.digest, structure)
    grows = set(structure.sizes) != set(first.sizes) or any(
        not _stays(layout.first[name], size) for name, size in structure.sizes.items()
    )
    return Plan(
        structure,
        grows,
        {name: _move(layout.first[name]) for name in first.sizes} if grows else {},
        {name: _move(layout.second[name]) for name in second.sizes},
        {name: tuple(ranges) for name, ranges in layout.relaid.items()},
        _payloads(layout.first_joined),
        _payloads(layout.second_joined),
    )


@dataclass
class _Layout:
    """Walks both trees and notes, for each number of either, its place in the sum."""

    at: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[tuple[int, Places]]] = field(default_factory=lambda: defaultdict(list))
    second: dict[str, list[tuple[int, Places]]] = field(default_factory=lambda: defaultdict(list))
    relaid: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    first_joined: list[tuple[int, int]] = field(default_factory=list)
    second_joined: list[tuple[int, int]] = field(default_factory=list)
    joined: int = 0

    def both(self, one: Node, two: Node) -> Node:
        """The sum of two nodes."""
        if one == Plain(None):
            return self.alone(two, self.second, self.second_joined)
        if two == Plain(None):
            return self.alone(one, self.first, self.first_joined)
        match one, two:
            case Branch(), Branch() if (one.kind, one.factory) == (two.kind, two.factory):
                return self._branches(one, two)
            case Numbers(), Numbers() if (one.form, one.bucket, one.shape) == (two.form, two.bucket, two.shape):
                return self._placed(one, two)
            case Cells(), Cells() if (one.kind, one.storage, len(one.axes)) == (two.kind, two.storage, len(two.axes)):
                return self._histograms(one, two)
            case Joined(), Joined() if one.kind == two.kind:
                self.first_joined.append((one.index, self.joined))
                self.second_joined.append((two.index, self.joined))
                return self._payload(one)
            case Wrapped(), Wrapped() if (one.kind, one.about) == (two.kind, two.about):
                return replace(one, child=self.both(one.child, two.child))
        raise OnlyObjectsError

    def alone(self, node: Node, side: dict[str, list[tuple[int, Places]]], joined: list[tuple[int, int]]) -> Node:
        """A node that only one side has."""
        match node:
            case Branch():
                return replace(node, items=tuple((key, self.alone(child, side, joined)) for key, child in node.items))
            case Wrapped():
                return replace(node, child=self.alone(node.child, side, joined))
            case Joined():
                joined.append((node.index, self.joined))
                return self._payload(node)
            case Numbers() | Cells():
                side[node.bucket].append((node.start, np.arange(node.size) + self.at[node.bucket]))
                return self._advance(node)
        return node

    def _branches(self, one: Branch, two: Branch) -> Branch:
        others = dict(two.items)
        known = {key for key, _ in one.items}
        fresh = [(key, child) for key, child in two.items if key not in known]
        if fresh and one.kind in ACCUMULATORS:
            raise OnlyObjectsError
        items = []
        for key, child in one.items:
            if key in others:
                items.append((key, self.both(child, others[key])))
            else:
                items.append((key, self.alone(child, self.first, self.first_joined)))
        items += [(key, self.alone(child, self.second, self.second_joined)) for key, child in fresh]
        return replace(one, items=tuple(items))

    def _histograms(self, one: Cells, two: Cells) -> Node:
        merged = tuple(_merged_axis(a, b) for a, b in zip(one.axes, two.axes, strict=True))
        total = replace(one, axes=merged, variance_known=False)
        if one.axes == two.axes:
            return self._placed(replace(total, start=one.start), two)
        start, shape = self.at[one.bucket], total.shape
        for side, cells in ((self.first, one), (self.second, two)):
            bins = tuple(_bins(old, new) for old, new in zip(cells.axes, merged, strict=True))
            side[cells.bucket].append((cells.start, _cells(shape, bins) + start))
        self.relaid[one.bucket].append((start, start + total.size))
        return self._advance(total)

    def _placed(self, one: Numbers | Cells, two: Numbers | Cells) -> Node:
        places = np.arange(one.size) + self.at[one.bucket]
        self.first[one.bucket].append((one.start, places))
        self.second[two.bucket].append((two.start, places))
        return self._advance(one)

    def _advance(self, node: Numbers | Cells) -> Node:
        placed = replace(node, start=self.at[node.bucket])
        self.at[node.bucket] += node.size
        return placed

    def _payload(self, node: Joined) -> Joined:
        self.joined += 1
        return replace(node, index=self.joined - 1)


def _merged_axis(one: Axis, two: Axis) -> Axis:
    if one == two:
        return one
    same = (one.kind, one.options, one.about, one.detail) == (two.kind, two.options, two.about, two.detail)
    if not same or not one.grows_by_category or one.categories is None or two.categories is None:
        raise OnlyObjectsError
    categories = (*one.categories, *(name for name in two.categories if name not in set(one.categories)))
    return replace(one, categories=categories, extent=len(categories))


def _bins(old: Axis, new: Axis) -> tuple[int, ...] | None:
    """Where the categories of an axis are in the sum; None if the axis is the same there."""
    if old == new or old.categories is None or new.categories is None:
        return None
    place = {name: number for number, name in enumerate(new.categories)}
    return tuple(place[name] for name in old.categories)


@lru_cache(maxsize=64)
def _cells(shape: tuple[int, ...], bins: tuple[tuple[int, ...] | None, ...]) -> Places:
    """Places of cells in a histogram of a shape; the same for all observables with as many bins."""
    index = [
        np.arange(size) if one is None else np.array(one, np.int64) for size, one in zip(shape, bins, strict=False)
    ]
    return np.arange(np.prod(shape)).reshape(shape)[np.ix_(*index)].reshape(-1)


def _in_order(found: list[tuple[int, Places]]) -> Places:
    pieces = [places for _, places in sorted(found, key=lambda piece: piece[0])]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def _stays(found: list[tuple[int, Places]], size: int) -> bool:
    places = _in_order(found)
    return len(places) == size and bool((places == np.arange(size)).all())


def _move(found: list[tuple[int, Places]]) -> Move:
    places = _in_order(found)
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    if len(places) < _LONG_RUN * (len(breaks) + 1) and len(breaks):
        return Move((), places)
    starts = np.r_[0, breaks]
    lengths = np.diff(np.r_[starts, len(places)])
    runs = zip(places[starts].tolist() if len(places) else [], starts.tolist(), lengths.tolist(), strict=False)
    return Move(tuple(runs), None)


def _payloads(found: list[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(to for _, to in sorted(found))
