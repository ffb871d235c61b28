"""Small Python values as JSON that gives them back exactly: keys, metadata, texts."""

from __future__ import annotations

from typing import Any

import numpy as np


def encode_plain(value: Any) -> Any:
    """A value as JSON: None, truth, integers and text as they are, the rest as a list that begins with its type.

    Raises:
        TypeError: the value is, or holds, something else; the message names its type.
    """
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) < 1 << 63 else ["int", hex(value)]
    if kind is float:
        return ["nan"] if value != value else ["float", value.hex()]  # noqa: PLR0124  # only NaN differs from itself
    if kind is np.str_:
        return ["np.str_", str(value)]
    if kind is np.int64:
        return ["np.int64", int(value)]
    if kind is bytes:
        return ["bytes", value.hex()]
    if kind in (tuple, list):
        return [kind.__name__, [encode_plain(item) for item in value]]
    if kind is dict:
        return ["dict", [[encode_plain(key), encode_plain(item)] for key, item in value.items()]]
    raise TypeError(f"{kind.__module__}.{kind.__qualname__}")


def decode_plain(found: Any) -> Any:
    """What ``encode_plain`` encoded.

    Raises:
        ValueError: the JSON is nothing that it writes.
    """
    if not isinstance(found, list):
        return found
    kind, *rest = found
    match kind:
        case "int":
            return int(rest[0], 16)
        case "nan":
            return float("nan")
        case "float":
            return float.fromhex(rest[0])
        case "np.str_":
            return np.str_(rest[0])
        case "np.int64":
            return np.int64(rest[0])
        case "bytes":
            return bytes.fromhex(rest[0])
        case "tuple":
            return tuple(decode_plain(item) for item in rest[0])
        case "list":
            return [decode_plain(item) for item in rest[0]]
        case "dict":
            return {decode_plain(key): decode_plain(item) for key, item in rest[0]}
    raise ValueError(f"unknown kind {kind!r}")
