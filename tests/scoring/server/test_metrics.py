"""What Prometheus reads, parsed by its own parser."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from darkop_dist.scoring.server.meter import BatchSeen, EngineStats, RequestSeen
from darkop_dist.scoring.server.metrics import PrometheusMeter, gpu_memory


def read(meter: PrometheusMeter) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(meter.text().decode())
        for sample in family.samples
    }


def test_requests_batches_and_state() -> None:
    meter = PrometheusMeter()
    stats = EngineStats(waiting={"m": 3}, loaded=("m", "n"), running=2, is_draining=False)
    meter.watch(lambda: stats)
    meter.observe_request(RequestSeen("m", "scored", 100, 22800, queue_s=0.003, compute_s=0.2))
    meter.observe_request(RequestSeen("m", "scored", 50, 11400, queue_s=0.3, compute_s=0.2))
    meter.observe_request(RequestSeen("unknown", "unknown-model"))
    meter.observe_batch(BatchSeen("m", 2, 150, 0.2))
    found = read(meter)
    assert found["darkop_requests_total", "model=m", "outcome=scored"] == 2
    assert found["darkop_requests_total", "model=unknown", "outcome=unknown-model"] == 1
    assert found["darkop_events_total", "model=m"] == 150
    assert found["darkop_request_bytes_total", "model=m"] == 34200
    assert found["darkop_queue_seconds_bucket", "le=0.005", "model=m"] == 1
    assert found["darkop_queue_seconds_count", "model=m"] == 2
    assert found["darkop_compute_seconds_sum", "model=m"] == pytest.approx(0.2)
    assert found["darkop_batch_events_bucket", "le=64.0", "model=m"] == 0
    assert found["darkop_batch_events_bucket", "le=256.0", "model=m"] == 1
    assert found["darkop_batch_requests_sum", "model=m"] == 2
    assert found["darkop_waiting_requests", "model=m"] == 3
    assert (found["darkop_running_requests",], found["darkop_loaded_models",]) == (2, 2)
    assert found["darkop_draining",] == 0
    assert found["process_resident_memory_bytes",] > 1e6
    stats = EngineStats(waiting={}, loaded=(), running=0, is_draining=True)
    assert read(meter)["darkop_draining",] == 1


def test_two_meters_know_nothing_of_each_other() -> None:
    one, two = PrometheusMeter(), PrometheusMeter()
    one.observe_batch(BatchSeen("m", 1, 1, 0.1))
    assert ("darkop_batch_events_count", "model=m") not in read(two)


def test_gpu_memory_is_that_which_torch_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for torch on a machine with a GPU; on one without there is nothing to read."""
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 1,
        memory_allocated=lambda _: 10,
        memory_reserved=lambda _: 20,
        get_device_properties=lambda _: SimpleNamespace(total_memory=80),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert gpu_memory() == [("0", "tensors", 10.0), ("0", "reserved", 20.0), ("0", "total", 80.0)]
    meter = PrometheusMeter()
    meter.watch(lambda: EngineStats(waiting={}, loaded=(), running=0, is_draining=False))
    assert read(meter)["darkop_gpu_memory_bytes", "gpu=0", "kind=reserved"] == 20
    cuda.is_initialized = lambda: False
    assert gpu_memory() == []


def test_the_server_loads_neither_torch_nor_ray() -> None:
    code = """
import sys
from darkop_dist.scoring.server import http, metrics, run
from darkop_dist.scoring.server.metrics import PrometheusMeter
assert b"process_resident" in PrometheusMeter().text()
print(sorted({"torch", "ray", "grpc"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
