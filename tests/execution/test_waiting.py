"""A run never waits for what cannot come."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from darkop_dist.errors import RunError
from darkop_dist.execution import memory
from darkop_dist.execution.backend import NOTHING_STARTS, Call, Processes, by_value
from darkop_dist.execution.dask_backend import DaskBackend
from darkop_dist.execution.store import ChunkStore

HELD: list[np.ndarray] = []


def hold(_processor: Any, megabytes: int) -> int:
    HELD.append(np.ones(megabytes << 17))
    time.sleep(1.5)  # for Dask to see it
    return megabytes


def answer(_processor: Any, value: int) -> int:
    return value


@pytest.fixture
def store(tmp_path: Path) -> Path:
    ChunkStore(tmp_path / "chunks").create()
    return tmp_path / "chunks"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit="600 MiB", dashboard_address=":0", processes=True
        ) as found,
    ):
        yield found


def backend(client: Client, store: Path, no_workers_s: float = 120.0) -> DaskBackend:
    return DaskBackend(client, by_value(None), workers=1, store=store, no_workers_s=no_workers_s)


@pytest.mark.slow
def test_a_worker_that_is_full_after_its_first_call_is_replaced(cluster: LocalCluster, store: Path) -> None:
    with Client(cluster) as client:
        calls = backend(client, store)
        for token in range(3):
            calls.submit(Call(token, hold, (360,)))
        got: list[Any] = []
        until = time.monotonic() + 60
        while len(got) < 3 and time.monotonic() < until:
            got += [(found.token, found.value) for found in calls.answers(1.0)]
        calls.close()
    assert sorted(got) == [(0, 360), (1, 360), (2, 360)]


@pytest.mark.slow
def test_workers_that_are_all_paused_are_not_waited_for(cluster: LocalCluster, store: Path) -> None:
    with Client(cluster) as client:
        calls = backend(client, store, no_workers_s=3.0)
        client.submit(hold, None, 400, key="fills-the-worker").result()
        calls.submit(Call(1, answer, (5,)))
        with pytest.raises(RunError, match=r"all 1 workers are paused[\s\S]*--resume"):
            while not calls.answers(None):
                pass
        calls.close()


@pytest.mark.slow
def test_results_that_went_with_the_last_worker_are_not_waited_for(store: Path) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", processes=False) as cluster,
        Client(cluster) as client,
    ):
        calls = backend(client, store, no_workers_s=1.0)
        calls.submit(Call(1, answer, (5,)))
        calls._send()
        future = calls._calls[1][1]
        future.result()
        cluster.scale(0)
        while client.nthreads():
            time.sleep(0.1)
        with pytest.raises(RunError, match=r"has had no worker for 1 s[\s\S]*--resume"):
            calls._gathered({1: future})
        calls.close()


def test_a_full_worker_leaves_when_its_other_threads_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()
    monkeypatch.setattr(memory, "_LEAVING", threading.Event())
    monkeypatch.setattr(memory, "GRACE_S", 0.01)
    monkeypatch.setattr(memory, "_used", lambda: 100)
    monkeypatch.setattr(memory.os, "_exit", lambda _: left.set())

    class Worker:
        nanny = "tcp://127.0.0.1:1"

        class memory_manager:  # noqa: N801
            memory_limit = 100

    other = threading.Event()
    thread = threading.Thread(target=lambda: (memory.begin(), other.wait(), memory._RUNNING.clear()))
    thread.start()
    memory.begin()
    assert memory.leave_if_full(Worker)
    assert not left.wait(0.3)
    other.set()
    assert left.wait(5)
    thread.join()


def test_a_processor_that_cannot_be_unpacked_is_no_dead_worker() -> None:
    calls = Processes(b"no pickle at all", 1)
    try:
        calls.submit(Call(1, answer, (5,)))
        found = calls.answers(None)
        assert (found[0].lost, type(found[0].error).__name__) == ("", "UnpicklingError")
    finally:
        calls.close()


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from darkop_dist.execution.backend import Call, Processes\n"
        "calls = Processes(b'', 1)\ncalls.submit(Call(1, print, ()))\ncalls.answers(None)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert NOTHING_STARTS in ended.stderr
