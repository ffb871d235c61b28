"""Events per second of each process beside bare Pythia, in one run on one core, and what clustering takes of it.

Run with: pytest tests/benchmarks/test_generation_speed.py --benchmark-only -s. Bare is Pythia with the same lines and seed,
without anything of ours but the recipe of black holes; ours is a part from its seed to its measured columns. Both are CPU
seconds; starting Pythia is in neither, and said beside. A million events take 2000 starts and a million times the rest: the
last column, in hours of one core.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.generation import clustering, jets, large_jets, part, pythia_run, truth
from darkop_dist.generation.packing import pack_part
from darkop_dist.generation.plan import PLAIN, part_events, plan_parts
from darkop_dist.generation.process import list_processes, load_process
from darkop_dist.generation.rates import peak_bytes

EVENTS = 1000  # a whole part


class Clock:
    """Adds up the CPU seconds of a function."""

    def __init__(self, function: Any) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return self.function(*arguments, **named)
        finally:
            self.seconds += time.process_time() - began


@pytest.mark.parametrize("name", [process.name for process in list_processes()])
@pytest.mark.benchmark(group="1000 events")
def test_events_per_second(
    name: str, benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (plan,) = plan_parts(name, EVENTS, seed=1, settings={})
    starting, clusters = Clock(pythia_run.start_pythia), Clock(clustering.cluster)
    monkeypatch.setattr(truth, "start_pythia", starting)
    for module in (jets, large_jets):
        monkeypatch.setattr(module, "cluster", clusters)
    began = time.process_time()
    made = benchmark.pedantic(part.make_part, args=(plan,), rounds=1)
    ours = time.process_time() - began - starting.seconds
    start_s, starting.seconds = starting.seconds, 0.0
    began = time.process_time()
    bare = truth.generate_record(part.request_of(plan)).events
    alone = time.process_time() - began - starting.seconds
    assert len(bare) == len(made.columns["genWeight"]) == EVENTS
    numbers = {
        "events_per_s": EVENTS / ours,
        "bare_events_per_s": EVENTS / alone,
        "clustering_over_pythia": clusters.seconds / alone,
        "start_s": start_s,
        "kept_bytes_per_event": len(pack_part(made).data) / EVENTS,
        "memory_mb": peak_bytes() / 1e6,
        "core_hours_per_million": 1e6
        * (start_s / part_events(PLAIN, load_process(name).part_factor) + ours / EVENTS)
        / 3600,
    }
    benchmark.extra_info.update(numbers)
    with capsys.disabled():
        text = ", ".join(f"{what} {number:.3g}" for what, number in numbers.items())
        sys.stdout.write(f"\n{name:20s} {text}\n")
