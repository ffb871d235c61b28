"""The processor over the first events of a dataset: what would fail after hours fails here."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from darkop_dist.errors import DarkopError, InputFileError
from darkop_dist.execution import DatasetFiles, Task, attempt_chunk, plan_chunks
from darkop_dist.execution.chunk import Attempt
from darkop_dist.histograms.packed import Packed, unpack

FIRST_EVENTS = 100
FILES_TRIED = 50
LONG_ENOUGH_S = 0.4
PATIENCE_S = 6.0
SIZES = (250, 1_000, 4_000, 16_000, 64_000, 250_000)
TRACED_EVENTS = 8_000
TRACED_S = 0.5


@dataclass(frozen=True)
class Trial:
    """What the first events of a dataset gave.

    Attributes:
        dataset: the dataset with its files.
        task: the first events of its first file that holds rows.
        entries: rows of that file.
        output: what the processor returned.
        packed_bytes: size of the result as it is kept; 0 where it cannot be packed.
        selected: events selected, by region.
    """

    dataset: DatasetFiles
    task: Task
    entries: int
    output: Any
    packed_bytes: int
    selected: dict[str, int]

    @property
    def expected_entries(self) -> int:
        """Entries of all files: promised by the record, or as many in each as in the first."""
        promised, record = self.dataset.promised, self.dataset.record
        if set(self.dataset.paths) <= promised.keys():
            return sum(promised[path] for path in self.dataset.paths)
        return record.events if record.events is not None else self.entries * len(self.dataset.paths)

    @property
    def largest_file(self) -> int:
        """Entries of the largest file that is known of, or of an average one."""
        average = -(-self.expected_entries // len(self.dataset.paths))
        return max([self.entries, average, *self.dataset.promised.values()])


@dataclass(frozen=True)
class Cost:
    """What events cost, measured on some of them.

    Attributes:
        events: the largest sample.
        fixed_s: seconds of a chunk that do not depend on its size.
        event_s: seconds per event.
        memory_bytes: memory of this process without events.
        event_bytes: memory at the peak, per event of a chunk.
        packed_bytes: size of the sample's result as it is kept.
    """

    events: int
    fixed_s: float
    event_s: float
    memory_bytes: int
    event_bytes: float
    packed_bytes: int

    def seconds(self, events: int) -> float:
        """Time for a chunk of so many events."""
        return self.fixed_s + self.event_s * events

    def memory(self, events: int) -> float:
        """Bytes at the peak of a chunk of so many events."""
        return self.memory_bytes + self.event_bytes * events


def try_dataset(dataset: DatasetFiles, processor: Any) -> Trial:
    """Open the first file with rows and process its first events.

    Raises:
        UserError: the file cannot be used, or lacks what the processor needs.
        RunError: the processor failed.
    """
    task = _first_task(dataset)
    first = _of_size(task, FIRST_EVENTS)
    attempt = attempt_chunk(first, processor)
    if attempt.kind != "done":
        raise InputFileError(task.chunk.path, attempt.entry.reason, "Repair the file, or leave it out.")
    output = unpack(Packed.from_bytes(attempt.data))["output"] if attempt.data is not None else attempt.loose
    size = len(attempt.data or b"")
    return Trial(dataset, task, task.chunk.file_entries, output, size, dict(attempt.entry.selected))


def measure_cost(trial: Trial, processor: Any, chunk_events: int) -> Cost:
    """Seconds and bytes per event, from samples that grow fourfold until one takes long enough.

    Memory per event is the larger of what Python's allocator traces between two sizes and of what the process grew by
    between the last two samples. Both see some thousand events and are scaled, so it is an estimate.

    Args:
        trial: of the dataset.
        processor: the processor.
        chunk_events: events of the largest chunk.
    """
    most = min(trial.entries, chunk_events)
    samples = [_Sample(0, 0.0, _resident(), 0)]
    for events in sorted({min(size, most) for size in SIZES}):
        samples.append(_timed(trial, processor, events))
        if _is_long_enough(samples):
            break
    last, previous = samples[-1], samples[-2]
    event_s = (last.seconds - previous.seconds) / (last.events - previous.events)
    if event_s <= 0.0:  # a chunk's fixed cost and noise hide that of the events: an upper bound then
        event_s = last.seconds / last.events
    grown = max(last.peak_bytes - previous.peak_bytes, 0) / (last.events - previous.events)
    traced_events = max(min(last.events, TRACED_EVENTS, int(TRACED_S / (event_s or 1e-9))), min(last.events, 200))
    event_bytes = max(grown, _traced_bytes(trial, processor, traced_events))
    base = max(round(last.peak_bytes - event_bytes * last.events), samples[0].peak_bytes)
    fixed_s = max(last.seconds - event_s * last.events, 0.0)
    return Cost(last.events, fixed_s, event_s, base, event_bytes, last.packed_bytes)


def _is_long_enough(samples: list[_Sample]) -> bool:
    """The last sample takes its time for its events, not for what any chunk costs; or patience ends."""
    first, last = samples[1].seconds, samples[-1].seconds
    whole = sum(sample.seconds for sample in samples)
    return whole > PATIENCE_S or (len(samples) > 2 and last > max(LONG_ENOUGH_S, 2 * first))


@dataclass(frozen=True)
class _Sample:
    events: int
    seconds: float
    peak_bytes: int
    packed_bytes: int


def _timed(trial: Trial, processor: Any, events: int) -> _Sample:
    peak, began = _Peak(), time.perf_counter()
    attempt = _sample(trial, processor, events)
    return _Sample(events, time.perf_counter() - began, peak.bytes or _resident(), len(attempt.data or b""))


def _traced_bytes(trial: Trial, processor: Any, events: int) -> float:
    """Bytes per event between a quarter of the events and all of them."""
    peaks = []
    for number in (max(events // 4, 1), events):
        with _traced() as traced:
            _sample(trial, processor, number)
        peaks.append(traced[0])
    return max(peaks[1] - peaks[0], 0) / max(events - max(events // 4, 1), 1)


def _sample(trial: Trial, processor: Any, events: int) -> Attempt:
    attempt = attempt_chunk(_of_size(trial.task, events), processor)
    if attempt.kind != "done":
        raise InputFileError(trial.task.chunk.path, attempt.entry.reason, "Repair the file, or leave it out.")
    return attempt


def _first_task(dataset: DatasetFiles) -> Task:
    """The whole of the first file that holds rows; skims have files without."""
    problem: DarkopError | None = None
    for path in dataset.paths[:FILES_TRIED]:
        try:
            chunk = plan_chunks([replace(dataset, paths=(path,))], chunk_events=1, whole_files=True)[0]
        except InputFileError as error:
            if not (dataset.record.allow_empty and "holds an event" in error.problem):
                raise
            problem = error
            continue
        return Task(chunk, dataset.record.model_copy(update={"files": ()}), 0, None, access=dataset.access)
    raise problem or InputFileError(dataset.record.name, "the dataset has no files", "Name its files.")


def _of_size(task: Task, events: int) -> Task:
    return replace(task, chunk=replace(task.chunk, stop=min(events, task.chunk.file_entries)))


@contextmanager
def _traced() -> Iterator[list[int]]:
    """Peak of what Python's allocator gave out meanwhile."""
    found = [0]
    tracemalloc.start()
    try:
        yield found
    finally:
        found[0] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


class _Peak:
    """The most memory that this process held since, where Linux tells it."""

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._works = True
        except OSError:
            self._works = False

    @property
    def bytes(self) -> int:
        if not self._works:
            return 0
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
