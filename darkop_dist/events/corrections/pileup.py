"""Pile-up weights of simulation by the true number of interactions, and profiles from which they can be made.

CMS publishes the weights in correctionlib's JSON with the inputs ``NumTrueInteractions`` and ``weights`` (``nominal``,
``up``, ``down``); the same is made here from two profiles: the ratio of the normalised histograms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot
from correctionlib import schemav2

from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.corrections.tables import CorrectionTable, table_of
from darkop_dist.events.read import require_columns

Numbers = npt.NDArray[np.float64]
COLUMN = "Pileup.nTrueInt"
INTERACTIONS, WAYS = "NumTrueInteractions", "weights"
MADE = "made here"
GENERATED = "sum of weights before pile-up weights"
WEIGHT_SUM = "sum of weights with pile-up weights, {way}"
OUTSIDE = "events outside the range of the pile-up weights"
WITHOUT_TARGET = "events whose pile-up weight is zero"


@dataclass(frozen=True, eq=False)
class Profile:
    """A histogram of the true number of interactions.

    Attributes:
        edges: shape (bins + 1,).
        values: contents, not negative, shape (bins,).
    """

    edges: Numbers
    values: Numbers

    def stretched(self, factor: float) -> Profile:
        """The profile where every number of interactions is multiplied, in the same bins.

        The mean number of interactions is proportional to the minimum-bias cross section. Events are taken as evenly
        spread within a bin; what leaves the last bin is lost.
        """
        sums = np.concatenate([[0.0], np.cumsum(self.values)])
        return Profile(self.edges, np.diff(np.interp(self.edges / factor, self.edges, sums)))


@dataclass(frozen=True)
class PileupWeights:
    """Weights for simulation.

    Attributes:
        table: file of corrections.
        correction: the one with the weights.
        remarks: what cannot be reweighted, in words.
    """

    table: CorrectionTable
    correction: str
    remarks: tuple[str, ...] = ()

    def of(self, events: ak.Array) -> PileupFactors:
        """Weights of the events of a chunk.

        Raises:
            InputFileError: the file does not say how many interactions there were.
            InputValueError: the correction has other inputs, does not cover a value, or gives a bad weight.
        """
        require_columns(events, (COLUMN,))
        interactions = np.asarray(ak.to_numpy(events.Pileup.nTrueInt), np.float64)
        factors = {way: self.weights(interactions, way) for way in ("nominal", "up", "down")}
        edges = self.table.edges(self.correction, INTERACTIONS) or (-np.inf, np.inf)
        outside = (interactions < edges[0]) | (interactions >= edges[1])
        return PileupFactors(factors, int(outside.sum()), int(((factors["nominal"] == 0.0) & ~outside).sum()))

    def weights(self, interactions: Numbers, way: str) -> Numbers:
        """Weights for numbers of interactions, shape (events,); ``way`` is nominal, up or down."""
        found = self.table.evaluate(self.correction, {INTERACTIONS: interactions, WAYS: way})
        if not np.all(np.isfinite(found)) or np.any(found < 0.0):
            thing = f"{self.table.name}: {self.correction}"
            raise InputValueError(thing, "gives a pile-up weight that is negative or not finite", "Correct the file")
        return found


@dataclass(frozen=True)
class PileupFactors:
    """Weights of a chunk.

    Attributes:
        factors: by way, each of shape (events,).
        outside: events outside the range of the weights.
        without_target: events inside it whose weight is zero: the data have none of their number of interactions.
    """

    factors: Mapping[str, Numbers]
    outside: int
    without_target: int

    def tallies(self, generated: Numbers) -> dict[str, float]:
        """Sums over the chunk by which a change of the normalisation is seen.

        Args:
            generated: weights before, shape (events,).
        """
        sums = {WEIGHT_SUM.format(way=way): float(np.sum(generated * found)) for way, found in self.factors.items()}
        return {GENERATED: float(np.sum(generated)), **sums, OUTSIDE: self.outside, WITHOUT_TARGET: self.without_target}


def weights_from_profiles(data: Mapping[str, Profile], simulation: Profile) -> PileupWeights:
    """Weights that turn the profile of the simulation into that of the data.

    Args:
        data: profiles ``nominal``, ``up`` and ``down``.
        simulation: in the same bins.

    Returns:
        The weights, normalised to a mean of 1 over the simulation's profile as far as it covers that of the data.
        Where the simulation has nothing, and outside of the bins, they are 0.

    Raises:
        InputValueError: the bins differ or a profile is empty.
    """
    target = simulation.values / simulation.values.sum() if simulation.values.sum() > 0 else None
    content, notes = [], []
    for way, profile in data.items():
        if len(profile.edges) != len(simulation.edges) or not np.allclose(profile.edges, simulation.edges):
            problem = "the profiles of data and simulation have different bins"
            raise InputValueError("corrections.pileup", problem, "Make both with the same bins")
        if target is None or profile.values.sum() <= 0:
            raise InputValueError("corrections.pileup", "a profile holds nothing", "Correct the file")
        wanted = profile.values / profile.values.sum()
        ratio = np.divide(wanted, target, out=np.zeros_like(wanted), where=target > 0)
        missing = float(wanted[target == 0].sum())
        if missing > 0:
            notes.append(f"{missing:.3g} of the {way} pile-up profile of the data lies where the simulation has none")
        content.append({"key": way, "value": _bins(simulation.edges, ratio)})
    made: dict[str, Any] = {
        "name": MADE,
        "version": 1,
        "inputs": [{"name": INTERACTIONS, "type": "real"}, {"name": WAYS, "type": "string"}],
        "output": {"name": "weight", "type": "real"},
        "data": {"nodetype": "category", "input": WAYS, "content": content},
    }
    table = table_of("pile-up weights", schemav2.Correction.model_validate(made))
    return PileupWeights(table, MADE, tuple(notes))


def read_profile(path: Path, histogram: str) -> Profile:
    """Read a profile: a ROOT file with a histogram, or JSON with ``edges`` and ``values``.

    Raises:
        InputFileError: the file is missing, has no such histogram, or values that are negative or not finite.
    """
    try:
        if path.suffix == ".json":
            body = json.loads(path.read_text())
            profile = Profile(np.asarray(body["edges"], np.float64), np.asarray(body["values"], np.float64))
        else:
            with uproot.open(path) as file:
                found = file[histogram]
                profile = Profile(found.axis().edges().astype(np.float64), found.values().astype(np.float64))
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        problem = f"holds no profile {histogram!r} ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
        what = "Use a ROOT file with that histogram, or JSON with edges and values."
        raise InputFileError(str(path), problem, what) from error
    values, edges = profile.values, profile.edges
    good = edges.ndim == values.ndim == 1 and len(edges) == len(values) + 1 and bool(np.all(np.diff(edges) > 0))
    if not good or not np.all(np.isfinite(values)) or np.any(values < 0):
        raise InputFileError(str(path), "has bins that do not rise, or bad contents", "Correct the histogram.")
    return profile


def _bins(edges: Numbers, values: Numbers) -> dict[str, Any]:
    return {
        "nodetype": "binning",
        "input": INTERACTIONS,
        "edges": edges.tolist(),
        "content": values.tolist(),
        "flow": 0.0,
    }
