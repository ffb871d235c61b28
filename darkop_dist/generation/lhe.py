"""Les Houches event files, hep-ph/0609017 and arXiv:1405.1067: what their header says, before Pythia showers them."""

from __future__ import annotations

import gzip
import io
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, AnyStr, cast

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError

Floats = npt.NDArray[np.float64]
GZIP_MAGIC = b"\x1f\x8b"
WEIGHT = re.compile(r"<weight\s+[^>]*?\bid\s*=\s*['\"]([^'\"]+)['\"][^>]*>(.*?)</weight>", re.DOTALL)
GROUP = re.compile(
    r"<weightgroup\s+[^>]*?\b(?:name|type)\s*=\s*['\"]([^'\"]+)['\"][^>]*>(.*?)</weightgroup>", re.DOTALL
)
EVENT_WEIGHT = re.compile(r"<wgt\s+id\s*=\s*['\"]([^'\"]+)['\"]\s*>\s*([^<\s]+)")
COMPRESSED_WEIGHTS = re.compile(r"<weights>(.*?)</weights>", re.DOTALL)
SUFFIXES = (".lhe", ".lhe.gz")


@dataclass(frozen=True)
class LheWeight:
    """A variation that every event has a weight for.

    Attributes:
        name: its identifier in the file, such as ``1001``.
        text: what the file says that it is, such as ``muR=2.0 muF=1.0``.
        group: the group that it belongs to; empty for none.
    """

    name: str
    text: str
    group: str


@dataclass(frozen=True)
class LheFile:
    """A file of events from a matrix-element generator.

    Attributes:
        path: the file, plain or compressed by gzip.
        events: number of events.
        weights: its variations, in the order of the header; then those that only the events name.
        mean_weight: mean of the events' nominal weights.
        xsec_pb: cross section of all processes in it, in pb.
        xsec_error_pb: its statistical uncertainty in pb.
        places: where each event begins, and where the last one ends, in bytes of the file when it is not compressed.
    """

    path: Path
    events: int
    weights: tuple[LheWeight, ...]
    mean_weight: float
    xsec_pb: float
    xsec_error_pb: float
    places: Sequence[int] = field(repr=False)


@dataclass(frozen=True)
class LheRange:
    """Some events of a file.

    Attributes:
        path: the file.
        first: the first event, counted from 0.
        events: how many there are.
        weights: names of the variations.
        mean_weight: mean of the nominal weights of all events of the file.
        xsec_pb: cross section of the file, in pb.
        xsec_error_pb: its uncertainty in pb, times the root of the ratio of all events of the sample to these: so much
            that the mean over all parts has the uncertainty of the file.
        begin: where the first of these events begins, in bytes of the file when it is not compressed.
        end: where the last one ends.
        text: the file's header and these events, from ``opened_events``, for whoever does not see the file; empty if it
            is to be read.
    """

    path: Path
    first: int
    events: int
    weights: tuple[str, ...]
    mean_weight: float
    xsec_pb: float
    xsec_error_pb: float
    begin: int
    end: int
    text: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class LheEvents:
    """What Pythia does not say of the events of a range.

    Attributes:
        nominal: their weights, shape (events,).
        variations: weights of the variations over the nominal one, shape (events, weights).
    """

    nominal: Floats
    variations: Floats


def is_lhe(name: str) -> bool:
    """Whether a name is that of a Les Houches event file."""
    return name.endswith(SUFFIXES)


