"""A skim in one call, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from darkop_dist.config import Execution
from darkop_dist.events.jet_sets import JetSetRules
from darkop_dist.stages.generation import execution_settings
from darkop_dist.stages.skim.columns import column_rules
from darkop_dist.stages.skim.request import Format, SkimRequest
from darkop_dist.stages.skim.run import Skim, run_skim
from darkop_dist.stages.skim.selection import event_selection


def skim(
    datasets: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    select: str | Callable[[Any], Any] | None = None,
    columns: str | Sequence[str] = "*",
    drop: str | Sequence[str] = (),
    format: Format | None = None,  # noqa: A002  # as the command calls it
    derive: JetSetRules | None = None,
    catalogue: Sequence[str | Path] = (),
    merge_mb: int = 0,
    suffix: str = "-skim",
    where: str = "local",
    workers: int = 1,
    chunk_events: int = 250_000,
    accept_loss: Sequence[str] = (),
    allow_empty: bool = False,
    force: bool = False,
    resume: bool = False,
    client: Any = None,
) -> Skim:
    """Write selected events and columns of datasets, or jets with their constituents.

        made = do.skim("cms-2016g-met", "met-skim", select="MET.pt > 200", columns="Jet_*,MET_*,HLT_PFMET*")
        made.record  # for `catalogue: [FILE]` in a document

    Args:
        datasets: one analysis document, or names, patterns or files of datasets.
        output: directory to make.
        select: an expression, see `events.expression`; ``module.py:function``; a function from NanoEvents to a mask.
        columns: branches to keep, as globs; all by default.
        drop: branches to leave out of these, as globs.
        format: ``ttree`` by default, ``rntuple`` or ``parquet``; of jets ``hdf5`` by default, or ``parquet``.
        derive: the jets to write in place of events.
        catalogue: your own record files.
        merge_mb: outputs are put together up to so many megabytes; 0 for one per input file.
        suffix: what the names of the skimmed datasets end with.
        where: where to run, as ``execution.where`` of a document.
        workers: worker processes; with more than one a script must guard its entry point.
        chunk_events: most events read at once.
        accept_loss: datasets whose lost events are accepted.
        allow_empty: write a dataset of which no event is kept, too.
        force: replace an existing skim.
        resume: go on with one that did not end.
        client: a Dask client to use, which is not closed.

    Raises:
        UserError, RunError: see `run.run_skim`.
    """
    named = (datasets,) if isinstance(datasets, str | Path) else datasets
    settings: Execution = execution_settings(where, workers, {}).model_copy(update={"chunk_events": chunk_events})
    asked_nothing = (where, workers, chunk_events) == ("local", 1, 250_000)
    request = SkimRequest(
        sources=tuple(map(str, named)),
        output=Path(output),
        selection=event_selection(select),
        columns=column_rules(columns, drop),
        layout=format or ("ttree" if derive is None else "hdf5"),
        jets=derive,
        catalogue=tuple(map(Path, catalogue)),
        execution=None if asked_nothing else settings,
        merge_mb=merge_mb,
        suffix=suffix,
        accept_loss=tuple(accept_loss),
        allow_empty=allow_empty,
        force=force,
        resume=resume,
        arguments=["darkop_dist.skim", *map(str, named)],
    )
    return run_skim(request, client=client)
