"""The likelihood of a workspace with exact derivatives, and its minima.

-2 ln L is the sum over bins of the Poisson term of the observed count, and over auxiliary measurements of their
constraint, with all constants, so that it equals pyhf's to rounding. The derivatives are exact (`histfactory`);
minima are found by Newton's method, by SLSQP where that fails and by Minuit where both do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from darkop_dist.errors import FitError, StatisticsError
from darkop_dist.limits.histfactory import Model, model_of
from darkop_dist.limits.newton import minimise
from darkop_dist.limits.parameters import Bools, Floats, Parameters
from darkop_dist.limits.workspace import Workspace

logger = logging.getLogger(__name__)

SLSQP_TOLERANCE = 1e-9
MINUIT_TOLERANCE = 1e-4
FLAT = 1e-10  # smallest curvature in any direction, in units of the parameters' own
STEP = 1e-4  # of the derivatives of slopes, in standard deviations
MOST_NAMED = 5  # bins in a message
METHODS = ("Newton", "Newton from the start values", "SLSQP", "Minuit")


class Expectation(Protocol):
    """What a likelihood asks of a model: HistFactory's (`histfactory.Model`) or another."""

    @property
    def parameters(self) -> Parameters:
        """Names, bounds and constraints."""

    def bin_label(self, place: int) -> str:
        """What messages call a bin."""

    def expected(self, values: Floats) -> Floats:
        """Expected events, shape (bins,), at parameters of shape (parameters,)."""

    def expected_and_slopes(self, values: Floats) -> tuple[Floats, Floats]:
        """Expected events and their derivatives, shapes (bins,) and (bins, parameters)."""


@dataclass(frozen=True, eq=False)
class Data:
    """What was measured, or could have been.

    Attributes:
        counts: events in each bin of the model, shape (bins,).
        auxiliary: the constraints' measurements in the parameters' order, shape (constraints,).
    """

    counts: Floats
    auxiliary: Floats


