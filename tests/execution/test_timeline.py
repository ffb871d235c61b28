"""The timeline of a run: every second of every worker is somewhere, and the sentence names what took most of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.errors import InputFileError
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.execution.limiting import breakdown, limiting_sentence
from darkop_dist.execution.merge import MergeSpan
from darkop_dist.execution.timeline import RunClock, load_clock, timeline_of

BEGAN = 1_700_000_000.0
DRIVER = "process 1"


def entry(
    index: int, worker: str, start_s: float, read_s: float, compute_s: float, score_s: float = 0.0, **changes: object
) -> LedgerEntry:
    """A chunk that began ``start_s`` after the pass."""
    wall_s = read_s + compute_s + score_s
    fields = {
        "index": index, "dataset": "data", "file": "a.root", "start": index, "stop": index + 1, "status": "done",
        "reason": "", "attempts": 1, "entries": 1, "selected": {}, "sum_weights": None, "wall_s": wall_s,
        "cpu_s": wall_s, "bytes": 1, "fingerprint": None, "worker": worker, "started_s": BEGAN + start_s,
        "read_s": read_s, "score_s": score_s,
    }  # fmt: skip
    return LedgerEntry(**{**fields, **changes})  # type: ignore[arg-type]


def pass_of(
    chunk: tuple[float, float, float],
    *,
    chunks: int,
    workers: int,
    gap: float = 0.0,
    start: float = 0.0,
    **changes: object,
) -> list[LedgerEntry]:
    """Equal chunks, dealt to the workers in turn."""
    step = sum(chunk) + gap
    return [entry(i, f"w{i % workers}", start + i // workers * step, *chunk, **changes) for i in range(chunks)]


def sentence(entries: Sequence[LedgerEntry], end: float, workers: int = 2, merges: tuple[MergeSpan, ...] = ()) -> str:
    return limiting_sentence(timeline_of(entries, RunClock(BEGAN, BEGAN + end, workers, merges, DRIVER)))


def test_reading_limits_and_the_cores_decompress() -> None:
    found = sentence(pass_of((6.0, 3.0, 0.5), chunks=20, workers=2), 95.0)
    assert found.startswith("63% of the 2 workers' time went into reading: the cores were busy for 100%")
    assert "decompression rather than storage" in found


def test_reading_limits_and_the_storage_is_slow() -> None:
    found = sentence(pass_of((6.0, 3.0, 0.0), chunks=20, workers=2, cpu_s=4.0), 90.0)
    assert found.startswith("67% of the 2 workers' time went into reading: the cores were busy for only 44%")
    assert "faster storage" in found


def test_computing_limits() -> None:
    found = sentence(pass_of((1.0, 9.0, 0.0), chunks=5, workers=1), 50.0, workers=1)
    assert found == (
        "90% of the worker's time went into the processor's own computing: a faster processor or more workers would "
        "help most."
    )
    assert "busy for only 50%" in sentence(pass_of((1.0, 9.0, 0.0), chunks=5, workers=1, cpu_s=5.0), 50.0, workers=1)


def test_the_scorer_limits() -> None:
    found = sentence(pass_of((1.0, 2.0, 7.0), chunks=8, workers=2, cpu_s=3.0), 40.0)
    assert found.startswith("70% of the 2 workers' time went into waiting for scores: a faster scorer")


def test_merging_on_the_workers_limits() -> None:
    merges = tuple(MergeSpan(f"w{i}", BEGAN + 10, 30.0) for i in range(2))
    assert "75% of the 2 workers' time went into merging" in sentence(
        pass_of((1.0, 4.0, 0.0), chunks=4, workers=2), 40.0, merges=merges
    )


def test_merging_in_the_driver_limits() -> None:
    entries = pass_of((1.0, 1.0, 0.0), chunks=10, workers=2, gap=3.0)
    merges = tuple(MergeSpan(DRIVER, BEGAN + 2.0 + 5 * i, 3.0) for i in range(5))
    found = timeline_of(entries, RunClock(BEGAN, BEGAN + 25.0, 2, merges, DRIVER))
    assert found.total.driver_merge_s == pytest.approx(2 * 15.0)
    assert found.total.waiting_s == pytest.approx(0.0)
    assert limiting_sentence(found).startswith("60% of the 2 workers' time was spent idle while the driver merged")


def test_handing_out_limits() -> None:
    found = sentence(pass_of((0.01, 0.01, 0.0), chunks=100, workers=2, gap=0.06), 4.0)
    assert "between chunks: a chunk takes 20 ms, and 59 ms pass before its worker begins the next one" in found
    assert "chunk_events" in found
    slow = sentence(pass_of((1.0, 1.0, 0.0), chunks=20, workers=2, gap=4.0), 60.0)
    assert "hands out chunks too slowly" in slow
    retried = sentence(pass_of((1.0, 1.0, 0.0), chunks=20, workers=2, gap=4.0, attempts=2, status="retried"), 60.0)
    assert "20 of 20 chunks needed several attempts" in retried


def test_starting_limits() -> None:
    found = sentence(pass_of((0.5, 0.5, 0.0), chunks=4, workers=2, start=6.0), 8.0)
    assert found.startswith("75% of the 2 workers' time passed before their first chunk")
    assert "a pass of 8 s" in found


def test_too_few_chunks_limit() -> None:
    found = sentence(pass_of((1.0, 1.0, 0.0), chunks=2, workers=2), 2.0, workers=8)
    assert found.startswith(
        "75% of the 8 workers' time was spent idle with nothing left to do: there were 2 chunks for 8"
    )


def test_workers_that_never_came_count_as_starting() -> None:
    found = timeline_of(pass_of((1.0, 1.0, 0.0), chunks=20, workers=2), RunClock(BEGAN, BEGAN + 20.0, 8))
    assert found.total.starting_s == pytest.approx(6 * 20.0)


def test_one_long_chunk_limits() -> None:
    entries = [*pass_of((0.5, 0.5, 0.0), chunks=12, workers=3), entry(12, "w0", 4.0, 10.0, 26.0)]
    found = sentence(entries, 40.0, workers=3)
    assert "idle with no chunk left to do: the longest chunk took 36 s, the mean one 3.69 s" in found


def test_two_causes_of_about_one_size_are_both_named() -> None:
    found = sentence(pass_of((4.0, 4.4, 0.0), chunks=10, workers=2), 42.0)
    assert found.startswith(
        "52% of the 2 workers' time went into the processor's own computing, and about as much, 48%, was reading:"
    )


def test_nothing_is_claimed_of_nothing() -> None:
    assert "nothing can be said" in sentence([], 3.0)
    old = pass_of((1.0, 1.0, 0.0), chunks=3, workers=1, start=-500.0)
    assert sentence(old, 3.0) == "All 3 chunks came from an earlier pass: nothing was left to process."


def test_chunks_of_an_earlier_pass_are_left_out() -> None:
    entries = [*pass_of((9.0, 9.0, 9.0), chunks=4, workers=1, start=-86_400.0), entry(4, "w0", 0.0, 1.0, 3.0)]
    found = timeline_of(entries, RunClock(BEGAN, BEGAN + 4.0, 1))
    assert (found.chunks, found.earlier, found.wall_s) == (1, 4, 4.0)
    assert breakdown(found) == "computing 75%, reading 25%"


def test_a_driver_that_processes_chunks_itself_is_a_worker() -> None:
    merges = (MergeSpan("w0", BEGAN + 4.0, 1.0),)
    found = timeline_of([entry(0, "w0", 0.0, 1.0, 3.0)], RunClock(BEGAN, BEGAN + 5.0, 1, merges, "w0"))
    assert (found.driver, found.workers, found.total.merge_s) == ((), 1, 1.0)


def test_chunks_that_were_never_tried_are_no_work() -> None:
    entries = [
        entry(0, "w0", 0.0, 1.0, 3.0),
        entry(1, DRIVER, 1.0, 0.0, 0.2, status="skipped"),
        entry(2, DRIVER, 2.0, 0.0, 0.002, status="failed"),
        entry(3, "w0", 4.0, 1.0, 0.0, status="failed"),
    ]
    found = timeline_of(entries, RunClock(BEGAN, BEGAN + 5.0, 1, (), DRIVER))
    assert (found.chunks, list(found.spans)) == (2, ["w0"])
    assert [span.failed for span in found.spans["w0"]] == [False, True]


def test_a_worker_with_several_threads_has_as_many_lanes() -> None:
    entries = [entry(0, "w", 0.0, 1.0, 1.0), entry(1, "w", 0.5, 1.0, 1.0), entry(2, "w", 1.999, 1.0, 1.0)]
    found = timeline_of(entries, RunClock(BEGAN, BEGAN + 4.0, 1))
    assert {name: len(spans) for name, spans in found.spans.items()} == {"w [1]": 2, "w [2]": 1}
    assert found.workers == 2


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), *[st.floats(0.0, 5.0) for _ in range(4)], st.booleans()), min_size=1, max_size=60
    ),
    st.floats(0.0, 20.0),
    st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 10.0)), max_size=5),
)
def test_every_second_of_every_worker_is_counted_once(
    drawn: list[tuple[int, float, float, float, float, bool]], tail: float, merges: list[tuple[float, float]]
) -> None:
    """Phases and idle time add up to workers times length, whatever overlaps, pauses or merges there are."""
    clock = dict.fromkeys(range(5), 0.0)
    entries, spans = [], []
    for index, (worker, pause, read_s, compute_s, score_s, is_merge) in enumerate(drawn):
        start = clock[worker] + pause
        if is_merge:
            spans.append(MergeSpan(f"w{worker}", BEGAN + start, read_s))
            clock[worker] = start + read_s
        else:
            entries.append(entry(index, f"w{worker}", start, read_s, compute_s, score_s, keep_s=compute_s / 2))
            clock[worker] = start + read_s + compute_s + score_s
    end = max(clock.values()) + tail
    driver = [MergeSpan(DRIVER, BEGAN + start, wall) for start, wall in merges if start + wall < end]
    found = timeline_of(entries, RunClock(BEGAN, BEGAN + end, 6, (*spans, *driver), DRIVER))
    assert found.workers == 6
    assert found.total.all_s == pytest.approx(found.workers * found.wall_s, rel=1e-6, abs=1e-3)
    expected = sum(e.read_s for e in entries)
    assert found.total.read_s == pytest.approx(expected, abs=1e-6)
    assert found.total.keep_s == pytest.approx(sum(e.keep_s for e in entries), abs=1e-6)
    assert min(vars(found.total).values()) >= -1e-6
    assert limiting_sentence(found).endswith(".")


def test_a_hundred_thousand_chunks_are_summed() -> None:
    rng = np.random.default_rng(1)
    entries = pass_of((1.0, 2.0, 0.5), chunks=100_000, workers=1000, gap=0.25)
    merges = tuple(MergeSpan(DRIVER, BEGAN + float(t), 0.05) for t in np.sort(rng.uniform(0, 370, 3000)))
    found = timeline_of(entries, RunClock(BEGAN, BEGAN + 375.0, 1000, merges, DRIVER))
    assert (found.workers, found.chunks) == (1000, 100_000)
    assert found.total.all_s == pytest.approx(375_000.0)


def test_the_clock_is_read_as_it_was_written(tmp_path: Path) -> None:
    clock = RunClock(
        BEGAN, BEGAN + 3.25, 2, (MergeSpan(DRIVER, BEGAN + 1.5, 0.125), MergeSpan("w0", BEGAN + 2, 0.5)), DRIVER
    )
    clock.save(tmp_path / "timeline.json")
    assert load_clock(tmp_path / "timeline.json") == clock
    body = json.loads((tmp_path / "timeline.json").read_text())
    del body["ended_s"]
    (tmp_path / "timeline.json").write_text(json.dumps(body))
    with pytest.raises(InputFileError, match="damaged"):
        load_clock(tmp_path / "timeline.json")
    with pytest.raises(InputFileError, match="no such file"):
        load_clock(tmp_path / "absent.json")
