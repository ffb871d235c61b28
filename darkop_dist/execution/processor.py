"""Any coffea processor in our execution."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffea.nanoevents import NanoAODSchema
from pydantic import ValidationError

from darkop_dist.config import Execution as Settings
from darkop_dist.config.access import user_access
from darkop_dist.errors import InputValueError, LedgerError
from darkop_dist.execution.chunk import Task
from darkop_dist.execution.execute import Watch, execute
from darkop_dist.execution.filesets import files_of, plan_fileset
from darkop_dist.execution.foreign import ForeignProcessor
from darkop_dist.execution.ledger import Ledger
from darkop_dist.runs import written_alone


@dataclass(frozen=True)
class ProcessorResult:
    """What a processor gave for a fileset.

    Attributes:
        output: everything accumulated and postprocessed; None if there was not one event.
        ledger: what became of every chunk.
    """

    output: Any
    ledger: Ledger


def run_processor(
    processor: Any,
    fileset: Any,
    *,
    treename: str | None = "Events",
    schema: type[Any] = NanoAODSchema,
    where: str = "local",
    workers: int = 1,
    chunk_events: int = 250_000,
    retries: int = 3,
    resume: str | Path | None = None,
    accept_loss: Sequence[str] = (),
    client: Any = None,
) -> ProcessorResult:
    """Run a processor as coffea's Runner would, with our retries, ledger and resume.

    Args:
        processor: an instance with ``process(events)``, and perhaps ``postprocess``; or a function of events.
        fileset: in any of coffea's forms; see ``filesets.files_of``.
        treename: tree of files for which the fileset names none.
        schema: one of coffea's schemas or your own.
        where: ``local``, or a site as ``execution.where`` of a document names it.
        workers: worker processes.
        chunk_events: most events of a chunk, where the fileset gives no steps.
        retries: how often a chunk is tried again when that may help.
        resume: a directory for the results of chunks; those that are there from before and still hold are taken up.
            One process at a time writes to it.
        accept_loss: datasets whose lost events are accepted.
        client: a Dask client to use instead of ``where``; it is not closed.

    Raises:
        UserError: the fileset or a file cannot be used, or another process writes to ``resume``.
        ChunkError: the processor failed, with the chunk that shows it.
        LedgerError: events were lost that are not accepted; its ``partial`` is the result without them.
        RunError: the cluster was lost.
    """
    try:
        settings = Settings(where=where, workers=workers, chunk_events=chunk_events, retries=retries)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputValueError(str(first["loc"][0]), first["msg"], f"Found {first['input']!r}") from error
    store = None if resume is None else Path(resume)
    with nullcontext() if store is None else written_alone(store):
        files, metadata = files_of(fileset, treename)
        tasks = plan_fileset(files, settings, access=user_access())
        foreign = ForeignProcessor(processor, schema, metadata)
        result = run_foreign(tasks, foreign, settings, store=store, client=client)
    try:
        result.ledger.require_closed(accept_loss)
    except LedgerError as error:
        error.partial = result
        raise
    return result


def run_foreign(
    tasks: Sequence[Task],
    foreign: ForeignProcessor,
    settings: Settings,
    *,
    store: Path | None,
    earlier: Sequence[Path] = (),
    watch: Watch | None = None,
    client: Any = None,
) -> ProcessorResult:
    """Run a processor over chunks that are planned, whatever is lost.

    Args:
        tasks: from ``plan_fileset``.
        foreign: the processor.
        settings: where to run.
        store: directory for the results of chunks; None to forget them.
        earlier: stores of earlier runs.
        watch: is told what happens.
        client: a Dask client, which is not closed.
    """
    done = execute(tasks, foreign, settings, store=store, earlier=earlier, watch=watch, client=client)
    return ProcessorResult(None if done.output is None else foreign.postprocess(done.output), done.ledger)