@dataclass(frozen=True, eq=False)
class Minimum:
    """A minimum of -2 ln L.

    Attributes:
        twice_nll: value of -2 ln L.
        parameters: all parameters in the model's order.
        method: which minimiser found it.
    """

    twice_nll: float
    parameters: Floats
    method: str = METHODS[0]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A model with its data.

    Attributes:
        model: expected counts and derivatives.
        data: observed counts and auxiliary data.
        poi_index: position of the signal strength among the parameters.
        unit: about one standard deviation of the fitted strength.
        lowest: lower bound of the signal strength: 0 unless negative strengths are allowed.
    """

    model: Expectation
    data: Data
    poi_index: int
    unit: float
    lowest: float

    def twice_nll(self, values: Floats, data: Data) -> float:
        """-2 ln L; infinite where a count is expected to be negative, or observed where none is expected."""
        return self._value(self.model.expected(values), values, data)

    def slopes(self, values: Floats, data: Data) -> tuple[float, Floats, Floats]:
        """-2 ln L, its gradient, and its curvature without the second derivatives of the expected counts.

        Args:
            values: parameters, shape (parameters,).
            data: counts and auxiliary data.

        Returns:
            the value, the gradient (parameters,), the curvature (parameters, parameters), which is positive
            semi-definite.
        """
        expected, jacobian = self.model.expected_and_slopes(values)
        value = self._value(expected, values, data)
        if not np.isfinite(value):
            return value, np.zeros(len(values)), np.eye(len(values))
        parameters, split = self.model.parameters, len(self.model.parameters.normal)
        safe = np.where(expected > 0, expected, 1.0)
        gradient = 2.0 * (1.0 - data.counts / safe) @ jacobian
        curvature = 2.0 * (jacobian.T * (np.maximum(data.counts, expected) / safe**2)) @ jacobian
        normal, poisson = parameters.normal, parameters.poisson
        gradient[normal] += 2.0 * (values[normal] - data.auxiliary[:split]) / parameters.sigma**2
        curvature[normal, normal] += 2.0 / parameters.sigma**2
        gradient[poisson] += 2.0 * (parameters.tau - data.auxiliary[split:] / values[poisson])
        curvature[poisson, poisson] += 2.0 * data.auxiliary[split:] / values[poisson] ** 2
        return value, gradient, curvature

    def fit(
        self,
        data: Data,
        mu: float | None = None,
        start: Floats | None = None,
        *,
        fixed: Mapping[int, float] | None = None,
    ) -> Minimum:
        """Minimise -2 ln L.

        Args:
            data: counts and auxiliary data.
            mu: signal strength to hold; None leaves it free.
            start: parameters to start from.
            fixed: positions of other parameters to hold, and their values.

        Raises:
            FitError: no minimiser converged.
        """
        held = {**(fixed or {}), **({} if mu is None else {self.poi_index: mu})}
        low, high = self._bounds(held)
        failures: list[str] = []
        for method in METHODS:
            if method == METHODS[1] and start is None:
                continue
            begin = self._start(held) if start is None or method == METHODS[1] else start
            found = self._minimise(method, data, np.clip(begin, low, high), low, high)
            if isinstance(found, Minimum):
                if method not in METHODS[:2]:
                    logger.warning("a fit fell back to %s (%s)", method, "; ".join(failures))
                return found
            failures.append(f"{method}: {found}")
        what = "free" if mu is None else f"held at {mu:.6g}"
        impossible = self._impossible(np.clip(self._start(held), low, high), data)
        raise FitError(
            f"the fit with the signal strength {what} did not converge ({'; '.join(failures)}). {impossible}Merge bins "
            "with few events, drop systematics that hardly change the templates, or raise the simulated statistics."
        )

    def covariance(self, minimum: Minimum, data: Data, held: Bools) -> Floats:
        """The inverse of half the second derivatives of -2 ln L (Hesse), zero for what was held.

        Slopes are exact; their derivatives are central differences. Where the likelihood does not curve upwards, as
        with no event observed, the curvature expected of it (Fisher's information) takes its place.

        Raises:
            FitError: the data cannot tell parameters apart.
        """
        free = np.flatnonzero(~held)
        if not len(free):
            return np.zeros((len(held), len(held)))
        fisher = self.slopes(minimum.parameters, data)[2][np.ix_(free, free)]
        widths = np.sqrt(2.0 / np.maximum(np.diag(fisher), 1e-12))
        for curvature in (self._second_derivatives(minimum.parameters, data, free, widths), fisher):
            scaled = 0.5 * curvature * np.outer(widths, widths)
            if np.all(np.isfinite(scaled)) and np.linalg.eigvalsh(scaled)[0] > FLAT:
                covariance = np.zeros((len(held), len(held)))
                covariance[np.ix_(free, free)] = np.linalg.inv(scaled) * np.outer(widths, widths)
                return covariance
        raise FitError(
            "the likelihood is flat at its minimum: some parameters cannot be told apart. Give free normalisations "
            "a region that fixes each, or hold one of them."
        )

    def _second_derivatives(self, values: Floats, data: Data, free: npt.NDArray[np.intp], widths: Floats) -> Floats:
        """Of -2 ln L for the free parameters; at an edge of what is possible the differences are one-sided."""
        second = np.empty((len(free), len(free)))
        for row, (place, width) in enumerate(zip(free, widths, strict=True)):
            sides = [_with(values, int(place), values[place] + sign * STEP * width) for sign in (1.0, -1.0)]
            sides = [side if np.isfinite(self.twice_nll(side, data)) else values for side in sides]
            above, below = (self.slopes(side, data)[1] for side in sides)
            distance = float((sides[0] - sides[1])[place])
            second[row] = (above - below)[free] / distance if distance else np.nan
        return np.asarray(0.5 * (second + second.T), dtype=np.float64)

    def expected(self, values: Floats) -> Data:
        """Expected counts and auxiliary data: an Asimov data set (arXiv:1007.1727, section 3.2)."""
        parameters = self.model.parameters
        auxiliary = np.concatenate([values[parameters.normal], parameters.tau * values[parameters.poisson]])
        return Data(self.model.expected(values), auxiliary)

    def at_bounds(self, minimum: Minimum) -> tuple[str, ...]:
        """The free parameters, the signal strength aside, that ended at a bound, in sentences."""
        parameters, values = self.model.parameters, minimum.parameters
        free = ~parameters.constrained & ~parameters.held
        free[self.poi_index] = False
        return tuple(
            f"the free parameter {parameters.names[place]} ended at its bound {bound[place]:g}: widen its bounds"
            for bound in (parameters.low, parameters.high)
            for place in np.flatnonzero(free & (np.abs(values - bound) < 1e-6 * np.maximum(1.0, np.abs(bound))))
        )

    def saturated(self, data: Data) -> float:
        """-2 ln L of a model that expects exactly what was observed."""
        parameters, split = self.model.parameters, len(self.model.parameters.normal)
        normal = float(2.0 * np.log(parameters.sigma).sum() + split * np.log(2.0 * np.pi))
        counted = data.auxiliary[split:]
        return normal + _poisson(data.counts, data.counts) + _poisson(counted, counted)

    def at(self, data: Data, values: Floats) -> Minimum:
        """Given parameters as a minimum."""
        return Minimum(self.twice_nll(values, data), values)

    def strength(self, minimum: Minimum) -> float:
        """The signal strength at a minimum."""
        return float(minimum.parameters[self.poi_index])

    def _value(self, expected: Floats, values: Floats, data: Data) -> float:
        parameters, split = self.model.parameters, len(self.model.parameters.normal)
        counts = values[parameters.poisson] * parameters.tau
        if np.any(expected < 0) or np.any((expected == 0) & (data.counts > 0)) or np.any(counts <= 0):
            return float("inf")
        pulls = (values[parameters.normal] - data.auxiliary[:split]) / parameters.sigma
        normal = float(pulls @ pulls + 2.0 * np.log(parameters.sigma).sum() + split * np.log(2.0 * np.pi))
        return normal + _poisson(data.counts, expected) + _poisson(data.auxiliary[split:], counts)

    def _impossible(self, values: Floats, data: Data) -> str:
        """The bins that cannot have their counts at some parameters, in a sentence; empty if there are none."""
        expected = self.model.expected(values)
        places = np.flatnonzero(~(expected >= 0) | ((expected == 0) & (data.counts > 0)))
        bins = [
            f"{self.model.bin_label(int(place))} ({expected[place]:.4g} expected, {data.counts[place]:g} observed)"
            for place in places[:MOST_NAMED]
        ]
        return f"At its start the model cannot give {', '.join(bins)}. " if bins else ""

    def _start(self, held: Mapping[int, float]) -> Floats:
        start = self.model.parameters.initial.copy()
        start[self.poi_index] = min(start[self.poi_index], self.unit)
        for place, value in held.items():
            start[place] = value
        return start

    def _bounds(self, held: Mapping[int, float]) -> tuple[Floats, Floats]:
        parameters = self.model.parameters
        low = np.where(parameters.held, parameters.initial, parameters.low)
        high = np.where(parameters.held, parameters.initial, parameters.high)
        low[self.poi_index], high[self.poi_index] = self.lowest, np.inf
        for place, value in held.items():
            low[place] = high[place] = value
        return low, high

    def _minimise(self, method: str, data: Data, start: Floats, low: Floats, high: Floats) -> Minimum | str:
        """The minimum, or why there is none."""
        if method in METHODS[:2]:
            found = minimise(lambda values: self.slopes(values, data), start, low, high)
            return found.problem or Minimum(found.value, found.point, method)
        free = np.flatnonzero(low < high)
        if not np.isfinite(self.twice_nll(start, data)):
            return "the likelihood is not finite at the start values"

        def whole(values: Floats) -> Floats:
            return _with(start, free, values)

        def value(values: Floats) -> float:
            return self.twice_nll(whole(values), data)

        def gradient(values: Floats) -> Floats:
            return self.slopes(whole(values), data)[1][free]

        if method == "SLSQP":
            bounds = optimize.Bounds(low[free], high[free])
            options = {"ftol": SLSQP_TOLERANCE, "maxiter": 10_000}
            result = optimize.minimize(value, start[free], jac=gradient, method="SLSQP", bounds=bounds, options=options)
            if not (result.success and np.isfinite(result.fun)):
                return str(result.message)
            return Minimum(float(result.fun), whole(result.x), method)
        from iminuit import Minuit

        minuit = Minuit(value, start[free], grad=gradient)
        minuit.limits = list(zip(low[free], high[free], strict=True))
        minuit.errordef, minuit.strategy, minuit.tol = 1.0, 2, MINUIT_TOLERANCE
        minuit.migrad(ncall=100_000)
        if not minuit.valid:
            return "no valid minimum"
        return Minimum(float(minuit.fval), whole(np.asarray(minuit.values)), method)


def likelihood_of(workspace: Workspace, *, negative: bool = False, model: Model | None = None) -> Likelihood:
    """The likelihood of a workspace.

    Args:
        workspace: the workspace.
        negative: allow negative signal strengths, as far as every bin's expectation stays positive.
        model: its model, if it was prepared already.

    Raises:
        StatisticsError: the workspace has no parameter of interest or no signal, or contradicts itself.
    """
    if not workspace.poi:
        raise StatisticsError("the workspace names no parameter of interest; give one sample a normfactor as its POI")
    model = workspace_model(workspace) if model is None else model
    span = model.parameters.spans.get(workspace.poi)
    if span is None or span.stop - span.start != 1:
        raise StatisticsError(
            f"the parameter of interest {workspace.poi} multiplies no sample: the workspace holds no signal"
        )
    if model.parameters.held[span.start]:
        raise StatisticsError(
            f"the measurement holds the parameter of interest {workspace.poi} constant: nothing can be said about it; "
            "take fixed out of its settings"
        )
    data = Data(_observed(workspace, model), model.parameters.auxiliary)
    likelihood = Likelihood(model, data, span.start, 1.0, 0.0)
    background, signal = _background_and_signal(likelihood)
    lowest = -0.999 * float(np.min((background / np.where(signal > 0, signal, 1.0))[signal > 0])) if negative else 0.0
    return replace(likelihood, unit=_unit_of_strength(signal, background), lowest=lowest)


def workspace_model(workspace: Workspace) -> Model:
    """The HistFactory model of a workspace's first measurement.

    Raises:
        StatisticsError: the workspace contradicts itself.
    """
    return model_of(workspace.spec["channels"], workspace.spec["measurements"][0]["config"]["parameters"])


def _observed(workspace: Workspace, model: Model) -> Floats:
    entries = workspace.spec["observations"]
    observed = {entry["name"]: entry["data"] for entry in entries}
    if len(observed) < len(entries):
        names = [str(entry["name"]) for entry in entries]
        twice = next(name for name in names if names.count(name) > 1)
        raise StatisticsError(f"the workspace has two observations for the channel {twice}; keep one")
    missing = [name for name in model.channels if name not in observed]
    if missing:
        raise StatisticsError(f"the workspace has no observation for the channels {', '.join(missing)}")
    counts = [np.asarray(observed[name], dtype=np.float64) for name in model.channels]
    for name, values in zip(model.channels, counts, strict=True):
        bins = model.spans[name].stop - model.spans[name].start
        if len(values) != bins or not np.all(np.isfinite(values)) or np.any(values < 0):
            raise StatisticsError(f"channel {name}: the observation {values.tolist()} is not {bins} counts")
    return np.concatenate(counts)


def _background_and_signal(likelihood: Likelihood) -> tuple[Floats, Floats]:
    """Expected events before the fit without signal, and what a strength of 1 adds, shape (bins,) each."""
    nominal = likelihood.model.parameters.nominal
    background, both = (likelihood.model.expected(_with(nominal, likelihood.poi_index, mu)) for mu in (0.0, 1.0))
    signal = both - background
    for place in np.flatnonzero(background < 0)[:1]:
        raise StatisticsError(
            f"the backgrounds expect {background[place]:.4g} events in {likelihood.model.bin_label(int(place))}: set "
            "the negative sums of weights to zero, or merge the bin with its neighbour"
        )
    if not np.any(signal > 0):
        raise StatisticsError("the signal has no expected events in any bin of the workspace; check its selection")
    return background, signal


def _unit_of_strength(signal: Floats, background: Floats) -> float:
    """About one standard deviation of the fitted strength: Poisson statistics and 10% on each bin's background."""
    information = float(np.sum(signal**2 / (1.0 + background + (0.1 * background) ** 2)))
    return 1.0 / float(np.sqrt(information))


def _poisson(counts: Floats, expected: Floats) -> float:
    """-2 ln of Poisson's law, for counts that need not be whole."""
    return float(2.0 * np.sum(expected - special.xlogy(counts, expected) + special.gammaln(counts + 1.0)))


def _with(values: Floats, places: int | npt.NDArray[np.intp], changed: float | Floats) -> Floats:
    copy = np.array(values, dtype=np.float64)
    copy[places] = changed
    return copy
