"""While a chunk waits for scores from elsewhere, its worker begins the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from darkop_dist.config import DatasetRecord
from darkop_dist.config import Execution as Settings
from darkop_dist.execution import DatasetFiles, Execution, Task, execute, plan_chunks
from darkop_dist.execution.backend import Answer, Backend, Call, Processes, by_value
from darkop_dist.execution.dask_backend import DaskBackend
from darkop_dist.execution.deadline import deadline
from darkop_dist.execution.seats import seated
from darkop_dist.execution.store import ChunkStore
from darkop_dist.execution.threads import Threads
from darkop_dist.histograms import Observable, OutputBuilder
from darkop_dist.scoring.waiting import waiting

READ_S, WAIT_S, CHUNKS = 0.2, 0.4, 6


def read_and_wait(_processor: Any, chunk: int) -> tuple[int, float, float]:
    """A chunk that is read and then waits; gives itself, when it began and when it ended."""
    began = time.time()
    time.sleep(READ_S)
    with waiting():
        time.sleep(WAIT_S)
    return chunk, began, time.time()


def read(_processor: Any, chunk: int) -> tuple[int, float, float]:
    began = time.time()
    time.sleep(READ_S)
    return chunk, began, time.time()


def wait_twice(_processor: Any, chunk: int) -> int:
    for _ in range(2):
        with waiting():
            time.sleep(0.05)
    return chunk


def remember(processor: Any, chunk: int) -> int:
    """As a processor that keeps something of its chunk in itself over the wait."""
    processor.chunk = chunk
    with waiting():
        time.sleep(0.1)
    found: int = processor.chunk
    return found


def work_before_and_after(_processor: Any, chunk: int) -> int:
    """Takes 0.9 s by itself; 1.3 s and more with the time in which it waits for the other one's 0.7 s."""
    with deadline(1.2, f"chunk {chunk}"):
        time.sleep(0.7)
        with waiting():
            time.sleep(0.1)
        time.sleep(0.1)
    return chunk


def hang(_processor: Any, seconds: float) -> float:
    with deadline(0.4, "a chunk"):
        time.sleep(seconds)
    return seconds


class Holder:
    """A processor that holds something of its chunk."""

    chunk = -1


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", processes=True) as cluster,
        Client(cluster) as found,
    ):
        yield found


