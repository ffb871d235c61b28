"""What a replica counts, in Ray's metrics: by model and replica, for Prometheus."""

from __future__ import annotations

from ray.serve import metrics

from darkop_dist.scoring.server.meter import BatchSeen, EngineStats, Meter, RequestSeen
from darkop_dist.scoring.server.metrics import gpu_memory

_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]
_EVENTS = [float(4**power) for power in range(10)]
_MODEL = ("model",)


class RayMeter:
    """Counts under the names that ``/metrics`` of a replica has, for all replicas.

    Ray's metrics endpoint writes ``ray_`` before them, and adds application, deployment and replica; events/s is the
    rate of ``ray_darkop_events_total``. Ray keeps of a histogram how many fell into each bucket, and makes its sum up
    from the buckets' middles; exact sums are those of the counters.
    """

    def __init__(self) -> None:
        outcome = (*_MODEL, "outcome")
        self._requests = metrics.Counter("darkop_requests_total", "Requests by outcome", outcome)
        self._events = metrics.Counter("darkop_events_total", "Events that were scored", _MODEL)
        self._queue_sum = metrics.Counter("darkop_queue_seconds_total", "Seconds for which requests waited", _MODEL)
        self._compute_sum = metrics.Counter("darkop_compute_seconds_total", "Seconds of a model's calls", _MODEL)
        self._queue = metrics.Histogram("darkop_queue_seconds", "Time for which a request waited", _SECONDS, _MODEL)
        self._latency = metrics.Histogram(
            "darkop_request_seconds", "Time for which a request waited and was scored", _SECONDS, _MODEL
        )
        self._compute = metrics.Histogram("darkop_compute_seconds", "Time of a call of the model", _SECONDS, _MODEL)
        self._batch_events = metrics.Histogram("darkop_batch_events", "Events of a call of the model", _EVENTS, _MODEL)
        self._waiting = metrics.Gauge("darkop_waiting_requests", "Requests that wait for the model", _MODEL)
        self._running = metrics.Gauge("darkop_running_requests", "Requests that a model works on")
        self._loaded = metrics.Gauge("darkop_loaded_models", "Models in memory")
        self._memory = metrics.Gauge("darkop_gpu_memory_bytes", "Memory of the GPU", ("gpu", "kind"))
        self._models: set[str] = set()

    def observe_request(self, seen: RequestSeen) -> None:
        """Count a request that came to an end."""
        tags = {"model": seen.model}
        self._requests.inc(tags={**tags, "outcome": seen.outcome})
        if seen.events:
            self._events.inc(seen.events, tags)
            self._queue.observe(seen.queue_s, tags)
            self._latency.observe(seen.queue_s + seen.compute_s, tags)
            if seen.queue_s > 0:
                self._queue_sum.inc(seen.queue_s, tags)

    def observe_batch(self, seen: BatchSeen) -> None:
        """Count a call of a model."""
        tags = {"model": seen.model}
        self._compute.observe(seen.compute_s, tags)
        self._batch_events.observe(seen.events, tags)
        if seen.compute_s > 0:
            self._compute_sum.inc(seen.compute_s, tags)

    def observe_engine(self, stats: EngineStats) -> None:
        """Show what an engine holds at this moment."""
        self._models |= set(stats.waiting)
        for model in self._models:
            self._waiting.set(stats.waiting.get(model, 0), {"model": model})
        self._running.set(stats.running)
        self._loaded.set(len(stats.loaded))
        for gpu, kind, size in gpu_memory():
            self._memory.set(size, {"gpu": gpu, "kind": kind})


class BothMeters:
    """Tells two meters of everything."""

    def __init__(self, first: Meter, second: Meter) -> None:
        self._meters = (first, second)

    def observe_request(self, seen: RequestSeen) -> None:
        """Count a request that came to an end."""
        for meter in self._meters:
            meter.observe_request(seen)

    def observe_batch(self, seen: BatchSeen) -> None:
        """Count a call of a model."""
        for meter in self._meters:
            meter.observe_batch(seen)
