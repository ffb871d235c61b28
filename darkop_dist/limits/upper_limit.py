"""Upper limits by CLs and the significance of an excess.

Assumptions:
    Asymptotic formulae for the distribution of the profile likelihood ratio (Cowan, Cranmer, Gross and Vitells,
    arXiv:1007.1727): good to a few percent from about five expected events on; below that use toys. CLs (Read,
    J. Phys. G 28 (2002) 2693) over-covers on purpose where the search has no sensitivity. The expected band is the
    one of the background fitted to the data (nuisance parameters at their conditional values for mu = 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from scipy import optimize, special

from darkop_dist.errors import FitError, StatisticsError, UnknownNameError
from darkop_dist.limits.likelihood import Likelihood, likelihood_of
from darkop_dist.limits.profile import Profile
from darkop_dist.limits.toys import Runner, ToyScan, run_here, scan_with_toys
from darkop_dist.limits.workspace import Workspace

Statistic = Literal["qtilde", "q"]

CLS_TOLERANCE = 1e-5
SCAN_POINTS = 21
ASYMPTOTIC = "Asymptotic formulae for the profile likelihood ratio (arXiv:1007.1727) with CLs."
BACKGROUND_SIGMAS = (2.0, 1.0, 0.0, -1.0, -2.0)
"""Fluctuations of the background test statistic, in the order of the limits at -2, -1, 0, 1 and 2 sigma."""


@dataclass(frozen=True)
class ClsValues:
    """CLs at one signal strength.

    Attributes:
        mu: the signal strength.
        observed: CLs of the data.
        expected: CLs expected without signal at -2, -1, 0, 1, 2 sigma, increasing (pyhf's order).
    """

    mu: float
    observed: float
    expected: tuple[float, ...]


@dataclass(frozen=True)
class LimitResult:
    """An upper limit on a signal's strength and the significance of an excess.

    Attributes:
        signal: name of the signal's sample.
        poi: name of the parameter of interest.
        confidence_level: of the limit.
        statistic: ``qtilde`` (strength not below zero) or ``q``.
        method: ``asymptotic`` or ``toys``.
        observed: the limit; on Asimov data it is the expected one.
        expected: limits expected without signal at -2, -1, 0, 1, 2 sigma, increasing.
        scan_mu: signal strengths of the scan, shape (points,).
        scan_cls_obs: observed CLs, shape (points,).
        scan_cls_exp: expected CLs at -2 to 2 sigma, shape (points, 5).
        p0_observed: asymptotic p-value of the background alone (q0; arXiv:1007.1727, equation 52).
        p0_expected: the same, expected for the signal at mu = 1.
        z_observed: significance sqrt(q0) in standard deviations, 0 where there is no excess.
        z_expected: the same, expected for the signal at mu = 1.
        mu_hat: fitted signal strength; with ``qtilde`` not below zero.
        cls_at_limit: CLs at the observed limit, 1 - confidence_level within 1e-5 (asymptotic) or by interpolation.
        toys: pseudo-experiments per hypothesis and point; 0 if asymptotic.
        assumptions: what the numbers rest on.
        xsec_limit_pb: the observed limit as a cross section in pb, where the signal's is known.
        xsec_limit_expected_pb: the expected ones.
        observed_error: standard deviation of the observed limit from the number of toys; None if asymptotic.
        p0_toys: p-value of the background alone from the toys, (1 + reached)/(1 + toys); None if asymptotic.
        goodness_p_toys: goodness of fit of the background alone from the toys (saturated model); None if asymptotic.
        problems: points and toys that were left out and why, and fits that fell back to another minimiser.
    """

    signal: str
    poi: str
    confidence_level: float
    statistic: Statistic
    method: Literal["asymptotic", "toys"]
    observed: float
    expected: tuple[float, ...]
    scan_mu: tuple[float, ...]
    scan_cls_obs: tuple[float, ...]
    scan_cls_exp: tuple[tuple[float, ...], ...]
    p0_observed: float
    p0_expected: float
    z_observed: float
    z_expected: float
    mu_hat: float
    cls_at_limit: float
    toys: int
    assumptions: str
    xsec_limit_pb: float | None = None
    xsec_limit_expected_pb: tuple[float, ...] | None = None
    observed_error: float | None = None
    p0_toys: float | None = None
    goodness_p_toys: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Asymptotics:
    observed: Profile
    background: Profile
    statistic: Statistic

    @classmethod
    def of(cls, likelihood: Likelihood, statistic: Statistic) -> _Asymptotics:
        observed = Profile.of_data(likelihood, likelihood.data)
        return cls(observed, Profile.of_asimov(likelihood, observed.at(0.0)), statistic)

    def root_q_asimov(self, mu: float) -> float:
        return float(np.sqrt(self.background.q(mu)))

    def cls(self, mu: float) -> ClsValues:
        """CLs from equations 59, 65 and 66 (q: 57) of arXiv:1007.1727."""
        root_q, root_qa = float(np.sqrt(self.observed.q(mu))), self.root_q_asimov(mu)
        if self.statistic == "q" or root_q <= root_qa or root_qa == 0.0:
            shifted = root_q - root_qa
        else:
            shifted = (root_q**2 - root_qa**2) / (2.0 * root_qa)
        expected = tuple(_cls(sigma, root_qa) for sigma in BACKGROUND_SIGMAS)
        return ClsValues(mu, _cls(shifted, root_qa), expected)


def cls_values(workspace: Workspace, mu: float, *, statistic: Statistic = "qtilde") -> ClsValues:
    """Asymptotic CLs at one signal strength.

    Raises:
        FitError: a fit did not converge.
        StatisticsError: the strength is negative or not finite, or the workspace has no signal.
    """
    if not 0.0 <= mu < np.inf:
        raise StatisticsError(
            f"there is no CLs at a signal strength of {mu:g}; choose a finite one that is not negative"
        )
    likelihood = likelihood_of(workspace, negative=statistic == "q")
    return _Asymptotics.of(likelihood, statistic).cls(mu)


def upper_limit(
    workspace: Workspace,
    *,
    signal: str,
    confidence_level: float = 0.95,
    statistic: Statistic = "qtilde",
    toys: int = 0,
    seed: int | None = None,
    runner: Runner = run_here,
    xsec_pb: float | None = None,
) -> LimitResult:
    """The CLs upper limit on the signal strength, found by root finding, and the discovery significance.

    Args:
        workspace: the model and the data.
        signal: the signal's name, for the result.
        confidence_level: 0.95 for the usual limits.
        statistic: ``qtilde`` or ``q``.
        toys: pseudo-experiments per hypothesis and point; 0 uses the asymptotic formulae. The limits then come from
            interpolation of ln CLs between points of a scan around the asymptotic limits.
        seed: of the toys' random numbers; needed if there are any.
        runner: computes the batches of toys, here or elsewhere.
        xsec_pb: cross section in pb that mu = 1 stands for.

    Raises:
        FitError: a fit did not converge.
        StatisticsError: the data cannot exclude any signal strength, or toys without a generator.
        UnknownNameError: a test statistic that does not exist.
    """
    if statistic not in ("qtilde", "q"):
        raise UnknownNameError("test statistic", statistic, ["qtilde", "q"], "Use qtilde or q.")
    if not 0.0 < confidence_level < 1.0:
        raise StatisticsError(f"a confidence level of {confidence_level} is not between 0 and 1; choose 0.95")
    if toys and seed is None:
        raise StatisticsError("limits with toys need a seed that is written down")
    likelihood = likelihood_of(workspace, negative=statistic == "q")
    toy_scan = None
    if toys and seed is not None:
        toy_scan = partial(scan_with_toys, workspace, toys=toys, sigmas=BACKGROUND_SIGMAS, seed=seed, runner=runner)
    return limit_of(
        likelihood,
        signal=signal,
        poi=workspace.poi,
        confidence_level=confidence_level,
        statistic=statistic,
        assumptions=_assumptions(workspace, toys),
        xsec_pb=xsec_pb,
        toy_scan=toy_scan,
        toys=toys,
    )


def limit_of(
    likelihood: Likelihood,
    *,
    signal: str,
    poi: str = "mu",
    confidence_level: float = 0.95,
    statistic: Statistic = "qtilde",
    assumptions: str = ASYMPTOTIC,
    xsec_pb: float | None = None,
    toy_scan: Callable[..., ToyScan] | None = None,
    toys: int = 0,
) -> LimitResult:
    """The CLs upper limit of any likelihood, see `upper_limit`.

    Args:
        likelihood: the model and the data.
        signal: the signal's name, for the result.
        poi: the parameter's name, for the result.
        confidence_level: 0.95 for the usual limits.
        statistic: ``qtilde`` or ``q``.
        assumptions: what the numbers rest on, in a sentence.
        xsec_pb: cross section in pb that a strength of 1 stands for.
        toy_scan: the scan with toys, if there is one: of the profile of the data, around limits, at a level.
        toys: how many it has per hypothesis and point.

    Raises:
        FitError: a fit did not converge.
        StatisticsError: the data cannot exclude any signal strength.
    """
    alpha = 1.0 - confidence_level
    asymptotics = _Asymptotics.of(likelihood, statistic)
    expected = tuple(_expected_limit(asymptotics, sigma, alpha) for sigma in BACKGROUND_SIGMAS)
    observed = _root(lambda mu: asymptotics.cls(mu).observed, alpha, expected[2])
    at_limit = asymptotics.cls(observed).observed
    if abs(at_limit - alpha) > CLS_TOLERANCE:
        raise FitError(
            f"the limit on {signal} is not stable: CLs at mu = {observed:.6g} is {at_limit:.6g}, not {alpha:.6g}. "
            "Merge bins with few events or drop systematics that hardly change the templates."
        )
    scan, failures = _scan(asymptotics, 1.3 * max(observed, expected[-1]))
    found: ToyScan | None = None
    if toy_scan is not None:
        found = toy_scan(asymptotics.observed, (observed, *expected), alpha=alpha)
        observed, expected, at_limit = found.observed, found.expected, alpha
        scan = [ClsValues(*point) for point in zip(found.mu, found.cls_obs, found.cls_exp, strict=True)]
        failures = [*failures, *found.failures]
    discovery = Profile.of_asimov(likelihood, asymptotics.observed.at(1.0))
    z_observed, z_expected = (float(np.sqrt(profile.q0())) for profile in (asymptotics.observed, discovery))
    return LimitResult(
        signal=signal,
        poi=poi,
        confidence_level=confidence_level,
        statistic=statistic,
        method="toys" if toys else "asymptotic",
        observed=observed,
        expected=expected,
        scan_mu=tuple(point.mu for point in scan),
        scan_cls_obs=tuple(point.observed for point in scan),
        scan_cls_exp=tuple(point.expected for point in scan),
        p0_observed=float(special.ndtr(-z_observed)),
        p0_expected=float(special.ndtr(-z_expected)),
        z_observed=z_observed,
        z_expected=z_expected,
        mu_hat=asymptotics.observed.best_strength,
        cls_at_limit=at_limit,
        toys=toys,
        observed_error=None if found is None else found.observed_error,
        p0_toys=None if found is None else found.p0,
        goodness_p_toys=None if found is None else found.goodness_p,
        problems=(*failures, *_fallbacks(asymptotics, discovery), *_at_bounds(asymptotics.observed)),
        assumptions=assumptions,
        xsec_limit_pb=None if xsec_pb is None else observed * xsec_pb,
        xsec_limit_expected_pb=None if xsec_pb is None else tuple(limit * xsec_pb for limit in expected),
    )


def _scan(asymptotics: _Asymptotics, highest: float) -> tuple[list[ClsValues], list[str]]:
    """CLs at rising strengths; a point whose fit fails is left out and reported."""
    scan, failures = [], []
    for mu in np.linspace(0.0, highest, SCAN_POINTS)[1:].tolist():
        try:
            scan.append(asymptotics.cls(mu))
        except FitError as error:
            failures.append(f"the point mu = {mu:.4g} of the scan is left out: {error}")
    return scan, failures


def _fallbacks(asymptotics: _Asymptotics, discovery: Profile) -> tuple[str, ...]:
    methods = [method for p in (asymptotics.observed, asymptotics.background, discovery) for method in p.fallbacks]
    return tuple(f"{methods.count(method)} fits fell back to {method}" for method in dict.fromkeys(methods))


def _at_bounds(observed: Profile) -> tuple[str, ...]:
    """What ended at a bound in the fits that the results rest on: the free one and the one without signal."""
    fits = (observed.best, observed.at(0.0))
    return tuple(dict.fromkeys(found for one in fits for found in observed.likelihood.at_bounds(one)))


def _cls(shifted: float, root_qa: float) -> float:
    """CLs = P(t >= shifted | s + b) / P(t >= shifted | b) for the shifted statistic of pyhf."""
    return float(np.exp(special.log_ndtr(-(shifted + root_qa)) - special.log_ndtr(-shifted)))


def _expected_limit(asymptotics: _Asymptotics, sigma: float, alpha: float) -> float:
    """The strength at which the background's fluctuation by ``sigma`` has CLs = alpha (arXiv:1007.1727, eq. 89)."""
    wanted = float(-special.ndtri(alpha * special.ndtr(-sigma)) - sigma)
    guess = wanted * asymptotics.observed.likelihood.unit
    return _root(lambda mu: wanted - asymptotics.root_q_asimov(mu), 0.0, guess)


def _root(falling: Callable[[float], float], level: float, guess: float) -> float:
    """Where a falling function of the strength crosses a level; the bracket grows from the guess by factors of two."""
    low = high = guess
    for _ in range(60):
        if falling(high) < level:
            break
        low, high = high, 2.0 * high
    else:
        raise StatisticsError(
            f"no signal strength up to {high:.3g} is excluded: the data have no sensitivity to this signal; "
            "loosen the selection or use a signal with more selected events"
        )
    for _ in range(60):
        if falling(low) >= level:
            break
        low, high = low / 2.0, low
    else:
        raise FitError(f"CLs stays below {level} down to a signal strength of {low:.3g}; check the signal's templates")
    return float(optimize.brentq(lambda mu: falling(mu) - level, low, high, xtol=1e-6 * low, rtol=1e-6))


def _assumptions(workspace: Workspace, toys: int) -> str:
    how = (
        f"CLs from {toys} toys per hypothesis and point; p0 asymptotic and from toys"
        if toys
        else ASYMPTOTIC.removesuffix(".")
    )
    events = workspace.expected_background
    few = f"; only {events:.3g} background events are expected: check with toys" if events < 10 and not toys else ""
    data = "; Asimov data: the background expectation stands for the observation" * (workspace.observed == "asimov")
    return f"{how}{few}{data}."
