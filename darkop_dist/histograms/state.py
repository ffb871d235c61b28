"""The cells of a histogram as one array, read and written by what pickling does: a view costs ten times as much.

For each view numpy parses the type of its cells anew, and for each new histogram boost-histogram looks for the classes
of its axes and storage among all subclasses; with many observables that is as much as filling them.
"""

# ruff: noqa: SLF001  # the state of a histogram has no public name in boost-histogram

from __future__ import annotations

from typing import Any

import boost_histogram as bh
import hist
import numpy as np
import numpy.typing as npt


def storage_of(histogram: bh.Histogram[Any]) -> str:
    """Name of the histogram's storage, such as ``Weight``."""
    kind: Any = type(histogram._hist)
    return "".join(word.title() for word in kind._storage_type.__name__.split("_"))


def numbers_of(histogram: bh.Histogram[Any]) -> npt.NDArray[Any]:
    """All cells with flow, in C order, components innermost; one-dimensional."""
    if storage_of(histogram) != "Weight":
        view = np.ascontiguousarray(np.asarray(histogram.view(flow=True)))
        return view.view(np.float64 if view.dtype.names else view.dtype).reshape(-1)
    stored = histogram._hist.__getstate__()[-1]
    extents = [histogram._hist.axis(at).extent for at in range(len(histogram.axes))]
    return np.asarray(stored.reshape(*reversed(extents), 2).transpose(*reversed(range(len(extents))), -1)).reshape(-1)


def exact_key(histogram: bh.Histogram[Any]) -> tuple[Any, ...] | None:
    """What two histograms share only if class, storage, axes and labels are the same to the last bit.

    Returns:
        None for axes other than bin edges and named categories, and for metadata other than text.
    """
    parts: list[Any] = [type(histogram), type(histogram._hist), *histogram.__dict__.items()]
    known = {type(value) for value in histogram.__dict__.values()} <= {str, bool, type(None)}
    for axis in histogram.axes:
        *state, _ = axis._ax.__getstate__()
        numbers = [part.tobytes() if isinstance(part, np.ndarray) else part for part in state]
        known &= type(axis).__name__ in ("Variable", "StrCategory")
        known &= all(type(text) is str for text in axis.__dict__.values())
        parts += [type(axis._ax), *numbers, *axis.__dict__.items()]
    return tuple(parts) if known else None


def with_numbers(template: hist.Hist, numbers: npt.NDArray[np.float64]) -> hist.Hist:
    """A histogram of weights with the axes of another and cells of its own.

    Args:
        template: a histogram with storage ``Weight``; it stays as it is.
        numbers: sums of weights and of squared weights, of the shape of the axes with flow and then 2.
    """
    *head, _ = template._hist.__getstate__()
    own = [dict(part) if type(part) is dict else part for part in head]  # labels may be changed in one of them alone
    stored = np.ascontiguousarray(numbers.transpose(*reversed(range(numbers.ndim - 1)), -1)).reshape(-1)
    inner: Any = type(template._hist)
    outer: Any = type(template)
    content = inner.__new__(inner)
    content.__setstate__((*own, stored))
    made = outer.__new__(outer)
    made.__dict__.update(template.__dict__)
    made._hist = content
    axes = [type(axis)._convert_cpp(content.axis(at)) for at, axis in enumerate(template.axes)]
    made.axes = type(template.axes)(axes)
    return made
