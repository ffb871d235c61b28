"""The commands and the way errors leave them."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
import typer.exceptions

from darkop_dist.cli import (
    benchmark,
    check,
    chunk,
    datasets,
    datasets_access,
    evaluate,
    export,
    generate,
    inject,
    limit,
    lumi,
    reproduce,
    results,
    serve,
    showers,
    skim,
    trigger,
    trigger_shown,
)
from darkop_dist.cli.console import ERR, OUT, is_worth_showing
from darkop_dist.errors import EXIT_FAILURE, EXIT_USER, DarkopError
from darkop_dist.runs import RunDirectory, version

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Dark-sector searches on public LHC data, from collision files to a limit.",
)
app.add_typer(datasets.app, name="datasets")
datasets_access.add_to(datasets.app)
trigger_shown.add_to(trigger.app)
app.add_typer(trigger.app, name="trigger")
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(showers.app, name="showers")
app.add_typer(evaluate.app, name="evaluate")
app.command("generate")(generate.generate)
app.command("inject")(inject.inject)
app.command("serve")(serve.serve)
app.command("skim")(skim.skim)
app.command("export")(export.export)
app.command("reproduce")(reproduce.reproduce)
app.command("calibrate")(results.calibrate)
app.command("limits")(results.limits)
app.command("limit")(limit.limit)
app.command("report")(results.report)
app.command("ledger")(results.ledger)
app.command("lumi")(lumi.lumi)
app.command("chunk")(chunk.chunk)
app.command("check")(check.check)

DocumentArgument = Annotated[Path, typer.Argument(help="The analysis document (YAML).", metavar="DOCUMENT")]


@app.callback(invoke_without_command=True)
def top(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the libraries log.")] = False,
) -> None:
    """Dark-sector searches on public LHC data, from collision files to a limit."""
    shown = logging.StreamHandler()
    if not verbose:
        shown.addFilter(is_worth_showing)
    level = logging.INFO if verbose else logging.ERROR
    logging.basicConfig(level=level, format="%(name)s: %(message)s", handlers=[shown])
    if show_version:
        OUT.print(f"darkop-dist {version()}")
        raise typer.Exit


@app.command()
def run(
    document: DocumentArgument,
    output: Annotated[Path | None, typer.Option(help="Directory of the result.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing result, unless events are lost and it holds more.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Process only what is missing, failed or has changed since an earlier run.")
    ] = False,
    accept_loss: Annotated[
        list[str] | None, typer.Option(help="Dataset whose lost events are accepted; may be repeated.")
    ] = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="Read remote files from the cache; what is not there is downloaded first.")
    ] = False,
) -> None:
    """Run a search: from its document to limits and a result page."""
    from darkop_dist.cli.console import monitored
    from darkop_dist.stages.pipeline import Request, run_search

    request = Request(document, output, force, resume, tuple(accept_loss or ()), ["darkop", *sys.argv[1:]], cached)
    try:
        with monitored() as monitor:
            result = run_search(request, monitor)
    except KeyboardInterrupt as stopped:
        if not stopped.args:
            raise
        ERR.print(f"error: {stopped}", markup=False)
        raise SystemExit(INTERRUPTED) from stopped
    if (result.path / "output.json").exists():
        OUT.print(f"output: {result.path / 'output.json'}", markup=False)
        return
    results.print_headline(result)
    OUT.print(f"page: {RunDirectory(result.path).report / 'index.html'}", markup=False)


@app.command()
def train(
    document: DocumentArgument,
    output: Annotated[Path, typer.Option(help="Directory of the checkpoint; its name becomes the model's name.")],
) -> None:
    """Train the operator of a document and write it as a checkpoint with its card."""
    from darkop_dist.cli.console import monitored
    from darkop_dist.stages.search import prepare_search
    from darkop_dist.stages.train import train_operator

    with monitored() as monitor:
        search = prepare_search(document, say=monitor.say)
        trained = train_operator(search, output, name=output.name, say=monitor.say)
    card = trained.checkpoint.card
    OUT.print(f"fingerprint {card.fingerprint}")
    for signal, auc in card.auc.items():
        OUT.print(f"AUC against {signal}: {auc.value:.3f} +- {auc.uncertainty:.3f}", markup=False)
    OUT.print(f"checkpoint: {trained.directory}", markup=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of the analysis document."""
    from darkop_dist.config import document_schema

    sys.stdout.write(json.dumps(document_schema(), indent=2) + "\n")


def main() -> None:
    """Entry point of ``darkop``."""
    status = _run(app)
    _leave_clusters(status)
    sys.exit(status)


def _leave_clusters(status: int) -> None:
    """End at once where Ray, whose head has died, would hold up the end of the process."""
    pool = sys.modules.get("darkop_dist.scoring.pool.head")
    if pool is not None and not pool.leave_ray():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(application: typer.Typer) -> int:
    command = typer.main.get_command(application)
    try:
        status = command.main(standalone_mode=False, prog_name="darkop")
    except DarkopError as error:
        ERR.print(f"error: {error}", markup=False)
        for note in getattr(error, "__notes__", ()):
            ERR.print(note, markup=False)
        return error.exit_status
    except typer.exceptions.TyperException as error:
        error.show(file=sys.stderr)  # type: ignore[attr-defined]  # usage errors print themselves
        return EXIT_USER
    except (KeyboardInterrupt, typer.Abort):
        ERR.print("error: stopped; nothing was written")
        return EXIT_FAILURE
    if status == INTERRUPTED:  # typer's own answer to Ctrl-C
        ERR.print("error: stopped; nothing was written")
    return status if isinstance(status, int) else 0
