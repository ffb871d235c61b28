"""How a sample is cut into parts."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from darkop_dist.errors import InputValueError
from darkop_dist.generation.card import DEFAULT_CARD, card_file
from darkop_dist.generation.lhe import LheFile, LheRange, opened_events
from darkop_dist.generation.pileup_profile import PileupProfile
from darkop_dist.generation.process import load_process, pythia_lines

EVENTS_PER_PART = 1000
COLLISIONS_LIKE_EVENT = 10.0  # so many collisions of pile-up take about the memory of a hard event


@dataclass(frozen=True)
class Measurement:
    """How the events of a sample are measured.

    Attributes:
        response: name of the response card.
        pileup: how many further collisions a crossing has; None for none.
        candidates: the file also has the measured particles themselves, as in PFNano.
    """

    response: str = DEFAULT_CARD
    pileup: PileupProfile | None = None
    candidates: bool = False


PLAIN = Measurement()


@dataclass(frozen=True)
class PartPlan:
    """All that makes a part.

    Attributes:
        process: name of the process.
        lines: Pythia's settings.
        own_matrix_elements: Pythia's own matrix elements are replaced by those of `mediator`.
        measurement: how the events are measured.
        entropy: seed of the sample and a number for the process, so that processes with one seed are independent.
        index: number of the part.
        events: number of events; of a Les Houches file those that are read, some of which the shower may veto.
        lhe: the events of a Les Houches file; None where Pythia makes the hard process.
    """

    process: str
    lines: tuple[str, ...]
    own_matrix_elements: bool
    measurement: Measurement
    entropy: tuple[int, int]
    index: int
    events: int
    lhe: LheRange | None = None


def part_events(measurement: Measurement, part_factor: int = 1) -> int:
    """Events of a part: fewer with pile-up, so that a part takes about the same memory.

    Args:
        measurement: how the events are measured.
        part_factor: of the process, see `process.Process`.

    >>> part_events(PLAIN)
    1000
    """
    profile = measurement.pileup
    if profile is None:
        return part_factor * EVENTS_PER_PART
    mean = math.fsum(mean * share for mean, share in zip(profile.means, profile.probabilities, strict=True))
    return math.ceil(EVENTS_PER_PART / (1 + mean / COLLISIONS_LIKE_EVENT))


def plan_parts(
    process: str,
    events: int,
    *,
    seed: int,
    settings: Mapping[str, float | int | str],
    measurement: Measurement = PLAIN,
) -> tuple[PartPlan, ...]:
    """Cut a sample into parts of `part_events` events; the last may be smaller.

    Args:
        process: name of the process.
        events: number of events.
        seed: seed of the sample, 0 or above.
        settings: values of the process's parameters.
        measurement: how the events are measured.

    Raises:
        UnknownNameError: no such process, parameter or response card.
        InputValueError: the number of events, the seed or a parameter is out of range.
    """
    _check(process, events, seed, measurement)
    known = load_process(process)
    lines = pythia_lines(known, settings)
    entropy = (seed, zlib.crc32(process.encode()))
    size = part_events(measurement, known.part_factor)
    return tuple(
        PartPlan(
            process=process,
            lines=lines,
            own_matrix_elements=known.matrix_elements != "pythia",
            measurement=measurement,
            entropy=entropy,
            index=index,
            events=min(size, events - first),
        )
        for index, first in enumerate(range(0, events, size))
    )


def plan_shower(
    lhe: LheFile,
    events: int | None,
    *,
    seed: int,
    lines: Sequence[str] = (),
    measurement: Measurement = PLAIN,
) -> tuple[PartPlan, ...]:
    """Cut a Les Houches file into parts of `part_events` events; the last may be smaller.

    Args:
        lhe: the file.
        events: how many of its first events to shower; None for all.
        seed: seed of the sample, 0 or above.
        lines: Pythia's settings of the shower, of matching and of decays.
        measurement: how the events are measured.

    Raises:
        UnknownNameError: no such response card.
        InputValueError: the number of events or the seed is out of range.
    """
    wanted = lhe.events if events is None else events
    _check(lhe.path.name, wanted, seed, measurement)
    if wanted > lhe.events:
        raise InputValueError(
            f"{lhe.path.name}: events", f"{wanted} is more than the {lhe.events} in the file", "Ask for fewer events."
        )
    size = part_events(measurement)
    return tuple(
        PartPlan(
            process=lhe.path.name,
            lines=tuple(lines),
            own_matrix_elements=False,
            measurement=measurement,
            entropy=(seed, zlib.crc32(lhe.path.name.encode())),
            index=index,
            events=min(size, wanted - first),
            lhe=_range(lhe, first, min(size, wanted - first), wanted),
        )
        for index, first in enumerate(range(0, wanted, size))
    )


@contextmanager
def complete_plans(plans: Sequence[PartPlan]) -> Iterator[Callable[[PartPlan], PartPlan]]:
    """Within, plans get the text of their events of a Les Houches file, so that a worker need not see it.

    Args:
        plans: all parts of a sample; asked for in their order they cost one pass through the file.

    Yields:
        A function from a plan to the same one with its text.
    """
    whole = plans[0].lhe
    if whole is None:
        yield lambda plan: plan
        return
    with opened_events(whole.path) as read:
        yield lambda plan: plan if plan.lhe is None else replace(plan, lhe=replace(plan.lhe, text=read(plan.lhe)))


def _range(lhe: LheFile, first: int, events: int, wanted: int) -> LheRange:
    return LheRange(
        path=lhe.path,
        first=first,
        events=events,
        weights=tuple(weight.name for weight in lhe.weights),
        mean_weight=lhe.mean_weight,
        xsec_pb=lhe.xsec_pb,
        xsec_error_pb=lhe.xsec_error_pb * math.sqrt(wanted / events),
        begin=lhe.places[first],
        end=lhe.places[first + events],
    )


def _check(thing: str, events: int, seed: int, measurement: Measurement) -> None:
    card_file(measurement.response)  # there is such a card
    if events <= 0:
        raise InputValueError(f"{thing}: events", f"{events} is not above 0", "Ask for at least one event.")
    if seed < 0:
        raise InputValueError(f"{thing}: seed", f"{seed} is below 0", "Use a seed of 0 or above.")
