"""Commands on a run directory: any stage after the pass over the events can be run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from darkop_dist.cli.console import OUT
from darkop_dist.errors import InputFileError
from darkop_dist.runs import RunDirectory

if TYPE_CHECKING:
    from darkop_dist.stages.context import RunContext

RunArgument = Annotated[Path, typer.Argument(help="A run directory.", metavar="RUN")]
LossOption = Annotated[list[str] | None, typer.Option(help="Dataset whose lost events are accepted; may be repeated.")]


def calibrate(run: RunArgument) -> None:
    """Calibrate a run again: p-values from its merged background scores."""
    from darkop_dist.stages.calibrate import calibrate_run

    result = calibrate_run(_context(run))
    if result is None:
        OUT.print("the document asks for no p-values")
        return
    OUT.print(f"n = {result.calibration.n} events calibrate, floor 1/(n+1) = {result.calibration.floor:.3g}")
    OUT.print(result.guarantee, markup=False)


def limits(run: RunArgument, accept_loss: LossOption = None) -> None:
    """Fit a run again and set its limits."""
    from darkop_dist.stages.limits import write_limits

    context = _context(run)
    context.ledger.require_closed(accept_loss or ())
    write_limits(context, accept_loss=accept_loss or ())
    print_headline(RunDirectory(run))


def report(run: RunArgument) -> None:
    """Draw the result page of a run again."""
    from darkop_dist.stages.report import write_report

    OUT.print(f"page: {write_report(_context(run))}", markup=False)


def ledger(run: RunArgument) -> None:
    """Show what became of every dataset of a run."""
    from darkop_dist.execution import load_ledger

    found = load_ledger(_directory(run).require(RunDirectory(run).ledger, "darkop run"))
    table = Table(
        Column("dataset", no_wrap=True),
        "files",
        "chunks",
        "failed",
        "expected",
        "processed",
        "lost",
        "sum of weights",
        "closed",
    )
    for row in found.closure():
        weights = "-" if row.sum_weights is None else f"{row.sum_weights:.6g}"
        numbers = (row.files, row.chunks, row.failed, row.expected, row.processed, row.lost)
        table.add_row(row.dataset, *map(str, numbers), weights, "yes" if row.closed else "NO")
    OUT.print(table)
    for entry in found.entries:
        if entry.status in ("retried", "failed"):
            OUT.print(f"{entry.status}: {entry.file} [{entry.start}:{entry.stop}]: {entry.reason}", markup=False)


def print_headline(run: RunDirectory) -> None:
    """Print the limits of a run."""
    from darkop_dist.stages.limits import headlines

    for line in headlines(run):
        OUT.print(line, markup=False)


def _directory(run: Path) -> RunDirectory:
    if not run.is_dir():
        raise InputFileError(str(run), "no such run directory", "Name the directory that darkop run wrote.")
    return RunDirectory(run)


def _context(run: Path) -> RunContext:
    from darkop_dist.stages.context import load_context

    return load_context(_directory(run))
