"""Histograms as structure and numbers, and back: equal in every axis, option and bit."""

# ruff: noqa: SLF001  # the exact state of an axis has no public name in boost-histogram

from __future__ import annotations

import json
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import boost_histogram as bh
import hist
import numpy as np
import numpy.typing as npt

from darkop_dist.histograms.packed.plain import decode_plain, encode_plain
from darkop_dist.histograms.packed.structure import Axis, Cells
from darkop_dist.histograms.state import exact_key, storage_of

KINDS = {"hist.Hist": hist.Hist, "hist.NamedHist": hist.NamedHist, "boost_histogram.Histogram": bh.Histogram}
STORAGES = {
    name: getattr(bh.storage, name) for name in ("Double", "Int64", "AtomicInt64", "Weight", "Mean", "WeightedMean")
}
ADDABLE = ("Double", "Int64", "AtomicInt64", "Weight")
"""Storages whose sum is the sum of the numbers in the cells."""
KNOWN = "_variance_known"
_DESCRIBED_MOST = 512
_described: OrderedDict[tuple[Any, ...], Cells] = OrderedDict()


def kind_of_histogram(value: Any) -> str | None:
    """Name of the class, or None if the value is no histogram that can be packed."""
    return next((name for name, kind in KINDS.items() if type(value) is kind), None)


def describe(histogram: Any, kind: str) -> Cells:
    """The structure of a histogram whose numbers come first; worked out once for equal histograms.

    Raises:
        TypeError: a storage, transform or piece of metadata cannot be written; the message says which.
    """
    key = exact_key(histogram)
    found = None if key is None else _described.get(key)
    if found is None:
        found = _describe(histogram, kind)
    if key is not None:
        _described[key] = found
        if len(_described) > _DESCRIBED_MOST:
            _described.popitem(last=False)
    return found


def _describe(histogram: Any, kind: str) -> Cells:
    storage = storage_of(histogram)
    if storage not in STORAGES:
        raise TypeError(f"storage {storage}")
    axes = tuple(_describe_axis(axis) for axis in histogram.axes)
    about = dict(histogram.__dict__)
    known = bool(about.pop(KNOWN, True))
    bucket = "<i8" if storage in ("Int64", "AtomicInt64") else "<f8"
    cells = Cells(kind, _text(about), storage, axes, known, bucket, 0)
    rebuilt = _empty(kind, cells.about, storage, axes)
    same = all(a == b and type(a._ax) is type(b._ax) for a, b in zip(rebuilt.axes, histogram.axes, strict=True))
    if not same or {**rebuilt.__dict__, KNOWN: known} != {**histogram.__dict__, KNOWN: known}:
        raise TypeError("an axis that does not come back the same")
    return cells


def rebuild(cells: Cells, numbers: npt.NDArray[Any]) -> Any:
    """The histogram of a structure and its numbers."""
    histogram = _empty(cells.kind, cells.about, cells.storage, cells.axes).copy()
    view = np.asarray(histogram.view(flow=True))
    view[...] = numbers.view(view.dtype).reshape(view.shape)
    setattr(histogram, KNOWN, cells.variance_known)
    return histogram


@lru_cache(maxsize=512)
def _empty(kind: str, about: str, storage: str, axes: tuple[Axis, ...]) -> Any:
    content = bh.Histogram(*(_build_axis(axis) for axis in axes), storage=STORAGES[storage]())
    histogram = KINDS[kind].__new__(KINDS[kind])
    histogram.__setstate__((0, {**decode_plain(json.loads(about)), KNOWN: True, "_hist": content._hist}))
    return histogram


def _text(about: dict[str, Any]) -> str:
    try:
        return json.dumps(encode_plain(about), separators=(",", ":"))
    except TypeError as error:
        raise TypeError(f"metadata of type {error}") from None


def _describe_axis(axis: Any) -> Axis:
    kind, traits = type(axis).__name__, axis.traits
    categories: tuple[str | int, ...] | None = None
    detail: list[Any] = []
    match kind:
        case "StrCategory":
            categories = tuple(str(name) for name in axis)
        case "IntCategory":
            categories = tuple(int(number) for number in axis)
        case "Variable":
            detail = [float(edge).hex() for edge in axis.edges]
        case "Integer":
            detail = [int(axis._ax.__getstate__()[-1]), axis.size]
        case "Regular":
            low, width = axis._ax.__getstate__()[-2:]
            detail = [axis.size, float(low).hex(), float(width).hex(), _name_transform(axis.transform)]
            detail += [float(axis.edges[0]).hex(), float(axis.edges[-1]).hex()]
        case "Boolean":
            pass
        case _:
            raise TypeError(f"axis {kind}")
    options = (traits.underflow, traits.overflow, traits.circular, traits.growth)
    return Axis(kind, options, _text(dict(axis.__dict__)), axis.extent, categories, json.dumps(detail))


def _name_transform(transform: Any) -> str | list[Any] | None:
    if transform is None:
        return None
    if isinstance(transform, bh.axis.transform.Pow):
        return ["pow", float(transform.power).hex()]
    for name in ("log", "sqrt"):
        if transform == getattr(bh.axis.transform, name):
            return name
    raise TypeError("a transform other than log, sqrt and Pow")


def _build_axis(axis: Axis) -> Any:
    about = decode_plain(json.loads(axis.about))
    detail = json.loads(axis.detail)
    underflow, overflow, circular, growth = axis.options
    options = {"underflow": underflow, "overflow": overflow, "circular": circular, "growth": growth}
    match axis.kind:
        case "StrCategory":
            return bh.axis.StrCategory(axis.categories, growth=growth, overflow=overflow, __dict__=about)
        case "IntCategory":
            return bh.axis.IntCategory(axis.categories, growth=growth, overflow=overflow, __dict__=about)
        case "Variable":
            return bh.axis.Variable([float.fromhex(edge) for edge in detail], **options, __dict__=about)
        case "Integer":
            return bh.axis.Integer(detail[0], detail[0] + detail[1], **options, __dict__=about)
        case "Regular":
            return _build_regular(detail, options, about)
        case "Boolean":
            return bh.axis.Boolean(__dict__=about)
    raise ValueError(f"unknown axis {axis.kind!r}")


def _build_regular(detail: list[Any], options: dict[str, bool], about: dict[str, Any]) -> Any:
    size, low, width, transform, first, last = detail
    named: Any = None
    if isinstance(transform, list):
        named = bh.axis.transform.Pow(float.fromhex(transform[1]))
    elif transform:
        named = {"log": bh.axis.transform.log, "sqrt": bh.axis.transform.sqrt}[transform]
    keywords: dict[str, Any] = dict(options, transform=named)
    axis = bh.axis.Regular(size, float.fromhex(first), float.fromhex(last), **keywords, __dict__=about)
    # The upper edge is computed as low + width, and low + width - low need not be width again in the last bit.
    state = (*axis._ax.__getstate__()[:-2], float.fromhex(low), float.fromhex(width))
    kind: Any = type(axis._ax)
    exact = kind.__new__(kind)
    exact.__setstate__(state)
    axis._ax = exact
    axis.__dict__ = exact.raw_metadata
    return axis
