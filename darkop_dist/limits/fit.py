"""Background-only and signal-plus-background fits: pulls, correlations, goodness of fit and yields.

Assumptions:
    Uncertainties are those of the likelihood's curvature at the minimum (Hesse); those of yields are propagated
    linearly with the correlations. The goodness of fit compares with the saturated model, in which every bin's
    expectation is its observation (Cousins, "Generalization of Chisquare Goodness-of-Fit Test for
    Binned Data Using Saturated Models", 2013): a chi-square in the limit of many events per bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyhf
from scipy import special

from darkop_dist.errors import FitError
from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.likelihood import Floats, Likelihood, likelihood_of
from darkop_dist.limits.workspace import Workspace

# cabinetry brings matplotlib with it: it is imported by the functions that fit, not with the room
if TYPE_CHECKING:
    from cabinetry.fit.results_containers import FitResults

Hypothesis = Literal["background-only", "signal+background"]


@dataclass(frozen=True)
class FittedParameter:
    """A parameter after the fit.

    Attributes:
        name: name in the workspace; per-bin parameters carry the bin's number.
        bestfit: fitted value; the signal strength in the workspace's units.
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
        ndof: number of bins less number of free, unconstrained parameters.
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


def fit(workspace: Workspace, *, hypothesis: Hypothesis) -> FitResult:
    """Fit a workspace with cabinetry (Minuit and Hesse).

    Args:
        workspace: the model and the data.
        hypothesis: ``background-only`` or ``signal+background``.

    Raises:
        FitError: the fit did not converge.
    """
    with numpy_backend():
        likelihood = likelihood_of(workspace)
        held = [bool(fixed) for fixed in likelihood.model.config.suggested_fixed()]
        initial = [float(value) for value in likelihood.model.config.suggested_init()]
        if hypothesis == "background-only":
            held[likelihood.poi_index], initial[likelihood.poi_index] = True, 0.0
        result = _minuit(likelihood, held, initial, hypothesis)
        goodness = _goodness(likelihood, result, held)
        prefit_state = _prefit(likelihood)
        return FitResult(
            hypothesis=hypothesis,
            parameters=_parameters(likelihood, result),
            correlation=tuple(tuple(float(value) for value in row) for row in np.asarray(result.corr_mat)),
            twice_nll=float(result.best_twice_nll),
            goodness=goodness,
            mu_hat=float(result.bestfit[likelihood.poi_index]) * likelihood.scale,
            mu_hat_uncertainty=float(result.uncertainty[likelihood.poi_index]) * likelihood.scale,
            prefit=_yields(workspace, likelihood, prefit_state, signal_at_one=True),
            postfit=_yields(workspace, likelihood, result, signal_at_one=False),
        )


def _minuit(likelihood: Likelihood, held: list[bool], initial: list[float], hypothesis: str) -> FitResults:
    """Fit with cabinetry; if it fails, again with Minuit's strategy 2 and then from the minimum that SLSQP finds."""
    import cabinetry

    attempts: tuple[Mapping[str, Any], ...] = ({}, {"strategy": 2}, {"strategy": 2, "custom_fit": True})
    failures = []
    for number, options in enumerate(attempts):
        if number == 2:
            mu = 0.0 if hypothesis == "background-only" else None
            initial = likelihood.fit(likelihood.data, mu, None).parameters.tolist()
        try:
            return cabinetry.fit.fit(
                likelihood.model, likelihood.data.tolist(), init_pars=list(initial), fix_pars=list(held), **options
            )
        except (pyhf.exceptions.FailedMinimization, ValueError, RuntimeError) as error:
            failures.append(str(error).strip().splitlines()[0])
    raise FitError(
        f"the {hypothesis} fit did not converge ({'; '.join(dict.fromkeys(failures))}). Merge bins with few events, "
        "drop systematics that hardly change the templates, or raise the simulated statistics."
    )


