"""``darkop skim``: selected events and columns of datasets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkop_dist.cli.console import ERR, OUT, monitored
from darkop_dist.cli.generate import setting
from darkop_dist.errors import UnknownNameError

if TYPE_CHECKING:
    from darkop_dist.config import Execution
    from darkop_dist.events.jet_sets import JetSetRules
    from darkop_dist.stages.skim.run import Skim

INTERRUPTED = 130
DERIVED = ("jets",)


def skim(
    sources: Annotated[
        list[str], typer.Argument(help="A document, or names, patterns or files of datasets.", metavar="DATASET")
    ],
    output: Annotated[Path, typer.Option(help="Directory to make.")],
    select: Annotated[
        str, typer.Option(help="'MET.pt > 200 and count(Jet.pt > 30) >= 1', or module.py:function; all by default.")
    ] = "",
    columns: Annotated[str, typer.Option(help="Branches to keep, as globs: 'Jet_*,MET_*,HLT_PFMET*'.")] = "*",
    drop: Annotated[str, typer.Option(help="Branches to leave out of these, as globs.")] = "",
    layout: Annotated[
        str | None, typer.Option("--format", help="ttree (the default), rntuple, parquet; with --derive hdf5, parquet.")
    ] = None,
    derive: Annotated[
        str | None, typer.Option(help="'jets': jets with constituents in arrays of fixed shape, in place of events.")
    ] = None,
    collection: Annotated[str, typer.Option(help="Of --derive: FatJet or Jet.")] = "FatJet",
    jet_pt: Annotated[float, typer.Option(help="Of --derive: smallest pT of a jet in GeV.")] = 0.0,
    constituents: Annotated[int, typer.Option(help="Of --derive: most constituents of a jet.")] = 150,
    features: Annotated[
        str | None, typer.Option(help="Of --derive: features of constituents; by default those of AspenOpenJets.")
    ] = None,
    catalogue: Annotated[list[Path] | None, typer.Option(help="Your record file; may be repeated.")] = None,
    merge_mb: Annotated[int, typer.Option(help="Put outputs together up to so many MB; 0 for one per input.")] = 0,
    suffix: Annotated[str, typer.Option(help="What the names of the skimmed datasets end with.")] = "-skim",
    where: Annotated[
        str | None, typer.Option(help="local, dask, dask://HOST:PORT, slurm, ...; by default the document's.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes to use; the outputs do not depend on it.")] = 1,
    cluster: Annotated[list[str] | None, typer.Option(help="key=value of execution.cluster; may be repeated.")] = None,
    chunk_events: Annotated[int, typer.Option(min=1, help="Most events read at once.")] = 250_000,
    accept_loss: Annotated[
        list[str] | None, typer.Option(help="Dataset whose lost events are accepted; may be repeated.")
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Write a dataset of which no event is kept, too.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing skim, and what is left of one.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a skim that did not end.")] = False,
) -> None:
    """Write selected events and columns of datasets, or jets with constituents, for later runs and for training."""
    from darkop_dist.stages.skim.columns import column_rules
    from darkop_dist.stages.skim.request import SkimRequest
    from darkop_dist.stages.skim.run import run_skim
    from darkop_dist.stages.skim.selection import event_selection

    jets = _jets(derive, collection, jet_pt, constituents, features)
    request = SkimRequest(
        sources=tuple(sources),
        output=output,
        selection=event_selection(select),
        columns=column_rules(columns, drop),
        layout=layout or ("ttree" if jets is None else "hdf5"),  # type: ignore[arg-type]  # the request refuses others
        jets=jets,
        catalogue=tuple(catalogue or ()),
        execution=_execution(where, workers, cluster, chunk_events),
        merge_mb=merge_mb,
        suffix=suffix,
        accept_loss=tuple(accept_loss or ()),
        allow_empty=allow_empty,
        force=force,
        resume=resume,
        arguments=["darkop", *sys.argv[1:]],
    )
    try:
        with monitored() as monitor:
            made = run_skim(request, monitor)
    except KeyboardInterrupt as stopped:
        if not stopped.args:
            raise
        ERR.print(f"error: {stopped}", markup=False)
        raise SystemExit(INTERRUPTED) from stopped
    _say(made, derived=jets is not None)


def _jets(
    derive: str | None, collection: Any, jet_pt: float, constituents: int, features: str | None
) -> JetSetRules | None:
    from darkop_dist.events.jet_sets import ASPEN, JetSetRules

    if derive is None:
        return None
    if derive not in DERIVED:
        raise UnknownNameError("derived set", derive, DERIVED, f"There is {', '.join(DERIVED)}.")
    chosen = ASPEN if features is None else tuple(name.strip() for name in features.split(",") if name.strip())
    return JetSetRules(collection, jet_pt, constituents, chosen)


def _execution(where: str | None, workers: int, cluster: list[str] | None, chunk_events: int) -> Execution | None:
    """What the options say; None if they say nothing, so that a document's own settings count."""
    from darkop_dist.stages.generation import execution_settings

    if where is None and workers == 1 and not cluster and chunk_events == 250_000:
        return None
    given = dict(map(setting, cluster or []))
    return execution_settings(where or "local", workers, given).model_copy(update={"chunk_events": chunk_events})


def _say(made: Skim, *, derived: bool) -> None:
    kept, entries, rows = (
        sum(getattr(book, name) for output in made.outputs for book in output.inputs)
        for name in ("kept", "entries", "rows")
    )
    what = f"{rows} jets of " if derived else ""
    OUT.print(f"{made.directory}: {what}{kept} of {entries} events in {len(made.outputs)} files", markup=False)
    for closure in made.ledger.closure():
        if not closure.closed:
            OUT.print(f"note: {closure.dataset} lost {closure.loss}, which was accepted", markup=False)
    if made.record is not None:
        OUT.print(f"record for your documents (catalogue: [FILE]): {made.record}", markup=False)
