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
LOOKS, MOST_LOOKS = 8, 1000
SHORTEST_PAUSE_S = 0.01
Metrics = dict[str, float]
"""Seconds that the models of each replica have computed, by the replica's name."""


@dataclass
class _Seen:
    """What the clients of one step met."""

    begun: float
    ends: float
    last: float
    taken: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    answered: list[list[tuple[float, float]]] = field(default_factory=list)
    busy: int = 0
    error: Exception | None = None


def measure_curve(
    transport: Transport,
    description: ModelDescription,
    *,
    events: int,
    clients: Sequence[int],
    seconds: float,
    replicas: int | None = None,
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
        replicas: of the pool; counted over HTTP where nobody says.
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
    counts: set[int] = set()
    for number in clients:
        point, seen = _measure_point(transport, description, batch, number, seconds)
        points.append(point)
        counts |= seen
        say(point)
    known = replicas or max(counts, default=0)
    return Curve(
        model=description.name,
        fingerprint=description.fingerprint,
        at=transport.address,
        events=events,
        replicas=known or None,
        steady=replicas is not None or len(counts - {0}) <= 1,
        same_machine=urlsplit(transport.address).hostname in ("127.0.0.1", "localhost", "::1"),
        cores=os.cpu_count() or 1,
        points=tuple(points),
    )


def _measure_point(
    transport: Transport, description: ModelDescription, batch: Batch, clients: int, seconds: float
) -> tuple[Point, set[int]]:
    """One number of clients, and how many replicas were seen before and after."""
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
    stop = min(moments[-1][1] for moments in seen.answered)  # until the first client had enough, all asked
    inside = [ended for moments in seen.answered for begun, ended in moments if begun < stop]
    taken_s = max(inside) - seen.begun  # whoever is answered together counts together
    point = Point(
        clients=clients,
        requests=len(seen.taken),
        seconds=taken_s,
        events_per_s=len(inside) * events / taken_s,
        p50_s=float(np.quantile(seen.taken, 0.5)),
        p99_s=float(np.quantile(seen.taken, 0.99, method="higher")),
        busy=seen.busy,
        model_share=_model_share(before, after, wall),
        inside_share=float(np.median(seen.inside)),
        client_cores=spent / wall,
        machine_share=_share(machine, whole),
    )
    return point, {len(before), len(after)}


def _client(
    transport: Transport, description: ModelDescription, batch: Batch, seen: _Seen, lock: threading.Lock
) -> None:
    moments: list[tuple[float, float]] = []
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
        moments.append((began, time.monotonic()))
        with lock:
            seen.taken.append(moments[-1][1] - began)
            seen.inside.append((answer.queue_s + answer.compute_s) / seen.taken[-1])


def _ask(transport: Transport, description: ModelDescription, batch: Batch, ends: float, seen: _Seen | None) -> Answer:
    """One request, with the pauses that the pool asks for."""
    while True:
        try:
            return transport.score(description.name, batch, description.fingerprint, ends - time.monotonic())
        except BusyError as error:
            if seen is not None:
                seen.busy += 1
            time.sleep(min(max(error.retry_after_s, SHORTEST_PAUSE_S), max(ends - time.monotonic(), 0.0)))
        except (OutageError, RejectedError) as error:
            raise ScoringOutageError(str(error)) from error


def _metrics(transport: Transport) -> Metrics:
    """What replicas say of themselves; one answers at a time, so they are asked until nothing new comes.

    Nothing comes over Ray.
    """
    found: Metrics = {}
    since = 0
    try:
        for _ in range(MOST_LOOKS):
            name, computed = "", 0.0
            for line in transport.metrics(REQUEST_S).splitlines():
                key, _, value = line.rpartition(" ")
                if key.startswith("darkop_replica{"):
                    name = key
                elif key.startswith("darkop_compute_seconds_sum"):
                    computed += float(value)
            since = since + 1 if not name or name in found else 0
            if name:
                found[name] = computed
            if since >= LOOKS * (len(found) + 1):  # one of them is overlooked once in 3000 times
                break
    except (OutageError, BusyError, RejectedError, ValueError):
        return {}
    return found


def _model_share(before: Metrics, after: Metrics, wall: float) -> float | None:
    """Mean part of the time for which models computed, over the replicas that were seen before and after."""
    shares = [(after[one] - before[one]) / wall for one in before.keys() & after.keys()]
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