def _goodness(likelihood: Likelihood, result: FitResults, held: list[bool]) -> GoodnessOfFit:
    import cabinetry

    model = likelihood.model
    bins = sum(model.config.channel_nbins.values())
    main, auxiliary = likelihood.data[:bins], likelihood.data[bins:]
    poisson = float(np.sum(special.xlogy(main, main) - main - special.gammaln(main + 1.0)))
    nominal = cabinetry.model_utils.asimov_parameters(model)  # maximises the constraints of default auxiliary data
    constraint = float(np.sum(model.constraint_logpdf(auxiliary, nominal))) if len(auxiliary) else 0.0
    chi2 = float(result.best_twice_nll) + 2.0 * (poisson + constraint)
    constrained = np.repeat(
        [model.config.param_set(name).constrained for name in model.config.par_order],
        [model.config.param_set(name).n_parameters for name in model.config.par_order],
    )
    free = sum(not fixed and not bound for fixed, bound in zip(held, constrained, strict=True))
    ndof = len(main) - free
    return GoodnessOfFit(chi2, ndof, float(special.chdtrc(ndof, max(chi2, 0.0))) if ndof > 0 else None)


def _parameters(likelihood: Likelihood, result: FitResults) -> tuple[FittedParameter, ...]:
    import cabinetry

    model = likelihood.model
    prefit = cabinetry.model_utils.asimov_parameters(model)
    widths = cabinetry.model_utils.prefit_uncertainties(model)
    units = np.ones(len(prefit))
    units[likelihood.poi_index] = likelihood.scale
    prefit[likelihood.poi_index] = 1.0 / likelihood.scale
    bounds = model.config.suggested_bounds()
    return tuple(
        FittedParameter(
            name=name,
            bestfit=float(value * unit),
            uncertainty=float(error * unit),
            prefit=float(before * unit),
            prefit_uncertainty=float(width),
            at_bound=bool(error > 0 and min(abs(value - low), abs(value - high)) < 1e-3 * error),
        )
        for name, value, error, before, width, unit, (low, high) in zip(
            result.labels, result.bestfit, result.uncertainty, prefit, widths, units, bounds, strict=True
        )
    )


def _prefit(likelihood: Likelihood) -> FitResults:
    """The backgrounds before the fit as cabinetry's result type: nominal values, constraint widths, no correlation."""
    import cabinetry
    from cabinetry.fit.results_containers import FitResults

    parameters = cabinetry.model_utils.asimov_parameters(likelihood.model)
    parameters[likelihood.poi_index] = 0.0
    widths = cabinetry.model_utils.prefit_uncertainties(likelihood.model)
    return FitResults(parameters, widths, likelihood.model.config.par_names, np.eye(len(parameters)), 0.0)


def _yields(
    workspace: Workspace, likelihood: Likelihood, state: FitResults, *, signal_at_one: bool
) -> tuple[RegionYields, ...]:
    import cabinetry

    model = likelihood.model
    prediction = cabinetry.model_utils.prediction(model, fit_results=state)
    shown = np.array(state.bestfit, dtype=np.float64)
    if signal_at_one:
        shown[likelihood.poi_index] = 1.0 / likelihood.scale
    by_sample = np.asarray(model.main_model.expected_data(shown, return_by_sample=True), dtype=np.float64)
    channels = {channel["name"]: channel["samples"] for channel in workspace.spec["channels"]}
    result = []
    for index, region in enumerate(model.config.channels):
        bins = model.config.channel_slices[region]
        present = {sample["name"]: sample["modifiers"] for sample in channels[region]}
        signals = {name for name, mods in present.items() if any(mod["name"] == workspace.poi for mod in mods)}
        rows = {name: by_sample[row, bins] for row, name in enumerate(model.config.samples) if name in present}
        signal = sum((rows[name] for name in signals), np.zeros(bins.stop - bins.start))
        edges = workspace.edges.get(region) or range(bins.stop - bins.start + 1)
        result.append(
            RegionYields(
                region=region,
                edges=tuple(float(edge) for edge in edges),
                observed=_floats(likelihood.data[bins]),
                backgrounds={name: _floats(row) for name, row in rows.items() if name not in signals},
                signal=_floats(signal),
                total=_floats(np.sum(prediction.model_yields[index], axis=0)),
                total_uncertainty=_floats(np.asarray(prediction.total_stdev_model_bins[index][-1])),
            )
        )
    return tuple(result)


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
