"""Adding many packed results: one numpy addition per bucket where their structures fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.histograms.packed.container import Packed, dtype_of
from darkop_dist.histograms.packed.joining import Pending
from darkop_dist.histograms.packed.layout import Move, OnlyObjectsError, Plan, plan_of
from darkop_dist.histograms.packed.objects import add_objects
from darkop_dist.histograms.packed.reading import unpack
from darkop_dist.histograms.packed.structure import Structure
from darkop_dist.histograms.packed.writing import pack

BATCH_BYTES = 32 << 20
_PATIENCE = 2


def merge(parts: Iterable[Packed], *, batch_bytes: int = BATCH_BYTES) -> Packed | None:
    """The sum of results, added from left to right.

    It equals, to the last bit, what ``merge_outputs`` (for the outputs of this package) or coffea's ``accumulate`` make
    of the unpacked results in the same order; only the sign and payload of a NaN that a sum yields are the machine's.

    Args:
        parts: read one at a time; besides the sum, one part and ``batch_bytes`` of candidates, columns and the like are
            held.
        batch_bytes: how much of what does not add number by number is collected before it is joined.

    Returns:
        The sum, or None if there are no parts. A single part is given back as it is.

    Raises:
        MergeError: two results cannot be added, such as histograms with different bins.
    """
    total: _Sum | None = None
    for part in parts:
        if total is None:
            total = _Sum(part, batch_bytes)
        else:
            total.add(part)
    return None if total is None else total.packed()


class _Sum:
    """What is added so far: numbers by bucket, and payloads that wait to be joined; or an object, after misfits."""

    def __init__(self, part: Packed, batch_bytes: int) -> None:
        self._batch_bytes = batch_bytes
        self._parts = 1
        self._misfits = 0
        self._begin(part)

    def _begin(self, part: Packed) -> None:
        self._first: Packed | None = part
        self._object: Any = None
        self._structure: Structure = part.structure
        self._numbers: dict[str, npt.NDArray[Any]] = {}
        self._pending = [Pending(payload) for payload in part.joined]
        self._relaid: set[tuple[str, int, int]] = set()
        self._own = False
        self._bound = 0

    def add(self, part: Packed) -> None:
        """Add one more."""
        try:
            if self._misfits >= _PATIENCE or (self._parts == 1 and self._accumulates(part)):
                raise OnlyObjectsError  # noqa: TRY301  # one way out for all misfits
            plan = plan_of(self._structure, part.structure)
            self._add_numbers(plan, part)
        except OnlyObjectsError:
            self._add_object(part)
        self._parts += 1

    def packed(self) -> Packed:
        """The sum."""
        if self._misfits >= _PATIENCE:
            return pack(self._object)
        if self._first is not None:
            return self._first
        return Packed(self._structure, self._numbers, tuple(pending.payload() for pending in self._pending))

    def _accumulates(self, part: Packed) -> bool:
        return self._structure.accumulates or part.structure.accumulates

    def _add_numbers(self, plan: Plan, part: Packed) -> None:
        numbers = self._moved(plan)
        if "int" in plan.second:
            self._check_overflow(numbers["int"], part.numbers["int"])
        for name, ranges in plan.relaid.items():
            for start, stop in ranges:
                if (name, start, stop) not in self._relaid:
                    numbers[name][start:stop] += 0
                    self._relaid.add((name, start, stop))
        with np.errstate(all="ignore"):
            for name, move in plan.second.items():
                _add_at(numbers[name], move, part.numbers[name])
        self._join(plan, part)
        self._first, self._structure, self._numbers, self._own = None, plan.structure, numbers, True

    def _moved(self, plan: Plan) -> dict[str, npt.NDArray[Any]]:
        numbers = self._numbers if self._first is None else dict(self._first.numbers)
        if not plan.grows:
            return numbers if self._own else {name: array.copy() for name, array in numbers.items()}
        moved = {name: _neutral(dtype_of(name), size) for name, size in plan.structure.sizes.items()}
        for name, move in plan.first.items():
            _put_at(moved[name], move, numbers[name])
        self._relaid = set()
        return moved

    def _join(self, plan: Plan, part: Packed) -> None:
        pending = [Pending() for _ in range(plan.structure.joined)]
        for to, waiting in zip(plan.first_joined, self._pending, strict=True):
            pending[to] = waiting
        for to, payload in zip(plan.second_joined, part.joined, strict=True):
            pending[to].add(payload)
        self._pending = pending
        if sum(one.nbytes for one in pending) > self._batch_bytes:
            for one in pending:
                one.reduce()

    def _check_overflow(self, total: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> None:
        """Python's whole numbers have no end: above 2^62 they are added as objects."""
        if self._bound == 0:
            self._bound = _largest(total)
        self._bound += _largest(numbers)
        if self._bound >= 1 << 62:
            self._bound = _largest(total) + _largest(numbers)
            if self._bound >= 1 << 62:
                raise OnlyObjectsError

    def _add_object(self, part: Packed) -> None:
        if self._misfits < _PATIENCE:
            self._object = unpack(self.packed())
        self._object = add_objects(self._object, unpack(part), begins=self._parts == 1)
        self._misfits += self._parts > 1
        if self._misfits < _PATIENCE:
            self._begin(pack(self._object))
            self._object = None


def _neutral(dtype: np.dtype[Any], size: int) -> npt.NDArray[Any]:
    """What leaves any number as it is when added, negative zero included."""
    zero: Any = {"f": -0.0, "c": complex(-0.0, -0.0)}.get(dtype.kind, 0)
    return np.full(size, zero, dtype)


def _add_at(total: npt.NDArray[Any], move: Move, numbers: npt.NDArray[Any]) -> None:
    if move.places is not None:
        total[move.places] += numbers
        return
    for to, start, length in move.runs:
        total[to : to + length] += numbers[start : start + length]


def _put_at(total: npt.NDArray[Any], move: Move, numbers: npt.NDArray[Any]) -> None:
    if move.places is not None:
        total[move.places] = numbers
        return
    for to, start, length in move.runs:
        total[to : to + length] = numbers[start : start + length]


def _largest(numbers: npt.NDArray[Any]) -> int:
    return int(np.abs(numbers).max(initial=0))
