"""How a sample is cut into parts."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darkop_dist.errors import InputValueError
from darkop_dist.generation.lhe import LheFile, LheRange
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
        events: number of events; of a Les Houches file those that are read, some of which the shower may veto.
        lhe: the events of a Les Houches file; None where Pythia makes the hard process.
    """

    process: str
    lines: tuple[str, ...]
    own_matrix_elements: bool
    response: str
    entropy: tuple[int, int]
    index: int
    events: int
    lhe: LheRange | None = None


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
    _check(process, events, seed)
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


def plan_shower(
    lhe: LheFile, events: int | None, *, seed: int, lines: Sequence[str] = (), response: str = "simple"
) -> tuple[PartPlan, ...]:
    """Cut a Les Houches file into parts of `EVENTS_PER_PART` events; the last may be smaller.

    Args:
        lhe: the file.
        events: how many of its first events to shower; None for all.
        seed: seed of the sample, 0 or above.
        lines: Pythia's settings of the shower, of matching and of decays.
        response: name of the response card.

    Raises:
        InputValueError: the number of events or the seed is out of range.
    """
    wanted = lhe.events if events is None else events
    _check(lhe.path.name, wanted, seed)
    if wanted > lhe.events:
        raise InputValueError(
            f"{lhe.path.name}: events", f"{wanted} is more than the {lhe.events} in the file", "Ask for fewer events."
        )
    return tuple(
        PartPlan(
            process=lhe.path.name,
            lines=tuple(lines),
            own_matrix_elements=False,
            response=response,
            entropy=(seed, zlib.crc32(lhe.path.name.encode())),
            index=index,
            events=min(EVENTS_PER_PART, wanted - first),
            lhe=_range(lhe, first, min(EVENTS_PER_PART, wanted - first), wanted),
        )
        for index, first in enumerate(range(0, wanted, EVENTS_PER_PART))
    )


def _range(lhe: LheFile, first: int, events: int, wanted: int) -> LheRange:
    names = tuple(weight.name for weight in lhe.weights)
    return LheRange(
        lhe.path, first, events, names, lhe.mean_weight, lhe.xsec_pb, lhe.xsec_error_pb * math.sqrt(wanted / events)
    )


def _check(thing: str, events: int, seed: int) -> None:
    if events <= 0:
        raise InputValueError(f"{thing}: events", f"{events} is not above 0", "Ask for at least one event.")
    if seed < 0:
        raise InputValueError(f"{thing}: seed", f"{seed} is below 0", "Use a seed of 0 or above.")
