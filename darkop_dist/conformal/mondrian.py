"""p-values that are valid in every category by itself: jet multiplicities, run periods, regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.calibration import Calibration
from darkop_dist.errors import StatisticsError, UnknownNameError


@dataclass(frozen=True)
class MondrianCalibration:
    """One calibration for each category of a partition that was fixed beforehand.

    An event is compared with the background of its own category only: P(p <= a | category) <= a in each, whatever the
    share of the categories in data (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005,
    chapter 4).
    The price is a floor of its own for each, 1/(n + 1) with the events of that category.

    Attributes:
        categories: calibrations by category, all of one scorer.
    """

    categories: Mapping[str, Calibration]

    def __post_init__(self) -> None:
        if not self.categories:
            raise StatisticsError("a Mondrian calibration needs at least one category")
        fingerprints = {name: calibration.fingerprint for name, calibration in self.categories.items()}
        if len(set(fingerprints.values())) > 1:
            raise StatisticsError(f"the categories come from different models: {fingerprints}; score all with one")

    @property
    def floors(self) -> dict[str, float]:
        """The smallest p-value of each category."""
        return {name: calibration.floor for name, calibration in self.categories.items()}

    def p_values(self, scores: npt.ArrayLike, categories: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The p-value of each event among the background of its category.

        Args:
            scores: shape (events,).
            categories: name of the category of each, shape (events,).

        Raises:
            UnknownNameError: a category has no calibration.
            StatisticsError: there are not as many categories as scores.
            InputValueError: a score is NaN.
        """
        values, names = np.asarray(scores, dtype=np.float64), np.asarray(categories).astype(str)
        if values.shape != names.shape:
            raise StatisticsError(f"{values.size} scores and {names.size} categories: each event needs one of each")
        result = np.empty(values.shape)
        for name in np.unique(names):
            if name not in self.categories:
                known = tuple(self.categories)
                raise UnknownNameError("category", str(name), known, f"Calibrated are {', '.join(known)}.")
            chosen = names == name
            result[chosen] = self.categories[str(name)].p_values(values[chosen])
        return result

    def require_alpha(self, alpha: float) -> None:
        """Refuse a level that a category cannot reach.

        Raises:
            StatisticsError: alpha lies below the floor of a category, which is named.
        """
        for name, calibration in self.categories.items():
            try:
                calibration.require_alpha(alpha)
            except StatisticsError as error:
                raise StatisticsError(f"category {name}: {error}") from error

    def __add__(self, other: MondrianCalibration) -> MondrianCalibration:
        """Both samples together, category by category.

        Raises:
            StatisticsError: bins or models differ.
        """
        if not isinstance(other, MondrianCalibration):
            return NotImplemented
        merged = dict(self.categories)
        for name, calibration in other.categories.items():
            merged[name] = merged[name] + calibration if name in merged else calibration
        return MondrianCalibration(merged)
