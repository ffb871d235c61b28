"""A load on servers whose behaviour is known."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from darkop_dist.errors import InputValueError, ScoringOutageError
from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.remote.http import HttpTransport
from darkop_dist.scoring.remote.load import measure_curve
from darkop_dist.scoring.remote.transport import Answer, BusyError, OutageError
from darkop_dist.scoring.wire.description import ModelDescription

SERVICE_S = 0.02


class Counter:
    """A pool with so many places; every request takes 20 ms of one of them."""

    address = "http://127.0.0.1:1"

    def __init__(self, places: int, fault: Exception | None = None, every: int = 0) -> None:
        self._places, self._lock = ThreadPoolExecutor(places), threading.Lock()  # whoever came first is served first
        self._fault, self._every = fault, every
        self.asked, self.busy_s, self.size = 0, 0.0, set[int]()

    def score(self, model: str, batch: Batch, fingerprint: str, timeout_s: float) -> Answer:
        assert model == "m"
        assert timeout_s > 0
        with self._lock:
            self.asked += 1
            number = self.asked
        if self._fault is not None and self._every and number % self._every == 0:
            raise self._fault
        self._places.submit(self._serve, len(batch["fields"])).result()
        return Answer(np.zeros(len(batch["fields"]), dtype=np.float32), fingerprint, 0.0, SERVICE_S)

    def _serve(self, events: int) -> None:
        began = time.monotonic()
        time.sleep(SERVICE_S)
        with self._lock:
            self.busy_s += time.monotonic() - began
            self.size.add(events)

    def metrics(self, timeout_s: float) -> str:
        assert timeout_s > 0
        return f'darkop_replica{{id="a"}} 1.0\ndarkop_compute_seconds_sum{{model="m"}} {self.busy_s}\n'

    def models(self, timeout_s: float) -> Any: ...
    def describe(self, model: str, timeout_s: float) -> Any: ...
    def close(self) -> None:
        self._places.shutdown()


@pytest.fixture
def description(local: LocalScorer) -> ModelDescription:
    return ModelDescription.of("m", local, best_events=64, most_events=1000, most_bytes=10**7, version="1")


def test_throughput_and_latency_obey_little(description: ModelDescription) -> None:
    pool = Counter(places=2)
    said = []
    found = measure_curve(pool, description, events=7, clients=(1, 2, 8), seconds=0.6, say=said.append)
    assert pool.size == {7}
    assert said == list(found.points)
    assert [point.clients for point in found.points] == [1, 2, 8]
    for point in found.points:
        under_way = point.events_per_s * point.p50_s / 7  # clients, however slow the machine is
        assert under_way == pytest.approx(point.clients, rel=0.35)
        assert point.requests >= 3 * point.clients
        assert point.p99_s >= point.p50_s
    one, two, eight = found.points
    assert one.events_per_s <= 1.01 * 7 / SERVICE_S
    assert eight.p50_s > 2 * two.p50_s, "two places, eight clients"
    assert one.model_share is not None
    assert 0.3 < one.model_share < 1.1
    assert (found.replicas, found.same_machine, found.model) == (1, True, "m")


def test_pauses_that_the_pool_asks_for_count_as_latency(description: ModelDescription) -> None:
    pool = Counter(places=4, fault=BusyError("full", 0.1), every=3)
    (found,) = measure_curve(pool, description, events=5, clients=(2,), seconds=0.5).points
    assert found.busy > 0
    assert found.p99_s > 0.1


def test_an_outage_ends_the_measurement(description: ModelDescription) -> None:
    pool = Counter(places=2, fault=OutageError("nobody there"), every=9)
    with pytest.raises(ScoringOutageError, match=r"4 clients: nobody there\. Look at the pool: darkop serve --status"):
        measure_curve(pool, description, events=5, clients=(4,), seconds=5.0)


def test_a_request_too_large_is_not_sent(description: ModelDescription) -> None:
    pool = Counter(places=1)
    with pytest.raises(InputValueError, match=r"1001 events of 1024 bytes are more than m takes.*Give at most 1000"):
        measure_curve(pool, description, events=1001, clients=(1,), seconds=0.1)
    assert not pool.asked


def test_a_real_server(serve: Callable[..., Any]) -> None:
    server = serve(best_events=64, draw=lambda: ("delay", 0.01))
    transport = HttpTransport(server.url, connections=5)
    try:
        found = measure_curve(transport, server.description(), events=30, clients=(1, 4), seconds=0.5)
    finally:
        transport.close()
    assert len(server.events) >= 2 + 3 * (1 + 4)
    assert set(server.events) == {30}
    assert found.points[0].model_share is None, "this server tells nothing of itself"
    assert found.replicas is None


class Several(Counter):
    """Replicas of which one tells at a time, like those behind a proxy."""

    def __init__(self, replicas: int) -> None:
        super().__init__(places=4)
        self.replicas, self._draw = replicas, random.Random(2)  # noqa: S311

    def metrics(self, timeout_s: float) -> str:
        assert timeout_s > 0
        return f'darkop_replica{{id="{self._draw.randrange(self.replicas)}"}} 1.0\ndarkop_compute_seconds_sum 0.0\n'


def test_replicas_are_counted(description: ModelDescription) -> None:
    found = measure_curve(Several(5), description, events=5, clients=(1, 2), seconds=0.1)
    assert (found.replicas, found.steady) == (5, True)
    growing = Several(2)
    found = measure_curve(
        growing, description, events=5, clients=(1, 2), seconds=0.1, say=lambda _: setattr(growing, "replicas", 4)
    )
    assert (found.replicas, found.steady) == (4, False)


def test_answers_that_come_together_count_together(description: ModelDescription) -> None:
    """Whoever joins requests answers in bursts: throughput is what is served, not what one burst leaves over."""

    class Bursts(Counter):
        def __init__(self) -> None:
            super().__init__(places=1)
            self._together = threading.Barrier(6)

        def score(self, model: str, batch: Batch, fingerprint: str, timeout_s: float) -> Answer:
            assert (model, timeout_s > 0) == ("m", True)
            if threading.current_thread() is not threading.main_thread():
                with contextlib.suppress(threading.BrokenBarrierError):
                    self._together.wait(0.5)
                time.sleep(6 * SERVICE_S)
            return Answer(np.zeros(len(batch["fields"]), dtype=np.float32), fingerprint, 0.0, SERVICE_S)

    (found,) = measure_curve(Bursts(), description, events=5, clients=(6,), seconds=0.6).points
    assert found.events_per_s * found.p50_s / 5 == pytest.approx(6, rel=0.2)
