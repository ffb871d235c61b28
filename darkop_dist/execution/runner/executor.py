"""An executor for coffea's Runner that loses nothing in silence."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coffea.processor.accumulator import accumulate
from coffea.processor.executor import ExecutorBase, FileMeta
from coffea.util import rich_bar

from darkop_dist.errors import LedgerError
from darkop_dist.execution.backend import Backend, Inline, Processes
from darkop_dist.execution.ledger import Ledger, LedgerEntry
from darkop_dist.execution.runner.attempts import ItemResult, run_items
from darkop_dist.execution.runner.work import unwrapped
from darkop_dist.execution.store import ChunkStore

FILES_WORTH_PROCESSES = 64
NO_WORKERS_S = 120.0
MOST_REASONS = 10


@dataclass
class _Pass:
    """One call by the Runner: over files, for their metadata, or over ranges of entries."""

    files: bool
    entries: list[LedgerEntry] = field(default_factory=list)


@dataclass
class DarkopExecutor(ExecutorBase):  # type: ignore[misc]  # coffea has no types
    """Runs the items of coffea's Runner here, in several processes, or on Dask.

        runner = processor.Runner(DarkopExecutor(client=client), schema=NanoAODSchema)
        output = runner(fileset, MyProcessor(), treename="Events")
        runner.executor.ledger.closure()

    An error of the storage, the network or a worker is tried again with growing pauses, on another worker if there is
    one. What is wrong in the processor stops the run at once and names the item. Items that are given up stand in the
    ledger with their reason; the Runner then raises, with the rest as ``partial_output`` of the error, or, with
    ``skipbadfiles``, warns. Results merge in the order of the items, so that sums are equal to the last bit on any
    number of workers.

    Attributes:
        client: a Dask client, which is not closed; without one the items run on this machine.
        workers: processes of this machine; 1 for this process.
        retries: how often an item is tried again when that may help.
        timeout_s: after so many seconds an item counts as hanging; None for never. On Dask its worker is ended and has
            to be started again by its nanny.
        compression: has no effect, since Dask compresses what it sends.
        passes: what became of earlier items; shared by the copies that the Runner makes.
    """

    client: Any = None
    workers: int = 1
    retries: int = 3
    timeout_s: float | None = None
    passes: list[_Pass] = field(default_factory=list, repr=False)

    @property
    def ledger(self) -> Ledger:
        """Every item of the last run, and every file that was lost before it could be divided into items."""
        found: list[LedgerEntry] = []
        for done in self.passes[-2:]:
            if done.files:
                found = [entry for entry in done.entries if entry.status == "failed"]
            else:
                before = found if self.passes[-1] is done else []
                found = [*before, *done.entries]
        return Ledger(tuple(replace(entry, index=index) for index, entry in enumerate(found)))

    def __call__(
        self, items: Iterable[Any], function: Callable[[Any], Any], accumulator: Any
    ) -> tuple[Any, int | BaseException]:
        """Apply the function to all items and accumulate its results in their order.

        Args:
            items: what the function gets.
            function: gives something that coffea can accumulate.
            accumulator: what the results are added to; may be None.

        Returns:
            The sum, and 0 or the error that says which items were lost.

        Raises:
            ChunkError: the processor failed.
            LedgerError: every item was lost, or a file cannot be opened and may not be skipped.
            RunError: the cluster was lost.
        """
        todo = list(items)
        if not todo:
            return accumulator, 0
        done = _Pass(isinstance(todo[0], FileMeta))
        self.passes.append(done)
        work = unwrapped(function)
        failed: list[ItemResult] = []
        with self._backend(work.to_bytes(), todo) as backend:
            results = run_items(todo, backend, retries=self.retries, timeout_s=self.timeout_s)
            merged = accumulate(self._values(results, done, failed, len(todo)), accumulator)
        _require_closed(merged, todo, done)
        if not failed:
            return merged, 0
        error = _loss(failed, len(todo), work.allowed)
        permitted = all(result.allowed for result in failed)
        if len(failed) == len(todo) or (done.files and not permitted):
            raise error
        if permitted:
            warnings.warn(f"{error}\nThe ledger of the executor has them all.", stacklevel=2)
        return merged, error

    def _values(
        self, results: Iterator[ItemResult], done: _Pass, failed: list[ItemResult], total: int
    ) -> Iterator[Any]:
        """The results to be accumulated, one by one; writes the ledger and moves the bar on the way."""
        with rich_bar() if self.status else nullcontext() as bar:
            task = bar.add_task(self.desc, total=total, unit=self.unit) if bar else None
            for result in results:
                done.entries.append(result.entry)
                if bar:
                    bar.update(task, advance=1, refresh=True)
                if result.entry.status == "failed":
                    failed.append(result)
                else:
                    yield result.value

    @contextmanager
    def _backend(self, payload: bytes, items: Sequence[Any]) -> Iterator[Backend]:
        if self.client is None:
            few = isinstance(items[0], FileMeta) and len(items) < FILES_WORTH_PROCESSES
            if self.workers == 1 or few:
                yield Inline(payload)
                return
            processes = Processes(payload, min(self.workers, len(items)))
            try:
                yield processes
            finally:
                processes.close()
            return
        from darkop_dist.execution.dask_backend import DaskBackend

        with tempfile.TemporaryDirectory(prefix="darkop-") as folder:
            ChunkStore(Path(folder)).create()
            dask = DaskBackend(self.client, payload, workers=1, store=Path(folder), no_workers_s=NO_WORKERS_S)
            try:
                yield dask
            finally:
                dask.close()


def _require_closed(merged: Any, items: Sequence[Any], done: _Pass) -> None:
    """Check that the sum holds the items that the ledger calls done, and no other: the Runner notes them in it."""
    if not (isinstance(merged, dict) and isinstance(merged.get("processed"), set)):
        return
    expected = {item for item, entry in zip(items, done.entries, strict=True) if entry.status != "failed"}
    if merged["processed"] != expected:
        raise LedgerError(
            f"the merged result holds {len(merged['processed'])} items and the ledger {len(expected)}: this is a "
            "defect of darkop-dist. Please report it with the ledger."
        )


def _loss(failed: Sequence[ItemResult], total: int, allowed: Sequence[type[BaseException]]) -> LedgerError:
    """The error for lost items; its cause is one that the Runner lets pass if all of them may."""
    entries = [result.entry for result in failed]
    lines = [f"  {entry.file} [{entry.start}:{entry.stop}]: {entry.reason}" for entry in entries[:MOST_REASONS]]
    more = f"\n  and {len(entries) - MOST_REASONS} more" if len(entries) > MOST_REASONS else ""
    error = LedgerError(f"{len(entries)} of {total} items were lost:\n" + "\n".join(lines) + more)
    if allowed and all(result.allowed for result in failed):
        error.__cause__ = _made(allowed[0], entries[0].reason)
    return error


def _made(kind: type[BaseException], reason: str) -> BaseException:
    try:
        return kind(reason)
    except TypeError:
        return kind.__new__(kind)
