"""Generator weights and event numbers, whatever the layout of the file."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.events.read import has_column, require_columns

MISSING_NUMBER = -1
Numbers = dict[str, npt.NDArray[np.int64]]


def generator_weights(events: ak.Array) -> npt.NDArray[np.float64]:
    """The weight of each event as its generator made it: one for collision data.

    NanoAOD simulation has ``genWeight``; for flat columns the dataset record names the column and whether its value
    or only its sign counts.

    Returns:
        Shape (events,).

    Raises:
        InputFileError: the column is absent.
        InputValueError: a weight is not finite.
    """
    metadata: dict[str, Any] = dict(events.metadata or {})
    if metadata.get("is_data", False):
        return np.ones(len(events))
    rule = metadata.get("weights")
    if rule is None and not has_column(events, "genWeight") and metadata.get("format") == "flat":
        return np.ones(len(events))
    column = "genWeight" if rule is None else str(rule["weight"])
    require_columns(events, (column,))
    weights = np.asarray(ak.to_numpy(events[column]), dtype=np.float64)
    bad = ~np.isfinite(weights)
    if bad.any():
        raise InputValueError(
            f"{metadata.get('filename', 'events')} (dataset {metadata.get('dataset', '?')})",
            f"{int(bad.sum())} of {len(weights)} weights in {column} are not finite numbers, the first in entry "
            f"{int(metadata.get('entrystart', 0)) + int(np.argmax(bad))}",
            "Remove those events or correct the file: a sum with them would be meaningless",
        )
    return np.sign(weights) if rule is not None and rule["use"] == "sign" else weights


def event_numbers(events: ak.Array) -> Numbers:
    """What finds each event again.

    Returns:
        ``run``, ``luminosity_block`` and ``event`` (-1 where the file has none) and ``entry``, the position in the
        file; each of shape (events,).
    """
    count = len(events)
    names = {"run": "run", "luminosity_block": "luminosityBlock", "event": "event"}
    numbers = {
        name: np.asarray(ak.to_numpy(events[column])).astype(np.int64)
        if has_column(events, column)
        else np.full(count, MISSING_NUMBER, dtype=np.int64)
        for name, column in names.items()
    }
    start = int((events.metadata or {}).get("entrystart", 0))
    numbers["entry"] = np.arange(start, start + count, dtype=np.int64)
    return numbers
