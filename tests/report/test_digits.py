from __future__ import annotations

import doctest
import math

import pytest

from darkop_dist.report import digits, poisson, style


def test_examples_in_the_docstrings() -> None:
    for module in (digits, poisson, style):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00999999, "0.0100"),
        (-3.14159, "\N{MINUS SIGN}3.14"),
        (math.inf, "∞"),
        (math.nan, "not a number"),
        (2e-9, "2.00\u00d710⁻⁹"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert digits.number(value) == text


def test_durations_have_units() -> None:
    assert [digits.seconds(value) for value in (0.25, 42.0, 3725.0)] == ["0.25 s", "42 s", "1 h 2 min"]


def test_labels_lose_their_latex() -> None:
    assert digits.plain(r"$p_{T}^{miss}$ [GeV]") == "pTmiss [GeV]"
    assert digits.plain("cost in $") == "cost in $"
