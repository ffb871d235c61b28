"""Adding two results as Python objects: the rule that the fast way must equal, and its way out for unusual parts.

The rule is coffea's ``accumulate``; besides, None takes the other's value, as in ``merge_outputs``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, MutableSet
from typing import Any

import numpy as np

from darkop_dist.errors import MergeError


def add_objects(first: Any, second: Any, *, begins: bool, path: str = "") -> Any:
    """The sum of two results, or of two values inside.

    Args:
        first: may be changed; not to be used afterwards.
        second: stays as it is, but the sum may hold parts of it.
        begins: whether this is the first addition of a fold; coffea's accumulators then begin with their identity.
        path: where the values stand, for an error.

    Raises:
        MergeError: the two cannot be added.
    """
    if first is None:
        return second
    if second is None:
        return first
    if isinstance(first, Mapping) and isinstance(second, Mapping) and not _adds(first):
        return _add_mappings(first, second, begins=begins, path=path)
    if isinstance(first, list) and isinstance(second, list):
        # Not operator.iadd: coffea's list_accumulator breaks when it is added to a list that it became itself.
        return [*first, *second] if begins else _extended(first, second)
    try:
        if isinstance(first, MutableSet) and not _adds(first):
            first |= second
            return first
        with np.errstate(all="ignore"):
            if not begins and type(first).__module__ == "coffea.processor.accumulator":
                first += second
                return first
            return first + second
    except Exception as error:
        raise MergeError(f"output{path}", _name(first), _name(second), str(error)) from error


def _add_mappings(first: Any, second: Any, *, begins: bool, path: str) -> Any:
    merged: MutableMapping[Any, Any] = copy.copy(first)
    for key, value in second.items():
        if key in first:
            merged[key] = add_objects(first[key], value, begins=begins, path=f"{path}[{key!r}]")
        else:
            merged[key] = value
    return merged


def _adds(value: Any) -> bool:
    return hasattr(type(value), "__add__")


def _extended(first: list[Any], second: list[Any]) -> list[Any]:
    first.extend(second)
    return first


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
