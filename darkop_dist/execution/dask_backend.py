"""Calls on a Dask cluster."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distributed import Client, KilledWorker

from darkop_dist.errors import RunError
from darkop_dist.execution.backend import CALLS_PER_WORKER, WORKER_DIED, Answer, Call
from darkop_dist.execution.dask_calls import ANSWERS, Held, Told, answer_of, carried_out, packed_call, sees
from darkop_dist.execution.deadline import TOPIC, hanging
from darkop_dist.execution.store import ChunkStore

LOOK_AFTER_WORKERS_S = 5.0
MOST_AT_ONCE = 500
HOLD_TRIES = 3


class DaskBackend:
    """Carries out calls on the workers of a client.

    Attributes:
        shared: the workers see the directory of results.
    """

    fragile = False

    def __init__(
        self,
        client: Client,
        payload: bytes,
        *,
        workers: int,
        store: Path,
        no_workers_s: float,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        """Send the processor to the cluster and find out what the workers see.

        Args:
            client: of the cluster; it is not closed here.
            payload: the processor as bytes.
            workers: how many workers are expected, for clusters that grow with their work.
            store: the directory of results.
            no_workers_s: how long the cluster may be without a worker before the run stops.
            most_at_once: most answers that are fetched, and so held here, in one exchange.
        """
        self._client, self._workers, self._no_workers_s = client, workers, no_workers_s
        self._most_at_once = most_at_once
        self._run = f"darkop-{uuid.uuid4().hex[:8]}"
        self._due: list[Call] = []
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls: dict[int, tuple[Call, Any]] = {}
        self._tokens: dict[str, int] = {}
        self._tasks: dict[str, int] = {}
        self._tries = 0
        self._looked, self._last_seen, self._threads = 0.0, time.monotonic(), 0
        self._last_answer = time.monotonic()
        self.shared = self._workers_see(store)
        self._hold(payload)
        client.subscribe_topic(TOPIC, self._hear)
        client.subscribe_topic(ANSWERS, self._hear_answer)

    @property
    def width(self) -> int:
        """Every thread has its call and the next ones at hand; a cluster that may grow sees the work for that."""
        self._look_after_workers()
        return CALLS_PER_WORKER * max(self._threads, self._workers, 1)

    def submit(self, call: Call) -> None:
        """Take the call; it is sent with others when answers are waited for, to a worker that has not failed it."""
        self._calls[call.token] = (call, None)
        self._due.append(call)
        if len(self._due) >= MOST_AT_ONCE:
            self._send()

    def _send(self) -> None:
        """Send what is due, in one message for each set of workers that it may go to."""
        _forget_messages(self._client)
        due, self._due = self._due, []
        groups: dict[frozenset[str], list[Call]] = {}
        for call in due:
            groups.setdefault(call.avoid, []).append(call)
        for avoid, calls in groups.items():
            others = self._others(avoid) if avoid else None
            self._tries += 1
            keys = [f"{_name(call.function)}-{self._run[7:]}-{call.token}-{self._tries}" for call in calls]
            self._tasks |= {key: call.token for key, call in zip(keys, calls, strict=True)}
            futures = self._client.map(
                carried_out,
                [packed_call(self._run, call.function, call.arguments) for call in calls],
                key=keys,
                workers=others,
                allow_other_workers=bool(others),
                pure=False,
            )
            for call, future in zip(calls, futures, strict=True):
                self._calls[call.token] = (call, future)
                if call.key:
                    self._tokens[call.key] = call.token
                future.add_done_callback(_tell(self._done, call.token))

    def answers(self, timeout_s: float | None) -> Sequence[Answer]:
        """Whatever is done, in one exchange with the cluster.

        Raises:
            RunError: the scheduler was lost, or no worker is left.
        """
        self._send()
        found = self._wait(timeout_s)
        good = {token: self._calls[token][1] for token, future in found if future.status == "finished"}
        values = self._gathered(good)
        answers = []
        for token, future in found:
            call, sent = self._calls.pop(token)
            self._tokens.pop(call.key, None)
            self._tasks.pop(sent.key, None)
            if isinstance(future, Told):
                answers.append(Answer(token, answer_of(future.data)))
            elif token in values:
                answers.append(Answer(token, answer_of(values[token])))
            else:
                answers.append(self._failure(token, future))
            if isinstance(future, _Hanging):
                sent.cancel(force=True)
            sent.release()
        return answers

    def close(self) -> None:
        """Forget all calls."""
        self._client.unsubscribe_topic(TOPIC)
        self._client.unsubscribe_topic(ANSWERS)
        if self._client.status != "running":
            return
        futures = [future for _, future in self._calls.values() if future is not None]
        if futures:
            self._client.cancel(futures, force=True)
        with suppress(OSError, ValueError):  # workers that end at this moment forget it anyway
            self._client.unregister_worker_plugin(self._run)

    def _hold(self, payload: bytes) -> None:
        """Have all workers hold the processor, those that come later too; one may die while it is told."""
        for left in reversed(range(HOLD_TRIES)):
            try:
                self._client.register_plugin(Held(self._run, payload), name=self._run)
            except OSError as error:
                if not left:
                    raise RunError(f"the processor cannot be sent to the workers ({error}). Try again.") from error
            else:
                return

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
            while len(found) < self._most_at_once and not self._done.empty():
                self._take(found, *self._done.get())
        return list(found.items())

    def _gathered(self, good: dict[int, Any]) -> dict[int, Any]:
        """Values by token; without those that were lost with their worker in the meantime."""
        if not good:
            return {}
        gathered = self._fetched(list(good.values()))
        if len(gathered) == len(good):
            return dict(zip(good, gathered, strict=True))
        values = {}
        for token, future in good.items():
            one = self._fetched([future])
            if one:
                values[token] = one[0]
        return values

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
        """Ignore what an earlier try at the same call still tells, and what is told twice."""
        sent = self._calls[token][1] if token in self._calls else None
        if sent is not None and token not in found and sent.key == future.key:
            found[token] = future

    def _failure(self, token: int, future: Any) -> Answer:
        if isinstance(future, _Hanging):
            return Answer(token, lost=future.reason, worker=future.worker)
        if self._client.status != "running":
            raise RunError("the Dask scheduler was lost. What was processed is kept: run again with --resume.")
        error = future.exception(timeout=30) if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return Answer(token, lost=WORKER_DIED, worker=str(getattr(error.last_worker, "address", "")))
        if error is None:
            return Answer(token, lost=f"the worker was lost with its result ({future.status})")
        return Answer(token, error=error)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        token = self._tokens.get(message["key"], -1)
        call = self._calls.get(token)  # this is another thread: the call may be over by now
        if call is not None and call[1] is not None:
            self._done.put((token, _Hanging(call[1].key, message["seconds"], message["worker"])))

    def _hear_answer(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        token = self._tasks.get(message["key"])
        if token is not None:
            self._done.put((token, Told(message["key"], message["data"])))

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
        seen = self._client.run(sees, store, ChunkStore(store).told(), on_error="return")
        return bool(seen) and all(answer is True for answer in seen.values())


class _Hanging:
    """Stands for a future whose worker has told that it hangs."""

    status = "hanging"

    def __init__(self, key: str, seconds: float, worker: str) -> None:
        self.key, self.reason, self.worker = key, hanging(seconds), worker


def _tell(done: queue.SimpleQueue[Any], token: int) -> Callable[[Any], None]:
    def tell(future: Any) -> None:
        done.put((token, future))

    return tell


def _forget_messages(client: Client) -> None:
    """Drop the copies of past messages that a client keeps for Dask's developers: a thousand, of up to 1 MB each."""
    log = getattr(client.scheduler_comm, "recent_message_log", None)
    if log is not None:
        log.clear()


def _name(function: Callable[..., Any]) -> str:
    return "darkop-" + function.__name__.strip("_").replace("_", "-")
