"""Toys of a limit on a Dask cluster: each batch is a task, and its answer a small table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from darkop_dist.limits.toys import Runner, ToyBatch, ToyTask, run_task
from darkop_dist.limits.workspace import Workspace

RETRIES = 2


def toys_on(client: Any) -> Runner:
    """A runner of toys on the workers of a Dask client.

    Batches come as they finish. One that fails three times, or whose workers died, is given back as lost with the
    reason, and the others go on.

    Args:
        client: a ``distributed.Client``, see `get_client`; it is not closed.
    """

    def run(workspace: Workspace, tasks: Sequence[ToyTask]) -> Iterable[ToyBatch]:
        from distributed import as_completed

        shared = client.scatter(workspace, broadcast=True, hash=False)
        futures = [client.submit(run_task, shared, task, retries=RETRIES, pure=False) for task in tasks]
        of_future = dict(zip(futures, tasks, strict=True))
        try:
            for future in as_completed(futures, loop=client.loop):
                if future.status == "finished":
                    yield future.result()
                else:
                    problem = future.exception() if future.status == "error" else future.status
                    reason = f"{type(problem).__name__}: {problem}" if isinstance(problem, BaseException) else problem
                    yield ToyBatch(of_future[future], (), (), (), str(reason))
        finally:
            client.cancel(futures)

    return run
