"""How a sample is cut into parts."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from darkop_dist.errors import InputValueError
from darkop_dist.generation.process import load_process, pythia_lines

EVENTS_PER_PART = 500


@dataclass(frozen=True)
class PartPlan:
    """All that makes a part.

    Attributes:
        process: name of the process.
        lines: Pythia's settings.
        own_matrix_elements: Pythia's own matrix elements are replaced by those of `mediator`.
        response: name of the response card.
        entropy: seed of the sample and a number for the process, so that processes with one seed are independent.
        index: number of the part.
        events: number of events.
    """

    process: str
    lines: tuple[str, ...]
    own_matrix_elements: bool
    response: str
    entropy: tuple[int, int]
    index: int
    events: int


def plan_parts(
    process: str, events: int, *, seed: int, settings: Mapping[str, float | int | str], response: str = "simple"
) -> tuple[PartPlan, ...]:
    """Cut a sample into parts of `EVENTS_PER_PART` events; the last may be smaller.

    Args:
        process: name of the process.
        events: number of events.
        seed: seed of the sample, 0 or above.
        settings: values of the process's parameters.
        response: name of the response card.

    Raises:
        UnknownNameError: no such process or parameter.
        InputValueError: the number of events, the seed or a parameter is out of range.
    """
    if events <= 0:
        raise InputValueError(f"{process}: events", f"{events} is not above 0", "Ask for at least one event.")
    if seed < 0:
        raise InputValueError(f"{process}: seed", f"{seed} is below 0", "Use a seed of 0 or above.")
    known = load_process(process)
    lines = pythia_lines(known, settings)
    entropy = (seed, zlib.crc32(process.encode()))
    return tuple(
        PartPlan(
            process=process,
            lines=lines,
            own_matrix_elements=known.matrix_elements != "pythia",
            response=response,
            entropy=entropy,
            index=index,
            events=min(EVENTS_PER_PART, events - first),
        )
        for index, first in enumerate(range(0, events, EVENTS_PER_PART))
    )
