"""Real runs whose limit is known, because their processor sleeps in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.config import Execution as Settings
from darkop_dist.events.phases import READ, SCORE, phase
from darkop_dist.execution import DatasetFiles, Task, execute, plan_chunks, store
from darkop_dist.execution.limiting import breakdown, limiting_sentence
from darkop_dist.execution.timeline import RunClock, Timeline, timeline_of
from darkop_dist.execution.who import worker_name

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))
CHUNKS, LONG_S = 6, 0.15


class Sleeper:
    """Sleeps in one phase, the work of which is a few milliseconds otherwise."""

    def __init__(self, where: str) -> None:
        self.where = where

    def process(self, events: ak.Array) -> dict[str, Any]:
        total = float(ak.sum(events.mass))
        if self.where == "compute":
            time.sleep(LONG_S)
        elif self.where:
            with phase({"read": READ, "score": SCORE}[self.where]):
                time.sleep(LONG_S)
        return {"total": total}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, ...]:
    path = tmp_path_factory.mktemp("files") / "0.root"
    with uproot.recreate(path) as file:
        file["Events"] = {"mass": np.arange(600.0), "genWeight": np.ones(600)}
    plan = plan_chunks([DatasetFiles(RECORD, (str(path),))], chunk_events=100, whole_files=False)
    run(tuple(Task(chunk, RECORD, 0, None) for chunk in plan), "", Settings())  # what is imported late is imported now
    return tuple(Task(chunk, RECORD, 0, None) for chunk in plan)


def run(tasks: tuple[Task, ...], where: str, settings: Settings) -> Timeline:
    began_s = time.time()
    found = execute(tasks, Sleeper(where), settings)
    assert found.output["total"] == sum(range(600))
    return timeline_of(
        found.ledger.entries, RunClock(began_s, found.ended_s, settings.workers, found.merges, worker_name())
    )


@pytest.mark.parametrize(
    ("where", "phase_s", "said"),
    [
        ("read", "read_s", "went into reading: the cores were busy for only"),
        ("compute", "compute_s", "went into the processor's own computing: the cores were busy for only"),
        ("score", "score_s", "went into waiting for scores: a faster scorer"),
    ],
)
def test_the_phase_that_sleeps_is_named(tasks: tuple[Task, ...], where: str, phase_s: str, said: str) -> None:
    timeline = run(tasks, where, Settings())
    assert (timeline.chunks, timeline.workers, timeline.driver) == (CHUNKS, 1, ())
    assert getattr(timeline.total, phase_s) >= CHUNKS * LONG_S
    assert timeline.total.all_s == pytest.approx(timeline.wall_s)
    sentence = limiting_sentence(timeline)
    assert f"of the worker's time {said}" in sentence, breakdown(timeline)


def test_a_slow_disk_for_the_results_is_named(tasks: tuple[Task, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = store.write_whole

    def slowly(path: Path, body: bytes) -> None:
        time.sleep(LONG_S)
        whole(path, body)

    monkeypatch.setattr(store, "write_whole", slowly)
    timeline = run(tasks, "", Settings())
    assert timeline.total.keep_s >= CHUNKS * LONG_S
    assert timeline.total.all_s == pytest.approx(timeline.wall_s)
    sentence = limiting_sentence(timeline)
    assert "of the worker's time went into packing and writing results: a faster disk" in sentence, breakdown(timeline)


@pytest.mark.slow
def test_processes_that_start_for_nothing_are_named(tasks: tuple[Task, ...]) -> None:
    timeline = run(tasks, "", Settings(where="local", workers=2))
    assert timeline.chunks == CHUNKS
    sentence = limiting_sentence(timeline)
    assert "of the 2 workers' time passed before their first chunk" in sentence, breakdown(timeline)
