"""``darkop datasets``: what the catalogue knows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from darkop_dist.catalogue.search import load_catalogue
from darkop_dist.cli.console import OUT
from darkop_dist.errors import UnknownNameError

EXPERIMENTS = {"cms": "CMS", "atlas": "ATLAS", "simulation": "simulation"}

app = typer.Typer(no_args_is_help=True, help="Datasets of the catalogue.")

CatalogueOption = Annotated[list[Path] | None, typer.Option("--catalogue", help="Own record file, TOML or JSON.")]


@app.command("list")
def list_datasets(
    experiment: Annotated[str | None, typer.Option(help="CMS, ATLAS or simulation.")] = None,
    catalogue: CatalogueOption = None,
) -> None:
    """List the datasets."""
    if experiment is not None and experiment.casefold() not in EXPERIMENTS:
        raise UnknownNameError("experiment", experiment, EXPERIMENTS.values(), "The catalogue has CMS and simulation.")
    experiment = None if experiment is None else EXPERIMENTS[experiment.casefold()]
    table = Table(Column("name", no_wrap=True), "kind", "events", "files", "title")
    for record in load_catalogue(catalogue or ()).list_datasets(experiment):
        events = record.generated.events if record.generated else record.events
        files = "generated" if record.generated else str(len(record.files))
        table.add_row(record.name, record.kind, "?" if events is None else f"{events:,}", files, record.title)
    OUT.print(table)


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="Name of the dataset.")], catalogue: CatalogueOption = None) -> None:
    """Show one dataset as JSON."""
    sys.stdout.write(load_catalogue(catalogue or ()).find(name).model_dump_json(indent=2, exclude_none=True) + "\n")
