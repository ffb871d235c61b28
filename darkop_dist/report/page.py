"""The result page: one static HTML file with its pictures beside it."""

from __future__ import annotations

from pathlib import Path

from darkop_dist.report.content import PageInput
from darkop_dist.report.cutflow import cutflow_tables
from darkop_dist.report.digits import percent
from darkop_dist.report.directory import finished_directory
from darkop_dist.report.drift import drift_sentences
from darkop_dist.report.gallery import Picture, write_pictures
from darkop_dist.report.headline import headline_of
from darkop_dist.report.pages import page_template


def write_page(page: PageInput, directory: Path, *, force: bool = False) -> Path:
    """Write the result page.

    The directory appears complete or not at all: everything is written beside it first and then renamed. The page loads
    nothing from elsewhere: its style is inside, its pictures are in ``img/``.

    Args:
        page: what to show; sections without content say so.
        directory: the directory to make.
        force: replace an existing directory.

    Returns:
        ``index.html`` in the directory.

    Raises:
        OutputError: the directory exists and ``force`` is not given, its parent does not exist, or it cannot be
            written.
    """
    with finished_directory(directory, force=force) as unfinished:
        (unfinished / "img").mkdir()
        pictures = write_pictures(page, unfinished / "img")
        (unfinished / "index.html").write_text(page_html(page, pictures), encoding="utf-8")
    return directory / "index.html"


def page_html(page: PageInput, pictures: tuple[Picture, ...]) -> str:
    """The page as HTML; all text is escaped.

    Args:
        page: what to show.
        pictures: the pictures that exist as ``img/<name>.svg`` and, if they are not folded, ``img/<name>.png``.
    """
    sections: dict[str, list[Picture]] = {}
    folded: dict[str, dict[str, list[Picture]]] = {}
    for picture in pictures:
        if picture.folded:
            folded.setdefault(picture.section, {}).setdefault(picture.folded, []).append(picture)
        else:
            sections.setdefault(picture.section, []).append(picture)
    observables = tuple(dict.fromkeys(name for candidate in page.candidates for name in candidate.observables))
    return page_template("page.html.j2").render(
        page=page,
        headline=headline_of(page),
        pictures=sections,
        folded=folded,
        cutflows=cutflow_tables(page.cutflows),
        observables=observables,
        drift=[sentence for drift in page.drift for sentence in drift_sentences(drift)],
        percent=percent,
    )