@pytest.fixture(scope="module", params=["dask", "processes", "threads"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One worker of each kind."""
    payload = by_value(Holder())
    backend: Any
    if request.param == "dask":
        store = tmp_path_factory.mktemp("store")
        ChunkStore(store).create()
        client = request.getfixturevalue("client")
        backend = DaskBackend(client, payload, workers=1, store=store, no_workers_s=60.0)
    else:
        backend = Processes(payload, 1, waits=True) if request.param == "processes" else Threads(payload)
    try:
        carried_out(backend, read, [97, 98, 99])  # what is made once
        yield backend
    finally:
        backend.close()


def answers(backend: Backend, function: Any, arguments: list[Any]) -> list[Answer]:
    for token, argument in enumerate(arguments):
        backend.submit(Call(token, function, (argument,)))
    found: list[Answer] = []
    until = time.monotonic() + 60
    while len(found) < len(arguments) and time.monotonic() < until:
        found += backend.answers(5.0)
    return found


def carried_out(backend: Backend, function: Any, arguments: list[Any]) -> list[Any]:
    found = answers(backend, function, arguments)
    for answer in found:
        assert (answer.error, answer.lost) == (None, "")
    return [answer.value for answer in found]


def most_at_once(found: list[tuple[int, float, float]]) -> int:
    return max(sum(began <= moment < ended for _, began, ended in found) for _, moment, _ in found)


def test_reading_goes_on_while_scores_are_waited_for(opened: Backend) -> None:
    began = time.monotonic()
    found = carried_out(opened, read_and_wait, list(range(CHUNKS)))
    taken = time.monotonic() - began
    assert sorted(chunk for chunk, *_ in found) == list(range(CHUNKS)), "each once"
    assert most_at_once(found) == 2, "one chunk more, and no third one: memory is bounded"
    assert taken < 0.8 * CHUNKS * (READ_S + WAIT_S), "half of it, and what a busy machine adds"


def test_chunks_that_do_not_wait_have_the_worker_for_themselves(opened: Backend) -> None:
    found = carried_out(opened, read, list(range(CHUNKS)))
    working = sorted((began, ended) for _, began, ended in found)
    assert all(later[0] >= earlier[1] - 0.01 for earlier, later in pairwise(working))


def test_a_chunk_may_wait_several_times(opened: Backend) -> None:
    assert sorted(carried_out(opened, wait_twice, list(range(8)))) == list(range(8))


def test_chunks_in_turns_do_not_share_a_processor(opened: Backend) -> None:
    assert sorted(carried_out(opened, remember, list(range(8)))) == list(range(8))


def test_the_time_of_another_chunk_does_not_count(opened: Backend) -> None:
    assert sorted(carried_out(opened, work_before_and_after, list(range(4)))) == list(range(4))


def test_a_thread_that_hangs_is_left_behind() -> None:
    backend = Threads(by_value(None))
    began = time.monotonic()
    found = {answer.token: answer for answer in answers(backend, hang, [0.01, 30.0, 0.02, 30.0, 0.03])}
    assert {token for token, answer in found.items() if answer.lost} == {1, 3}
    assert found[1].lost == "hung: not done after 0.4 s (execution.chunk_timeout_s)"
    assert [found[token].value for token in (0, 2, 4)] == [0.01, 0.02, 0.03]
    backend.close()
    assert time.monotonic() - began < 20


def test_a_seat_is_kept_where_memory_is_short() -> None:
    seats = threading.Semaphore(1)
    for may_leave in (True, False):
        with seated(seats, lambda may_leave=may_leave: may_leave), waiting():
            assert seats.acquire(blocking=False) is may_leave
            if may_leave:
                seats.release()


@dataclass
class Cuts:
    """What a processor was told."""

    met_gev: float = 250.0


class Slow:
    """Fills one histogram, after it has waited as for scores."""

    def process(self, events: Any) -> dict[str, Any]:
        with waiting():
            time.sleep(0.15)
        builder = OutputBuilder("mc", [Observable("mass", (0.0, 0.5, 1.0), "$m$", "GeV")])
        weights = np.asarray(events.genWeight, dtype=np.float64)
        builder.fill("mass", "signal", "nominal", np.asarray(events.mass), weights)
        return builder.output()


@pytest.fixture(scope="module")
def tasks(mass_files: Path) -> list[Task]:
    record = DatasetRecord(name="mc", kind="simulation", files=("x",))
    files = DatasetFiles(record, tuple(map(str, sorted(mass_files.glob("*.root")))))
    plan = plan_chunks([files], chunk_events=200, whole_files=False)
    return [Task(chunk, record, 0, None, 30.0) for chunk in plan[:16]]


@pytest.fixture(scope="module")
def one_by_one(tasks: list[Task]) -> Execution:
    return execute(tasks, Slow())


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_results_do_not_depend_on_it(tasks: list[Task], one_by_one: Execution, workers: int) -> None:
    in_turns = execute(tasks, Slow(), Settings(workers=workers), waits=True)
    histograms = [found.output["histograms"]["mass"].view(flow=True).tobytes() for found in (one_by_one, in_turns)]
    assert histograms[0] == histograms[1]
    assert one_by_one.ledger.digest == in_turns.ledger.digest
    entries = in_turns.ledger.entries
    assert len({entry.worker for entry in entries}) == {1: 1, 2: 4}[workers]
    starts = sorted(entry.started_s for entry in entries)
    ends = sorted(entry.started_s + entry.wall_s for entry in entries)
    assert ends[0] > starts[1], "the second one began before the first one had ended"
    assert sum(entry.cpu_s for entry in entries) < 0.8 * sum(entry.wall_s for entry in entries)


def test_a_processor_that_cannot_be_copied_runs_alone(tasks: list[Task], caplog: pytest.LogCaptureFixture) -> None:
    class Settled(Slow):
        def __init__(self) -> None:
            self.settings, self.lock = Cuts(), threading.Lock()

    processor = Settled()
    found = execute(tasks[:3], processor, waits=True)
    assert [entry.status for entry in found.ledger.entries] == ["done"] * 3
    assert "the processor cannot be copied: chunks are processed one after the other" in caplog.text
