"""Running conditions: how many bunches collide, and how many collisions a crossing has at a luminosity."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.trigger.rates import REVOLUTION_FREQUENCY_HZ

CONDITIONS_FILE = Path(__file__).parent / "conditions.toml"
CM2_PER_MB = 1e-27


@dataclass(frozen=True)
class Conditions:
    """The LHC at a luminosity.

    Attributes:
        name: of the filling scheme.
        colliding_bunches: pairs of bunches that collide.
        energy_tev: of the two beams together.
        inelastic_mb: inelastic cross section.
        luminosity: in 1/(cm2 s).
    """

    name: str
    colliding_bunches: int
    energy_tev: float
    inelastic_mb: float
    luminosity: float

    @property
    def mean_collisions(self) -> float:
        """Mean number of inelastic collisions in a crossing."""
        return self.luminosity * self.inelastic_mb * CM2_PER_MB / self.crossings_hz

    @property
    def crossings_hz(self) -> float:
        """Crossings of colliding bunches per second."""
        return self.colliding_bunches * REVOLUTION_FREQUENCY_HZ


def find_conditions(name: str, luminosity: float) -> Conditions:
    """Conditions by name.

    Args:
        name: such as ``run3-high-pileup``.
        luminosity: in 1/(cm2 s), such as 2e34.

    Raises:
        UnknownNameError: there are no such conditions.
        InputValueError: the luminosity is not between 1e30 and 1e36.

    >>> round(find_conditions("run2-2018", 2e34).mean_collisions, 1)
    55.9
    """
    if not 1e30 <= luminosity <= 1e36:
        raise InputValueError(
            "luminosity", f"{luminosity:g} per cm2 and second is none of the LHC's", "Give it as 2e34"
        )
    table: dict[str, Any] = tomllib.loads(CONDITIONS_FILE.read_text(encoding="utf-8"))
    inelastic_mb = float(table.pop("inelastic_mb"))
    if name not in table:
        raise UnknownNameError("conditions", name, sorted(table), f"Conditions: {', '.join(sorted(table))}.")
    found = table[name]
    return Conditions(
        name, int(found["colliding_bunches"]), float(found["energy_tev"]), inelastic_mb, float(luminosity)
    )
