"""Merging results that lie in a store, one after the other, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffea.processor.accumulator import accumulate

from darkop_dist.errors import StorageError
from darkop_dist.execution.faults import reason
from darkop_dist.execution.store import ChunkStore, read_result
from darkop_dist.execution.tree import MergeJob, Ref
from darkop_dist.execution.who import worker_name
from darkop_dist.histograms.output import merge_outputs
from darkop_dist.histograms.packed import Packed, merge, unpack

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class MergeSpan:
    """When and where a merge took place.

    Attributes:
        worker: who merged.
        started_s: when that began, in seconds since 1970.
        wall_s: how long it took.
    """

    worker: str
    started_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge gave.

    Attributes:
        key: of the merged result.
        missing: keys of children that could not be read; then nothing was merged.
        problem: why the result could not be written; then it is to be tried again.
        full: the disk is full, which is why.
        span: when and where.
    """

    key: str
    missing: tuple[str, ...]
    problem: str
    full: bool
    span: MergeSpan


def merge_results(job: MergeJob, store: Path, most_mb: int) -> Merged:
    """Merge the results of a job into one and keep it.

    Args:
        job: what to merge; all of its children are in the store.
        store: where they are.
        most_mb: most megabytes of results held at a time, besides the sum itself.
    """
    place, started, wall = ChunkStore(store), time.time(), time.perf_counter()
    missing: list[str] = []
    problem, full = "", False
    try:
        if place.read("nodes", job.key) is None:
            total = merge(_children(job.children, store, missing), batch_bytes=most_mb * MEGABYTE)
            if total is not None and not missing:
                place.write("nodes", job.key, {"children": len(job.children)}, total.to_bytes())
    except StorageError as error:
        problem, full = str(error), True
    except OSError as error:
        problem = reason(error)
    span = MergeSpan(worker_name(), started, time.perf_counter() - wall)
    return Merged(job.key, tuple(missing), problem, full, span)


def _children(children: Sequence[Ref], store: Path, missing: list[str]) -> Iterator[Packed]:
    for child in children:
        found = read_result(ChunkStore(store).place("chunks" if child.leaf else "nodes", child.key))
        if found is None:
            missing.append(child.key)
        elif not missing:
            yield found.packed


def content_of(ref: Ref, store: Path) -> Any:
    """A result as objects: ``output`` and ``entries`` by dataset.

    Raises:
        StorageError: the result is not in the store any more.
    """
    if ref.loose is not None:
        return ref.loose
    found = read_result(ChunkStore(store).place("chunks" if ref.leaf else "nodes", ref.key))
    if found is None:
        raise StorageError(f"{store}: the result {ref.key} has gone. Run again with --resume.")
    return unpack(found.packed)


def merge_loose(job: MergeJob, store: Path) -> Ref:
    """Merge in memory results of which at least one cannot be packed."""
    total: Any = None
    for child in job.children:
        content = content_of(child, store)
        total = content if total is None else _added(total, content)
    return Ref(job.key, leaf=False, loose=total)


def _added(first: Any, second: Any) -> Any:
    """Two contents as one, by coffea's rule: what another's processor gives may hold sets and types of its own."""
    entries = merge_outputs(first["entries"], second["entries"])
    return {"output": accumulate([first["output"], second["output"]]), "entries": entries}
