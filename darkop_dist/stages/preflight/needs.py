"""What the run will take of memory, time and space, against what there is. All of it is estimated from the trials."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkop_dist.config import Execution, kind_of, parse_size
from darkop_dist.execution.sites.lifetime import lifetime_for
from darkop_dist.stages.preflight.finding import Finding, Status, in_bytes, in_time
from darkop_dist.stages.preflight.trial import Cost, Trial

KILLED_ABOVE, SPILLS_ABOVE = 0.95, 0.7  # of a worker's memory: Dask's terminate and spill
TREE_NODES_PER_CHUNK = 1 / 31  # merged results, of 32 each, are kept too


@dataclass(frozen=True)
class Needs:
    """What the run will take.

    Attributes:
        chunk_events: events of the largest chunk.
        chunks: how many chunks, about.
        entries: events of all datasets, about.
        total_s: processor seconds of all chunks, about.
        cost: what an event costs.
        measured_on: the dataset that was measured.
    """

    chunk_events: int
    chunks: int
    entries: int
    total_s: float
    cost: Cost
    measured_on: str


def estimate(trials: Sequence[Trial], measured: Trial, cost: Cost, chunk_events: int, *, whole_files: bool) -> Needs:
    """Scale what one dataset cost to all."""
    chunks = entries = 0
    for trial in trials:
        files, expected = len(trial.dataset.paths), trial.expected_entries
        entries += expected
        chunks += files if whole_files else max(files, -(-expected // chunk_events))
    largest = largest_chunk(trials, chunk_events, whole_files=whole_files)
    total_s = cost.event_s * entries + cost.fixed_s * chunks
    return Needs(largest, chunks, entries, total_s, cost, measured.dataset.record.name)


def largest_chunk(trials: Sequence[Trial], chunk_events: int, *, whole_files: bool) -> int:
    """Events of the largest chunk that is known of."""
    largest = max(trial.largest_file for trial in trials)
    return largest if whole_files else min(chunk_events, largest)


def check_memory(needs: Needs, execution: Execution, limit_bytes: int | None) -> Finding:
    """The largest chunk against the memory of a worker.

    Args:
        needs: what the run will take.
        execution: the section of the document.
        limit_bytes: memory per task as the workers tell it; None to take what the document or the machine says.
    """
    limit, whose = _memory_limit(execution) if limit_bytes is None else (limit_bytes, "for each task of a worker")
    need, events = needs.cost.memory(needs.chunk_events), needs.chunk_events
    message = (
        f"a chunk of {events} events needs about {in_bytes(need)} ({in_bytes(needs.cost.event_bytes)} per event, from "
        f"{needs.cost.events} events of {needs.measured_on}); there are {in_bytes(limit)} {whose}"
    )
    numbers = {"need_bytes": round(need), "limit_bytes": limit, "bytes_per_event": round(needs.cost.event_bytes)}
    if need < SPILLS_ABOVE * limit:
        return Finding("memory", "largest chunk", "ok", message, numbers=numbers)
    fits = int((SPILLS_ABOVE * limit - needs.cost.memory(0)) / max(needs.cost.event_bytes, 1.0))
    rounded = int(float(f"{max(fits, 0):.1g}")) if fits < 1000 else fits // 1000 * 1000
    hint = "Give workers more memory"
    hint += f", or chunks of at most {rounded} events (execution.chunk_events)." if rounded > 0 else "."
    status: Status = "failed" if need > KILLED_ABOVE * limit else "warning"
    return Finding("memory", "largest chunk", status, message, hint, numbers)


def check_time(needs: Needs, execution: Execution) -> tuple[Finding, ...]:
    """The run, and its longest chunk, against walltime and time limit."""
    chunk_s, run_s = needs.cost.seconds(needs.chunk_events), needs.total_s / execution.workers
    message = (
        f"about {in_time(run_s)} for {needs.entries} events in {needs.chunks} chunks with {execution.workers} "
        f"worker{'s' if execution.workers > 1 else ''} ({in_time(needs.cost.event_s)} per event of {needs.measured_on})"
    )
    numbers: dict[str, float | int | str] = {
        "run_s": round(run_s, 1), "longest_chunk_s": round(chunk_s, 2), "entries": needs.entries, "chunks": needs.chunks
    }  # fmt: skip
    found = []
    lifetime = lifetime_for(execution.cluster)
    if lifetime is not None:
        latest_s = lifetime.latest_s
        if chunk_s > latest_s:
            told = f"the longest chunk takes about {in_time(chunk_s)}, but a worker retires after {in_time(latest_s)}"
            hint = "Ask for more walltime, or make chunks smaller (execution.chunk_events)."
            found.append(Finding("walltime", "longest chunk", "failed", told, hint))
        jobs = max(run_s / lifetime.lifetime_s, 1.0)
        message += f"; walltime {in_time(lifetime.walltime_s)}"
        message += f": {jobs:.1f} jobs after one another" if jobs > 1 else ""
    if execution.chunk_timeout_s is not None and chunk_s > execution.chunk_timeout_s:
        told = f"the longest chunk takes about {in_time(chunk_s)}, and counts as hanging after "
        told += in_time(execution.chunk_timeout_s)
        found.append(Finding("walltime", "longest chunk", "failed", told, "Raise execution.chunk_timeout_s."))
    return (*found, Finding("walltime", "run", "ok", message, numbers=numbers))


def check_space(needs: Needs, output: Path) -> tuple[Finding, ...]:
    """The results against the disk of the output directory."""
    place = _existing(output.absolute().parent)
    if not os.access(place, os.W_OK):
        hint = "Choose an output directory that you may write to."
        return (Finding("space", str(output), "failed", f"{place} cannot be written", hint),)
    need = needs.cost.packed_bytes * needs.chunks * (1 + TREE_NODES_PER_CHUNK)
    found = [_room("space", "output", place, need, f"{needs.chunks} results of {in_bytes(needs.cost.packed_bytes)}")]
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        hint = "Run with --force to replace it, with --resume to go on, or name another output."
        found.append(Finding("space", "output", "warning", f"{output} exists already", hint))
    return tuple(found)


def check_cache(cache: Path, need_bytes: float, what: str) -> Finding:
    """What will be generated against the disk of the cache."""
    return _room("space", "cache", _existing(cache.absolute()), need_bytes, what)


def _room(check: str, subject: str, place: Path, need: float, what: str) -> Finding:
    free = shutil.disk_usage(place).free
    message = f"{what}: about {in_bytes(need)}; {place} has {in_bytes(free)} free"
    numbers = {"need_bytes": round(need), "free_bytes": free}
    if need > free:
        return Finding(check, subject, "failed", message, "Make room, or choose another disk.", numbers)
    return Finding(check, subject, "warning" if need > free / 2 else "ok", message, numbers=numbers)


def _existing(path: Path) -> Path:
    return path if path.exists() or path == path.parent else _existing(path.parent)


def _memory_limit(execution: Execution) -> tuple[int, str]:
    cluster = execution.cluster
    if cluster.memory is not None:
        local = kind_of(execution.where) in ("local", "dask")
        shared_by = 1 if local else cluster.processes or cluster.cores
        return parse_size(cluster.memory) // shared_by, "for a worker (execution.cluster.memory)"
    import psutil

    share = f"for each of {execution.workers} workers" if execution.workers > 1 else "in this machine"
    return int(psutil.virtual_memory().total) // execution.workers, share
