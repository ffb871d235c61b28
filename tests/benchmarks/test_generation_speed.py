"""Events per second of each process beside bare Pythia, in one run on one core, and what clustering takes of it.

Run with: pytest tests/benchmarks/test_generation_speed.py --benchmark-only -s. Bare is ``Pythia.nextBatch`` with the same
lines and seed; ours is a part from its seed to its measured columns. Both are CPU seconds; starting Pythia is in neither.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.generation import jets, part, reconstruct, truth
from darkop_dist.generation.plan import plan_parts
from darkop_dist.generation.process import list_processes
from darkop_dist.generation.truth import PartRequest

EVENTS = 200


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
@pytest.mark.benchmark(group="200 events")
def test_events_per_second(
    name: str, benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (plan,) = plan_parts(name, EVENTS, seed=1, settings={})
    starting, clustering = Clock(truth._start), Clock(jets.cluster)
    monkeypatch.setattr(truth, "_start", starting)
    monkeypatch.setattr(reconstruct, "cluster", clustering)
    began = time.process_time()
    made = benchmark.pedantic(part.make_part, args=(plan,), rounds=1)
    ours = time.process_time() - began - starting.seconds
    request = PartRequest(name, plan.lines, plan.own_matrix_elements, seed_of(plan), EVENTS)
    pythia, _alive = starting.function(request)
    began = time.process_time()
    bare = pythia.nextBatch(EVENTS)
    alone = time.process_time() - began
    assert len(bare) == len(made.columns["genWeight"]) == EVENTS
    numbers = {
        "events_per_s": EVENTS / ours,
        "bare_events_per_s": EVENTS / alone,
        "clustering_over_pythia": clustering.seconds / alone,
    }
    benchmark.extra_info.update(numbers)
    with capsys.disabled():
        text = ", ".join(f"{what} {number:.3g}" for what, number in numbers.items())
        sys.stdout.write(f"\n{name:20s} {text}\n")


def seed_of(plan: Any) -> int:
    """As `part.make_part` finds it: the same events for both."""
    first, _ = np.random.SeedSequence(plan.entropy, spawn_key=(plan.index,)).spawn(2)
    return 1 + int(first.generate_state(1)[0]) % part.PYTHIA_SEEDS
