"""The profile likelihood of a workspace, with the signal scaled so that minimisers meet numbers near one.

A limit may be a thousandth or a thousand times the model's cross section. Minimisers that take numerical derivatives
lose digits there, so the signal's templates are multiplied by ``scale`` and the signal strength is divided by it: the
same likelihood in other units. All strengths that go in and come out are the workspace's own.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyhf
from scipy import optimize

from darkop_dist.errors import FitError, StatisticsError
from darkop_dist.limits.workspace import INTERPOLATION, Workspace

Floats = npt.NDArray[np.float64]
logger = logging.getLogger(__name__)

# A conditional fit this much below the free fit, in -2 ln L, shows that the free fit missed the minimum.
MISSED_MINIMUM = 1e-6
SLSQP_TOLERANCE = 1e-9
PARAMETER_BOUND = 100.0
STEP = 1e-4  # of central differences, in units of the parameters' widths


@dataclass(frozen=True, eq=False)
class Minimum:
    """A minimum of -2 ln L.

    Attributes:
        twice_nll: value of -2 ln L.
        parameters: all parameters in the model's order, the signal strength in scaled units.
    """

    twice_nll: float
    parameters: Floats


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A model with its data.

    Attributes:
        model: pyhf's model of the scaled workspace.
        batched: the same for 2 * parameters + 1 points at once.
        widths: the constraints' standard deviations, 1 for free parameters: the minimiser's units.
        data: observed counts and auxiliary data.
        poi_index: position of the signal strength among the parameters.
        scale: signal strength in the workspace's units = scale * parameter.
        lowest: lower bound of the signal strength's parameter: 0 unless negative strengths are allowed.
    """

    model: Any
    batched: Any
    widths: Floats
    data: Floats
    poi_index: int
    scale: float
    lowest: float

    def fit(self, data: Floats, mu: float | None, start: Floats | None) -> Minimum:
        """Minimise -2 ln L; SLSQP first, Minuit if it fails.

        Args:
            data: counts and auxiliary data.
            mu: signal strength to hold, in the workspace's units; None leaves it free.
            start: parameters to start from.

        Raises:
            FitError: no minimiser converged.
        """
        bounds = [(float(low), float(high)) for low, high in self.model.config.suggested_bounds()]
        initial = [float(value) for value in (self.model.config.suggested_init() if start is None else start)]
        tested = None if mu is None else mu / self.scale
        highest = max(PARAMETER_BOUND, 2.0 * abs(tested or 0.0), 2.0 * abs(initial[self.poi_index]))
        bounds[self.poi_index] = (min(self.lowest, tested if tested is not None else 0.0), highest)
        initial = [min(max(value, low), high) for value, (low, high) in zip(initial, bounds, strict=True)]
        failures = []
        for method in ("SLSQP", "SLSQP from the start values", "Minuit"):
            begin = initial if method != "SLSQP from the start values" else self.model.config.suggested_init()
            try:
                parameters, value = self._minimise(method, data, tested, list(begin), bounds)
            except (pyhf.exceptions.FailedMinimization, ValueError, AttributeError) as error:
                failures.append(f"{method}: {str(error).strip().splitlines()[0]}")
                continue
            if np.isfinite(value):
                return Minimum(float(value), np.asarray(parameters, dtype=np.float64))
            failures.append(f"{method}: the likelihood is not finite")
        held = "free" if mu is None else f"held at {mu:.6g}"
        raise FitError(
            f"the fit with the signal strength {held} did not converge ({'; '.join(failures)}). Merge bins with few "
            "events, drop systematics that hardly change the templates, or raise the simulated statistics."
        )

    def _minimise(
        self, method: str, data: Floats, tested: float | None, begin: list[float], bounds: list[tuple[float, float]]
    ) -> tuple[Floats, float]:
        if method != "Minuit":
            return self._slsqp(data, tested, begin, bounds)
        settings = {"init_pars": begin, "par_bounds": bounds, "return_fitted_val": True}
        _, optimizer = pyhf.get_backend()
        pyhf.set_backend(pyhf.tensorlib, pyhf.optimize.minuit_optimizer(strategy=2, tolerance=0.001))
        try:
            if tested is None:
                result = pyhf.infer.mle.fit(data, self.model, **settings)
            else:
                result = pyhf.infer.mle.fixed_poi_fit(tested, data, self.model, **settings)
        finally:
            pyhf.set_backend(pyhf.tensorlib, optimizer)
        return np.asarray(result[0], dtype=np.float64), float(result[1])

    def _slsqp(
        self, data: Floats, tested: float | None, begin: list[float], bounds: list[tuple[float, float]]
    ) -> tuple[Floats, float]:
        """SLSQP with the derivatives of all parameters from one evaluation of a batched model.

        One batch costs about two single evaluations (20 parameters), where SciPy would need one per parameter.
        """
        held = np.array(self.model.config.suggested_fixed(), dtype=bool)
        point = np.array(begin, dtype=np.float64)
        if tested is not None:
            held[self.poi_index], point[self.poi_index] = True, tested
        free = np.flatnonzero(~held)
        low, high = np.array(bounds, dtype=np.float64).T
        low, high = np.minimum(low, point), np.maximum(high, point)

        def value_and_slope(values: Floats) -> tuple[float, Floats]:
            point[free] = values * self.widths[free]
            above, below = np.minimum(point + STEP * self.widths, high), np.maximum(point - STEP * self.widths, low)
            moved = np.diag(above - point), np.diag(below - point)
            twice_nll = -2.0 * np.asarray(self.batched.logpdf(point + np.vstack([*moved, 0.0 * point]), data))
            slopes = (twice_nll[: len(point)] - twice_nll[len(point) : -1]) / (above - below)
            return float(twice_nll[-1]), (slopes * self.widths)[free]

        if len(free) == 0:
            return point, self.at(data, point).twice_nll
        result = optimize.minimize(
            value_and_slope,
            point[free] / self.widths[free],
            jac=True,
            method="SLSQP",
            bounds=list(zip((low / self.widths)[free], (high / self.widths)[free], strict=True)),
            tol=SLSQP_TOLERANCE,
            options={"maxiter": 10_000},
        )
        if not result.success:
            raise pyhf.exceptions.FailedMinimization(result)
        point[free] = result.x * self.widths[free]
        return point.copy(), float(result.fun)

    def expected(self, minimum: Minimum) -> Floats:
        """Expected counts and auxiliary data at a minimum: an Asimov data set (arXiv:1007.1727, section 3.2)."""
        return np.asarray(self.model.expected_data(minimum.parameters), dtype=np.float64)

    def at(self, data: Floats, parameters: Floats) -> Minimum:
        """-2 ln L at given parameters."""
        value = pyhf.infer.mle.twice_nll(parameters, data, self.model)
        return Minimum(float(np.asarray(value).item()), parameters)

    def strength(self, minimum: Minimum) -> float:
        """The signal strength at a minimum, in the workspace's units."""
        return float(minimum.parameters[self.poi_index]) * self.scale


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
    data: Floats
    best: Minimum
    conditional: dict[float, Minimum] = field(default_factory=dict)

    @classmethod
    def of_data(cls, likelihood: Likelihood, data: Floats) -> Profile:
        """Profile of counts whose best fit is to be found."""
        return cls(likelihood, data, likelihood.fit(data, None, None))

    @classmethod
    def of_asimov(cls, likelihood: Likelihood, truth: Minimum) -> Profile:
        """Profile of the Asimov data of given parameters, which are also its best fit."""
        data = likelihood.expected(truth)
        return cls(likelihood, data, likelihood.at(data, truth.parameters))

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


