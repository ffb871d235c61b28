"""A known load on a pool: so many clients with one request each under way, and what they get."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from darkop_dist.errors import InputValueError, ScoringOutageError
from darkop_dist.scoring.capacity import Curve, Point
from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.remote.transport import Answer, BusyError, OutageError, RejectedError, Transport
from darkop_dist.scoring.wire.description import ModelDescription

ANSWERS = 3
LONGEST = 8.0
REQUEST_S = 120.0
LOOKS = 6
Metrics = dict[float, dict[str, float]]
"""Of each replica, by the moment at which it was started."""


@dataclass
class _Seen:
    """What the clients of one step met."""

    begun: float
    ends: float
    last: float
    taken: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    answered: list[list[float]] = field(default_factory=list)
    busy: int = 0
    error: Exception | None = None


def measure_curve(
    transport: Transport,
    description: ModelDescription,
    *,
    events: int,
    clients: Sequence[int],
    seconds: float,
    say: Callable[[Point], None] = lambda _: None,
) -> Curve:
    """Measure a pool: throughput and latency against the number of clients.

    Every client is a thread of this process that asks again as soon as it is answered. A step lasts until every client
    has had three answers, and at least as long as asked; its requests are numbers drawn once, for scores cost the same
    whatever the events are.

    Args:
        transport: the way to the pool.
        description: the model.
        events: in each request.
        clients: numbers of clients, rising.
        seconds: least length of a step.
        say: is told each point as soon as it is there.

    Raises:
        InputValueError: the model takes no requests of this size.
        ScoringOutageError: the pool does not answer.
    """
    each = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in description.input_specs)
    if events > description.most_events or events * each > 0.95 * description.most_bytes:
        raise InputValueError(
            "--events",
            f"{events} events of {each} bytes are more than {description.name} takes in a request",
            f"Give at most {min(description.most_events, int(0.95 * description.most_bytes / each))}",
        )
    rng = np.random.default_rng(1)
    batch: Batch = {
        spec.name: rng.exponential(size=(events, *spec.shape)).astype(np.dtype(spec.dtype))
        for spec in description.input_specs
    }
    points: list[Point] = []
    replicas = 1
    for number in clients:
        point, seen = _measure_point(transport, description, batch, number, seconds)
        points.append(point)
        replicas = max(replicas, seen)
        say(point)
    return Curve(
        model=description.name,
        fingerprint=description.fingerprint,
        at=transport.address,
        events=events,
        replicas=replicas,
        same_machine=urlsplit(transport.address).hostname in ("127.0.0.1", "localhost", "::1"),
        cores=os.cpu_count() or 1,
        points=tuple(points),
    )


def _measure_point(
    transport: Transport, description: ModelDescription, batch: Batch, clients: int, seconds: float
) -> tuple[Point, int]:
    """One number of clients, and how many replicas were seen."""
    _ask(transport, description, batch, time.monotonic() + REQUEST_S, None)  # connections, and the model in memory
    before, used, machine = _metrics(transport), time.process_time(), _machine()
    now = time.monotonic()
    seen = _Seen(begun=now, ends=now + seconds, last=now + LONGEST * seconds)
    lock = threading.Lock()
    threads = [
        threading.Thread(target=_client, args=(transport, description, batch, seen, lock), daemon=True)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - now
    after, spent, whole = _metrics(transport), time.process_time() - used, _machine()
    if seen.error is not None:
        raise ScoringOutageError(f"{clients} clients: {seen.error}. Look at the pool: darkop serve --status")
    events = len(next(iter(batch.values())))
    stop = min(moments[-1] for moments in seen.answered)  # until the first client had enough
    inside = sum(moment <= stop for moments in seen.answered for moment in moments)
    point = Point(
        clients=clients,
        requests=len(seen.taken),
        seconds=stop - seen.begun,
        events_per_s=inside * events / (stop - seen.begun),
        p50_s=float(np.quantile(seen.taken, 0.5)),
        p99_s=float(np.quantile(seen.taken, 0.99, method="higher")),
        busy=seen.busy,
        model_share=_model_share(before, after, wall),
        inside_share=float(np.median(seen.inside)),
        client_cores=spent / wall,
        machine_share=_share(machine, whole),
    )
    return point, len(after)


def _client(
    transport: Transport, description: ModelDescription, batch: Batch, seen: _Seen, lock: threading.Lock
) -> None:
    moments: list[float] = []
    with lock:
        seen.answered.append(moments)
    while seen.error is None:
        began = time.monotonic()
        if moments and (began >= seen.last or (began >= seen.ends and len(moments) >= ANSWERS)):
            return
        try:
            answer = _ask(transport, description, batch, began + REQUEST_S, seen)
        except Exception as error:  # noqa: BLE001  # told where the threads are awaited
            seen.error = error
            return
        moments.append(time.monotonic())
        with lock:
            seen.taken.append(moments[-1] - began)
            seen.inside.append((answer.queue_s + answer.compute_s) / seen.taken[-1])


def _ask(transport: Transport, description: ModelDescription, batch: Batch, ends: float, seen: _Seen | None) -> Answer:
    """One request, with the pauses that the pool asks for."""
    while True:
        try:
            return transport.score(description.name, batch, description.fingerprint, ends - time.monotonic())
        except BusyError as error:
            if seen is not None:
                seen.busy += 1
            time.sleep(min(error.retry_after_s, max(ends - time.monotonic(), 0.0)))
        except (OutageError, RejectedError) as error:
            raise ScoringOutageError(str(error)) from error


def _metrics(transport: Transport) -> Metrics:
    """What replicas say of themselves; one answers at a time, so they are asked several times. Empty where none can."""
    found: Metrics = {}
    try:
        for _ in range(LOOKS):
            sums: dict[str, float] = {}
            for line in transport.metrics(REQUEST_S).splitlines():
                name, _, value = line.rpartition(" ")
                if name.startswith(("darkop_compute_seconds_sum", "process_start_time_seconds")):
                    key = name.partition("{")[0]
                    sums[key] = sums.get(key, 0.0) + float(value)
            if (started := sums.get("process_start_time_seconds")) is not None:
                found[started] = sums
    except (OutageError, BusyError, RejectedError, ValueError):
        return {}
    return found


def _model_share(before: Metrics, after: Metrics, wall: float) -> float | None:
    """Mean part of the time for which models computed, over the replicas that were seen before and after."""
    name = "darkop_compute_seconds_sum"
    shares = [(after[one].get(name, 0.0) - before[one].get(name, 0.0)) / wall for one in before.keys() & after.keys()]
    return float(np.mean(shares)) if shares else None


def _machine() -> tuple[float, float]:
    """Seconds that this machine's cores were busy and there, as Linux counts them; zeros elsewhere."""
    try:
        with open("/proc/stat") as file:  # noqa: PTH123
            numbers = [float(number) for number in file.readline().split()[1:9]]
    except OSError:
        return 0.0, 0.0
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)


def _share(before: tuple[float, float], after: tuple[float, float]) -> float:
    there = after[1] - before[1]
    return (after[0] - before[0]) / there if there > 0 else 0.0
