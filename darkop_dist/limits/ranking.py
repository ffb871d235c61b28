"""Which nuisance parameters move the fitted signal strength, and by how much.

Assumptions:
    The impact of a parameter is the change of the fitted strength when the parameter is held one standard deviation
    above or below its fitted value and all others are fitted again; the fit's standard deviation gives the post-fit
    impact, the constraint's the pre-fit one. The strength may become negative here as far as expected counts stay
    positive, so that impacts are not cut at zero. Impacts of correlated parameters do not add up in quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darkop_dist.errors import FitError
from darkop_dist.limits.likelihood import Likelihood, Minimum, likelihood_of
from darkop_dist.limits.workspace import Workspace


@dataclass(frozen=True)
class Impact:
    """One nuisance parameter's influence on the signal strength.

    Attributes:
        name: name in the workspace; per-bin parameters carry the bin's number.
        bestfit: fitted value.
        uncertainty: its standard deviation after the fit.
        pull: (bestfit - prefit) / prefit uncertainty; None for free parameters.
        up: change of the strength with the parameter one standard deviation above its fitted value.
        down: the same below.
        prefit_up: the same with the width of its constraint; None for free parameters.
        prefit_down: the same below.
    """

    name: str
    bestfit: float
    uncertainty: float
    pull: float | None
    up: float
    down: float
    prefit_up: float | None
    prefit_down: float | None

    @property
    def size(self) -> float:
        """The larger of the two post-fit changes."""
        return max(abs(self.up), abs(self.down))


@dataclass(frozen=True)
class Ranking:
    """The impacts of all nuisance parameters, largest first.

    Attributes:
        mu_hat: fitted signal strength; it may be negative here.
        mu_hat_uncertainty: its standard deviation.
        impacts: largest first.
        problems: parameters whose impact could not be found, and why.
    """

    mu_hat: float
    mu_hat_uncertainty: float
    impacts: tuple[Impact, ...]
    problems: tuple[str, ...]


def rank(workspace: Workspace) -> Ranking:
    """The impacts of all nuisance parameters on the fitted signal strength.

    A parameter whose fits fail is left out and reported.

    Raises:
        FitError: the fit of the data failed.
    """
    likelihood = likelihood_of(workspace, negative=True)
    parameters = likelihood.model.parameters
    minimum = likelihood.fit(likelihood.data)
    errors = np.sqrt(np.diag(likelihood.covariance(minimum, likelihood.data, parameters.held)))
    widths, nominal = parameters.widths, parameters.nominal
    impacts, problems = [], []
    for place, name in enumerate(parameters.names):
        if parameters.held[place] or place == likelihood.poi_index:
            continue
        value, width = float(minimum.parameters[place]), float(widths[place])
        try:
            after = [_moved(likelihood, minimum, place, sign * float(errors[place])) for sign in (1, -1)]
            before = [_moved(likelihood, minimum, place, sign * width) for sign in (1, -1)] if width else [None, None]
        except FitError as error:
            problems.append(f"the impact of {name} is left out: {error}")
            continue
        pull = (value - float(nominal[place])) / width if width else None
        impacts.append(Impact(name, value, float(errors[place]), pull, after[0], after[1], before[0], before[1]))
    ordered = sorted(impacts, key=lambda impact: -impact.size)
    return Ranking(
        mu_hat=likelihood.strength(minimum),
        mu_hat_uncertainty=float(errors[likelihood.poi_index]),
        impacts=tuple(ordered),
        problems=tuple(problems),
    )


def _moved(likelihood: Likelihood, minimum: Minimum, place: int, shift: float) -> float:
    """How far the strength moves when a parameter is held away from its fitted value, inside its bounds."""
    parameters = likelihood.model.parameters
    value = float(np.clip(minimum.parameters[place] + shift, parameters.low[place], parameters.high[place]))
    found = likelihood.fit(likelihood.data, None, minimum.parameters, fixed={place: value})
    return likelihood.strength(found) - likelihood.strength(minimum)
