"""The driver: hands out chunks, tries again what may succeed, merges what is done, and accounts for everything.

A chunk is tried again after an error of input, a time-out or the death of its worker: after a pause that doubles, on
another worker, and from another address of its file if there is one; every address is tried at least once. What is
damaged is not read again from the same address. Only then is the chunk given up, with all reasons. A bug of the
processor stops the run at once.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darkop_dist.errors import DarkopError, LedgerError, RunError, StorageError
from darkop_dist.execution.backend import Answer, Backend, Call
from darkop_dist.execution.chunk import Attempt, ChunkResult, Task, attempt_chunk, empty_entry, lost_entry
from darkop_dist.execution.faults import reason
from darkop_dist.execution.journal import Journal, tries_before
from darkop_dist.execution.keys import chunk_key
from darkop_dist.execution.ledger import Ledger, LedgerEntry
from darkop_dist.execution.merge import Merged, MergeSpan, content_of, merge_loose, merge_results
from darkop_dist.execution.store import ChunkStore, entry_header
from darkop_dist.execution.tree import MergeJob, MergeTree, Ref
from darkop_dist.histograms.output import Output

Progress = Callable[[ChunkResult], None]
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0
MERGE_TRIES = 6


@dataclass(frozen=True)
class Execution:
    """What a run over all chunks gave.

    Attributes:
        output: everything merged; None if no chunk gave anything.
        ledger: what became of every chunk.
        merges: when and where results were merged.
        unkept: why results could not be kept for a resume; empty if they were.
        ended_s: when the merged output was there, the cluster not yet closed, in seconds since 1970.
    """

    output: Output | None
    ledger: Ledger
    merges: tuple[MergeSpan, ...] = ()
    unkept: str = ""
    ended_s: float = 0.0


@dataclass
class _Work:
    """A chunk on its way, with what went wrong so far."""

    task: Task
    key: str
    copy: int = 0
    reasons: list[str] = field(default_factory=list)
    bad_copies: set[int] = field(default_factory=set)
    suspects: set[int] = field(default_factory=set)
    avoid: set[str] = field(default_factory=set)
    tries: dict[str, int] = field(default_factory=dict)
    repairs: MergeJob | None = None

    @property
    def copies(self) -> int:
        return 1 + len(self.task.chunk.replicas)


@dataclass
class _MergeWork:
    """A merge on its way."""

    job: MergeJob
    tries: int = 0
    missing: set[str] = field(default_factory=set)


class Driver:
    """Runs all chunks of a plan through a backend; one object for one run."""

    def __init__(
        self, tasks: Sequence[Task], backend: Backend, store: ChunkStore, run_digest: str, *, merge_mb: int
    ) -> None:
        """Prepare.

        Args:
            tasks: one per chunk, in the order of the plan.
            backend: carries out the calls.
            store: where results are kept; it has been created.
            run_digest: what all results depend on.
            merge_mb: most megabytes of results that a merge holds.
        """
        self._tasks, self._backend, self._store, self._digest = tasks, backend, store, run_digest
        self._merge_mb, self._seen = merge_mb, store.told()
        self._tree = MergeTree(len(tasks))
        self._places = {task.chunk.index: place for place, task in enumerate(tasks)}
        self._entries: list[LedgerEntry | None] = [None] * len(tasks)
        self._new = iter(tasks)
        self._waiting: list[tuple[float, int, _Work | _MergeWork]] = []
        self._in_flight: dict[int, _Work | _MergeWork] = {}
        self._numbers = itertools.count()
        self._jobs: dict[str, MergeJob] = {}
        self._blocked: dict[str, list[_MergeWork]] = {}
        self._merges: list[MergeSpan] = []
        self._unkept = ""

    def run(self, progress: Progress | None = None) -> Execution:
        """Process and merge everything.

        Args:
            progress: is told of every chunk as it becomes known.

        Raises:
            UserError: the values of a file cannot be used by this processor at all.
            ChunkError: the processor failed.
            StorageError: results cannot be kept.
            RunError: the cluster was lost.
            LedgerError: the merged result does not hold what the ledger says.
        """
        self._tried = tries_before((*self._store.earlier, self._store.path))
        with Journal(self._store.path) as journal:
            self._journal, self._progress = journal, progress
            while not self._tree.finished:
                self._fill()
                if self._in_flight:
                    for answer in self._backend.answers(self._pause()):
                        self._hear(answer)
                elif not self._tree.finished and self._waiting:
                    time.sleep(max(self._pause() or 0.0, 0.0))
        entries = tuple(entry for entry in self._entries if entry is not None)
        output = self._checked(entries)
        return Execution(output, Ledger(entries), tuple(self._merges), self._unkept, time.time())

    def _fill(self) -> None:
        """Send what is due, then new chunks, as far as the backend takes them."""
        while len(self._in_flight) < self._backend.width and not self._has_suspect_in_flight():
            if self._waiting and self._waiting[0][0] <= time.monotonic():
                work = self._waiting[0][2]
                if self._is_suspect(work) and self._in_flight:
                    return
                heapq.heappop(self._waiting)
                self._send(work)
                continue
            task = next(self._new, None)
            if task is None:
                return
            self._begin(task)

    def _is_suspect(self, work: _Work | _MergeWork) -> bool:
        """Whether a chunk's last try must be made alone, so that no other chunk's worker is blamed on it."""
        if not self._backend.fragile or isinstance(work, _MergeWork):
            return False
        return 0 < work.task.retries <= work.tries.get("lost", 0)

    def _has_suspect_in_flight(self) -> bool:
        return len(self._in_flight) == 1 and any(map(self._is_suspect, self._in_flight.values()))

    def _pause(self) -> float | None:
        """How long to wait for answers: until something is due, if it could be sent then."""
        if not self._waiting or len(self._in_flight) >= self._backend.width:
            return None
        if self._in_flight and (self._is_suspect(self._waiting[0][2]) or self._has_suspect_in_flight()):
            return None
        return max(self._waiting[0][0] - time.monotonic(), 0.0)

    def _begin(self, task: Task) -> None:
        chunk = task.chunk
        if chunk.lost or chunk.start == chunk.stop:
            self._conclude(task, empty_entry(task), None)
            return
        key = chunk_key(self._digest, task.record, chunk)
        try:
            stored = self._store.read("chunks", key)
        except OSError:  # made again if it cannot be read
            stored = None
        if stored is None:
            self._send(_Work(task, key))
            return
        entry = replace(stored.entry, index=chunk.index, dataset=chunk.dataset, **self._tried.get(key, {}))
        self._conclude(task, entry, Ref(key, leaf=True), kept=True)

    def _send(self, work: _Work | _MergeWork) -> None:
        if isinstance(work, _MergeWork) and not self._backend.shared:
            self._merge_here(work)
            return
        token = next(self._numbers)
        self._in_flight[token] = work
        if isinstance(work, _MergeWork):
            self._backend.submit(Call(token, run_merge, (work.job, self._store.path, self._merge_mb, self._seen)))
            return
        store = self._store.path if self._backend.shared else None
        arguments = (work.task, work.copy, work.copy in work.suspects, work.key, store, self._seen)
        self._backend.submit(Call(token, run_chunk, arguments, frozenset(work.avoid), work.key))

    def _later(self, work: _Work | _MergeWork, tries: int, wait_s: float | None = None) -> None:
        wait = min(max(FIRST_WAIT_S * 2 ** (tries - 1), wait_s or 0.0), LONGEST_WAIT_S)
        heapq.heappush(self._waiting, (time.monotonic() + wait, next(self._numbers), work))

    def _hear(self, answer: Answer) -> None:
        work = self._in_flight.pop(answer.token)
        if answer.error is not None:
            raise _translated(answer.error)
        if isinstance(work, _MergeWork):
            self._hear_merge(work, answer)
        elif answer.lost:
            running = self._store.running_on(answer.worker) if answer.worker else set()
            if running and work.key not in running:  # it only waited there
                self._later(work, 1)
                return
            work.avoid.add(answer.worker)
            self._failed(work, "lost", answer.lost, lost_entry(work.task, answer.lost))
        else:
            self._hear_chunk(work, answer.value)

    def _hear_chunk(self, work: _Work, attempt: Attempt) -> None:
        if attempt.kind != "done":
            work.avoid.add(attempt.entry.worker)
            if attempt.suspect:
                work.suspects.add(work.copy)
            why = attempt.entry.reason if work.copies == 1 else f"{attempt.entry.file}: {attempt.entry.reason}"
            self._failed(work, attempt.kind, why, attempt.entry, attempt.wait_s)
            return
        ref = Ref(work.key, leaf=True)
        if attempt.data is not None:
            try:
                self._store.write("chunks", work.key, entry_header(attempt.entry), attempt.data)
            except (StorageError, OSError) as error:
                why = str(error) if isinstance(error, StorageError) else reason(error)
                self._failed(work, "storage", why, replace(attempt.entry, status="failed", reason=why))
                return
        elif attempt.loose is not None:
            counts = {attempt.entry.dataset: attempt.entry.entries}
            ref = replace(ref, loose={"output": attempt.loose, "entries": counts})
            self._unkept = f"{attempt.entry.dataset}: {attempt.entry.file}"
        self._conclude(work.task, self._with_tries(work, attempt.entry, "retried"), ref, work=work)

    def _failed(self, work: _Work, kind: str, why: str, entry: LedgerEntry, wait_s: float | None = None) -> None:
        """Try again if that may help; otherwise give the chunk up."""
        work.reasons.append(why)
        tries = work.tries[kind] = work.tries.get(kind, 0) + 1
        if kind in ("damaged", "missing"):
            work.bad_copies.add(work.copy)
        good = [copy for copy in range(work.copies) if copy not in work.bad_copies]
        if kind == "storage" and tries > work.task.retries:
            done = sum(1 for found in self._entries if found is not None and found.status != "failed")
            raise StorageError(
                f"{why}. {done} of {len(self._tasks)} chunks are kept: make room and run again with --resume."
            )
        later = [copy for copy in good if copy > work.copy]
        untried = kind == "transient" and len(work.reasons) < work.copies and bool(later)
        if good and (kind in ("damaged", "missing") or untried or tries <= work.task.retries):
            work.copy = later[0] if later else good[0]
            self._later(work, sum(work.tries.values()), wait_s)
            return
        self._conclude(work.task, self._with_tries(work, entry, "failed"), None, work=work)

    @staticmethod
    def _with_tries(work: _Work, entry: LedgerEntry, status: Any) -> LedgerEntry:
        if not work.reasons:
            return entry
        attempts = len(work.reasons) + (status == "retried")
        counted = {why: work.reasons.count(why) for why in dict.fromkeys(work.reasons)}
        text = "; ".join(f"{why} ({times} times)" if times > 1 else why for why, times in counted.items())
        return replace(entry, status=status, attempts=attempts, reason=text)

    def _conclude(
        self, task: Task, entry: LedgerEntry, ref: Ref | None, *, kept: bool = False, work: _Work | None = None
    ) -> None:
        if work is not None and work.repairs is not None:
            if ref is None:
                raise StorageError(
                    f"the result of chunk {task.chunk.name} was lost from {self._store.path} and cannot be made again: "
                    f"{entry.reason}. What else was processed is kept: run again with --resume."
                )
            self._repaired(work.key)
            return
        place = self._places[task.chunk.index]
        self._entries[place] = entry = _sharing(entry)
        self._journal.write(entry, ref.key if ref else "")
        if self._progress is not None:
            self._progress(ChunkResult(entry, kept))
        self._merge(self._tree.complete(0, place, ref))

    def _merge(self, job: MergeJob | None) -> None:
        """Begin a merge that has become possible: where all workers see the results there, otherwise here."""
        while job is not None:
            self._jobs[job.key] = job
            if any(child.loose is not None for child in job.children):
                job = self._tree.complete(job.level, job.group, merge_loose(job, self._store.path))
            else:
                self._send(_MergeWork(job))
                return

    def _merge_here(self, work: _MergeWork) -> None:
        self._hear_merged(work, merge_results(work.job, self._store.path, self._merge_mb))

    def _hear_merge(self, work: _MergeWork, answer: Answer) -> None:
        if not answer.lost:
            if answer.value is None:  # a worker that came later and does not see the results
                self._merge_here(work)
            else:
                self._hear_merged(work, answer.value)
            return
        work.tries += 1
        if work.tries >= MERGE_TRIES:
            raise RunError(
                f"merging failed {work.tries} times: {answer.lost}. Give the workers more memory or lower "
                "execution.merge_memory_mb, and run again with --resume."
            )
        self._later(work, work.tries)

    def _hear_merged(self, work: _MergeWork, merged: Merged) -> None:
        self._merges.append(merged.span)
        if not merged.missing and not merged.problem:
            ref = Ref(work.job.key, leaf=False)
            if work.job.key in self._blocked:
                self._repaired(work.job.key)
            else:
                self._merge(self._tree.complete(work.job.level, work.job.group, ref))
            return
        work.tries += 1
        if work.tries >= MERGE_TRIES:
            why = merged.problem or f"{len(merged.missing)} results cannot be read back from {self._store.path}"
            raise StorageError(f"{why}. What was processed is kept: make room and run again with --resume.")
        if merged.missing and work.tries > 1:  # at first another node's file system may only be late
            self._repair(work, merged.missing)
        else:
            self._later(work, work.tries)

    def _repair(self, work: _MergeWork, missing: Sequence[str]) -> None:
        """Make results again that were kept once and cannot be read any more."""
        work.missing = set(missing)
        children = {child.key: child for child in work.job.children}
        leaves = {}
        if any(children[key].leaf for key in missing):
            first = work.job.group * self._tree.fan_in**work.job.level
            near = self._tasks[first : first + self._tree.fan_in**work.job.level]
            leaves = {chunk_key(self._digest, task.record, task.chunk): task for task in near}
        for key in missing:
            self._blocked.setdefault(key, []).append(work)
            if children[key].leaf:
                self._send(_Work(leaves[key], key, repairs=work.job))
            else:
                self._send(_MergeWork(self._jobs[key]))

    def _repaired(self, key: str) -> None:
        for work in self._blocked.pop(key, []):
            work.missing.discard(key)
            if not work.missing:
                self._send(work)

    def _checked(self, entries: Sequence[LedgerEntry]) -> Output | None:
        """The merged output, once it is proved to hold every entry that the ledger calls processed, and no other."""
        root = self._tree.root
        content: Mapping[str, Any] = content_of(root, self._store.path) if root is not None else {"entries": {}}
        expected: dict[str, int] = {}
        for entry in entries:
            if entry.entries:
                expected[entry.dataset] = expected.get(entry.dataset, 0) + entry.entries
        if dict(content["entries"]) != expected:
            raise LedgerError(
                f"the merged result holds {dict(content['entries'])} entries, the ledger {expected}: this is a defect "
                "of darkop-dist. Please report it with the ledger."
            )
        output: Output | None = content.get("output")
        return output


def _sharing(entry: LedgerEntry) -> LedgerEntry:
    """An entry that has its texts in common with others: a worker's answer brings its own copies."""
    return replace(
        entry,
        dataset=sys.intern(entry.dataset),
        file=sys.intern(entry.file),
        fingerprint=entry.fingerprint and sys.intern(entry.fingerprint),
        worker=sys.intern(entry.worker),
        selected={sys.intern(region): number for region, number in entry.selected.items()},
    )


def run_chunk(
    processor: Any,
    task: Task,
    copy: int,
    suspected: bool,  # noqa: FBT001
    key: str,
    store: Path | None,
    seen: str,
) -> Attempt:
    """Runs in a worker: one try at one chunk."""
    return attempt_chunk(task, processor, copy=copy, suspected=suspected, key=key, store=store, seen=seen)


def run_merge(_processor: Any, job: MergeJob, store: Path, most_mb: int, seen: str) -> Merged | None:
    """Runs in a worker: one merge; None if this worker does not see the store."""
    return merge_results(job, store, most_mb) if ChunkStore(store).is_seen(seen) else None


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, DarkopError):
        return error
    return RunError(
        f"a worker could not carry out a call ({type(error).__name__}: {error}). Compare what is installed on the "
        "workers with what is installed here: darkop check DOCUMENT does."
    )
