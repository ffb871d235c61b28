"""Background-only and signal-plus-background fits: pulls, correlations, goodness of fit and yields.

Assumptions:
    Uncertainties are those of the likelihood's curvature at the minimum (Hesse); those of yields are propagated
    linearly with the correlations. The goodness of fit compares with the saturated model, in which every bin's
    expectation is its observation (Cousins, "Generalization of Chisquare Goodness-of-Fit Test for
    Binned Data Using Saturated Models", 2013): a chi-square in the limit of many events per bin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from darkop_dist.limits.histfactory import Model
from darkop_dist.limits.likelihood import Likelihood, Minimum, likelihood_of, workspace_model
from darkop_dist.limits.parameters import Bools, Floats
from darkop_dist.limits.workspace import Workspace

Hypothesis = Literal["background-only", "signal+background"]


@dataclass(frozen=True)
class FittedParameter:
    """A parameter after the fit.

    Attributes:
        name: name in the workspace; per-bin parameters carry the bin's number.
        bestfit: fitted value.
        uncertainty: its uncertainty; 0 if it was held.
        prefit: value before the fit.
        prefit_uncertainty: width of its constraint; 0 for free parameters.
        at_bound: the fit ended at a bound, where the uncertainty means little.
    """

    name: str
    bestfit: float
    uncertainty: float
    prefit: float
    prefit_uncertainty: float
    at_bound: bool

    @property
    def pull(self) -> float | None:
        """(bestfit - prefit) / prefit_uncertainty; None for free or held parameters."""
        if self.prefit_uncertainty == 0:
            return None
        return (self.bestfit - self.prefit) / self.prefit_uncertainty


@dataclass(frozen=True)
class GoodnessOfFit:
    """Comparison of a fit with the saturated model.

    Attributes:
        chi2: -2 ln(L / L_saturated).
        ndof: number of bins with expected or observed events less number of free, unconstrained parameters.
        p_value: chi-square probability; None if there are no degrees of freedom.
    """

    chi2: float
    ndof: int
    p_value: float | None


@dataclass(frozen=True)
class RegionYields:
    """Events per bin of a region.

    Attributes:
        region: the region.
        edges: bin edges, shape (bins + 1,); bin numbers if the workspace came from a file.
        observed: data, or the background expectation on Asimov data.
        backgrounds: expected events per background sample, shape (bins,) each.
        signal: expected signal, at mu = 1 before the fit and at the fitted mu after it.
        total: sum of the backgrounds, plus the signal after a signal-plus-background fit.
        total_uncertainty: its uncertainty.
    """

    region: str
    edges: tuple[float, ...]
    observed: tuple[float, ...]
    backgrounds: Mapping[str, tuple[float, ...]]
    signal: tuple[float, ...]
    total: tuple[float, ...]
    total_uncertainty: tuple[float, ...]


@dataclass(frozen=True)
class FitResult:
    """A maximum-likelihood fit.

    Attributes:
        hypothesis: ``background-only`` (mu held at 0) or ``signal+background`` (mu free, not below 0).
        parameters: all parameters.
        correlation: correlation matrix in the order of the parameters, shape (parameters, parameters).
        twice_nll: -2 ln L at the minimum.
        goodness: comparison with the saturated model.
        mu_hat: fitted signal strength; 0 for background-only.
        mu_hat_uncertainty: its uncertainty.
        prefit: yields before the fit.
        postfit: yields after the fit.
    """

    hypothesis: Hypothesis
    parameters: tuple[FittedParameter, ...]
    correlation: tuple[tuple[float, ...], ...]
    twice_nll: float
    goodness: GoodnessOfFit
    mu_hat: float
    mu_hat_uncertainty: float
    prefit: tuple[RegionYields, ...]
    postfit: tuple[RegionYields, ...]

    @property
    def covariance(self) -> Floats:
        """Covariance matrix in the order of the parameters, shape (parameters, parameters); zero for what was held."""
        errors = np.array([parameter.uncertainty for parameter in self.parameters])
        return np.asarray(np.array(self.correlation) * np.outer(errors, errors), dtype=np.float64)


def fit(workspace: Workspace, *, hypothesis: Hypothesis) -> FitResult:
    """Fit a workspace.

    Args:
        workspace: the model and the data.
        hypothesis: ``background-only`` or ``signal+background``.

    Raises:
        FitError: the fit did not converge, or the data cannot tell parameters apart.
    """
    model = workspace_model(workspace)
    likelihood = likelihood_of(workspace, model=model)
    parameters = likelihood.model.parameters
    held = parameters.held.copy()
    mu = None
    if hypothesis == "background-only":
        held[likelihood.poi_index], mu = True, 0.0
    minimum = likelihood.fit(likelihood.data, mu)
    covariance = likelihood.covariance(minimum, likelihood.data, held)
    uncertainty = np.sqrt(np.diag(covariance))
    safe = np.where(uncertainty > 0, uncertainty, 1.0)
    prefit = parameters.nominal
    prefit[likelihood.poi_index] = 0.0
    return FitResult(
        hypothesis=hypothesis,
        parameters=_parameters(likelihood, minimum, uncertainty),
        correlation=tuple(_floats(row) for row in covariance / np.outer(safe, safe)),
        twice_nll=minimum.twice_nll,
        goodness=goodness_of(likelihood, minimum, held),
        mu_hat=likelihood.strength(minimum),
        mu_hat_uncertainty=float(uncertainty[likelihood.poi_index]),
        prefit=_yields(
            workspace, model, likelihood.poi_index, prefit, np.diag(parameters.widths**2), signal_at_one=True
        ),
        postfit=_yields(workspace, model, likelihood.poi_index, minimum.parameters, covariance, signal_at_one=False),
    )


def goodness_of(likelihood: Likelihood, minimum: Minimum, held: Bools) -> GoodnessOfFit:
    """Compare a minimum with the saturated model, whose every expectation is what was observed.

    Args:
        likelihood: the model and the data.
        minimum: of its data.
        held: which parameters were held, shape (parameters,).
    """
    chi2 = minimum.twice_nll - likelihood.saturated(likelihood.data)
    bins = int(np.sum((likelihood.data.counts > 0) | (likelihood.model.expected(minimum.parameters) > 0)))
    ndof = bins - int(np.sum(~held & ~likelihood.model.parameters.constrained))
    return GoodnessOfFit(chi2, ndof, float(special.chdtrc(ndof, max(chi2, 0.0))) if ndof > 0 else None)


def _parameters(likelihood: Likelihood, minimum: Minimum, uncertainty: Floats) -> tuple[FittedParameter, ...]:
    parameters = likelihood.model.parameters
    low, high = parameters.low.copy(), parameters.high.copy()
    low[likelihood.poi_index], high[likelihood.poi_index] = likelihood.lowest, np.inf
    prefit = parameters.nominal
    prefit[likelihood.poi_index] = 1.0
    columns = zip(parameters.names, minimum.parameters, uncertainty, prefit, parameters.widths, low, high, strict=True)
    return tuple(
        FittedParameter(
            name=name,
            bestfit=float(value),
            uncertainty=float(error),
            prefit=float(before),
            prefit_uncertainty=float(width),
            at_bound=bool(error > 0 and min(value - lowest, highest - value) < 1e-3 * error),
        )
        for name, value, error, before, width, lowest, highest in columns
    )


def _yields(
    workspace: Workspace, model: Model, poi: int, values: Floats, covariance: Floats, *, signal_at_one: bool
) -> tuple[RegionYields, ...]:
    total, jacobian = model.expected_and_slopes(values)
    spread = np.sqrt(np.einsum("bp,pq,bq->b", jacobian, covariance, jacobian))
    shown = values.copy()
    if signal_at_one:
        shown[poi] = 1.0
    cells = model.cells(shown)
    signals = workspace.signal_rows
    observed = {entry["name"]: entry["data"] for entry in workspace.spec["observations"]}
    result = []
    for region in model.channels:
        bins = model.spans[region]
        rows = {
            sample: cells[model.row_of_cell == row]
            for row, (channel, sample) in enumerate(model.rows)
            if channel == region
        }
        signal = sum((row for name, row in rows.items() if (region, name) in signals), np.zeros(bins.stop - bins.start))
        edges = workspace.edges.get(region) or range(bins.stop - bins.start + 1)
        result.append(
            RegionYields(
                region=region,
                edges=tuple(float(edge) for edge in edges),
                observed=_floats(observed[region]),
                backgrounds={name: _floats(row) for name, row in rows.items() if (region, name) not in signals},
                signal=_floats(signal),
                total=_floats(total[bins]),
                total_uncertainty=_floats(spread[bins]),
            )
        )
    return tuple(result)


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
