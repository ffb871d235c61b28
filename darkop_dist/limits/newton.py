"""A minimum inside bounds by Newton's method with the expected curvature of a likelihood.

The curvature that a Poisson likelihood shows to its own first derivatives (Fisher's scoring) is never negative and
close to the true one near the minimum, so that some ten steps reach rounding errors where gradient descent would
need hundreds of evaluations. Parameters that a step takes to a bound are held there as long as the slope pushes
outwards (projected Newton: Bertsekas, SIAM J. Control Optim. 20 (1982) 221).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

Floats = npt.NDArray[np.float64]
Function = Callable[[Floats], tuple[float, Floats, Floats]]

MOST_STEPS = 200
DISTANCE = 1e-10  # estimated height above the minimum at which it is found, in units of the function
MOST_QUARTERINGS = 15
MOST_DAMPING = 1e4
SMALLEST_SLOPE = 1e-4  # of Armijo's rule


@dataclass(frozen=True, eq=False)
class Found:
    """Where a minimisation ended.

    Attributes:
        point: shape (parameters,).
        value: of the function.
        steps: evaluations of the function.
        problem: why it is no minimum; empty if it is one.
    """

    point: Floats
    value: float
    steps: int
    problem: str


def minimise(function: Function, start: Floats, low: Floats, high: Floats) -> Found:
    """Minimise a function inside bounds.

    Args:
        function: value, gradient and a curvature that is positive semi-definite; an infinite value where it is not
            defined.
        start: first point, shape (parameters,).
        low: lower bounds; equal ones hold a parameter.
        high: upper bounds.
    """
    point = np.clip(start, low, high)
    value, slope, curvature = function(point)
    if not np.isfinite(value):
        return Found(point, value, 1, "the likelihood is not finite at the start values")
    calls, damping, missing = 1, 0.0, np.zeros((len(point), len(point)))
    while calls < MOST_STEPS:
        free = ~(((point <= low) & (slope >= 0)) | ((point >= high) & (slope <= 0)))
        if not free.any():
            return Found(point, value, calls, "")
        step, height = _step(slope[free], (curvature + missing)[np.ix_(free, free)], damping)
        if height < DISTANCE and damping <= 1e-3:
            return Found(point, value, calls, "")
        direction = np.zeros_like(point)
        direction[free] = step
        size = 1.0
        for _ in range(MOST_QUARTERINGS):
            tried = np.clip(point + size * direction, low, high)
            after = function(tried)
            calls += 1
            if after[0] <= value + SMALLEST_SLOPE * float(slope @ (tried - point)):
                break
            size /= 4.0
        else:
            if height < 1e3 * DISTANCE or damping > MOST_DAMPING:  # rounding hides what is left
                problem = "" if height < 1e3 * DISTANCE else "no step lowers the likelihood"
                return Found(point, value, calls, problem)
            damping = max(100.0 * damping, 1e-3)
            continue
        damping = 0.0 if size == 1.0 else damping
        missing = _secant(missing, tried - point, after[1] - slope, after[2])
        point = tried
        value, slope, curvature = after
    return Found(point, value, calls, f"not at a minimum after {calls} evaluations")


def _secant(missing: Floats, step: Floats, change: Floats, curvature: Floats) -> Floats:
    """What the curvature lacks, from how the slope changed along a step (Dennis, Gay and Welsch 1981, section 3)."""
    along = float(step @ change)
    if along <= 0:
        return missing
    wanted = change - curvature @ step
    known = float(step @ missing @ step)
    if known != 0:
        missing = missing * min(1.0, abs(float(step @ wanted) / known))
    rest = wanted - missing @ step
    cross = np.outer(rest, change) / along
    return missing + cross + cross.T - float(rest @ step) * np.outer(change, change) / along**2


def _step(slope: Floats, curvature: Floats, damping: float) -> tuple[Floats, float]:
    """Newton's step and how far above its minimum the quadratic approximation is."""
    scale = np.sqrt(np.maximum(np.diag(curvature), 1e-30))
    scaled = curvature / np.outer(scale, scale)
    wanted = -slope / scale
    ridge = max(damping, 1e-12)
    while True:
        try:
            factor = linalg.cho_factor(scaled + ridge * np.eye(len(scaled)), check_finite=False)
        except linalg.LinAlgError:
            ridge = 10.0 * max(ridge, 1e-12)
            continue
        step = linalg.cho_solve(factor, wanted, check_finite=False)
        return step / scale, float(0.5 * wanted @ step)
