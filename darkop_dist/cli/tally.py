"""Counting chunks as they come: how much is done, how fast, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darkop_dist.execution import Chunk, ChunkResult


@dataclass
class Tally:
    """What has become of the chunks of a dataset, or of all of them.

    Attributes:
        name: name of the dataset.
        chunks: number of chunks in the plan.
        entries: number of entries in the plan.
        done: chunks that are known, failed ones included.
        failed: chunks that were given up.
        retried: chunks that needed more than one attempt and were then done.
        earlier: chunks whose results an earlier run had left; they count as done but not for the speed.
        events: events processed in this run.
        bytes: size of the parts of files that were processed in this run, whatever columns of them were read.
        left: entries of which nothing is known yet.
        began_s: when the first chunk began, on the clock of the caller; None before.
        last_s: when the last chunk became known.
    """

    name: str
    chunks: int = 0
    entries: int = 0
    done: int = 0
    failed: int = 0
    retried: int = 0
    earlier: int = 0
    events: int = 0
    bytes: int = 0
    left: int = 0
    began_s: float | None = None
    last_s: float = 0.0
    _tried: int = 0

    @property
    def complete(self) -> bool:
        """Every chunk is known."""
        return self.done >= self.chunks

    def plan(self, chunk: Chunk) -> None:
        """Expect a chunk."""
        entries = chunk.stop - chunk.start
        self.chunks += 1
        self.entries += entries
        self.left += entries

    def add(self, result: ChunkResult, now_s: float) -> None:
        """Count a chunk.

        Args:
            result: what became of it.
            now_s: the caller's clock.
        """
        entry = result.entry
        entries = entry.stop - entry.start
        self.done += 1
        self.left -= entries
        self.last_s = now_s
        self.failed += entry.status == "failed"
        if result.kept:
            self.earlier += 1
            return
        if self.began_s is None:
            self.began_s = now_s - entry.wall_s
        self.retried += entry.status == "retried"
        self.events += entry.entries
        self._tried += entries
        self.bytes += entry.bytes if entry.status != "failed" else 0

    def seconds(self, now_s: float) -> float:
        """Seconds since the first chunk began, or that all of them took."""
        return (self.last_s if self.complete else now_s) - self.began_s if self.began_s is not None else 0.0

    def events_per_s(self, now_s: float) -> float | None:
        """Events processed per second; None before the first."""
        return self.events / self.seconds(now_s) if self.seconds(now_s) > 0 else None

    def bytes_per_s(self, now_s: float) -> float | None:
        """Bytes of files gone through per second, read or not; None before the first, or where no size is known."""
        return self.bytes / self.seconds(now_s) if self.bytes and self.seconds(now_s) > 0 else None

    def left_s(self, now_s: float) -> float | None:
        """Seconds that the rest will take at the speed so far; None before the first chunk.

        A chunk takes some time for itself and some per event: the mean of what chunks and entries say is used.
        """
        if self.complete:
            return 0.0
        tried = self.done - self.earlier
        if not tried:
            return None
        by_chunks = (self.chunks - self.done) / tried
        by_entries = self.left / self._tried if self._tried else by_chunks
        return (by_chunks + by_entries) / 2 * self.seconds(now_s)

    def closing_line(self, now_s: float) -> str:
        """What was done, how fast, and what went wrong, in one line."""
        chunks = f"{self.done}" if self.complete else f"{self.done} of {self.chunks}"
        seconds = self.seconds(now_s)
        spent = f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.3g}"
        parts = [f"{chunks} chunks, {self.events} events in {spent} s"]
        rates = [
            short_number(rate, unit)
            for rate, unit in (
                (self.events_per_s(now_s), " events/s"),
                (self.bytes_per_s(now_s), "B/s of files covered"),
            )
            if rate is not None
        ]
        parts += [", ".join(rates)] if rates else []
        counts = (("failed", self.failed), ("retried", self.retried), ("from an earlier run", self.earlier))
        parts += [f"{count} {what}" for what, count in counts if count]
        return "; ".join(parts)


def by_dataset(chunks: Sequence[Chunk]) -> dict[str, Tally]:
    """A tally per dataset, in the order of the plan."""
    found: dict[str, Tally] = {}
    for chunk in chunks:
        found.setdefault(chunk.dataset, Tally(chunk.dataset)).plan(chunk)
    return found


def short_number(value: float, unit: str = "") -> str:
    """A number with three digits, the prefix of its unit and the unit; a unit of words begins with a space.

    >>> short_number(950, "B"), short_number(48_231, " events"), short_number(1.2e7, "B/s")
    ('950 B', '48.2 k events', '12 MB/s')
    """
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * factor:
            return f"{_three_digits(value / factor)} {prefix}{unit}"
    return f"{_three_digits(value)} {unit.strip()}".strip()


def duration(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> duration(8.4), duration(185), duration(7385), duration(200_000)
    ('0:08', '3:05', '2:03:05', '2 d 7 h')
    """
    whole = round(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"