def likelihood_of(workspace: Workspace, *, negative: bool = False) -> Likelihood:
    """The likelihood of a workspace; call it and all that follows under ``numpy_backend``.

    Args:
        workspace: the workspace.
        negative: allow negative signal strengths, as far as every bin's expectation stays positive.

    Raises:
        StatisticsError: the workspace has no parameter of interest.
    """
    if not workspace.poi:
        raise StatisticsError("the workspace names no parameter of interest; give one sample a normfactor as its POI")
    signal, background = _signal_and_background(workspace)
    scale = _unit_of_strength(signal, background) if _scalable(workspace) else 1.0
    scaled = pyhf.Workspace(scaled_spec(workspace, scale))
    model = scaled.model(modifier_settings=INTERPOLATION)
    batched = scaled.model(modifier_settings=INTERPOLATION, batch_size=2 * model.config.npars + 1)
    lowest = 0.0
    if negative:
        present = signal > 0
        lowest = -0.999 * float(np.min(background[present] / signal[present])) / scale
    data = np.asarray(scaled.data(model), dtype=np.float64)
    return Likelihood(model, batched, _widths(model), data, int(model.config.poi_index), scale, lowest)


def _widths(model: Any) -> Floats:
    widths: list[float] = []
    for name in model.config.par_order:
        parameters = model.config.param_set(name)
        widths += parameters.width() if parameters.constrained else [1.0] * parameters.n_parameters
    return np.asarray(widths, dtype=np.float64)


