"""A skim from its request to the directory: plan, chunks wherever they run, outputs, record, ledger."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.errors import DarkopError, InputValueError, LedgerError, StorageError, UnknownNameError
from darkop_dist.execution import DatasetFiles, Ledger, Task, Watch, execute, plan_chunks
from darkop_dist.execution.execute import cluster_of, look_on
from darkop_dist.execution.keys import chunk_key, run_key
from darkop_dist.execution.store import FULL, ChunkStore
from darkop_dist.runs import PendingRun, RunDirectory, start_run
from darkop_dist.stages.pipeline import Monitor, Silent
from darkop_dist.stages.provenance import Stopwatch
from darkop_dist.stages.skim.chunk import PARTS, SEEN, SkimChunk, part_name
from darkop_dist.stages.skim.outputs import Numbers, OutputBook, write_outputs
from darkop_dist.stages.skim.part import checksum
from darkop_dist.stages.skim.record import about_dataset, about_request, write_book, write_provenance, write_records
from darkop_dist.stages.skim.request import SkimRequest
from darkop_dist.stages.skim.sources import Sources, find_sources, first_readable

KEPT = "what was skimmed is kept: darkop skim --resume goes on with it, --force begins anew"


@dataclass(frozen=True)
class Skim:
    """A skim that is done.

    Attributes:
        directory: where it is.
        record: the record file for documents; None for a jet set.
        outputs: what each file holds.
        ledger: what became of every chunk.
    """

    directory: Path
    record: Path | None
    outputs: tuple[OutputBook, ...]
    ledger: Ledger


def run_skim(request: SkimRequest, monitor: Monitor | None = None, *, client: Any = None) -> Skim:
    """Skim datasets.

    The directory appears at its place when it is whole, and not at all if anything fails.

    Args:
        request: what to skim.
        monitor: is told what happens.
        client: a Dask client to use, which is not closed; by default what the execution settings say.

    Raises:
        UserError: a dataset, column, selection or the output cannot be used, or the selection keeps nothing.
        LedgerError: events were lost that are not accepted.
        RunError: the run failed.
    """
    watch, stopwatch = monitor or Silent(), Stopwatch()
    pending = None
    try:
        with stopwatch.stage("prepare"):
            pending = start_run(request.output, force=request.force, resume=request.resume)
            sources = find_sources(request, watch.say)
            required = _check_columns(request, sources)
            _check_accepted(request, sources)
            processor = _processor(request, sources, required, pending.run)
        return _skim(request, sources, processor, pending, watch, stopwatch, client)
    except BaseException as error:
        if pending is not None and isinstance(error, InputValueError):  # another selection has other results
            shutil.rmtree(pending.run.chunks, ignore_errors=True)
        is_kept = pending.abandon() if pending is not None else False
        if is_kept and isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped; {KEPT}") from error
        if is_kept and isinstance(error, DarkopError) and "--resume" not in str(error):
            error.add_note(KEPT)
        raise


def _skim(
    request: SkimRequest,
    sources: Sources,
    processor: SkimChunk,
    pending: PendingRun,
    watch: Monitor,
    stopwatch: Stopwatch,
    client: Any,
) -> Skim:
    run = pending.run
    with stopwatch.stage("events"), _cluster(sources, watch, client) as own:
        tasks = _tasks(sources, look_on(own))
        watch.planned([task.chunk for task in tasks])
        ledger, numbers = _execute(tasks, processor, sources, run, watch, own)
    ledger.save(run.ledger)
    ledger.require_closed(request.accept_loss)
    _require_closure(ledger, numbers)
    _require_kept(request, ledger, tasks, numbers)
    with stopwatch.stage("outputs"):
        watch.say("writing the outputs")
        outputs = _outputs(request, sources.datasets, tasks, ledger, numbers, run)
    records = [dataset.record for dataset in sources.datasets]
    if request.jets is None:
        write_records(run.path, request, records, ledger, outputs)
    write_book(run.path, request, ledger, outputs)
    write_provenance(run, request, stopwatch.seconds)
    shutil.rmtree(run.chunks, ignore_errors=True)
    done = pending.finish().path
    record = done / "skim.record.json" if request.jets is None else None
    return Skim(done, record, tuple(outputs), ledger)


def _cluster(sources: Sources, watch: Monitor, client: Any) -> Any:
    if client is not None:
        return nullcontext(client)
    return cluster_of(sources.execution, Watch(watch.say, watch.processed, watch.dashboard))


def _check_columns(request: SkimRequest, sources: Sources) -> dict[str, tuple[str, ...]]:
    """Refuse columns that no dataset has in its first file, before anything is read.

    Returns:
        By dataset, the branches that each of its files must have.
    """
    required, known, unmatched = {}, dict[str, None](), []
    for dataset in sources.datasets:
        file = first_readable(dataset)
        if request.selection.expression is not None:
            request.selection.expression.branches(frozenset(file.names), file.path)
        file.layout(request.columns.choose(file.names, file.counters))
        known |= dict.fromkeys(file.names)
        unmatched.append(request.columns.unmatched(file.names, file.counters))
        required[dataset.record.name] = request.columns.required(file.names, file.counters)
    for pattern in sorted(frozenset.intersection(*unmatched)) if request.jets is None else ():
        raise UnknownNameError("column", pattern, known, "No dataset has a branch that matches it.")
    return required


def _check_accepted(request: SkimRequest, sources: Sources) -> None:
    names = [dataset.record.name for dataset in sources.datasets]
    for name in request.accept_loss:
        if name not in names:
            raise UnknownNameError("dataset", name, names, f"The skim has {', '.join(names)}.")


def _processor(
    request: SkimRequest, sources: Sources, required: dict[str, tuple[str, ...]], run: RunDirectory
) -> SkimChunk:
    """The processor, with the folder for its parts; a resume goes on with the folder's token."""
    folder = run.chunks.absolute() / "skim"
    folder.mkdir(parents=True, exist_ok=True)
    seen = folder / SEEN
    if not seen.exists():
        seen.write_text(uuid.uuid4().hex)
    trees = {dataset.record.name: dataset.record.tree for dataset in sources.datasets}
    return SkimChunk(
        folder, seen.read_text(), trees, request.selection, request.columns, required, request.jets, sources.access
    )


