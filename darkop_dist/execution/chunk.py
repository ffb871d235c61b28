"""Processing one chunk once, in whatever process that happens."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np

from darkop_dist.config.access import Access
from darkop_dist.config.datasets import EVENT_FORMATS, DatasetRecord, is_root_file
from darkop_dist.errors import (
    ChunkError,
    DamagedFileError,
    DarkopError,
    InputFileError,
    ScoringOutageError,
    StorageError,
    UnpackableError,
    UnreachableFileError,
)
from darkop_dist.events.corrections.sections import Plain, sections_of, without_events
from darkop_dist.events.declared import declared_ranges
from darkop_dist.events.files import OpenFile, forget, has_changed, open_file
from darkop_dist.events.identity import identity_size, may_be_copies, root_identity
from darkop_dist.events.phases import READ, SCORE, Phases, phase, recorded
from darkop_dist.events.read import has_column, open_events
from darkop_dist.events.remote import DEFAULT, is_remote
from darkop_dist.events.weights import generator_weights
from darkop_dist.execution.deadline import deadline
from darkop_dist.execution.faults import Fault, Kind, classify, reason
from darkop_dist.execution.foreign import ForeignProcessor
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.execution.plan import Chunk
from darkop_dist.execution.store import ChunkStore, entry_header
from darkop_dist.execution.who import worker_name
from darkop_dist.histograms.output import Output
from darkop_dist.histograms.packed import pack
from darkop_dist.scoring.allocator import keep_memory
from darkop_dist.scoring.origins import recorded_origins


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs besides the processor.

    Attributes:
        chunk: the range of entries.
        record: the dataset; its list of files stays behind.
        retries: how often the chunk is tried again when another try may help.
        fingerprint: of the operator; None without one.
        timeout_s: after so many seconds the chunk counts as hanging; None for never.
        access: how remote files are reached.
    """

    chunk: Chunk
    record: DatasetRecord
    retries: int
    fingerprint: str | None
    timeout_s: float | None = None
    access: Access = DEFAULT


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one try at a chunk gave.

    Attributes:
        kind: ``done``, or why it was not.
        entry: the chunk's line of the ledger; of a try that failed, with the reason.
        data: the packed result, where the worker could not write it to the store.
        loose: the result itself, where it cannot be packed.
        suspect: wrong bytes came over the network: another try may help, a second time the file is damaged.
        wait_s: how long the server asks to be left alone; None if it does not.
    """

    kind: Kind | Literal["done"]
    entry: LedgerEntry
    data: bytes | None = None
    loose: Any = None
    suspect: bool = False
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What became of a chunk, for whoever watches the run.

    Attributes:
        entry: its line in the ledger.
        kept: it was taken over from an earlier run.
    """

    entry: LedgerEntry
    kept: bool = False


def attempt_chunk(
    task: Task,
    processor: Any,
    *,
    copy: int = 0,
    suspected: bool = False,
    key: str = "",
    store: Path | None = None,
    seen: str = "",
) -> Attempt:
    """Read, select, score and fill one chunk, once.

    Args:
        task: the chunk.
        processor: has ``process(events)``.
        copy: which address of the file to read: 0 for the first, then its replicas.
        suspected: wrong bytes came from there before.
        key: of the result.
        store: where results are kept; None, or a directory that this worker does not see, to get it back instead.
        seen: what the token of the store says, by which the worker knows that it sees that very directory.

    Raises:
        UserError: the values of the file cannot be used by this processor at all; no other try or copy would help.
        ChunkError: the processor failed; names the chunk.
    """
    keep_memory()
    chunk = _copy_of(task.chunk, copy)
    place = None if store is None else ChunkStore(store)
    if place is not None and place.is_seen(seen):
        stored = place.read("chunks", key)
        if stored is not None:  # this worker took the place of one that died after it had kept the result
            return Attempt("done", stored.entry)
        place.note_running(worker_name(), key)
    clock = _Clock(time.time(), time.perf_counter(), time.thread_time())
    with recorded() as phases, recorded_origins() as origins:
        try:
            with deadline(task.timeout_s, key):
                events = _open(task, chunk, processor)
                output = processor.process(events)
                _require_unchanged(task, chunk)
                sum_weights = _generated_weight(task, events)
                sections = _sections(task, chunk, events, processor)
        except BaseException as error:  # noqa: BLE001  # what is no failure of input is raised again
            fault = _meaning(error, chunk, suspected=suspected)
            forget(chunk.path)
            failed = _entry(task, chunk, "failed", _with_place(fault, chunk), clock, phases)
            if fault.kind == "damaged":
                failed = replace(failed, sections=_sections_of_damaged(task, chunk, processor))
            return Attempt(fault.kind, failed, suspect=fault.suspect, wait_s=fault.retry_after_s)
    done = _entry(task, chunk, "done", "", clock, phases, output, sum_weights)
    done = replace(done, sections=sections, scored_by=dict(origins.events))
    return _timed(_kept(Attempt("done", done), output, key, place, seen), clock)