def scaled_spec(workspace: Workspace, scale: float) -> dict[str, Any]:
    """The workspace with every template of the signal multiplied, and the strength's bounds opened."""
    spec = copy.deepcopy(workspace.spec)
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            if any(modifier["name"] == workspace.poi for modifier in sample["modifiers"]):
                _scale_sample(sample, scale)
    config = spec["measurements"][0]["config"]
    others = [parameter for parameter in config["parameters"] if parameter["name"] != workspace.poi]
    poi = {"name": workspace.poi, "inits": [1.0], "bounds": [[0.0, PARAMETER_BOUND]]}
    config["parameters"] = [*others, poi]
    return spec


def _scale_sample(sample: dict[str, Any], scale: float) -> None:
    sample["data"] = _times(sample["data"], scale)
    for modifier in sample["modifiers"]:
        if modifier["type"] == "histosys":
            modifier["data"] = {key: _times(values, scale) for key, values in modifier["data"].items()}
        elif modifier["type"] == "shapesys":
            modifier["data"] = _times(modifier["data"], scale)


def _times(values: Sequence[float], scale: float) -> list[float]:
    return [scale * value for value in values]


def _scalable(workspace: Workspace) -> bool:
    """A signal that shares per-bin statistical factors with backgrounds changes their size when it is scaled."""
    for channel in workspace.spec["channels"]:
        for sample in channel["samples"]:
            kinds = {modifier["type"] for modifier in sample["modifiers"]}
            if any(modifier["name"] == workspace.poi for modifier in sample["modifiers"]) and "staterror" in kinds:
                return False
    return True


def _signal_and_background(workspace: Workspace) -> tuple[Floats, Floats]:
    signal, background = [], []
    for channel in workspace.spec["channels"]:
        bins = len(channel["samples"][0]["data"])
        parts = {True: np.zeros(bins), False: np.zeros(bins)}
        for sample in channel["samples"]:
            parts[any(modifier["name"] == workspace.poi for modifier in sample["modifiers"])] += sample["data"]
        signal.append(parts[True])
        background.append(parts[False])
    return np.concatenate(signal), np.concatenate(background)


def _unit_of_strength(signal: Floats, background: Floats) -> float:
    """About one standard deviation of the fitted strength: Poisson statistics and 10% on each bin's background."""
    information = float(np.sum(signal**2 / (1.0 + background + (0.1 * background) ** 2)))
    if information <= 0:
        raise StatisticsError("the signal has no expected events in any bin of the workspace; check its selection")
    return 1.0 / float(np.sqrt(information))
