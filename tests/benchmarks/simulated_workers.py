"""A real Dask scheduler, and many simulated workers whose calls take no time: what a call costs the scheduler.

    python simulated_workers.py scheduler                  a scheduler; prints its address
    python simulated_workers.py workers ADDRESS COUNT      COUNT workers of one thread each, in one process

Each worker has its own address, connection and heartbeat and speaks the protocol of distributed 2025.3.1. It carries out
the calls of a run as a real one does, from packed call to answer, but a chunk is one small result that is written to the
store. It keeps results until it is told to forget them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickle
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
from distributed import Scheduler
from distributed.batched import BatchedSend
from distributed.core import Server, Status, connect
from distributed.protocol import to_serialize
from distributed.versions import get_versions
from distributed.worker import run

from darkop_dist.execution import dask_calls, driver
from darkop_dist.execution.chunk import Attempt, Task
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.execution.store import ChunkStore, entry_header
from darkop_dist.histograms.packed import pack

METRICS = {
    "task_counts": {"executing": 1, "memory": 2},
    "bandwidth": {"total": 100_000_000, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {"tick-duration": 0.5, "latency": 0.002},
    "managed_bytes": 10_000,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "transfer": {"incoming_bytes": 0, "incoming_count": 0, "incoming_count_total": 0, "outgoing_bytes": 0, "outgoing_count": 0, "outgoing_count_total": 0},
    "event_loop_interval": 0.02,
    "cpu": 50.0,
    "memory": 300_000_000,
    "time": 0.0,
    "host_net_io": {"read_bps": 1.0, "write_bps": 1.0},
    "host_disk_io": {"read_bps": 1.0, "write_bps": 1.0},
    "num_fds": 50,
}  # fmt: skip


class Crowd(Server):  # type: ignore[misc]
    """All workers: one server with an address for each of them."""

    def __init__(self, scheduler: str) -> None:
        self.scheduler_address = scheduler
        self.data: dict[str, Any] = {}
        self.homes: dict[str, str] = {}
        self.plugins: dict[str, Any] = {}
        self.numbers = itertools.count()
        self.memory_manager, self.nanny = SimpleNamespace(memory_limit=0), None
        self.speaks: BatchedSend
        self.current = ""
        handlers = {
            "get_data": self.get_data,
            "run": self.run,
            "plugin-add": self.plugin_add,
            "plugin-remove": self.plugin_remove,
        }
        super().__init__(handlers)

    async def run(self, comm: Any, **message: Any) -> Any:
        return await run(self, comm, **message)

    async def plugin_add(self, plugin: Any, name: str, **_: Any) -> dict[str, str]:
        if name not in self.plugins:
            self.plugins[name] = pickle.loads(plugin)  # noqa: S301  # not from a file
        return {"status": "OK"}

    async def plugin_remove(self, name: str, **_: Any) -> dict[str, str]:
        self.plugins.pop(name, None)
        return {"status": "OK"}

    async def get_data(self, comm: Any, keys: Any, serializers: Any = None, **_: Any) -> Status:
        found = {key: to_serialize(self.data[key]) for key in keys if key in self.data}
        await comm.write({"status": "OK", "data": found}, serializers=serializers)
        await comm.read()
        return Status.dont_reply

    def log_event(self, topic: str, message: Any) -> None:
        self.speaks.send({"op": "log-event", "topic": topic, "msg": message})

    def get_current_task(self) -> str:
        return self.current

    async def join(self, number: int) -> None:
        await self.listen("tcp://127.0.0.1:0")
        address = self.listeners[-1].contact_address
        comm = await connect(self.scheduler_address)
        hello = {
            "op": "register-worker", "reply": False, "address": address, "status": "running", "nthreads": 1,
            "name": f"w{number}", "now": time.time(), "resources": {}, "memory_limit": 4 << 30, "local_directory": "",
            "services": {}, "nanny": None, "pid": 1, "versions": get_versions(), "metrics": METRICS, "extra": {},
            "stimulus_id": f"connect-{number}", "server_id": f"Worker-{number}",
        }  # fmt: skip
        await comm.write(hello, serializers=["msgpack"])
        answer = await comm.read()
        if answer["status"] != "OK":
            raise RuntimeError(answer)
        stream = BatchedSend(interval="2ms")
        stream.start(comm)
        self._ongoing_background_tasks.call_soon(self.listen_to, comm, stream, address)
        self._ongoing_background_tasks.call_soon(self.beat, address, answer["heartbeat-interval"])

    async def beat(self, address: str, pause: float) -> None:
        await asyncio.sleep(pause * (hash(address) % 1000) / 1000)
        while True:
            now = time.time()
            answer = await self.rpc(self.scheduler_address).heartbeat_worker(
                address=address, now=now, metrics={**METRICS, "time": now}, executing={}, extensions={}
            )
            await asyncio.sleep(answer["heartbeat-interval"])

    async def listen_to(self, comm: Any, stream: BatchedSend, address: str) -> None:
        try:
            while True:
                for message in await comm.read():
                    self.hear(message, stream, address)
        except OSError:
            return

    def hear(self, message: dict[str, Any], stream: BatchedSend, address: str) -> None:
        match message["op"]:
            case "compute-task":
                self.compute(message, stream, address)
            case "free-keys":
                for key in message["keys"]:
                    if self.homes.get(key) == address:
                        del self.data[key], self.homes[key]
            case "steal-request":
                steal = {"key": message["key"], "state": None, "stimulus_id": message["stimulus_id"]}
                stream.send({"op": "steal-response", **steal})

    def compute(self, message: dict[str, Any], stream: BatchedSend, address: str) -> None:
        began = time.time()
        self.current, self.speaks = message["key"], stream
        self.data[self.current] = message["run_spec"]({})
        self.homes[self.current] = address
        stream.send({
            "op": "task-finished", "status": "OK", "key": self.current, "run_id": message["run_id"], "nbytes": 1000,
            "type": b"", "typename": "Attempt", "metadata": {}, "thread": 1,
            "startstops": [{"action": "compute", "start": began, "stop": time.time()}],
            "stimulus_id": f"task-finished-{next(self.numbers)}",
        })  # fmt: skip


def instant(_processor: Any, task: Task, _copy: int, _suspected: bool, key: str, store: Path, _seen: str) -> Attempt:  # noqa: FBT001
    """In place of a chunk: one small result, kept as a chunk's is."""
    chunk = task.chunk
    entries = chunk.stop - chunk.start
    entry = LedgerEntry(
        index=chunk.index, dataset=chunk.dataset, file=chunk.path, start=chunk.start, stop=chunk.stop, status="done",
        reason="", attempts=1, entries=entries, selected={"signal": entries}, sum_weights=None, wall_s=0.0, cpu_s=0.0,
        bytes=chunk.bytes, fingerprint=task.fingerprint, planned_weights=None, worker="w", started_s=time.time(),
        read_s=0.0, score_s=0.0,
    )  # fmt: skip
    content = {"output": {"n": np.array([1.0, chunk.index])}, "entries": {chunk.dataset: entries}}
    ChunkStore(store).write("chunks", key, entry_header(entry), pack(content).to_bytes())
    return Attempt("done", entry)


async def schedule() -> None:
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        sys.stdout.write(f"{scheduler.address}\n")
        sys.stdout.flush()
        await scheduler.finished()


async def work(scheduler: str, count: int) -> None:
    crowd = Crowd(scheduler)
    driver.run_chunk = instant
    dask_calls.get_worker = lambda: crowd
    await crowd.rpc.start()
    for first in range(0, count, 50):
        await asyncio.gather(*(crowd.join(number) for number in range(first, min(first + 50, count))))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.getLogger("distributed").setLevel(logging.ERROR)
    dask.config.set({"distributed.admin.system-monitor.gil.enabled": False})
    asyncio.run(schedule() if sys.argv[1] == "scheduler" else work(sys.argv[2], int(sys.argv[3])))