def read_lhe(path: Path) -> LheFile:
    """Read the header of a file and count its events.

    Raises:
        InputFileError: the file is missing, cut in the middle, holds no events, or says what cannot be used.
    """
    try:
        with _opened(path) as file:
            begins = b"".join(_until(file, b"</init>"))
            header = begins.decode()
            found, names, places, ended = _scanned(path, file, len(begins))
    except FileNotFoundError as error:
        raise InputFileError(str(path), "no such file", "Correct the path") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputFileError(str(path), f"cannot be read to its end ({error})", "Copy it again") from error
    if not ended:
        raise InputFileError(
            str(path),
            f"is cut in the middle: {len(found)} events begin, and </LesHouchesEvents> is missing",
            "Copy it again, or make it again",
        )
    if not found:
        raise InputFileError(str(path), "holds no events", "Look at the generator's log")
    if places[-1] <= places[-2]:
        raise InputFileError(str(path), f"event {len(found)} has no </event>", "Make the file again")
    mean = math.fsum(found) / len(found)
    if mean == 0:
        raise InputFileError(str(path), "the weights of its events add up to zero", "Look at the generator's log")
    return LheFile(path, len(found), _weights(path, header, names), mean, *_cross_section(path, header), places)


def lhe_lines(path: Path) -> tuple[str, ...]:
    """Pythia's lines to shower a file."""
    return ("Beams:frameType = 4", f"Beams:LHEF = {path}")


@contextmanager
def opened_events(path: Path) -> Iterator[Callable[[LheRange], bytes]]:
    """Open a file to read its ranges; of a compressed one those that follow each other cost one pass together.

    Yields:
        A function from a range to the text of the header and of its events.

    Raises:
        InputFileError: the file cannot be read any more, or is not the one that was looked at.
    """
    try:
        with _opened(path) as file:
            header = b"".join(_until(file, b"</init>"))

            def read(chosen: LheRange) -> bytes:
                file.seek(chosen.begin)
                text = file.read(chosen.end - chosen.begin)
                if not text.lstrip().startswith(b"<event") or not text.rstrip().endswith(b"</event>"):
                    raise InputFileError(str(path), "has changed since it was looked at", "Begin again")
                return header + text

            yield read
    except (OSError, EOFError) as error:
        raise InputFileError(str(path), f"cannot be read any more ({error})", "Begin again") from error


def write_events(chosen: LheRange, target: Path) -> LheEvents:
    """Write some events of a file to another one, with their places in it as their only variation.

    Pythia orders weights in its own way (scale variations first, told from others by their identifiers) and leaves
    vetoed events out. So the weights are read here, and Pythia says with a weight of our own which events are left: it
    is the event's place, counted from 1, times the nominal weight.

    Args:
        chosen: the events.
        target: the file to write, not compressed.

    Raises:
        InputFileError: an event cannot be understood, or lacks a weight.
    """
    ratios, weights = np.empty((chosen.events, len(chosen.weights))), np.empty(chosen.events)
    text = chosen.text
    if not text:
        with opened_events(chosen.path) as read:
            text = read(chosen)
    lines = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8")
    with target.open("w", encoding="utf-8") as file:
        header = "".join(_until(lines, "</init>"))
        file.write(re.sub(r"<initrwgt.*?</initrwgt>", "", header, flags=re.DOTALL))
        for place in range(chosen.events):
            event = "".join(_until(lines, "</event>"))
            event = event[event.index("<event") :]
            number = chosen.first + place + 1
            nominal, found = _nominal(chosen.path, event.splitlines()[1], number), _weights_of(event, chosen, number)
            if nominal == 0:
                raise InputFileError(str(chosen.path), f"event {number} has no weight", "Leave it out")
            ratios[place], weights[place] = found / nominal, nominal
            bare = re.sub(r"<(rwgt|weights)\b.*?</\1>\s*", "", event, flags=re.DOTALL)
            own = f"<rwgt>\n<wgt id='place'>{(place + 1) * nominal!r}</wgt>\n</rwgt>\n</event>"
            file.write(bare.replace("</event>", own))
        file.write("</LesHouchesEvents>\n")
    return LheEvents(weights, ratios)


def _until(lines: Iterator[AnyStr], end: AnyStr) -> list[AnyStr]:
    found = []
    for line in lines:
        found.append(line)
        if end in line:
            break
    return found


def _nominal(path: Path, line: str, number: int) -> float:
    """The nominal weight, from the first line of an event."""
    try:
        return float(line.split()[2])
    except (ValueError, IndexError) as error:
        what = f"event {number} cannot be understood ({error})"
        raise InputFileError(str(path), what, "Make the file again") from error


