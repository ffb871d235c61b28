"""awkward's forms of columns as coffea's schemas take them, for columns that no branch of a file has."""

from __future__ import annotations

from typing import Any

import numpy as np
from coffea.nanoevents.util import quote


def column_form(name: str, dtype: np.dtype[Any], depth: int) -> dict[str, Any]:
    """The form of a column.

    Args:
        name: by which the column is asked for.
        dtype: type of its numbers.
        depth: 0 for one number per event, 1 for a list, 2 for a list of lists.
    """
    return _form(f"{name},!load", dtype, depth)


def _form(key: str, dtype: np.dtype[Any], depth: int) -> dict[str, Any]:
    common = {"parameters": {}, "form_key": quote(key)}
    if depth == 0:
        return common | {"class": "NumpyArray", "primitive": dtype.name, "itemsize": dtype.itemsize, "inner_shape": []}
    content = _form(f"{key},!content", dtype, depth - 1)
    return common | {"class": "ListOffsetArray", "offsets": "i64", "content": content}
