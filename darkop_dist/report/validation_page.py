"""The page of a validation: figures and tables of ours beside what is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darkop_dist.report.compared import ComparedQuantity, compared_figures
from darkop_dist.report.content import PlotContext
from darkop_dist.report.directory import finished_directory
from darkop_dist.report.pages import page_template
from darkop_dist.report.style import save_figure, settle_layout


@dataclass(frozen=True)
class ValidationPage:
    """What the page shows.

    Attributes:
        title: its heading.
        subtitle: below it.
        quantities: what was compared.
        notes: what a reader must know, a paragraph each.
        facts: how it was made, by name.
        sources: where the numbers come from, by what they describe.
    """

    title: str
    subtitle: str
    quantities: tuple[ComparedQuantity, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def write_validation(page: ValidationPage, directory: Path, *, force: bool = False) -> Path:
    """Write the page; it loads nothing from elsewhere, its pictures are in ``img/`` as SVG and PNG.

    Args:
        page: what to show.
        directory: the directory to make; it appears complete or not at all.
        force: replace an existing directory.

    Returns:
        ``index.html`` in the directory.

    Raises:
        OutputError: the directory exists and ``force`` is not given, its parent does not exist, or it cannot be
            written.
    """
    with finished_directory(directory, force=force) as unfinished:
        (unfinished / "img").mkdir()
        pictures = {quantity.name: _drawn(quantity, unfinished / "img") for quantity in page.quantities}
        text = page_template("validation.html.j2").render(page=page, pictures=pictures)
        (unfinished / "index.html").write_text(text, encoding="utf-8")
    return directory / "index.html"


def _drawn(quantity: ComparedQuantity, folder: Path) -> list[str]:
    names = []
    for place, figure in enumerate(compared_figures(quantity, PlotContext())):
        name = quantity.name if not place else f"{quantity.name}-{place + 1}"
        settle_layout(figure)
        for suffix in ("svg", "png"):
            save_figure(figure, folder / f"{name}.{suffix}")
        names.append(name)
    return names
