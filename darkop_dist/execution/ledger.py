"""The ledger: every chunk once, with what became of it, and whether each dataset is closed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from darkop_dist.errors import InputFileError, LedgerError, UnknownNameError
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.ledger/2"
Status = Literal["done", "retried", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What became of one chunk.

    Attributes:
        index: place in the plan.
        dataset: name of the dataset.
        file: path of the file.
        start: first entry.
        stop: one past the last entry.
        status: ``done``; ``retried`` and then done; ``failed``; ``skipped``, which is a file that holds no rows.
        reason: why it was retried, failed or skipped, one reason per attempt that failed; empty otherwise.
        attempts: how often it was tried.
        entries: entries that were processed.
        selected: events selected, by region.
        sum_weights: generated weight that the chunk stands for; None for data or where the file does not say.
        wall_s: seconds on the clock.
        cpu_s: seconds of processor time.
        bytes: size of the part of the file that the chunk covers.
        fingerprint: of the operator; None without one.
        planned_weights: generated weight of the chunk by the file's own account; None for data or where it has none.
        worker: who processed it: the address of a Dask worker or the number of a process.
        started_s: when that began, in seconds since 1970.
        read_s: seconds of ``wall_s`` that went into reading.
        score_s: seconds of ``wall_s`` that went into waiting for scores.
        replica_of: the file as it was planned, where ``file`` is another copy of it; empty otherwise.
        keep_s: seconds of ``wall_s`` that went into packing and writing the result; without the writing where the
            result was taken over from an earlier run.
        sections: for collision data the luminosity sections of the chunk with the events in each, as
            ``Sections.to_plain`` writes them; of a chunk that failed those that it holds, where they could be read
            nevertheless; None where they are not known.
        scored_by: events that were scored, by the way in which: ``local``, the address of a server, or
            ``local (fallback)`` where a server did not answer; empty without an operator.
    """

    index: int
    dataset: str
    file: str
    start: int
    stop: int
    status: Status
    reason: str
    attempts: int
    entries: int
    selected: Mapping[str, int]
    sum_weights: float | None
    wall_s: float
    cpu_s: float
    bytes: int
    fingerprint: str | None
    planned_weights: float | None = None
    worker: str = ""
    started_s: float = 0.0
    read_s: float = 0.0
    score_s: float = 0.0
    replica_of: str = ""
    keep_s: float = 0.0
    sections: Mapping[str, Sequence[Sequence[int]]] | None = None
    scored_by: Mapping[str, int] = field(default_factory=dict)

    @property
    def planned_file(self) -> str:
        """The file of the plan, from whatever copy it was read."""
        return self.replica_of or self.file


@dataclass(frozen=True)
class Closure:
    """Whether all entries of a dataset are accounted for.

    Attributes:
        dataset: name of the dataset.
        files: number of files.
        chunks: number of chunks.
        failed: number of chunks that failed.
        expected: entries in the files, from the plan.
        processed: entries processed.
        lost: entries of failed chunks, as far as they are known.
        files_lost: files that could not be opened and of which nobody knows how many entries they hold.
        sum_weights: generated weight of what was processed; None for data.
        lost_weights: generated weight of failed chunks, as far as it is known; None for data.
        files_without_weight: files of simulation that hold no rows and therefore do not say what was generated.
    """

    dataset: str
    files: int
    chunks: int
    failed: int
    expected: int
    processed: int
    lost: int
    files_lost: int
    sum_weights: float | None
    lost_weights: float | None
    files_without_weight: int

    @property
    def closed(self) -> bool:
        """Everything expected was processed."""
        return self.expected == self.processed and self.failed == 0

    @property
    def loss(self) -> str:
        """What was lost, in words.

        >>> Closure("mc", 2, 9, 3, 900, 800, 100, 1, None, None, 0).loss
        '100 of 900 entries in 2 chunks, and 1 file whose entries nobody knows'
        """
        chunks = self.failed - self.files_lost
        text = f"{self.lost} of {self.expected} entries in {chunks} chunk{'s' if chunks != 1 else ''}"
        files = f"{self.files_lost} file{'s' if self.files_lost != 1 else ''} whose entries nobody knows"
        if not self.files_lost:
            return text
        return f"{text}, and {files}" if chunks else files