def _weights_of(event: str, chosen: LheRange, number: int) -> Floats:
    """The weights of the variations of an event."""
    try:
        known = {name: float(value) for name, value in EVENT_WEIGHT.findall(event)}
        compressed = COMPRESSED_WEIGHTS.search(event)
        if compressed is not None and not known:
            known = dict(zip(chosen.weights, map(float, compressed[1].split()), strict=True))
        return np.array([known[name] for name in chosen.weights])
    except KeyError as error:
        what = f"event {number} lacks the weight {error.args[0]}"
        raise InputFileError(str(chosen.path), what, "Make the file again with all weights") from error
    except ValueError as error:
        what = f"the weights of event {number} cannot be understood ({error})"
        raise InputFileError(str(chosen.path), what, "Make the file again") from error


def variation_column(name: str) -> str:
    """The branch that holds a variation's weights over the nominal ones.

    >>> variation_column("PDF set 1")
    'LHEWeight_PDF_set_1'
    """
    return "LHEWeight_" + re.sub(r"\W", "_", name)


def variation_columns(lhe: LheFile) -> dict[str, str]:
    """What each column of a file's variations is, by its branch."""
    return {
        variation_column(weight.name): f"{weight.group}: {weight.text}" if weight.group else weight.text
        for weight in lhe.weights
    }


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if compressed else path.open("rb")


def _scanned(path: Path, lines: IO[bytes], begin: int) -> tuple[Sequence[float], list[str], Sequence[int], bool]:
    """The nominal weights, names of the first event's variations, places of the events, and whether the file ends."""
    weights, names = array("d"), list[str]()
    places, end = array("q"), begin
    for line in lines:
        place, begin = begin, begin + len(line)
        if line.lstrip().startswith((b"<event>", b"<event ")):
            first = next(lines, b"")
            begin += len(first)
            weights.append(_nominal(path, first.decode(), len(weights) + 1))
            places.append(place)
        elif b"</event>" in line:
            end = begin
        elif len(weights) == 1 and b"<wgt" in line:
            names += [name for name, _ in EVENT_WEIGHT.findall(line.decode())]
        elif b"</LesHouchesEvents>" in line:
            places.append(end)
            return weights, names, places, True
    return weights, names, places, False


def _cross_section(path: Path, header: str) -> tuple[float, float]:
    """Of all processes together, with its uncertainty, in pb."""
    try:
        lines = [line.split() for line in header.split("<init>")[1].splitlines() if line.strip()]
        strategy, processes = int(lines[0][8]), int(lines[0][9])
        found = [(float(line[0]), float(line[1])) for line in lines[1 : 1 + processes]]
    except (IndexError, ValueError) as error:
        raise InputFileError(str(path), f"its <init> cannot be understood ({error})", "Make it again") from error
    if abs(strategy) not in (3, 4):
        raise InputFileError(
            str(path),
            f"its events still have to be unweighted (IDWTUP {strategy})",
            "Make it with events of equal weight or with weights in pb (IDWTUP 3, 4, -3 or -4)",
        )
    return sum(pb for pb, _ in found), math.hypot(*(error for _, error in found))


def _weights(path: Path, header: str, names: Sequence[str]) -> tuple[LheWeight, ...]:
    """What the header says of the variations; those of the events that it does not name have no description."""
    groups = {name: group for group, inside in GROUP.findall(header) for name, _ in WEIGHT.findall(inside)}
    texts = {name: " ".join(text.split()) for name, text in WEIGHT.findall(header)}
    found = [LheWeight(name, texts.get(name, ""), groups.get(name, "")) for name in dict.fromkeys((*texts, *names))]
    columns: dict[str, str] = {}
    for weight in found:
        other = columns.setdefault(variation_column(weight.name), weight.name)
        if other != weight.name:
            what = f"the weights {other!r} and {weight.name!r} would be one column, {variation_column(other)}"
            raise InputFileError(str(path), what, "Rename one of them in the file")
    return tuple(found)
