from __future__ import annotations

from pathlib import Path

import pytest

from darkop_dist.errors import OutputError
from darkop_dist.generation.comparison import Comparison, Quantity
from darkop_dist.report.compared import ComparedQuantity, compared_figures
from darkop_dist.report.content import PlotContext
from darkop_dist.report.validation_page import ValidationPage, write_validation


def curve(label: str) -> Comparison:
    return Comparison(
        "jets", label, "a <paper>", 0.1, (20.0, 100.0, 1000.0), (0.2, 0.1, 0.06), (0.01, 0.01, 0.001),
        (0.2, 0.105, 0.05),
    )  # fmt: skip


def quantity(curves: int) -> ComparedQuantity:
    return ComparedQuantity(
        "jets", Quantity("Jets", "a width", "generated pT [GeV]", "resolution [%]"),
        tuple(curve(f"bin {place}") for place in range(curves)),
    )  # fmt: skip


def test_a_figure_has_at_most_three_curves_and_their_ratio() -> None:
    figures = compared_figures(quantity(4), PlotContext())
    assert len(figures) == 2
    upper, lower = figures[0].axes
    assert [text.get_text() for text in upper.get_legend().get_texts()] == [
        "lines: published",
        "bin 0",
        "bin 1",
        "bin 2",
    ]
    assert upper.get_ylabel() == "resolution [%]"
    assert lower.get_xlabel() == "generated $p_{T}$ [GeV]"
    low, high = lower.get_ylim()
    assert low < 0.9
    assert high > 1.2


def test_the_page_has_the_numbers(tmp_path: Path) -> None:
    page = ValidationPage(
        "Card", "sub", (quantity(1),), notes=("note & more",), facts={"Seed": "7"}, sources={"tracker": "paper 1"}
    )
    index = write_validation(page, tmp_path / "page")
    text = index.read_text(encoding="utf-8")
    for wanted in (
        "2 of 3 points agree",
        "20.0 ± 1.0",
        "6.00 ± 0.10",
        "1.2",
        "a &lt;paper&gt;",
        "note &amp; more",
        "paper 1",
    ):
        assert wanted in text
    assert "http" not in text
    assert sorted(file.name for file in (tmp_path / "page" / "img").iterdir()) == ["jets.png", "jets.svg"]
    with pytest.raises(OutputError, match="exists already"):
        write_validation(page, tmp_path / "page")
