"""The templates of the pages in ``templates/``, with what they share: one style, and how numbers are written."""

from __future__ import annotations

from pathlib import Path

import jinja2

from darkop_dist.report.digits import measured, number, plain, seconds

TEMPLATES = Path(__file__).parent / "templates"


def page_template(name: str) -> jinja2.Template:
    """A template; all text that it is given is escaped, and what it is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=number, plain=plain, seconds=seconds)
    environment.globals.update(measured=measured)
    return environment.get_template(name)
