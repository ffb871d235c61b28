"""One chunk of a search alone, in this process: to look at what happens in it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darkop_dist.errors import UnknownNameError
from darkop_dist.execution import LedgerEntry, Task
from darkop_dist.execution.chunk import attempt_chunk, empty_entry
from darkop_dist.runs import RunDirectory, partial_run
from darkop_dist.stages.foreign import is_foreign, prepare_foreign
from darkop_dist.stages.pipeline import Request, Silent, operator_of, output_of
from darkop_dist.stages.run_events import plan_tasks
from darkop_dist.stages.search import prepare_search
from darkop_dist.stages.settings import search_settings


def rerun_chunk(document: Path, index: int, *, output: Path | None = None) -> LedgerEntry:
    """Process one chunk of a search here, once, without keeping anything.

    Args:
        document: the analysis document.
        index: the chunk's place in the plan, which messages and the ledger give.
        output: directory of the run, whose trained operator is used if it has one.

    Raises:
        UnknownNameError: the plan has no such chunk.
        ChunkError: the processor failed; its cause is what happened there.
    """
    if is_foreign(document):
        ready = prepare_foreign(document)
        return _attempt(_chosen(ready.tasks, index), ready.processor)
    search = prepare_search(document)
    target = output_of(Request(document, output))
    earlier = (partial_run(target), RunDirectory(target))
    with tempfile.TemporaryDirectory() as folder:
        scorer = operator_of(search, RunDirectory(Path(folder)), Silent(), earlier)
        tasks = plan_tasks(search, scorer.fingerprint if scorer else None)
        task = _chosen(tasks, index)
        processor: Any = search.processor(search_settings(search), scorer)
        return _attempt(task, processor)


def _chosen(tasks: Sequence[Task], index: int) -> Task:
    if not 0 <= index < len(tasks):
        raise UnknownNameError("chunk", str(index), (), f"The plan has the chunks 0 to {len(tasks) - 1}.")
    return tasks[index]


def _attempt(task: Task, processor: Any) -> LedgerEntry:
    chunk = task.chunk
    if chunk.lost or chunk.start == chunk.stop:
        return empty_entry(task)
    attempt = None
    for copy in range(1 + len(chunk.replicas)):
        attempt = attempt_chunk(task, processor, copy=copy)
        if attempt.kind == "done":
            break
    if attempt is None:
        raise ValueError("a file without an address")
    return attempt.entry
