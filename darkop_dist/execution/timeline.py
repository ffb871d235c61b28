"""Where the workers' time went: reading, computing, waiting for scores, keeping results, merging, or nothing."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from darkop_dist.errors import InputFileError
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.execution.merge import MergeSpan
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.timeline/1"
OVERLAP_S = 0.01
"""Two spans of one process may overlap by this much: they are timed with another clock than the one that dates them."""

NO_WORK_S = 0.05
"""A chunk that the driver gave up sooner was never tried, or was lost with its worker."""


@dataclass(frozen=True)
class RunClock:
    """The pass over the events, as the driver saw it.

    Attributes:
        began_s: when it began, workers not yet started, in seconds since 1970.
        ended_s: when the merged result was there.
        workers: how many workers it had; 0 if that is not known.
        merges: every merge.
        driver: the process that hands out the chunks.
    """

    began_s: float
    ended_s: float
    workers: int = 0
    merges: tuple[MergeSpan, ...] = ()
    driver: str = ""

    def save(self, path: Path) -> None:
        """Write timeline.json."""
        write_json(path, SCHEMA, asdict(self))


def load_clock(path: Path) -> RunClock:
    """Read what ``RunClock.save`` wrote.

    Raises:
        InputFileError: the file is missing or damaged.
    """
    body: dict[str, Any] = read_json(path, SCHEMA)
    try:
        merges = tuple(MergeSpan(**merge) for merge in body["merges"])
        numbers = float(body["began_s"]), float(body["ended_s"]), int(body["workers"])
        return RunClock(*numbers, merges, str(body["driver"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputFileError(str(path), f"is damaged ({error})", "Run the search again.") from error


@dataclass(frozen=True)
class Span:
    """What a worker did for one chunk, or one merge.

    The phases of a chunk alternate; only their sums are known.

    Attributes:
        start_s: seconds since the pass began.
        read_s: seconds of reading, decompression included.
        compute_s: seconds of selecting, filling and whatever else the processor does.
        score_s: seconds of waiting for scores.
        merge_s: seconds of merging.
        failed: the chunk was given up.
        keep_s: seconds of packing and writing the result of the chunk.
    """

    start_s: float
    read_s: float = 0.0
    compute_s: float = 0.0
    score_s: float = 0.0
    merge_s: float = 0.0
    failed: bool = False
    keep_s: float = 0.0

    @property
    def wall_s(self) -> float:
        """Seconds on the clock."""
        return self.read_s + self.compute_s + self.score_s + self.merge_s + self.keep_s

    @property
    def stop_s(self) -> float:
        """When it ended, in seconds since the pass began."""
        return self.start_s + self.wall_s


@dataclass(frozen=True)
class WorkerTime:
    """Seconds of one worker, or of all, which add up to the length of the pass times the number of workers.

    Attributes:
        read_s: reading, decompression included.
        compute_s: selecting, filling and whatever else the processor does.
        score_s: waiting for scores.
        merge_s: merging.
        starting_s: before the first chunk.
        driver_merge_s: idle later on while the driver merged.
        waiting_s: idle between chunks otherwise.
        finished_s: idle after the last chunk otherwise.
        keep_s: packing and writing the results of chunks.
    """

    read_s: float = 0.0
    compute_s: float = 0.0
    score_s: float = 0.0
    merge_s: float = 0.0
    starting_s: float = 0.0
    driver_merge_s: float = 0.0
    waiting_s: float = 0.0
    finished_s: float = 0.0
    keep_s: float = 0.0

    @property
    def idle_s(self) -> float:
        """Seconds in which nothing was done."""
        return self.starting_s + self.driver_merge_s + self.waiting_s + self.finished_s

    @property
    def all_s(self) -> float:
        """All seconds."""
        return self.read_s + self.compute_s + self.score_s + self.merge_s + self.keep_s + self.idle_s


@dataclass(frozen=True)
class Timeline:
    """What every worker did when.

    Attributes:
        wall_s: length of the pass over the events.
        workers: number of workers; a worker that processed several chunks at once counts as several.
        spans: by worker, in time.
        driver: merges of the driver, in time; empty if the driver is a worker itself.
        time: seconds by worker; a worker that got no chunk is absent.
        total: seconds of all workers, also of those that got no chunk.
        chunks: number of chunks processed in this pass.
        earlier: number of chunks whose results an earlier pass had left.
        retried: number of chunks that needed more than one attempt; failed attempts count as idle time.
        cpu_s: processor seconds of the chunks; 0 if they are not known.
    """

    wall_s: float
    workers: int
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    driver: tuple[Span, ...] = ()
    time: Mapping[str, WorkerTime] = field(default_factory=dict)
    total: WorkerTime = field(default_factory=WorkerTime)
    chunks: int = 0
    earlier: int = 0
    retried: int = 0
    cpu_s: float = 0.0


def timeline_of(entries: Iterable[LedgerEntry], clock: RunClock) -> Timeline:
    """Put chunks and merges on one time axis.

    The clocks of the workers must agree to better than the length of a chunk.

    Args:
        entries: the ledger; chunks that had ended when this pass began came from an earlier one and are left out.
        clock: the pass.
    """
    timed = [entry for entry in entries if _was_tried(entry, clock.driver)]
    ours = [entry for entry in timed if entry.started_s + entry.wall_s > clock.began_s]
    by_worker: dict[str, list[Span]] = {}
    for entry in ours:
        by_worker.setdefault(entry.worker, []).append(_chunk_span(entry, clock.began_s))
    driver_works = clock.driver in by_worker
    for merge in clock.merges:
        by_worker.setdefault(merge.worker, []).append(Span(merge.started_s - clock.began_s, merge_s=merge.wall_s))
    driver = () if driver_works else tuple(sorted(by_worker.pop(clock.driver, ()), key=lambda span: span.start_s))
    spans = {name: lane for worker in sorted(by_worker) for name, lane in _lanes(worker, by_worker[worker])}
    wall_s = max([clock.ended_s - clock.began_s, *(lane[-1].stop_s for lane in (*spans.values(), driver) if lane)])
    merging = _union(driver)
    time = {name: _time_of(lane, wall_s, merging) for name, lane in spans.items()}
    workers = max(clock.workers, len(spans))
    unused_s = (workers - len(spans)) * wall_s
    unused = WorkerTime(finished_s=unused_s) if len(ours) < workers else WorkerTime(starting_s=unused_s)
    return Timeline(
        wall_s=wall_s,
        workers=workers,
        spans=spans,
        driver=driver,
        time=time,
        total=_sum([*time.values(), unused]),
        chunks=len(ours),
        earlier=len(timed) - len(ours),
        retried=sum(entry.attempts > 1 for entry in ours),
        cpu_s=sum(entry.cpu_s for entry in ours),
    )


def _was_tried(entry: LedgerEntry, driver: str) -> bool:
    if entry.started_s <= 0 or entry.status == "skipped":
        return False
    return entry.status != "failed" or entry.worker != driver or entry.wall_s > NO_WORK_S


def _chunk_span(entry: LedgerEntry, began_s: float) -> Span:
    read_s = min(entry.read_s, entry.wall_s)
    score_s = min(entry.score_s, entry.wall_s - read_s)
    keep_s = min(entry.keep_s, entry.wall_s - read_s - score_s)
    return Span(
        start_s=max(entry.started_s - began_s, 0.0),
        read_s=read_s,
        compute_s=entry.wall_s - read_s - score_s - keep_s,
        score_s=score_s,
        keep_s=keep_s,
        failed=entry.status == "failed",
    )


def _lanes(worker: str, spans: Sequence[Span]) -> list[tuple[str, tuple[Span, ...]]]:
    """The spans of a process, in as many lanes as it worked on chunks at once."""
    lanes: list[list[Span]] = []
    free: list[tuple[float, int]] = []
    for span in sorted(spans, key=lambda span: span.start_s):
        if free and free[0][0] <= span.start_s + min(OVERLAP_S, span.wall_s / 2):
            _, lane = heapq.heappop(free)
            lanes[lane].append(span)
        else:
            lane = len(lanes)
            lanes.append([span])
        heapq.heappush(free, (span.stop_s, lane))
    name = worker or "worker"
    return [(f"{name} [{index + 1}]" if len(lanes) > 1 else name, tuple(lane)) for index, lane in enumerate(lanes)]


def _union(spans: Sequence[Span]) -> list[tuple[float, float]]:
    """Disjoint intervals in time that cover the spans."""
    found: list[tuple[float, float]] = []
    for span in spans:
        if found and span.start_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], span.stop_s))
        else:
            found.append((span.start_s, span.stop_s))
    return found


def _overlap(start: float, stop: float, intervals: Sequence[tuple[float, float]]) -> float:
    first = max(bisect_right(intervals, (start, float("inf"))) - 1, 0)
    total = 0.0
    for low, high in intervals[first:]:
        if low >= stop:
            break
        total += max(min(high, stop) - max(low, start), 0.0)
    return total


def _time_of(lane: Sequence[Span], wall_s: float, merging: Sequence[tuple[float, float]]) -> WorkerTime:
    waiting = driver = 0.0
    stops = lane[0].stop_s
    for span in lane[1:]:
        if span.start_s > stops:
            merged = _overlap(stops, span.start_s, merging)
            driver += merged
            waiting += span.start_s - stops - merged
        stops = max(stops, span.stop_s)
    merged = _overlap(stops, wall_s, merging)
    return WorkerTime(
        read_s=sum(span.read_s for span in lane),
        compute_s=sum(span.compute_s for span in lane),
        score_s=sum(span.score_s for span in lane),
        merge_s=sum(span.merge_s for span in lane),
        keep_s=sum(span.keep_s for span in lane),
        starting_s=lane[0].start_s,
        driver_merge_s=driver + merged,
        waiting_s=waiting,
        finished_s=max(wall_s - stops - merged, 0.0),
    )


def _sum(times: Sequence[WorkerTime]) -> WorkerTime:
    columns = [asdict(time) for time in times]
    return WorkerTime(**{name: sum(column[name] for column in columns) for name in asdict(WorkerTime())})