def _tasks(sources: Sources, look: Any) -> tuple[Task, ...]:
    execution = sources.execution
    plan = plan_chunks(
        sources.datasets, chunk_events=execution.chunk_events, whole_files=False, retries=execution.retries, look=look
    )
    records = {d.record.name: d.record.model_copy(update={"files": ()}) for d in sources.datasets}
    return tuple(
        Task(chunk, records[chunk.dataset], execution.retries, None, execution.chunk_timeout_s, sources.access)
        for chunk in plan
    )


def _execute(
    tasks: Sequence[Task], processor: SkimChunk, sources: Sources, run: RunDirectory, watch: Monitor, client: Any
) -> tuple[Ledger, Numbers]:
    """Process all chunks; what a resume takes up but cannot find whole any more is made again."""
    whom = Watch(watch.say, watch.processed, watch.dashboard)
    for _ in range(2):
        result = execute(tasks, processor, sources.execution, store=run.chunks, watch=whom, client=client)
        numbers: Numbers = {} if result.output is None else result.output[PARTS]
        damaged = [name for name, found in numbers.items() if not _is_whole(processor.folder / name, found)]
        if not damaged:
            return result.ledger, numbers
        watch.say(f"{len(damaged)} parts are not as they were written and are made again")
        _forget(tasks, processor, damaged, ChunkStore(run.chunks))
    raise StorageError(f"{processor.folder}: parts of the skim do not stay as they are written. Look at the disk.")


def _is_whole(path: Path, found: Any) -> bool:
    try:
        return bool(path.stat().st_size == found["bytes"] and checksum(path) == found["adler32"])
    except OSError:
        return False


def _forget(tasks: Sequence[Task], processor: SkimChunk, damaged: Sequence[str], store: ChunkStore) -> None:
    digest = run_key(processor, None).digest
    for task in tasks:
        chunk = task.chunk
        if part_name(chunk.dataset, chunk.label, chunk.start, chunk.stop) in damaged:
            store.place("chunks", chunk_key(digest, task.record, chunk)).unlink(missing_ok=True)
    shutil.rmtree(store.path / "nodes", ignore_errors=True)


def _require_closure(ledger: Ledger, numbers: Numbers) -> None:
    """Entries read are those in the parts: what is kept and what is rejected."""
    processed, parts = sum(entry.entries for entry in ledger.entries), sum(f["entries"] for f in numbers.values())
    if processed != parts:
        raise LedgerError(
            f"the parts account for {parts} entries, the ledger for {processed}: this is a defect of darkop-dist. "
            "Please report it with the ledger."
        )


def _require_kept(request: SkimRequest, ledger: Ledger, tasks: Sequence[Task], numbers: Numbers) -> None:
    kept = dict.fromkeys((task.chunk.dataset for task in tasks), 0)
    for task in tasks:
        chunk = task.chunk
        found = numbers.get(part_name(chunk.dataset, chunk.label, chunk.start, chunk.stop))
        kept[chunk.dataset] += found["kept"] if found is not None else 0
    processed = {closure.dataset: closure.processed for closure in ledger.closure()}
    for name, rows in kept.items():
        if rows == 0 and not request.allow_empty:
            what = "events" if request.jets is None else "events with a jet"
            raise InputValueError(
                f"dataset {name}",
                f"none of its {processed[name]} {what} passes the selection {request.selection.text!r}",
                "Loosen it, or write a skim without events with --allow-empty",
            )


def _outputs(
    request: SkimRequest,
    datasets: Sequence[DatasetFiles],
    tasks: Sequence[Task],
    ledger: Ledger,
    numbers: Numbers,
    run: RunDirectory,
) -> list[OutputBook]:
    written: list[OutputBook] = []
    folder = run.chunks.absolute() / "skim"
    for dataset in datasets:
        record = dataset.record
        chunks = [task.chunk for task in tasks if task.chunk.dataset == record.name]
        about = {**about_dataset(record, ledger), **about_request(request)}
        try:
            written += write_outputs(request, record, chunks, ledger, numbers, folder, run.path, about)
        except OSError as error:
            if error.errno not in FULL:
                raise
            told = f"{request.output}: cannot be written ({error.strerror}); what was skimmed is kept"
            raise StorageError(f"{told}: make room and run again with --resume") from error
    return written