def empty_entry(task: Task) -> LedgerEntry:
    """The line of a chunk that needs no worker: a file without rows, or one that was lost before the run began."""
    chunk = task.chunk
    clock = _Clock(time.time(), time.perf_counter(), time.thread_time())
    if chunk.lost:
        return _entry(task, chunk, "failed", chunk.lost, clock, Phases())
    weight = None if task.record.kind == "data" else chunk.file_sum_weights
    entry = _entry(task, chunk, "skipped", "the file holds no rows", clock, Phases(), None, weight)
    return replace(entry, sections=without_events(chunk.declared).to_plain()) if chunk.declared else entry


def lost_entry(task: Task, why: str) -> LedgerEntry:
    """The line of a try whose worker was lost."""
    clock = _Clock(time.time(), time.perf_counter(), time.thread_time())
    return _entry(task, task.chunk, "failed", why, clock, Phases())


@dataclass(frozen=True)
class _Clock:
    started_s: float
    wall: float
    cpu: float


def _copy_of(chunk: Chunk, copy: int) -> Chunk:
    return replace(chunk, path=chunk.replicas[copy - 1]) if copy else chunk


def _kept(attempt: Attempt, output: Output, key: str, store: ChunkStore | None, seen: str) -> Attempt:
    """Write the result to the store, or hand it back."""
    try:
        data = pack({"output": output, "entries": {attempt.entry.dataset: attempt.entry.entries}}).to_bytes()
    except UnpackableError:
        return replace(attempt, loose=output)
    if store is None or not store.is_seen(seen):
        return replace(attempt, data=data)
    try:
        store.write("chunks", key, entry_header(attempt.entry), data)
    except StorageError as error:
        return Attempt("storage", replace(attempt.entry, status="failed", reason=str(error)))
    except OSError as error:
        return Attempt("transient", replace(attempt.entry, status="failed", reason=reason(error)))
    return attempt


def _timed(attempt: Attempt, clock: _Clock) -> Attempt:
    """With the time that packing and writing the result took."""
    wall_s = time.perf_counter() - clock.wall
    keep_s, cpu_s = wall_s - attempt.entry.wall_s, time.thread_time() - clock.cpu
    return replace(attempt, entry=replace(attempt.entry, wall_s=wall_s, cpu_s=cpu_s, keep_s=keep_s))


def _meaning(error: BaseException, chunk: Chunk, *, suspected: bool) -> Fault:
    """What kind of failure an error is; a mistake of the user and a bug of the processor are raised."""
    if isinstance(error, DamagedFileError) and error.__cause__ is None:
        return Fault("damaged", error.problem)
    if not isinstance(error, Exception) or (
        isinstance(error, DarkopError)
        and not isinstance(error, DamagedFileError | UnreachableFileError | ScoringOutageError)
    ):
        raise error
    if isinstance(error, ak.errors.FieldNotFoundError):
        raise InputFileError(
            chunk.path,
            f"lacks a branch that the processor reads ({str(error).strip().splitlines()[0]})",
            "Use files that hold it, or a processor that does without it",
        ) from error
    fault = classify(error, chunk.path, suspected=suspected)
    if fault.kind == "bug":
        shown = traceback.format_exception(error, limit=-6)
        raise ChunkError(f"the processor failed in chunk {chunk.name}\n{''.join(shown)}", chunk.index) from error
    return fault


def _with_place(fault: Fault, chunk: Chunk) -> str:
    """The reason for the ledger, which names the file in its own column."""
    if fault.kind != "damaged" or (chunk.start == 0 and chunk.stop == chunk.file_entries):
        return fault.reason
    return f"entries {chunk.start} to {chunk.stop} cannot be read: {fault.reason}"


def _open(task: Task, chunk: Chunk, processor: Any) -> ak.Array:
    with phase(READ):
        file = _held_file(task, chunk) if is_root_file(chunk.path) else None
        if file is not None:
            _require_identity(task, chunk, root_identity(file.directory))
        if isinstance(processor, ForeignProcessor):
            return processor.open_events(file.directory if file else None, chunk, task.record)
        events = open_events(chunk.path, task.record, chunk.start, chunk.stop, label=chunk.label, access=task.access)
        if file is None:
            _require_identity(task, chunk, events.metadata["identity"])
    if len(events) != chunk.stop - chunk.start:
        told = f"gives {len(events)} entries where {chunk.stop - chunk.start} were planned"
        raise DamagedFileError(chunk.path, told, "Run again, or remove this replica from the record.")
    return events


