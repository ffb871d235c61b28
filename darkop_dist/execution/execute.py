"""Running a processor over all chunks: in this process, in several, or on Dask, with one answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cloudpickle

from darkop_dist.errors import RunError
from darkop_dist.execution.chunk import ChunkResult, Task, process_chunk
from darkop_dist.execution.ledger import Ledger, LedgerEntry
from darkop_dist.histograms.output import Output, merge_outputs

Progress = Callable[[ChunkResult], None]
TASKS_IN_FLIGHT_PER_WORKER = 4
WAIT_FOR_WORKERS_S = 30


@dataclass(frozen=True)
class Execution:
    """What a run over all chunks gave.

    Attributes:
        output: everything merged; None if no chunk gave anything.
        ledger: what became of every chunk.
    """

    output: Output | None
    ledger: Ledger


def execute(
    tasks: Sequence[Task],
    processor: Any,
    *,
    where: str = "local",
    workers: int = 1,
    progress: Progress | None = None,
) -> Execution:
    """Process all chunks and merge their outputs in the order of the plan.

    The merge order does not depend on which worker finishes first, so floating-point sums are equal to the last bit
    wherever the run takes place.

    Args:
        tasks: one per chunk, in the order of the plan.
        processor: has ``process(events)``; travels to other processes by value.
        where: ``local``, ``dask`` for a cluster on this machine, or ``dask://host:port`` for one that runs already.
        workers: processes to use; one with ``local`` means this process.
        progress: is told of every chunk as it becomes known.

    Raises:
        UserError: a file cannot be used.
        ChunkError: the processor failed.
        RunError: the cluster was lost.
    """
    if where == "local":
        results = _in_this_process(tasks, processor) if workers == 1 else _in_processes(tasks, processor, workers)
    else:
        results = _on_dask(tasks, processor, where, workers)
    return _merge_in_order(results, progress)


def _merge_in_order(results: Iterator[ChunkResult], progress: Progress | None) -> Execution:
    waiting: dict[int, ChunkResult] = {}
    entries: list[LedgerEntry] = []
    output: Output | None = None
    for result in results:
        waiting[result.entry.index] = result
        if progress is not None:
            progress(result)
        while len(entries) in waiting:
            ready = waiting.pop(len(entries))
            entries.append(ready.entry)
            if ready.output is not None:
                output = ready.output if output is None else merge_outputs(output, ready.output)
    return Execution(output, Ledger(tuple(entries)))


def _in_this_process(tasks: Sequence[Task], processor: Any) -> Iterator[ChunkResult]:
    for task in tasks:
        yield process_chunk(task, processor)


def _in_processes(tasks: Sequence[Task], processor: Any, workers: int) -> Iterator[ChunkResult]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    payload = _by_value(processor)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(_process_payload, task, payload) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process died, most often for want of memory. Use fewer workers or smaller chunks "
                "(execution.workers, execution.chunk_events)."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _on_dask(tasks: Sequence[Task], processor: Any, where: str, workers: int) -> Iterator[ChunkResult]:
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    with _client(where, workers) as client:
        payload = client.submit(_same, _by_value(processor), pure=False)  # a task: made again if its worker dies
        remaining = iter(tasks)
        width = TASKS_IN_FLIGHT_PER_WORKER * max(len(client.scheduler_info()["workers"]), 1)

        def submit(task: Task) -> Any:
            return client.submit(_process_payload, task, payload, pure=False)

        first = [submit(task) for _, task in zip(range(width), remaining, strict=False)]
        running = as_completed(first, loop=client.loop)
        for future in running:
            try:
                yield future.result()
            except KilledWorker as error:
                raise RunError(
                    f"a Dask worker died again and again ({error}). Give the workers more memory or smaller chunks "
                    "(execution.chunk_events)."
                ) from error
            future.release()
            for task in remaining:
                running.add(submit(task))
                break


@contextmanager
def _client(where: str, workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    if where.startswith("dask://"):
        address = "tcp://" + where.removeprefix("dask://")
        try:
            client = Client(address, timeout="10s", set_as_default=False)
        except OSError as error:
            raise RunError(
                f"no Dask scheduler answers at {address} ({error}). Start one, or use where: dask."
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=WAIT_FOR_WORKERS_S)
            except TimeoutError as error:
                raise RunError(
                    f"the Dask scheduler at {address} has had no worker for {WAIT_FOR_WORKERS_S} s. Start workers."
                ) from error
            yield client
        return
    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=40
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def _by_value(processor: Any) -> bytes:
    """The processor as bytes; its own module travels with it, so that workers need only the wheel."""
    import sys

    module = sys.modules.get(type(processor).__module__)
    own = module is not None and not module.__name__.startswith("darkop_dist.")
    if own and module is not None:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(processor))
    finally:
        if own and module is not None:
            cloudpickle.unregister_pickle_by_value(module)


@functools.lru_cache(maxsize=2)
def _unpacked(payload: bytes) -> Any:
    return cloudpickle.loads(payload)


def _same(payload: bytes) -> bytes:
    return payload


def _process_payload(task: Task, payload: bytes) -> ChunkResult:
    """Runs in a worker; the payload comes from this run's own driver over the cluster's connection, not from a file."""
    return process_chunk(task, _unpacked(payload))
