"""What the shell completes: names of datasets and values of filters."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from darkop_dist.catalogue.filters import EXPERIMENTS, FORMATS, KINDS
from darkop_dist.catalogue.search import load_catalogue
from darkop_dist.errors import DarkopError


def dataset_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names that begin with what was typed, with their titles; those of ``--catalogue`` files are among them."""
    try:
        catalogue = load_catalogue(context.params.get("catalogue") or ())
    except DarkopError:  # a shell cannot be told; the command itself will
        catalogue = load_catalogue()
    return [
        (name, catalogue.records[name].title) for name in sorted(catalogue) if name.startswith(incomplete.casefold())
    ]


def experiments(incomplete: str) -> list[str]:
    """Experiments that begin with what was typed."""
    return _beginning(EXPERIMENTS, incomplete)


def formats(incomplete: str) -> list[str]:
    """Formats that begin with what was typed."""
    return _beginning(FORMATS, incomplete)


def kinds(incomplete: str) -> list[str]:
    """Types of data that begin with what was typed."""
    return _beginning(KINDS, incomplete)


def _beginning(known: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in known if value.casefold().startswith(incomplete.casefold())]