def _held_file(task: Task, chunk: Chunk) -> OpenFile:
    """The ROOT file, opened anew if it is not the one that this process held: a remote one may have changed since."""
    file = open_file(chunk.path, task.access)
    if (chunk.identity and root_identity(file.directory) != chunk.identity) or has_changed(file):
        forget(chunk.path)
        file = open_file(chunk.path, task.access)
    return file


def _require_unchanged(task: Task, chunk: Chunk) -> None:
    """Refuse what was read of a remote ROOT file that changed meanwhile: headers of the one, columns of the other."""
    if is_root_file(chunk.path) and is_remote(chunk.path) and has_changed(open_file(chunk.path, task.access)):
        raise DamagedFileError(chunk.path, "changed on the server while it was read", "Run again.")


def _require_identity(task: Task, chunk: Chunk, found: str) -> None:
    """Refuse a file that is not the one that was planned: a replica of another size, or a file that has changed."""
    if not chunk.identity or found == chunk.identity:
        return
    size, planned = identity_size(found), identity_size(chunk.identity)
    is_replica = not is_root_file(chunk.path) and chunk.path != task.chunk.path
    if is_replica and may_be_copies(found, chunk.identity):
        return
    what = f"has {size} bytes instead of {planned}" if size != planned else "is not the file that was planned"
    raise DamagedFileError(chunk.path, what, "Run again, or remove this replica from the record.")


def _generated_weight(task: Task, events: ak.Array) -> float | None:
    if task.record.kind == "data":
        return None
    planned = task.chunk.sum_weights
    if planned is not None:
        return planned
    if task.record.format in EVENT_FORMATS and has_column(events, "genWeight"):
        return float(np.sum(generator_weights(events)))
    return None


def _sections(task: Task, chunk: Chunk, events: ak.Array, processor: Any) -> Plain | None:
    """The luminosity sections of a chunk of collision data; None where they are not known.

    The first chunk of a file also has those that the file says it was made from, without events.
    """
    if task.record.kind != "data" or isinstance(processor, ForeignProcessor):
        return None
    found = sections_of(events)
    if found is None:
        return None
    if chunk.start == 0:
        found += without_events(declared_ranges(chunk.path, task.record.format, task.access))
    return found.to_plain()


def _sections_of_damaged(task: Task, chunk: Chunk, processor: Any) -> Plain | None:
    """The same of a chunk whose other columns cannot be read, as far as these can."""
    try:
        events = open_events(chunk.path, task.record, chunk.start, chunk.stop, access=task.access)
        return _sections(task, chunk, events, processor)
    except Exception:  # noqa: BLE001  # the file is damaged, and nobody knows where
        return None
    finally:
        forget(chunk.path)


def _entry(
    task: Task,
    chunk: Chunk,
    status: Any,
    why: str,
    clock: _Clock,
    phases: Phases,
    output: Output | None = None,
    sum_weights: float | None = None,
) -> LedgerEntry:
    cutflow = _cutflow(output, chunk.dataset)
    return LedgerEntry(
        index=chunk.index,
        dataset=chunk.dataset,
        file=chunk.path,
        start=chunk.start,
        stop=chunk.stop,
        status=status,
        reason=why,
        attempts=1,
        entries=chunk.stop - chunk.start if status == "done" else 0,
        selected={region: int(list(steps.values())[-1][0]) for region, steps in cutflow.items() if steps},
        sum_weights=sum_weights,
        wall_s=time.perf_counter() - clock.wall,
        cpu_s=time.thread_time() - clock.cpu,
        bytes=chunk.bytes,
        fingerprint=task.fingerprint,
        planned_weights=None if task.record.kind == "data" else chunk.sum_weights,
        worker=worker_name(),
        started_s=clock.started_s,
        read_s=phases.spent(READ),
        score_s=phases.spent(SCORE),
        replica_of=task.chunk.path if chunk.path != task.chunk.path else "",
    )


def _cutflow(output: Any, dataset: str) -> Any:
    """Events by region and step, where the output is one of our processors'."""
    ours = isinstance(output, dict) and {"histograms", "score_counts", "cutflow"} <= output.keys()
    return output["cutflow"].get(dataset, {}) if ours else {}
