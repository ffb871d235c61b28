"""Commands on a run directory: any stage after the pass over the events can be run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from darkop_dist.cli.console import OUT
from darkop_dist.errors import InputFileError
from darkop_dist.runs import RunDirectory, partial_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from darkop_dist.execution import Ledger
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
    OUT.print(result.summary, markup=False)
    OUT.print(result.guarantee, markup=False)


def limits(run: RunArgument, accept_loss: LossOption = None) -> None:
    """Fit a run again and set its limits."""
    from darkop_dist.stages.limits import write_limits

    context = _context(run)
    context.require_closed(accept_loss or ())
    write_limits(context, accept_loss=accept_loss or ())
    print_headline(RunDirectory(run))


def report(run: RunArgument) -> None:
    """Draw the result page of a run again."""
    from darkop_dist.stages.report import write_report

    OUT.print(f"page: {write_report(_context(run))}", markup=False)


def ledger(
    run: RunArgument,
    histograms: Annotated[
        Path | None, typer.Option(help="Write the histograms of what is done by now to this file (UHI in JSON).")
    ] = None,
) -> None:
    """Show what became of every dataset of a run: also while it goes on, or after it died."""
    from darkop_dist.execution import load_ledger, read_progress

    directory = _unfinished(run)
    if directory is None:
        found = load_ledger(_directory(run).require(RunDirectory(run).ledger, "darkop run"))
        planned: Mapping[str, int] = {}
        directory = RunDirectory(run)
        aside = partial_run(run)
        if aside.ledger.exists():
            OUT.print(
                f"a later run lost events and is kept in {aside.path}: darkop ledger shows that too", markup=False
            )
    else:
        progress = read_progress(directory.chunks)
        found, planned = progress.ledger, progress.planned
        OUT.print(f"not finished: {len(found.entries)} of {sum(planned.values())} chunks are known", markup=False)
    _print_ledger(found, planned)
    if histograms is not None:
        _write_partial(directory, histograms)


def _print_ledger(found: Ledger, planned: Mapping[str, int]) -> None:
    columns = ("files", "chunks", "failed", "expected", "processed", "lost", "sum of weights", "lost weight", "closed")
    table = Table(Column("dataset", no_wrap=True), *columns)
    for row in found.closure():
        weights, lost_weights = (
            "-" if value is None else f"{value:.6g}" for value in (row.sum_weights, row.lost_weights)
        )
        chunks = f"{row.chunks} of {planned[row.dataset]}" if row.dataset in planned else str(row.chunks)
        lost = f"{row.lost} + ?" if row.files_lost else str(row.lost)
        closed = row.closed and planned.get(row.dataset, row.chunks) == row.chunks
        numbers = (str(row.files), chunks, str(row.failed), str(row.expected), str(row.processed), lost)
        table.add_row(row.dataset, *numbers, weights, lost_weights, "yes" if closed else "NO")
    for name, chunks_planned in planned.items():
        if name not in {row.dataset for row in found.closure()}:
            table.add_row(name, "-", f"0 of {chunks_planned}", "0", "-", "0", "0", "-", "-", "NO")
    OUT.print(table)
    if found.scored_sentence:
        OUT.print(found.scored_sentence, markup=False)
    for entry in found.entries:
        if entry.status in ("retried", "failed"):
            OUT.print(f"{entry.status}: {entry.file} [{entry.start}:{entry.stop}]: {entry.reason}", markup=False)


def _write_partial(run: RunDirectory, file: Path) -> None:
    from darkop_dist.execution import partial_output
    from darkop_dist.histograms import HistogramSet, save_histograms

    output = partial_output(run.chunks)
    if output is None:
        OUT.print("no chunk is done yet: no histograms were written")
        return
    save_histograms(file, HistogramSet(output["histograms"], output["score_counts"], None, "unfinished"))
    OUT.print(f"histograms of what is done by now: {file}", markup=False)


def _unfinished(run: Path) -> RunDirectory | None:
    """Where the results of a run are that has not ended, or that died."""
    for directory in (RunDirectory(run), partial_run(run)):
        if (directory.chunks / "store.json").exists() and not directory.ledger.exists():
            return directory
    return None


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
