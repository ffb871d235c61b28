"""Calls on a Dask cluster."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distributed import Client, KilledWorker, get_worker

from darkop_dist.errors import RunError
from darkop_dist.execution.backend import CALLS_PER_WORKER, WORKER_DIED, Answer, Call, unpacked
from darkop_dist.execution.deadline import TOPIC, hanging
from darkop_dist.execution.memory import begin, leave_if_full

LOOK_AFTER_WORKERS_S = 5.0
MOST_AT_ONCE = 500


class DaskBackend:
    """Carries out calls on the workers of a client.

    Attributes:
        shared: the workers see the directory of results.
    """

    fragile = False

    def __init__(self, client: Client, payload: bytes, *, workers: int, store: Path, no_workers_s: float) -> None:
        """Send the processor to the cluster and find out what the workers see.

        Args:
            client: of the cluster; it is not closed here.
            payload: the processor as bytes.
            workers: how many workers are expected, for clusters that grow with their work.
            store: the directory of results.
            no_workers_s: how long the cluster may be without a worker before the run stops.
        """
        self._client, self._workers, self._no_workers_s = client, workers, no_workers_s
        self._bytes, self._payload = payload, self._sent(payload)
        self._run = uuid.uuid4().hex[:8]
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls: dict[int, tuple[Call, Any]] = {}
        self._tokens: dict[str, int] = {}
        self._tries = 0
        self._looked, self._last_seen, self._threads = 0.0, time.monotonic(), 0
        self._last_answer = time.monotonic()
        self.shared = self._workers_see(store)
        client.subscribe_topic(TOPIC, self._hear)

    @property
    def width(self) -> int:
        """Every thread has its call and the next ones at hand; a cluster that may grow sees the work for that."""
        self._look_after_workers()
        return CALLS_PER_WORKER * max(self._threads, self._workers, 1)

    def submit(self, call: Call) -> None:
        """Send the call, to a worker that has not failed it if there is one."""
        self._tries += 1
        if self._payload.status not in ("pending", "finished"):  # it went down with its worker
            self._payload = self._sent(self._bytes)
        others = self._others(call.avoid) if call.avoid else None
        future = self._client.submit(
            _called,
            call.function,
            self._payload,
            call.arguments,
            key=f"{_name(call.function)}-{self._run}-{call.token}-{self._tries}",
            workers=others,
            allow_other_workers=bool(others),
            pure=False,
        )
        self._calls[call.token] = (call, future)
        if call.key:
            self._tokens[call.key] = call.token
        future.add_done_callback(_tell(self._done, call.token))

    def answers(self, timeout_s: float | None) -> Sequence[Answer]:
        """Whatever is done, in one exchange with the cluster.

        Raises:
            RunError: the scheduler was lost, or no worker is left.
        """
        found = self._wait(timeout_s)
        good = {token: self._calls[token][1] for token, future in found if future.status == "finished"}
        values = self._gathered(good)
        answers = []
        for token, future in found:
            call, _ = self._calls.pop(token)
            self._tokens.pop(call.key, None)
            if token in values:
                answers.append(Answer(token, values[token]))
            else:
                answers.append(self._failure(token, future))
            future.release()
        return answers

    def close(self) -> None:
        """Forget all calls."""
        self._client.unsubscribe_topic(TOPIC)
        futures = [future for _, future in self._calls.values()]
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)
        self._payload.release()

    def _wait(self, timeout_s: float | None) -> list[tuple[int, Any]]:
        """Tokens and futures that are done; a worker that told of a hanging chunk counts as done too."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        found: dict[int, Any] = {}
        while not found:
            self._look_after_workers()
            left = LOOK_AFTER_WORKERS_S if until is None else min(until - time.monotonic(), LOOK_AFTER_WORKERS_S)
            try:
                token, future = self._done.get(timeout=max(left, 0.0))
            except queue.Empty:
                if until is not None and time.monotonic() >= until:
                    return []
                continue
            self._last_answer = time.monotonic()
            self._take(found, token, future)
            while len(found) < MOST_AT_ONCE and not self._done.empty():
                self._take(found, *self._done.get())
        return list(found.items())

    def _gathered(self, good: dict[int, Any]) -> dict[int, Any]:
        """Values by token; without those that were lost with their worker in the meantime."""
        gathered = self._fetched(list(good.values()))
        if len(gathered) == len(good):
            return dict(zip(good, gathered, strict=True))
        values = {}
        for token, future in good.items():
            one = self._fetched([future])
            if one:
                values[token] = one[0]
        return values

    def _sent(self, payload: bytes) -> Any:
        """The processor as a task: made again on another worker when its own one dies."""
        return self._client.submit(_same, payload, key=f"darkop-processor-{uuid.uuid4().hex}")

    def _fetched(self, futures: list[Any]) -> list[Any]:
        """Values; one that was lost is made again, for which there must be a worker."""
        while True:
            try:
                found = self._client.sync(
                    self._client._gather,  # noqa: SLF001  # gather itself takes no time limit
                    futures,
                    errors="skip",
                    callback_timeout=LOOK_AFTER_WORKERS_S,
                )
            except TimeoutError:
                self._look_after_workers()
            else:
                return list(found)

    def _take(self, found: dict[int, Any], token: int, future: Any) -> None:
        """Ignore what an earlier try at the same call still tells."""
        if token in self._calls and (isinstance(future, _Hanging) or self._calls[token][1] is future):
            found[token] = future

    def _failure(self, token: int, future: Any) -> Answer:
        if isinstance(future, _Hanging):
            return Answer(token, lost=future.reason, worker=future.worker)
        if self._client.status != "running":
            raise RunError("the Dask scheduler was lost. What was processed is kept: run again with --resume.")
        error = future.exception(timeout=30) if future.status == "error" else None
        if isinstance(error, KilledWorker):
            waited = str(error.task) != future.key  # for the processor, which went down with its worker
            return Answer(
                token, lost=WORKER_DIED, worker=str(getattr(error.last_worker, "address", "")), blameless=waited
            )
        if error is None:
            return Answer(token, lost=f"the worker was lost with its result ({future.status})")
        return Answer(token, error=error)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        token = self._tokens.get(message["key"], -1)
        call = self._calls.get(token)  # this is another thread: the call may be over by now
        if call is not None:
            self._done.put((token, _Hanging(message["seconds"], message["worker"], call[1])))

    def _others(self, avoid: frozenset[str]) -> list[str] | None:
        return [address for address in self._client.nthreads() if address not in avoid] or None

    def _look_after_workers(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_AFTER_WORKERS_S and self._threads:
            return
        self._looked = now
        if self._client.status != "running":
            raise RunError("the Dask scheduler was lost. What was processed is kept: run again with --resume.")
        self._threads = sum(self._client.nthreads().values())
        if self._threads:
            self._last_seen = now
            if self._calls and now - self._last_answer > self._no_workers_s:
                self._require_awake()
                self._last_answer = now
        elif now - self._last_seen > self._no_workers_s:
            raise RunError(
                f"the cluster has had no worker for {self._no_workers_s:g} s. What was processed is kept: start "
                "workers and run again with --resume."
            )

    def _require_awake(self) -> None:
        """Refuse to wait for workers of which Dask has paused every one, for want of memory."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if workers and all(worker.get("status") == "paused" for worker in workers):
            raise RunError(
                f"all {len(workers)} workers are paused, because their memory is full before a chunk begins. What was "
                "processed is kept: give the workers more memory or lower execution.chunk_events, and run again with "
                "--resume."
            )

    def _workers_see(self, store: Path) -> bool:
        from darkop_dist.execution.store import ChunkStore

        token = ChunkStore(store).token
        seen = self._client.run(_reads, token, token.read_text(), on_error="return")
        return bool(seen) and all(answer is True for answer in seen.values())


class _Hanging:
    """Stands for a future whose worker has told that it hangs."""

    status = "hanging"

    def __init__(self, seconds: float, worker: str, future: Any) -> None:
        self.reason, self.worker, self._future = hanging(seconds), worker, future

    def release(self) -> None:
        self._future.cancel(force=True)


def _tell(done: queue.SimpleQueue[Any], token: int) -> Callable[[Any], None]:
    def tell(future: Any) -> None:
        done.put((token, future))

    return tell


def _name(function: Callable[..., Any]) -> str:
    return "darkop-" + function.__name__.strip("_").replace("_", "-")


def _same(payload: bytes) -> bytes:
    return payload


def _called(function: Callable[..., Any], payload: bytes, arguments: tuple[Any, ...]) -> Any:
    """Runs in a worker; the payload comes from this run's own driver over the cluster's connection, not from a file."""
    begin()
    try:
        return function(unpacked(payload), *arguments)
    finally:
        leave_if_full(get_worker())


def _reads(token: Path, expected: str) -> bool:
    try:
        return token.read_text() == expected
    except OSError:
        return False
