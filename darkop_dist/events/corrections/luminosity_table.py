"""Luminosity by section from the CSV files of brilcalc."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError
from darkop_dist.events.corrections.sections import Integers, Sections, section_keys

Numbers = npt.NDArray[np.float64]
PER_UB = {"/b": 1e-6, "/mb": 1e-3, "/ub": 1.0, "/nb": 1e3, "/pb": 1e6, "/fb": 1e9}
"""1/ub in one of each unit."""
UB_PER_FB = 1e9
COMMAND = "Make it with: brilcalc lumi --byls --output-style csv -u /pb"
SAME = 1e-9


@dataclass(frozen=True, eq=False)
class LuminosityTable:
    """Luminosity of sections in rising order, each once.

    Attributes:
        keys: the sections, see ``section_keys``; shape (sections,).
        delivered_ub: by the machine, in 1/ub, shape (sections,).
        recorded_ub: by the experiment, in 1/ub, shape (sections,).
    """

    keys: Integers
    delivered_ub: Numbers
    recorded_ub: Numbers

    def of(self, sections: Sections) -> tuple[Numbers, Numbers]:
        """Delivered and recorded luminosity in 1/ub of each section; NaN for those that the table lacks."""
        if not len(self.keys):
            return np.full(len(sections), np.nan), np.full(len(sections), np.nan)
        place = np.minimum(np.searchsorted(self.keys, sections.keys), len(self.keys) - 1)
        known = self.keys[place] == sections.keys
        return np.where(known, self.delivered_ub[place], np.nan), np.where(known, self.recorded_ub[place], np.nan)


def read_luminosity(paths: Iterable[Path]) -> LuminosityTable:
    """Read tables of luminosity by section; the unit of each column is taken from its header.

    Args:
        paths: files as brilcalc writes them with ``--byls``.

    Raises:
        InputFileError: a file has no header or no unit that is known, holds instantaneous luminosity or whole runs,
            a number that is not finite or negative, or two values for one section.
    """
    rows: dict[int, tuple[float, float]] = {}
    for path in paths:
        for key, values in _rows_of(path):
            known = rows.setdefault(key, values)
            if any(abs(one - two) > SAME * max(one, two) for one, two in zip(known, values, strict=True)):
                what = f"gives section {key & 0xFFFFFFFF} of run {key >> 32} two luminosities"
                raise InputFileError(str(path), what, "Name one file per section.")
    keys = np.asarray(sorted(rows), np.int64)
    columns = np.asarray([rows[int(key)] for key in keys], np.float64).reshape(-1, 2)
    return LuminosityTable(keys, columns[:, 0], columns[:, 1])


def _rows_of(path: Path) -> list[tuple[int, tuple[float, float]]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(str(path), f"cannot be read ({error})", "Check the path.") from error
    header = next((line.lstrip("#").strip().split(",") for line in lines if re.match(r"#?\s*run:fill,", line)), None)
    if header is None:
        raise InputFileError(str(path), "has no header line that begins with run:fill", COMMAND)
    if "ls" not in header:
        raise InputFileError(str(path), "has no column ls: it holds whole runs", COMMAND)
    places = [_place(path, header, name) for name in ("delivered", "recorded")]
    number, found = header.index("ls"), []
    for row in csv.reader(line for line in lines if line.strip() and not line.startswith(("#", "run:"))):
        try:
            key = int(section_keys(int(row[0].split(":")[0]), int(row[number].split(":")[0])))
            values = tuple(float(row[place]) * factor for place, factor in places)
        except (ValueError, IndexError) as error:
            raise InputFileError(str(path), f"has a row that cannot be read: {','.join(row)}", COMMAND) from error
        if not all(np.isfinite(value) and value >= 0.0 for value in values):
            what = f"has a luminosity that is negative or not finite: {','.join(row)}"
            raise InputFileError(str(path), what, "Correct the table.")
        found.append((key, (values[0], values[1])))
    return found


def _place(path: Path, header: list[str], name: str) -> tuple[int, float]:
    """Column and 1/ub per unit."""
    column = next((text for text in header if text.strip().startswith(f"{name}(")), None)
    if column is None:
        raise InputFileError(str(path), f"has no column {name}(unit) in its header {','.join(header)}", COMMAND)
    unit = column.strip().removeprefix(f"{name}(").removesuffix(")").strip()
    if unit not in PER_UB:
        told = f"gives {name} luminosity in {unit!r}, which is no integrated luminosity of {', '.join(PER_UB)}"
        raise InputFileError(str(path), told, COMMAND)
    return header.index(column), PER_UB[unit]
