"""Keeping the number of batch jobs: a job that ended, by its walltime or otherwise, is submitted again."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG = logging.getLogger(__name__)
CHECK_S = 10.0
LONGEST_PAUSE_S = 600.0
BARREN_JOBS = 3
HELD = "HELD"  # what HTCondor does with a job that it cannot run or that took too much memory


@dataclass
class JobKeeper:
    """What the thread that watches the jobs has seen.

    dask-jobqueue itself never notices a job that ends before its worker connects, nor, with several workers in a job,
    that the whole job has ended.

    Attributes:
        cluster: dask-jobqueue's cluster.
        states: the states of this user's jobs that have not ended, by job id.
        logs: directory of the jobs' logs.
        fruitful: ids of jobs that have had a worker.
        barren: jobs in a row that ended, or are held, without ever having had one: id, and state where it has one.
    """

    cluster: Any
    states: Callable[[], Mapping[str, str]]
    logs: Path
    fruitful: set[str] = field(default_factory=set)
    barren: list[tuple[str, str]] = field(default_factory=list)

    def failure(self) -> str | None:
        """Why it is useless to wait: several jobs in a row ended before their worker connected."""
        if len(self.barren) < BARREN_JOBS:
            return None
        job, state = self.barren[-1]
        return (
            f"{len(self.barren)} jobs in a row {state or 'ended'} before their worker connected, the last was job "
            f"{job}. Its log says: {_last_words(self.logs, job)}. Check execution.cluster: python, env_prologue, "
            f"shared_directory, interface. The logs are in {self.logs}."
        )

    def check(self) -> None:
        """Replace every job that has ended.

        Raises:
            OSError, subprocess.SubprocessError: the batch system does not answer.
            RuntimeError: it refused a job.
        """
        working = {str(worker["name"]) for worker in list(self.cluster.scheduler_info["workers"].values())}
        ids = {name: job.job_id for name, job in list(self.cluster.workers.items())}
        silent = {name for name in ids if not any(w == name or w.startswith(f"{name}-") for w in working)}
        fruitful = {ids[name] for name in ids.keys() - silent}
        if fruitful - self.fruitful:
            self.barren.clear()
        self.fruitful |= fruitful
        dropped = self.cluster.worker_spec.keys() - ids.keys()
        if not silent and not dropped:
            return
        alive = self.states()
        ended = {name for name in silent if alive.get(ids[name], HELD).startswith(HELD)}
        barren = sorted(ids[name] for name in ended if ids[name] and ids[name] not in self.fruitful)
        self.barren += [(job, alive.get(job, "")) for job in barren]
        if ended or dropped:
            LOG.info("batch jobs that ended and are submitted again: %s", sorted(filter(None, map(ids.get, ended))))
            self.cluster.sync(self._replace, ended | dropped)

    async def _replace(self, names: set[str]) -> None:
        """New jobs get names that no job had: Dask still cancels a lost worker's job by its name a while later."""
        for _ in names:
            self.cluster.worker_spec.update(self.cluster.new_worker_spec())
        for name in names:
            self.cluster.worker_spec.pop(name, None)
        await settle(self.cluster)


async def settle(cluster: Any) -> None:
    """Submit and cancel jobs until they are those of ``worker_spec``.

    Raises:
        RuntimeError, ValueError, OSError: a job was refused; the cluster can be closed all the same.
    """
    from distributed.core import Status

    try:
        await cluster
    finally:
        for job in cluster.workers.values():
            if job.status is Status.created:  # Dask takes it for a job on its way, and would not close
                job.status = Status.failed


@contextmanager
def kept(cluster: Any, states: Callable[[], Mapping[str, str]], logs: Path) -> Iterator[JobKeeper]:
    """Watch the jobs of a cluster in a thread of its own until the context ends."""
    keeper = JobKeeper(cluster, states, logs)
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(keeper, stop), name="darkop-jobs", daemon=True)
    thread.start()
    try:
        yield keeper
    finally:
        stop.set()
        thread.join(timeout=90)


def _watch(keeper: JobKeeper, stop: threading.Event) -> None:
    pause = CHECK_S
    while not stop.wait(pause):
        began = time.monotonic()
        try:
            keeper.check()
            pause = min(CHECK_S * 2 ** max(len(keeper.barren) - BARREN_JOBS, 0), LONGEST_PAUSE_S)
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            pause = min(2 * pause, LONGEST_PAUSE_S)
            LOG.warning("the batch system did not do as asked, next try in %.0f s: %s", pause, error)
        pause = max(pause, time.monotonic() - began)  # a busy batch system is asked less often


def _last_words(logs: Path, job_id: str) -> str:
    """The last lines that a job wrote to its error stream."""
    for ending in ("err", "out"):
        for path in logs.glob(f"*{job_id}*.{ending}"):
            lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
            if lines:
                return " | ".join(lines[-3:])
    return "nothing"
