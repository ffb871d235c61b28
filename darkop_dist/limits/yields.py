"""What the user knows of a sample's yield beside its simulation: nothing (a free factor), or a size for each bin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from darkop_dist.errors import StatisticsError
from darkop_dist.limits.samples import Floats, Template

FREE_BOUNDS = (0.0, 10.0)


@dataclass(frozen=True)
class FreeNormalisation:
    """A factor on the yield of a background that only the data determine (normfactor), the same in all regions.

    Attributes:
        sample: the background.
        bounds: smallest and largest factor; the simulation stands for 1.
    """

    sample: str
    bounds: tuple[float, float] = FREE_BOUNDS

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not (0.0 <= low <= 1.0 <= high < math.inf and low < high):
            raise StatisticsError(
                f"the free normalisation of {self.sample} has the bounds {self.bounds}; they must not be negative "
                "and hold the simulation's own yield, 1"
            )

    @property
    def parameter(self) -> str:
        """Name of the factor."""
        return f"{self.sample}_free_normalisation"

    @property
    def modifier(self) -> dict[str, Any]:
        """The factor in pyhf's JSON."""
        return {"name": self.parameter, "type": "normfactor", "data": None}

    @property
    def settings(self) -> dict[str, Any]:
        """Its start and bounds in a measurement of pyhf's JSON."""
        return {"name": self.parameter, "inits": [1.0], "bounds": [list(self.bounds)]}


@dataclass(frozen=True)
class BinUncertainty:
    """An uncertainty of a sample in each bin of a region, independent between bins (shapesys).

    Each bin's factor has a Poisson constraint of (expected / uncertainty)^2 counts, as a background has that was
    measured with so many events beside the fit.

    Attributes:
        sample: the sample.
        region: the region.
        size: one standard deviation for all bins, or one per bin; 0 leaves a bin without.
        kind: ``relative`` to the expected events, or ``absolute`` in events.
    """

    sample: str
    region: str
    size: float | Sequence[float]
    kind: Literal["relative", "absolute"] = "relative"

    def __post_init__(self) -> None:
        sizes = np.atleast_1d(np.asarray(self.size, dtype=np.float64))
        if not np.all(np.isfinite(sizes)) or np.any(sizes < 0) or not np.any(sizes > 0):
            raise StatisticsError(
                f"{self._what} has the sizes {sizes.tolist()}; they must be finite, not negative, and not all zero"
            )

    @property
    def _what(self) -> str:
        return f"the bin uncertainty of {self.sample} in region {self.region}"

    def modifier(self, template: Template, notes: list[str]) -> dict[str, Any]:
        """The uncertainty of a template in pyhf's JSON.

        Raises:
            StatisticsError: the sizes are not one per bin.
        """
        sizes: Floats = np.asarray(self.size, dtype=np.float64)
        if sizes.ndim and sizes.shape != template.values.shape:
            raise StatisticsError(
                f"{self._what} has {sizes.size} sizes for {template.values.size} bins; give one number or one per bin"
            )
        filled = template.values > 0
        absolute = sizes * template.values if self.kind == "relative" else sizes * np.ones_like(template.values)
        if np.any(absolute[~filled] > 0):
            notes.append(
                f"{self._what} has no effect in {int(np.sum(absolute[~filled] > 0))} bins without expected events: "
                "a factor on nothing is nothing"
            )
        name = f"bin_uncertainty_{self.region}_{self.sample}"
        return {"name": name, "type": "shapesys", "data": np.where(filled, absolute, 0.0).tolist()}
