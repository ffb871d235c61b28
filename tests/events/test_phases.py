"""The stopwatch of phases: what it counts, and that reading and scoring are counted where they happen."""

import threading
import time
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from darkop_dist.config import DatasetRecord
from darkop_dist.events.phases import READ, SCORE, phase, recorded
from darkop_dist.events.read import open_events
from darkop_dist.scoring.apply import score_events
from darkop_dist.scoring.contract import Batch, ScoreAxis

DATA = DatasetRecord(name="data", kind="data", files=("x",))


def test_time_in_an_inner_phase_is_taken_off_the_outer_one() -> None:
    began = time.perf_counter()
    with recorded() as phases, phase("outer"):
        time.sleep(0.03)
        with phase("inner"):
            time.sleep(0.05)
            with phase("outer"):
                time.sleep(0.02)
    wall = time.perf_counter() - began
    assert phases.spent("inner") >= 0.05
    assert phases.spent("outer") >= 0.05
    assert sum(phases.seconds.values()) <= wall


def test_a_phase_that_fails_is_counted_and_ended() -> None:
    with recorded() as phases:
        with pytest.raises(OSError, match="gone"), phase(READ):
            raise OSError("gone")
        with phase(SCORE):
            time.sleep(0.01)
    assert phases.seconds.keys() == {READ, SCORE}
    assert phases.spent(SCORE) >= 0.01


def test_threads_and_recordings_do_not_mix() -> None:
    both = threading.Barrier(2)

    def work(name: str, found: dict[str, dict[str, float]]) -> None:
        with recorded() as phases:
            both.wait(5)
            with phase(name):
                both.wait(5)
            found[name] = phases.seconds

    found: dict[str, dict[str, float]] = {}
    with recorded() as here:
        threads = [threading.Thread(target=work, args=(name, found)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with recorded() as inside, phase("c"):
            pass
    assert here.seconds == {}
    assert inside.seconds.keys() == {"c"}
    assert {name: set(seconds) for name, seconds in found.items()} == {"a": {"a"}, "b": {"b"}}


def test_nothing_is_kept_where_nobody_records() -> None:
    with phase(READ):
        pass
    with recorded() as phases:
        pass
    assert phases.seconds == {}


def test_columns_are_counted_when_they_are_touched(shared_data: Path) -> None:
    with recorded() as phases:
        events = open_events(str(shared_data / "cms" / "dimuon_100k_flat.root"), DATA)
        opening = phases.spent(READ)
        began = time.perf_counter()
        total = ak.sum(events.Muon.pt)
        touching = time.perf_counter() - began
        after = phases.spent(READ)
        assert ak.sum(events.Muon.pt) == total
        again = phases.spent(READ)
    assert opening > 0
    assert opening < after <= opening + touching
    assert again == after


class Slow:
    """A scorer that takes its time."""

    fingerprint = "0" * 64
    inputs = ()
    score_axis = ScoreAxis(edges=(0.0, 1.0), label="score", fixed_on="")

    def score(self, batch: Batch) -> np.ndarray:
        time.sleep(0.02)
        return np.zeros(3 + len(batch), np.float32)


def test_the_wait_for_scores_is_counted() -> None:
    with recorded() as phases:
        assert len(score_events(Slow(), None)) == 3
    assert phases.seconds.keys() == {SCORE}
    assert phases.spent(SCORE) >= 0.02
