"""What an engine does, as Prometheus reads it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from darkop_dist.scoring.server.meter import BatchSeen, EngineStats, RequestSeen

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_EVENTS = tuple(float(4**power) for power in range(10))
_REQUESTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class PrometheusMeter:
    """Counts for Prometheus, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("darkop_replica", "Which replica tells this", ["id"], registry=registry).labels(uuid4().hex).set(1)
        by_model = ["model"]
        self._requests = Counter("darkop_requests", "Requests by outcome", ["model", "outcome"], registry=registry)
        self._events = Counter("darkop_events", "Events that were scored", by_model, registry=registry)
        self._bytes = Counter("darkop_request_bytes", "Bytes of requests, decoded", by_model, registry=registry)
        self._queue = Histogram(
            "darkop_queue_seconds", "Time for which a request waited", by_model, buckets=_SECONDS, registry=registry
        )
        self._compute = Histogram(
            "darkop_compute_seconds", "Time of a call of the model", by_model, buckets=_SECONDS, registry=registry
        )
        self._batch_events = Histogram(
            "darkop_batch_events", "Events of a call of the model", by_model, buckets=_EVENTS, registry=registry
        )
        self._batch_requests = Histogram(
            "darkop_batch_requests", "Requests of a call of the model", by_model, buckets=_REQUESTS, registry=registry
        )

    def observe_request(self, seen: RequestSeen) -> None:
        """Count a request that came to an end."""
        self._requests.labels(seen.model, seen.outcome).inc()
        self._bytes.labels(seen.model).inc(seen.size)
        if seen.events:
            self._events.labels(seen.model).inc(seen.events)
            self._queue.labels(seen.model).observe(seen.queue_s)

    def observe_batch(self, seen: BatchSeen) -> None:
        """Count a call of a model."""
        self._compute.labels(seen.model).observe(seen.compute_s)
        self._batch_events.labels(seen.model).observe(seen.events)
        self._batch_requests.labels(seen.model).observe(seen.requests)

    def watch(self, stats: Callable[[], EngineStats]) -> None:
        """Show an engine's state whenever the metrics are read."""
        self._registry.register(_State(stats))

    def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self._registry)


class _State(Collector):
    """An engine's state at the moment at which it is asked for."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        waiting = GaugeMetricFamily("darkop_waiting_requests", "Requests that wait for the model", labels=["model"])
        for model, count in stats.waiting.items():
            waiting.add_metric([model], count)
        yield waiting
        yield GaugeMetricFamily("darkop_running_requests", "Requests that a model works on", value=stats.running)
        yield GaugeMetricFamily("darkop_loaded_models", "Models in memory", value=len(stats.loaded))
        yield GaugeMetricFamily("darkop_draining", "1 while new requests are refused", value=int(stats.is_draining))
        memory = GaugeMetricFamily("darkop_gpu_memory_bytes", "Memory of the GPU", labels=["gpu", "kind"])
        for gpu, kind, size in gpu_memory():
            memory.add_metric([gpu, kind], size)
        yield memory

    def describe(self) -> Iterator[Metric]:
        return iter(())  # the names are known when it is asked for


def gpu_memory() -> list[tuple[str, str, float]]:
    """Bytes of GPU memory in use, if a model brought torch and uses CUDA; this loads nothing.

    Returns:
        Triples of the GPU's number, the kind (``tensors``, ``reserved`` by this process, ``total``) and the bytes.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return []
    return [
        (str(gpu), kind, float(size))
        for gpu in range(torch.cuda.device_count())
        for kind, size in (
            ("tensors", torch.cuda.memory_allocated(gpu)),
            ("reserved", torch.cuda.memory_reserved(gpu)),
            ("total", torch.cuda.get_device_properties(gpu).total_memory),
        )
    ]
