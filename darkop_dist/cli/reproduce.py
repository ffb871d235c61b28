"""``darkop reproduce``: a package run again, and compared."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT, monitored
from darkop_dist.errors import EXIT_FAILURE

if TYPE_CHECKING:
    from darkop_dist.stages.preservation import Finding, Reproduction


def reproduce(
    package: Annotated[Path, typer.Argument(help="A package of darkop export --to rocrate: directory or zip file.")],
    output: Annotated[Path | None, typer.Option(help="Directory to make for the new run.")] = None,
    inputs: Annotated[
        list[Path] | None, typer.Option(help="Directory in which local input files are looked for; may be repeated.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help="Where to run: as execution.where of a document, or a document with a section execution."),
    ] = None,
    train_again: Annotated[
        bool,
        typer.Option("--train-again", help="Train or choose the operator again, instead of taking the packaged one."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a reproduction that did not end.")] = False,
    no_page: Annotated[bool, typer.Option("--no-page", help="Draw no result page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Run the search of a package again and compare every result: exit status 0 if all agree, 1 if not."""
    from darkop_dist.stages.preservation import ReproductionRequest, reproduce_package

    request = ReproductionRequest(package, output, tuple(inputs or ()), where, train_again, resume, not no_page)
    with monitored(ERR if as_json else OUT) as monitor:
        made = reproduce_package(request, monitor)
    if as_json:
        sys.stdout.write(json.dumps(made.as_json(), indent=1) + "\n")
    else:
        _show(made)
    if not made.agrees:
        raise typer.Exit(EXIT_FAILURE)


def _show(made: Reproduction) -> None:
    OUT.print(f"package {made.package}, SHA-256 of its metadata {made.sha256}", markup=False)
    for note in made.notes:
        OUT.print(f"note: {note}", markup=False)
    if made.changes:
        versions = Table("version of", "in the run", "here", "computes")
        for change in made.changes:
            versions.add_row(change.name, change.recorded, change.here or "-", "yes" if change.computes else "no")
        OUT.print(versions)
    table = Table("what", "comparison", "tolerance")
    for finding in made.findings:
        tolerance = f"{finding.tolerance:g}" if finding.tolerance else "none"
        table.add_row(finding.what, _comparison(finding), tolerance, style="" if finding.agrees else "red")
    OUT.print(table)
    differing = [finding.what for finding in made.findings if not finding.agrees]
    told = f"differs: {', '.join(differing)}" if differing else "reproduced: all results agree"
    OUT.print(told, markup=False)
    OUT.print(f"run: {made.run.path}", markup=False)


def _comparison(finding: Finding) -> str:
    if not finding.difference:
        return "equal"
    if not math.isfinite(finding.difference):
        return f"differs: {finding.detail}"
    return f"differs by {finding.difference:.2g}: {finding.detail}"
