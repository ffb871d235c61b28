"""The profile likelihood over the signal strength, and the test statistics that it gives."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from darkop_dist.limits.likelihood import METHODS, Data, Likelihood, Minimum
from darkop_dist.limits.parameters import Floats

logger = logging.getLogger(__name__)

# A conditional fit this much below the free fit, in -2 ln L, shows that the free fit missed the minimum.
MISSED_MINIMUM = 1e-6


@dataclass(eq=False)
class Profile:
    """The profile likelihood of one data set as a function of the signal strength; fits are remembered.

    Attributes:
        likelihood: the model.
        data: counts and auxiliary data.
        best: the free minimum; for an Asimov data set it is known without a fit.
        conditional: conditional minima by signal strength.
    """

    likelihood: Likelihood
    data: Data
    best: Minimum
    conditional: dict[float, Minimum] = field(default_factory=dict)

    @classmethod
    def of_data(cls, likelihood: Likelihood, data: Data, start: Floats | None = None) -> Profile:
        """Profile of counts whose best fit is to be found."""
        return cls(likelihood, data, likelihood.fit(data, None, start))

    @classmethod
    def of_asimov(cls, likelihood: Likelihood, truth: Minimum) -> Profile:
        """Profile of the Asimov data of given parameters, which are also its best fit."""
        data = likelihood.expected(truth.parameters)
        return cls(likelihood, data, likelihood.at(data, truth.parameters))

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The methods of the fits that Newton's could not do."""
        fits = (self.best, *self.conditional.values())
        return tuple(found.method for found in fits if found.method not in METHODS[:2])

    def at(self, mu: float) -> Minimum:
        """The conditional minimum at a signal strength."""
        if mu not in self.conditional:
            nearest = min(self.conditional, key=lambda known: abs(known - mu), default=None)
            start = self.best.parameters if nearest is None else self.conditional[nearest].parameters
            found = self.likelihood.fit(self.data, mu, start)
            if found.twice_nll < self.best.twice_nll - MISSED_MINIMUM:
                logger.info("the free fit missed a lower minimum near mu = %g; fitting again from there", mu)
                again = self.likelihood.fit(self.data, None, found.parameters)
                self.best = min(found, again, key=lambda minimum: minimum.twice_nll)
            self.conditional[mu] = found
        return self.conditional[mu]

    @property
    def best_strength(self) -> float:
        """The fitted signal strength."""
        return self.likelihood.strength(self.best)

    def q(self, mu: float) -> float:
        """The test statistic for upper limits (arXiv:1007.1727, equations 14 and 16); 0 if the fit prefers more."""
        conditional = self.at(mu)
        return 0.0 if self.best_strength > mu else max(conditional.twice_nll - self.best.twice_nll, 0.0)

    def q0(self) -> float:
        """The test statistic for discovery (arXiv:1007.1727, equation 12); 0 if the fit prefers less than nothing."""
        conditional = self.at(0.0)
        return 0.0 if self.best_strength < 0 else max(conditional.twice_nll - self.best.twice_nll, 0.0)
