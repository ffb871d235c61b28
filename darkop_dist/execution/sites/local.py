"""Workers on this machine: one process each, reachable from this machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from darkop_dist.config import Execution, parse_size
from darkop_dist.execution.sites.site import Site

WAIT_S = 30.0
RESTART_S = 600
"""How long a worker that died may take to come back. Dask gives it up after 15 s, too soon on a busy machine."""
QUIET = 50  # logging.CRITICAL: what a dying worker has to say is said by the error that the caller sees


@contextmanager
def start(execution: Execution) -> Iterator[Site]:
    """Start a scheduler and ``workers`` processes on the loopback interface."""
    import dask.config
    from distributed import Client, LocalCluster  # before a setting is changed: it brings its own

    section = execution.cluster
    cluster = LocalCluster(
        n_workers=execution.workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=QUIET,
        memory_limit="auto" if section.memory is None else parse_size(section.memory),
        local_directory=None if section.local_directory is None else str(section.local_directory),
        scheduler_kwargs={"allowed_failures": 0},
    )
    patience = dask.config.set({"distributed.deploy.lost-worker-timeout": f"{RESTART_S} s"})
    with patience, cluster, Client(cluster, set_as_default=False) as client:
        yield Site(client, owned=True, restarts=True, wait_s=WAIT_S, remedy="Use fewer workers (execution.workers).")
