"""What a chunk costs the scheduler, the driver and the network between them, with 1000 workers.

The scheduler, the client, the driver, the store and the merge tree are the real ones; the workers are simulated
(``simulated_workers.py``), and a chunk takes no time. What is measured is per chunk and its share of the merges, in
each fifth of the run: it must not grow with what was merged before. ``loop_ms`` is the processor time of a fixed loop at
the end of each part: what the machine itself gives at that moment.

Run with: pytest tests/benchmarks/test_scaling.py --benchmark-only -s; with DARKOP_BENCHMARK_CHUNKS=100000 for the full
size, which takes some minutes. Needs 4100 open files (ulimit -n).
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.config import DatasetRecord
from darkop_dist.execution.chunk import Task
from darkop_dist.execution.dask_backend import DaskBackend
from darkop_dist.execution.driver import Driver
from darkop_dist.execution.plan import Chunk
from darkop_dist.execution.sites.tuning import ENVIRONMENT
from darkop_dist.execution.store import ChunkStore

CHUNKS = int(os.environ.get("DARKOP_BENCHMARK_CHUNKS", "10000"))
WORKERS = int(os.environ.get("DARKOP_BENCHMARK_WORKERS", "1000"))
PARTS = 5
RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))
TCP_INFO_BYTES = (120, 128)  # bytes acknowledged and received in struct tcp_info of linux/tcp.h


@dataclass(frozen=True)
class Spent:
    """What was spent until a moment: processor seconds, bytes through the client, the driver's memory."""

    chunks: int
    wall_s: float
    scheduler_s: float
    driver_s: float
    sent: int
    received: int
    driver_mb: float
    scheduler_mb: float
    loop_ms: float


@dataclass(frozen=True)
class Cluster:
    scheduler: psutil.Process
    address: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * WORKERS + 100), hard), hard))
    tuned = {**os.environ, **ENVIRONMENT}
    program = [sys.executable, str(Path(__file__).with_name("simulated_workers.py"))]
    with subprocess.Popen([*program, "scheduler"], stdout=subprocess.PIPE, text=True, env=tuned) as scheduler:
        address = scheduler.stdout.readline().strip()
        with subprocess.Popen([*program, "workers", address, str(WORKERS)], stdout=subprocess.PIPE, text=True) as crowd:
            assert crowd.stdout.readline() == "ready\n"
            yield Cluster(psutil.Process(scheduler.pid), address)
            crowd.kill()
        scheduler.kill()


def tasks(count: int) -> list[Task]:
    """Four chunks of 250 k events for each file."""
    name = "root://eospublic.cern.ch//eos/opendata/cms/mc/RunIISummer20/file-{:06d}.root"
    chunks = [
        Chunk(number, "mc", name.format(file), 250_000 * part, 250_000 * (part + 1), 1_000_000, None, 10**8, f"{file}.root", identity=f"uuid-{file:032d}")
        for number in range(count)
        for file, part in [divmod(number, 4)]
    ]  # fmt: skip
    return [Task(chunk, RECORD, 3, "f" * 64) for chunk in chunks]


def through_tcp() -> tuple[int, int]:
    """Bytes that this process has sent and received over the connections that it has open."""
    sums = [0, 0]
    for connection in psutil.Process().net_connections(kind="tcp"):
        if connection.status != psutil.CONN_ESTABLISHED:
            continue
        with socket.socket(fileno=os.dup(connection.fd)) as found:
            info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        for place, offset in enumerate(TCP_INFO_BYTES):
            sums[place] += struct.unpack_from("<Q", info, offset)[0]
    return sums[0], sums[1]


def fixed_loop_ms() -> float:
    began, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return 1e3 * (time.process_time() - began)


class Marks:
    """Looks at what was spent at the end of each part of the run."""

    def __init__(self, scheduler: psutil.Process, chunks: int) -> None:
        self.scheduler, self.step, self.chunks = scheduler, chunks // PARTS, 0
        self.found: list[Spent] = [self.now()]

    def now(self) -> Spent:
        scheduler, memory = self.scheduler.cpu_times(), self.scheduler.memory_info().rss / 1e6
        return Spent(
            self.chunks, time.perf_counter(), scheduler.user + scheduler.system, time.process_time(), *through_tcp(),
            psutil.Process().memory_info().rss / 1e6, memory, fixed_loop_ms(),
        )  # fmt: skip

    def __call__(self, _result: Any) -> None:
        self.chunks += 1
        if self.chunks % self.step == 0:
            self.found.append(self.now())

    def per_chunk(self) -> list[dict[str, float]]:
        rows = []
        for one, two in zip(self.found, self.found[1:], strict=False):
            number = two.chunks - one.chunks
            rows.append(
                {
                    "chunks": two.chunks,
                    "chunks/s": round(number / (two.wall_s - one.wall_s)),
                    "scheduler_us": round((two.scheduler_s - one.scheduler_s) / number * 1e6),
                    "driver_us": round((two.driver_s - one.driver_s) / number * 1e6),
                    "sent_bytes": round((two.sent - one.sent) / number),
                    "received_bytes": round((two.received - one.received) / number),
                    "driver_kb_more": round((two.driver_mb - one.driver_mb) / number * 1e3, 2),
                    "driver_mb": round(two.driver_mb),
                    "scheduler_mb": round(two.scheduler_mb),
                    "loop_ms": round(two.loop_ms),
                }
            )
        return rows


@pytest.mark.benchmark(group="1000 simulated workers")
def test_a_chunk_costs_the_same_at_the_end(
    benchmark: BenchmarkFixture, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    store = ChunkStore(tmp_path)
    store.create()
    with Client(cluster.address) as client:
        assert len(client.nthreads()) == WORKERS
        payload = pickle.dumps(b"x" * 20_000)
        backend = DaskBackend(client, payload, workers=WORKERS, store=store.path, no_workers_s=60)
        assert backend.shared
        driver = Driver(tasks(CHUNKS), backend, store, "digest", merge_mb=256)
        marks = Marks(cluster.scheduler, CHUNKS)
        found = benchmark.pedantic(driver.run, args=(marks,), rounds=1)
        last = marks.now()
        backend.close()
    assert found.output["n"].tolist() == [CHUNKS, CHUNKS * (CHUNKS - 1) / 2]
    assert [entry.status for entry in found.ledger.entries] == ["done"] * CHUNKS
    rows = marks.per_chunk()
    benchmark.extra_info.update(parts=rows, merges=len(found.merges))
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(json.dumps(row) for row in rows) + "\n")
        first = marks.found[0]
        sys.stdout.write(f"{CHUNKS} chunks, {len(found.merges)} merges in {last.wall_s - first.wall_s:.0f} s\n")