@dataclass(frozen=True)
class Ledger:
    """All chunks of a run, in the order of the plan."""

    entries: tuple[LedgerEntry, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over what was processed: not over times, so that equal runs have equal digests."""
        content = [
            [
                e.index,
                e.dataset,
                Path(e.planned_file).name,
                e.start,
                e.stop,
                e.status == "failed",
                e.entries,
                e.sum_weights,
                *([] if e.sections is None else [e.sections]),
            ]
            for e in self.entries
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def scored_by(self) -> dict[str, int]:
        """Events that were scored, by the way in which; not part of the digest, since every way gives the same."""
        total: dict[str, int] = {}
        for entry in self.entries:
            for way, events in entry.scored_by.items():
                total[way] = total.get(way, 0) + events
        return total

    @property
    def scored_sentence(self) -> str:
        """Where scores came from, if anybody but this process gave any; empty otherwise."""
        total = self.scored_by
        if set(total) <= {"local"}:
            return ""
        ways = [
            f"{events} by {way} in {_count(sum(way in entry.scored_by for entry in self.entries), 'chunk')}"
            for way, events in sorted(total.items(), key=lambda pair: -pair[1])
        ]
        return f"events scored: {', '.join(ways)}"

    def closure(self) -> tuple[Closure, ...]:
        """One closure per dataset, in the order of the plan."""
        datasets = dict.fromkeys(entry.dataset for entry in self.entries)
        return tuple(_closure(name, [e for e in self.entries if e.dataset == name]) for name in datasets)

    def require_closed(self, accepted: Iterable[str] = ()) -> None:
        """Refuse to go on with events missing.

        Args:
            accepted: datasets whose loss the user accepts by name.

        Raises:
            UnknownNameError: an accepted name is no dataset of the run.
            LedgerError: names each open dataset, what it lost and why.
        """
        accepted, known = set(accepted), [closure.dataset for closure in self.closure()]
        for name in sorted(accepted.difference(known)):
            raise UnknownNameError("dataset", name, known, f"The run has {', '.join(known)}.")
        missing = [c for c in self.closure() if not c.closed and c.dataset not in accepted]
        if not missing:
            return
        lines = [f"  {c.dataset}: lost {c.loss}" for c in missing]
        reasons = sorted({f"  {e.file} [{e.start}:{e.stop}]: {e.reason}" for e in self.entries if e.status == "failed"})
        options = " ".join(f"--accept-loss {c.dataset}" for c in missing)
        raise LedgerError(
            "\n".join(["the ledger is not closed:", *lines, *reasons[:10]])
            + f"\nRepair the files and run again with --resume, or accept the loss by name: {options}"
        )

    def save(self, path: Path) -> None:
        """Write ledger.json."""
        closure = [{**asdict(c), "closed": c.closed} for c in self.closure()]
        content: dict[str, Any] = {"digest": self.digest, "closure": closure}
        write_json(path, SCHEMA, {**content, "entries": [asdict(entry) for entry in self.entries]})


def load_ledger(path: Path) -> Ledger:
    """Read what ``Ledger.save`` wrote.

    Raises:
        InputFileError: the file is missing, damaged or does not match its digest.
    """
    body: dict[str, Any] = read_json(path, SCHEMA)
    try:
        ledger = Ledger(tuple(LedgerEntry(**entry) for entry in body["entries"]))
    except (KeyError, TypeError) as error:
        raise InputFileError(str(path), f"is damaged ({error})", "Run the search again.") from error
    if ledger.digest != body.get("digest"):
        raise InputFileError(str(path), "does not match its own digest", "Run the search again.")
    return ledger


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _closure(name: str, entries: Sequence[LedgerEntry]) -> Closure:
    weights = [entry.sum_weights for entry in entries if entry.sum_weights is not None]
    failed = [entry for entry in entries if entry.status == "failed"]
    planned = [entry.planned_weights for entry in failed if entry.planned_weights is not None]
    return Closure(
        dataset=name,
        files=len({entry.planned_file for entry in entries}),
        chunks=len(entries),
        failed=len(failed),
        expected=sum(entry.stop - entry.start for entry in entries),
        processed=sum(entry.entries for entry in entries),
        lost=sum(entry.stop - entry.start for entry in failed),
        files_lost=sum(1 for entry in failed if entry.stop == entry.start),
        sum_weights=sum(weights) if weights else None,
        lost_weights=(sum(planned) if planned or not failed else None) if weights else None,
        files_without_weight=sum(1 for entry in entries if entry.status == "skipped" and entry.sum_weights is None)
        if weights
        else 0,
    )
