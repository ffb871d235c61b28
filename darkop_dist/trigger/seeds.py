"""Seeds: cuts on a few objects, as a trigger menu has them, to see what a score accepts that they do not."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.events.level1 import Kind, load_scales
from darkop_dist.trigger.sample import Level1Sample

SEEDS_FILE = Path(__file__).parent / "seeds.toml"


class Leg(BaseModel):
    """One object of a seed.

    Attributes:
        object: its kind.
        pt_gev: threshold in transverse momentum, inclusive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: Kind
    pt_gev: float = Field(gt=0)


class Menu(BaseModel):
    """Seeds by name.

    Attributes:
        source: where the thresholds come from.
        seeds: legs of each; the hardest objects of a kind are taken in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    seeds: dict[str, tuple[Leg, ...]]


@cache
def load_menu() -> Menu:
    """The menu of `seeds.toml`."""
    return Menu.model_validate(tomllib.loads(SEEDS_FILE.read_text(encoding="utf-8")))


def accepted(sample: Level1Sample, menu: Menu) -> dict[str, npt.NDArray[np.bool_]]:
    """Whether each seed accepts a crossing, by name of the seed; each of shape (crossings,)."""
    scales, inputs = load_scales(), sample.crossings.seen.inputs
    first, place = {}, 0
    for kind, count in scales.order:
        first[kind] = place
        place += count
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for name, legs in menu.seeds.items():
        passed, taken = np.ones(len(inputs), dtype=bool), dict.fromkeys(first, 0)
        for leg in legs:
            column = 3 * (first[leg.object] + taken[leg.object])
            taken[leg.object] += 1
            passed &= inputs[:, column] * scales.of(leg.object).pt_lsb_gev >= leg.pt_gev
        found[name] = passed
    return found
