"""``darkop lumi``: the luminosity of the collision data that a run processed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from darkop_dist.cli.console import OUT
from darkop_dist.errors import InputFileError
from darkop_dist.runs import RunDirectory

if TYPE_CHECKING:
    from darkop_dist.events.corrections.accounting import DatasetLumi

COLUMNS = ("run", "sections", "certified", "events", "uncertified events", "not seen", "delivered", "recorded")
UNITS = ((1e9, "/fb"), (1e6, "/pb"), (1e3, "/nb"), (0.0, "/ub"))


def lumi(
    run: Annotated[Path, typer.Argument(help="A run directory.", metavar="RUN")],
    as_json: Annotated[bool, typer.Option("--json", help="Print lumi.json instead of tables.")] = False,
) -> None:
    """Show the luminosity of the collision data of a run: by run, what is certified, missing, or counted twice."""
    from darkop_dist.stages.luminosity import load_luminosity, luminosity_sentences

    if not run.is_dir():
        raise InputFileError(str(run), "no such run directory", "Name the directory that darkop run wrote.")
    directory = RunDirectory(run)
    found = load_luminosity(directory.require(directory.lumi, "darkop run, over data that number their sections"))
    if as_json:
        sys.stdout.write(json.dumps(found.to_plain(), indent=1) + "\n")
        return
    for dataset in found.datasets:
        OUT.print(_table(dataset))
    if found.recorded_ub is not None:
        OUT.print(f"recorded: {amount(found.recorded_ub)}", markup=False)
    for sentence in luminosity_sentences(found, None):
        OUT.print(sentence, markup=False)


def amount(luminosity_ub: float | None) -> str:
    """A luminosity in the largest unit of which it holds one.

    >>> amount(1.6393e10), amount(250e3), amount(None)
    ('16.393/fb', '250/nb', '-')
    """
    if luminosity_ub is None:
        return "-"
    size, unit = next((size, unit) for size, unit in UNITS if luminosity_ub >= size)
    return f"{luminosity_ub / (size or 1.0):.5g}{unit}"


def _table(dataset: DatasetLumi) -> Table:
    table = Table(title=dataset.dataset, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for run in dataset.runs:
        numbers = (run.run, run.sections, run.certified, run.events, run.uncertified_events, run.unseen)
        table.add_row(*map(str, numbers), amount(run.delivered_ub), amount(run.recorded_ub))
    table.add_section()
    columns = zip(
        *((r.sections, r.certified, r.events, r.uncertified_events, r.unseen) for r in dataset.runs), strict=True
    )
    sums = [str(sum(column)) for column in columns] or ["0"] * 5
    table.add_row("all", *sums, amount(dataset.delivered_ub), amount(dataset.recorded_ub))
    return table
