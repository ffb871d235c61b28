"""How many events were generated for a file, and the sum of their weights: ATLAS' CutBookkeepers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

METADATA = "MetaData"
BOOKS = "CutBookkeepersAux."
ALL_EVENTS = "AllExecutedEvents"
STREAM = "StreamAOD"
"""The stream whose entry of the last cycle counts all events before any cut."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generated:
    """What was generated for a file.

    Attributes:
        sum_weights: sum of the weights; None where the file does not say so.
        events: their number, likewise.
    """

    sum_weights: float | None
    events: int | None


def generated_events(path: str, directory: Any) -> Generated:
    """What was generated for a file of simulation, by the entry ``AllExecutedEvents`` of its CutBookkeepers.

    Files that were merged have several; they add up. A file without them is normalised by the weights of the events
    that it holds, which is right only if no event was dropped on the way: a warning says so.

    Args:
        path: the file, for the warning.
        directory: uproot's directory of the file.
    """
    found = _entries(directory)
    if not found:
        _log.warning(
            "%s has no CutBookkeepers: it is normalised by the weights of the events that it holds, which is right "
            "only if the derivation dropped none",
            path,
        )
        return Generated(None, None)
    return Generated(sum(weight for weight, _ in found), sum(events for _, events in found))


def _entries(directory: Any) -> list[tuple[float, int]]:
    if METADATA not in directory or BOOKS not in directory[METADATA]:
        return []
    books, columns = (
        directory[METADATA][BOOKS],
        ("name", "inputStream", "cycle", "sumOfEventWeights", "nAcceptedEvents"),
    )
    rows = zip(*(books[f"{BOOKS}{column}"].array(library="np") for column in columns), strict=True)
    found = []
    for names, streams, cycles, weights, events in rows:
        chosen = [
            n
            for n, (name, stream) in enumerate(zip(names, streams, strict=True))
            if (name, stream) == (ALL_EVENTS, STREAM)
        ]
        if chosen:
            last = chosen[int(np.argmax(np.asarray(cycles)[chosen]))]
            found.append((float(weights[last]), int(events[last])))
    return found
