"""Minima of functions whose minimum is known, and what happens where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.limits.newton import Floats, minimise

NO_BOUND = np.full(3, np.inf)


def bowl(values: Floats) -> tuple[float, Floats, Floats]:
    """A quadratic with its minimum of 5 at (1, -2, 3), strongly correlated."""
    curvature = np.array([[2.0, 1.9, 0.0], [1.9, 2.0, 0.0], [0.0, 0.0, 1e4]])
    away = values - np.array([1.0, -2.0, 3.0])
    return 5.0 + 0.5 * float(away @ curvature @ away), curvature @ away, curvature


def test_quadratic_takes_one_step() -> None:
    found = minimise(bowl, np.zeros(3), -NO_BOUND, NO_BOUND)
    assert found.problem == ""
    assert found.value == pytest.approx(5.0)
    assert found.point == pytest.approx([1.0, -2.0, 3.0])
    assert found.steps == 2


def test_minimum_at_a_bound() -> None:
    """Where x <= 0, y minimises 1.9 (0 - 1)(y + 2) + (y + 2)^2, at y = -2 + 0.95."""
    high = np.array([0.0, np.inf, np.inf])
    found = minimise(bowl, np.array([-1.0, 5.0, 0.0]), -NO_BOUND, high)
    assert found.problem == ""
    assert found.point == pytest.approx([0.0, -1.05, 3.0])


def test_equal_bounds_hold_a_parameter() -> None:
    low, high = np.array([0.5, -np.inf, -np.inf]), np.array([0.5, np.inf, np.inf])
    found = minimise(bowl, np.zeros(3), low, high)
    assert found.point == pytest.approx([0.5, -2.0 + 0.475, 3.0])
    assert minimise(bowl, np.ones(3), np.ones(3), np.ones(3)).value == pytest.approx(bowl(np.ones(3))[0])


def test_curvature_that_lacks_a_part_is_learnt() -> None:
    """Rosenbrock's valley with the curvature of its least-squares part: the minimum is at (1, 1)."""

    def valley(values: Floats) -> tuple[float, Floats, Floats]:
        x, y = values
        rest, jacobian = np.array([10 * (y - x * x), 1 - x]), np.array([[-20 * x, 10.0], [-1.0, 0.0]])
        return float(rest @ rest), 2 * rest @ jacobian, 2 * jacobian.T @ jacobian

    found = minimise(valley, np.array([-1.2, 1.0]), np.full(2, -np.inf), np.full(2, np.inf))
    assert found.problem == ""
    assert found.point == pytest.approx([1.0, 1.0], abs=1e-5)
    assert found.steps < 60


def test_walls_of_infinity_are_not_crossed() -> None:
    """The function x - ln x has its minimum at 1; a full step from 0.01 stays inside, one from 30 would go below zero."""

    def walled(values: Floats) -> tuple[float, Floats, Floats]:
        if values[0] <= 0:
            return float("inf"), np.zeros(1), np.eye(1)
        return float(values[0] - np.log(values[0])), 1 - 1 / values, np.array([[1 / values[0] ** 2]])

    for start in (0.01, 1.9, 30.0):
        found = minimise(walled, np.array([start]), np.array([-np.inf]), np.array([np.inf]))
        assert found.problem == ""
        assert found.point == pytest.approx([1.0], abs=1e-4)


def test_no_minimum_is_said() -> None:
    def nowhere(values: Floats) -> tuple[float, Floats, Floats]:
        return float("inf"), np.zeros(1), np.eye(1)

    def wrong(values: Floats) -> tuple[float, Floats, Floats]:
        return float(values[0] ** 2), -2 * values, 2 * np.eye(1)  # its slope points the wrong way

    one = np.array([1.0])
    assert "not finite" in minimise(nowhere, one, -one, one).problem
    assert "no step lowers" in minimise(wrong, one, -3 * one, 3 * one).problem
