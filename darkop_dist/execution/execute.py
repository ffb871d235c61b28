"""Running a processor over all chunks: in this process, in several, or on Dask, with one answer."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.config import Execution as Settings
from darkop_dist.config import kind_of, parse_duration
from darkop_dist.errors import DarkopError, StorageError
from darkop_dist.events.read import FileFacts
from darkop_dist.execution.backend import Backend, Inline, Processes, by_value
from darkop_dist.execution.chunk import Task
from darkop_dist.execution.driver import Driver, Execution, Progress
from darkop_dist.execution.journal import changes_since, read_plan, write_plan
from darkop_dist.execution.keys import run_key
from darkop_dist.execution.performance import saved_performance_report
from darkop_dist.execution.plan import FileQuestion, Look, LostFile, look_here
from darkop_dist.execution.sites import open_client
from darkop_dist.execution.store import ChunkStore
from darkop_dist.execution.threads import Threads

Say = Callable[[str], None]
NO_WORKERS_S = 120.0
NO_WORKERS_QUEUED_S = 3600.0
FILES_PER_CALL = 16
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """Whoever watches a run.

    Attributes:
        say: is told what happens.
        progress: is told of every chunk as it becomes known.
        dashboard: is told where the Dask dashboard is.
    """

    say: Say = lambda _: None
    progress: Progress | None = None
    dashboard: Callable[[str], None] = lambda _: None


def execute(
    tasks: Sequence[Task],
    processor: Any,
    settings: Settings | None = None,
    *,
    store: Path | None = None,
    earlier: Sequence[Path] = (),
    watch: Watch | None = None,
    client: Any = None,
    performance: Path | None = None,
    waits: bool = False,
) -> Execution:
    """Process all chunks and merge their outputs in a tree that the plan alone determines.

    The merge order does not depend on which worker finishes first, so floating-point sums are equal to the last bit
    wherever the run takes place, and however often it was interrupted and resumed.

    Args:
        tasks: one per chunk, in the order of the plan.
        processor: has ``process(events)``; travels to other processes by value.
        settings: where to run; this process by default.
        store: directory in which results are kept for a resume; results that are there already are taken up. By
            default they are kept until the end of the run only.
        earlier: stores of earlier runs, whose results are taken up too.
        watch: is told what happens.
        client: a Dask client to use, which is not closed; by default what the settings say.
        performance: where Dask's performance report is saved, if the run uses Dask; None for none.
        waits: chunks wait for scores from elsewhere: on this machine another one begins meanwhile, at most one for each
            worker. Workers of Dask find that out themselves.

    Raises:
        UserError: the values of a file cannot be used by this processor at all.
        ChunkError: the processor failed.
        StorageError: results cannot be kept.
        RunError: the cluster was lost.
    """
    settings, watch = settings or Settings(), watch or Watch()
    fingerprint = tasks[0].fingerprint if tasks else None
    with _directory(store) as place:
        kept = ChunkStore(place, tuple(earlier))
        kept.create()
        key = run_key(processor, fingerprint)
        _say_what_is_stale(kept, key, tasks, watch)
        write_plan(kept, key, tasks)
        with open_backend(processor, settings, client, place, watch, performance, waits=waits) as backend:
            driver = Driver(tasks, backend, kept, key.digest, merge_mb=settings.merge_memory_mb)
            return driver.run(watch.progress)


@contextmanager
def cluster_of(settings: Settings, watch: Watch) -> Iterator[Any]:
    """A client of the cluster that the settings name, for the plan and the run; None where Dask is not used."""
    if settings.where == "local":
        yield None
        return
    with open_client(settings, say=watch.say) as site:
        yield site.client


def look_on(client: Any) -> Look:
    """Look at files on the workers of a client, many at a time; in this process without a client.

    A cluster that loses its workers meanwhile does not stop the plan: it is then made here.
    """
    if client is None:
        return look_here

    def look(questions: Sequence[FileQuestion]) -> Sequence[FileFacts | LostFile]:
        batches = [questions[first : first + FILES_PER_CALL] for first in range(0, len(questions), FILES_PER_CALL)]
        if len(batches) < 2:
            return look_here(questions)
        try:
            found = client.gather(client.map(look_here, batches, pure=False))
        except DarkopError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever happened to the workers
            LOG.warning("the plan is made in the driver, since the workers failed: %s", error)
            return look_here(questions)
        return [facts for batch in found for facts in batch]

    return look


def _patience(settings: Settings) -> float:
    """How long the cluster may be without a worker: batch jobs may all have ended, with new ones in the queue."""
    if settings.cluster.wait is not None:
        return max(float(parse_duration(settings.cluster.wait)), NO_WORKERS_S)
    return NO_WORKERS_QUEUED_S if kind_of(settings.where) in ("slurm", "htcondor", "lsf", "gateway") else NO_WORKERS_S


def _directory(store: Path | None) -> Any:
    if store is not None:
        return nullcontext(store)
    return _temporary()


@contextmanager
def _temporary() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="darkop-", ignore_cleanup_errors=True) as name:
            yield Path(name)
    except FileNotFoundError as error:
        raise StorageError(f"no temporary directory can be made ({error})") from error


def _say_what_is_stale(store: ChunkStore, key: Any, tasks: Sequence[Task], watch: Watch) -> None:
    for place in (store.path, *store.earlier):
        plan = read_plan(place)
        if plan is None:
            continue
        changes = changes_since(plan, key, tasks)
        if changes:
            watch.say(f"stale, and therefore computed again: what depends on {', '.join(changes)}")
        return


@contextmanager
def open_backend(
    processor: Any,
    settings: Settings,
    client: Any,
    store: Path,
    watch: Watch,
    performance: Path | None = None,
    *,
    most_at_once: int | None = None,
    waits: bool = False,
) -> Iterator[Backend]:
    """What carries out calls where the settings say.

    Args:
        processor: what every call gets first.
        settings: where.
        client: a Dask client to use, which is not closed; None for what the settings say.
        store: directory of results; it has been created.
        watch: is told where the dashboard is.
        performance: where Dask's performance report is saved; None for none.
        most_at_once: most answers to fetch from Dask in one exchange, where they are large.
        waits: calls wait for scores from elsewhere.
    """
    if client is None and settings.where == "local":
        with _opened_here(processor, settings.workers, waits=waits) as here:
            yield here
        return
    from darkop_dist.execution.dask_backend import DaskBackend

    with open_client(settings, say=watch.say, client=client) as site:
        if site.dashboard:
            watch.dashboard(site.dashboard)
        dask = DaskBackend(
            site.client,
            by_value(processor),
            workers=settings.workers,
            store=store,
            no_workers_s=_patience(settings),
            **({} if most_at_once is None else {"most_at_once": most_at_once}),
        )
        try:
            with saved_performance_report(site.client, performance, say=watch.say):
                yield dask
        finally:
            dask.close()


@contextmanager
def _opened_here(processor: Any, workers: int, *, waits: bool) -> Iterator[Backend]:
    payload = None if workers == 1 and not waits else _by_value_if_any(processor, alone=workers == 1)
    if payload is None:
        yield Inline(None, processor)
        return
    backend = Threads(payload) if workers == 1 else Processes(payload, workers, waits=waits)
    try:
        yield backend
    finally:
        backend.close()


def _by_value_if_any(processor: Any, *, alone: bool) -> bytes | None:
    try:
        return by_value(processor)
    except Exception:
        if not alone:
            raise
        LOG.warning("the processor cannot be copied: chunks are processed one after the other", exc_info=True)
        return None
