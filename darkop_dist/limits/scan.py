"""The profile likelihood along one parameter, and the interval that it gives.

Assumptions:
    An interval holds the values where -2 ln L, minimised over all other parameters, is at most a quantile of the
    chi-square law with one degree of freedom above its minimum (Wilks): asymptotic. At a bound of the parameter it is
    one-sided and said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from darkop_dist.errors import FitError, StatisticsError, UnknownNameError
from darkop_dist.limits.likelihood import Likelihood, Minimum, likelihood_of
from darkop_dist.limits.workspace import Workspace

POINTS = 31
REACH = 3.0  # half widths of the interval on each side
MOST_STEPS = 60  # of a search that grows by half each time


@dataclass(frozen=True)
class LikelihoodScan:
    """-2 ln L along a parameter, minimised over all others.

    Attributes:
        parameter: its name.
        bestfit: where the minimum is.
        uncertainty: standard deviation from the curvature there (Hesse).
        values: points of the scan that could be fitted, increasing.
        twice_delta_nll: -2 ln L above its minimum at each.
        confidence_level: of the interval.
        low: lower end of the interval; None where it ends at a bound of the parameter.
        high: upper end; None likewise.
        problems: points that were left out and why, and ends that are none.
    """

    parameter: str
    bestfit: float
    uncertainty: float
    values: tuple[float, ...]
    twice_delta_nll: tuple[float, ...]
    confidence_level: float
    low: float | None
    high: float | None
    problems: tuple[str, ...]


def scan_likelihood(
    workspace: Workspace,
    parameter: str | None = None,
    values: Sequence[float] | None = None,
    *,
    confidence_level: float = 0.6827,
) -> LikelihoodScan:
    """Scan the profile likelihood of a parameter. A point whose fit fails is left out and reported.

    Args:
        workspace: the model and the data.
        parameter: its name, such as ``mu`` or ``mc_statistics[2]``; None for the signal strength, which may be
            negative here as far as expected counts stay positive.
        values: points of the scan; None for 31 within three standard deviations.
        confidence_level: of the interval.

    Raises:
        UnknownNameError: the model has no such parameter.
        StatisticsError: the parameter is a constant of the model, or the level is no probability.
        FitError: the fit of the data failed, or that of every point.
    """
    if not 0.0 < confidence_level < 1.0:
        raise StatisticsError(f"a confidence level of {confidence_level} is not between 0 and 1; choose 0.6827")
    likelihood = likelihood_of(workspace, negative=True)
    parameters = likelihood.model.parameters
    name = workspace.poi if parameter is None else parameter
    if name not in parameters.names:
        what_to_do = f"The model has {', '.join(parameters.names[:40])}."
        raise UnknownNameError("parameter", name, parameters.names, what_to_do)
    place = parameters.names.index(name)
    if parameters.held[place]:
        raise StatisticsError(f"the parameter {name} is a constant of the model: there is nothing to scan")
    minimum = likelihood.fit(likelihood.data)
    covariance = likelihood.covariance(minimum, likelihood.data, parameters.held)
    profile = _Along(likelihood, minimum, place, float(np.sqrt(covariance[place, place])))
    level = float(special.chdtri(1, 1.0 - confidence_level))
    ends = [profile.end(side, level) for side in (-1.0, 1.0)]
    problems = [
        f"the interval has no {which} end: {name} reaches its bound {profile.bound(side):.4g} first"
        for end, side, which in zip(ends, (-1.0, 1.0), ("lower", "upper"), strict=True)
        if end is None
    ]
    asked = profile.points(ends) if values is None else sorted(float(value) for value in values)
    kept, heights = [], []
    for value in asked:
        try:
            heights.append(profile.height(value))
            kept.append(value)
        except FitError as error:
            problems.append(f"the point {name} = {value:.4g} is left out: {error}")
    if not kept:
        raise FitError(f"no point of the scan of {name} could be fitted: {problems[-1]}")
    return LikelihoodScan(
        parameter=name,
        bestfit=float(profile.minimum.parameters[place]),
        uncertainty=profile.error,
        values=tuple(kept),
        twice_delta_nll=tuple(heights),
        confidence_level=confidence_level,
        low=ends[0],
        high=ends[1],
        problems=tuple(problems),
    )


@dataclass(frozen=True, eq=False)
class _Along:
    likelihood: Likelihood
    minimum: Minimum
    place: int
    error: float

    def bound(self, side: float) -> float:
        likelihood, parameters = self.likelihood, self.likelihood.model.parameters
        if self.place == likelihood.poi_index:
            return likelihood.lowest if side < 0 else float("inf")
        return float(parameters.low[self.place] if side < 0 else parameters.high[self.place])

    def points(self, ends: Sequence[float | None]) -> list[float]:
        """From three half widths of the interval below the minimum to three above, inside the bounds."""
        best = float(self.minimum.parameters[self.place])
        low, high = (
            self.bound(side) if end is None else np.clip(best + REACH * (end - best), self.bound(-1.0), self.bound(1.0))
            for end, side in zip(ends, (-1.0, 1.0), strict=True)
        )
        return [float(value) for value in np.linspace(low, high, POINTS)]

    def height(self, value: float) -> float:
        found = self.likelihood.fit(self.likelihood.data, None, self.minimum.parameters, fixed={self.place: value})
        return max(found.twice_nll - self.minimum.twice_nll, 0.0)

    def end(self, side: float, level: float) -> float | None:
        """Where the profile reaches a level on one side; None if the bound comes first."""
        best, limit = float(self.minimum.parameters[self.place]), self.bound(side)
        reach = np.sqrt(level) * self.error
        inner, outer = best, best + side * reach
        for _ in range(MOST_STEPS):
            outer = min(outer, limit) if side > 0 else max(outer, limit)
            if self.height(outer) >= level:
                root = optimize.brentq(lambda value: self.height(value) - level, inner, outer, xtol=1e-6 * self.error)
                return float(root)
            if outer == limit:
                return None
            inner, outer = outer, best + 1.5 * (outer - best)
        raise StatisticsError("the interval has no end: the data do not fix the parameter")
