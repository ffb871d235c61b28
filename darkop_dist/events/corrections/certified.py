"""Certified sections: the golden JSON of CMS and the good-runs list of ATLAS."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError
from darkop_dist.events.corrections.sections import Integers, Sections, section_keys

WANTED = 'Use {"run": [[first section, last section], ...]}, or the XML of a good-runs list.'
Range = tuple[int, int, int]


@dataclass(frozen=True)
class CertifiedSections:
    """Sections that may be used.

    Attributes:
        ranges: run, first and last section; disjoint, in rising order.
    """

    ranges: tuple[Range, ...]

    @cached_property
    def _edges(self) -> tuple[Integers, Integers]:
        table = np.asarray(self.ranges, np.int64).reshape(-1, 3)
        return section_keys(table[:, 0], table[:, 1]), section_keys(table[:, 0], table[:, 2])

    def contain(self, runs: npt.ArrayLike, numbers: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which sections are certified; all of shape (events,)."""
        keys, (first, last) = section_keys(runs, numbers), self._edges
        if not len(first):
            return np.zeros(len(keys), np.bool_)
        place = np.searchsorted(first, keys, side="right") - 1
        return np.asarray((place >= 0) & (keys <= last[place]), np.bool_)

    def sections(self) -> Sections:
        """All of them, without events."""
        first, last = self._edges
        counts = last - first + 1
        starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) if len(first) else first
        keys = starts + np.arange(len(starts))
        return Sections(keys >> 32, keys & 0xFFFFFFFF, np.zeros(len(keys), np.int64))


def read_certified(paths: Iterable[Path]) -> CertifiedSections:
    """Read lists of certified sections; several are joined.

    Args:
        paths: CMS golden JSON files, and ATLAS good-runs lists that end in ``.xml``.

    Raises:
        InputFileError: a file is missing or not of that form; two ranges overlap.
    """
    found = sorted(entry for path in paths for entry in _ranges_in(path))
    for (run, _, last), (other, first, _) in pairwise(found):
        if run == other and first <= last:
            names = ", ".join(map(str, paths))
            raise InputFileError(names, f"run {run}: section {first} is certified twice", "Correct the list.")
    return CertifiedSections(tuple(found))


def _ranges_in(path: Path) -> list[Range]:
    try:
        text = path.read_text()
        return list(_from_xml(text) if path.suffix == ".xml" else _from_json(text))
    except OSError as error:
        raise InputFileError(str(path), f"cannot be read ({error.strerror})", "Check the path.") from error
    except (ValueError, TypeError, AttributeError, ET.ParseError) as error:
        raise InputFileError(str(path), f"is no list of certified sections ({error})", WANTED) from error


def _from_json(text: str) -> Iterator[Range]:
    for run, ranges in json.loads(text).items():
        for entry in ranges:
            yield _checked(run, *entry)


def _from_xml(text: str) -> Iterator[Range]:
    """ATLAS's LumiRangeCollection: per run the ranges ``<LBRange Start="1" End="5"/>``."""
    if "<!ENTITY" in text:
        raise ValueError("it declares entities")
    collections = list(ET.fromstring(text).iter("LumiBlockCollection"))  # noqa: S314  # no entities, see above
    if not collections:
        raise ValueError("no LumiBlockCollection")
    for collection in collections:
        run = (collection.findtext("Run") or "").strip()
        for entry in collection.iter("LBRange"):
            yield _checked(run, int(entry.get("Start", "")), int(entry.get("End", "")))


def _checked(run: str, first: int, last: int) -> Range:
    numbers = int(run), first, last
    if not all(type(number) is int for number in numbers):
        raise ValueError(f"run {run}: [{first!r}, {last!r}] are not whole numbers")
    if not 0 <= first <= last:
        raise ValueError(f"run {run}: the range [{first}, {last}] runs backwards")
    return numbers
