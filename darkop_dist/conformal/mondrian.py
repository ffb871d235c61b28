"""p-values that are valid in every category by itself: jet multiplicities, run periods, regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.calibration import Calibration
from darkop_dist.errors import InputFileError, StatisticsError, UnknownNameError
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.mondrian-calibration/1"


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

    @property
    def fingerprint(self) -> str:
        """The scorer's fingerprint."""
        return next(iter(self.categories.values())).fingerprint

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

    def to_dict(self) -> dict[str, object]:
        """As JSON-able values."""
        return {"categories": {name: calibration.to_dict() for name, calibration in self.categories.items()}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, origin: str = "calibration") -> MondrianCalibration:
        """Read what `to_dict` wrote.

        Args:
            content: the values.
            origin: what errors call them, such as the file's path.

        Raises:
            InputFileError: the values are no calibrations by category.
        """
        try:
            named = content["categories"].items()
            return cls({str(name): Calibration.from_dict(one, origin=f"{origin}, {name}") for name, one in named})
        except (AttributeError, KeyError, StatisticsError) as error:
            redo = "Run the calibration stage again."
            raise InputFileError(origin, f"holds no calibrations by category ({error})", redo) from error

    def save(self, path: Path) -> None:
        """Write to a JSON file: all of it or nothing.

        Raises:
            OutputError: the file cannot be written.
        """
        write_json(path, SCHEMA, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> MondrianCalibration:
        """Read what `save` wrote.

        Raises:
            InputFileError: the file is missing or holds no calibrations by category.
        """
        return cls.from_dict(read_json(path, SCHEMA), origin=str(path))
