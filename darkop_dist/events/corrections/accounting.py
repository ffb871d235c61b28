"""Which luminosity was processed: certified sections, those that were not seen, seen twice, or seen in part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt

from darkop_dist.events.corrections.certified import CertifiedSections
from darkop_dist.events.corrections.luminosity_table import LuminosityTable
from darkop_dist.events.corrections.sections import NO_SECTIONS, Sections, total

Ranges = dict[str, list[list[int]]]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """What became of a chunk of collision data.

    Attributes:
        file: the file as it was planned.
        start: first entry.
        sections: what the chunk holds; None where that is not known.
        lost: it was not processed.
    """

    file: str
    start: int
    sections: Sections | None
    lost: bool


@dataclass(frozen=True)
class RunLumi:
    """One run of one dataset.

    Attributes:
        run: its number.
        sections: sections that were processed.
        certified: those of them that are certified.
        events: events in the certified sections.
        uncertified_events: events in the others.
        unseen: certified sections that were not processed.
        delivered_ub: in the certified sections that were processed, in 1/ub; None without a table.
        recorded_ub: likewise, recorded.
        unseen_ub: recorded in the certified sections that were not processed.
    """

    run: int
    sections: int
    certified: int
    events: int
    uncertified_events: int
    unseen: int
    delivered_ub: float | None
    recorded_ub: float | None
    unseen_ub: float | None


@dataclass(frozen=True)
class DatasetLumi:
    """Luminosity of one dataset.

    Attributes:
        dataset: its name.
        runs: by run, in rising order; runs of which nothing was seen are left out.
        unseen_runs: certified runs of which nothing was seen.
        unseen: certified sections of seen runs that were not processed, as ranges by run.
        uncertified: sections that were processed and are not certified.
        repeated: sections that several files hold.
        repeated_files: those files.
        partial: sections of which some entries were lost; they count by the fraction that was processed.
        doubtful: sections beside a loss whose sections nobody knows; they may be incomplete and count in full.
        uncounted: sections without events in files that lost entries: whether their events were lost is not known, so
            they do not count.
        no_luminosity: certified sections that were processed and that the table lacks.
        unknown_losses: lost chunks whose sections are not known.
        unknown_chunks: processed chunks whose files do not number sections.
        fractions: certified sections that count, with the fraction; not written.
    """

    dataset: str
    runs: tuple[RunLumi, ...]
    unseen_runs: int
    unseen: Ranges
    uncertified: Ranges
    repeated: Ranges
    repeated_files: tuple[str, ...]
    partial: Ranges
    doubtful: Ranges
    uncounted: Ranges
    no_luminosity: Ranges
    unknown_losses: int
    unknown_chunks: int
    fractions: Mapping[int, float] = field(repr=False, compare=False)

    @property
    def recorded_ub(self) -> float | None:
        """Recorded luminosity of the certified sections that were processed, in 1/ub."""
        return _sum(run.recorded_ub for run in self.runs)

    @property
    def delivered_ub(self) -> float | None:
        """Delivered luminosity of the same, in 1/ub."""
        return _sum(run.delivered_ub for run in self.runs)


def account(
    dataset: str, parts: Sequence[Part], certified: CertifiedSections | None, table: LuminosityTable | None
) -> DatasetLumi:
    """Account for the luminosity of a dataset.

    A section counts if it is certified and was processed; one of which a chunk was lost counts by the fraction of its
    entries that was processed, if the lost chunk's sections could be read. Events that nobody can assign to a section
    change nothing: the sections beside them are named.

    Args:
        dataset: its name.
        parts: all of its chunks.
        certified: sections that may be used; None for all.
        table: luminosity by section; None where it is not known.
    """
    done = total(part.sections for part in parts if part.sections is not None and not part.lost)
    lost = total(part.sections for part in parts if part.sections is not None and part.lost)
    files = {name: list(found) for name, found in groupby(sorted(parts, key=_place), key=lambda part: part.file)}
    uncounted = _empty_beside_losses(files, done)
    seen = done.where(~uncounted.holds(done.keys))
    good = np.ones(len(seen), np.bool_) if certified is None else certified.contain(seen.runs, seen.numbers)
    counted = seen.where(good)
    missing = _at(lost, counted)
    fractions = np.where(missing > 0, counted.events / np.maximum(counted.events + missing, 1), 1.0)
    wanted = counted if certified is None else certified.sections()
    unseen = wanted.where(~counted.holds(wanted.keys))
    in_seen_runs = unseen.where(np.isin(unseen.runs, seen.runs))
    repeated, holders = _repeated(files)
    return DatasetLumi(
        dataset=dataset,
        runs=_by_run(seen, good, fractions, in_seen_runs, table),
        unseen_runs=len(set(unseen.runs.tolist()) - set(seen.runs.tolist())),
        unseen=in_seen_runs.ranges(),
        uncertified=seen.where(~good).ranges(),
        repeated=repeated.ranges(),
        repeated_files=holders,
        partial=counted.where(missing > 0).ranges(),
        doubtful=_beside_losses(files).ranges(),
        uncounted=uncounted.ranges(),
        no_luminosity={} if table is None else counted.where(np.isnan(table.of(counted)[1])).ranges(),
        unknown_losses=sum(part.lost and part.sections is None for part in parts),
        unknown_chunks=sum(not part.lost and part.sections is None for part in parts),
        fractions=dict(zip(counted.keys.tolist(), fractions.tolist(), strict=True)),
    )


def luminosity_of_all(datasets: Sequence[DatasetLumi], table: LuminosityTable) -> float:
    """Recorded luminosity in 1/ub of the sections that any of the datasets holds; a section counts once."""
    best: dict[int, float] = {}
    for dataset in datasets:
        for key, fraction in dataset.fractions.items():
            best[key] = max(best.get(key, 0.0), fraction)
    keys = np.asarray(sorted(best), np.int64)
    found = Sections(keys >> 32, keys & 0xFFFFFFFF, np.zeros(len(keys), np.int64))
    recorded = np.nan_to_num(table.of(found)[1])
    return math.fsum(value * best[key] for key, value in zip(keys.tolist(), recorded.tolist(), strict=True))


def _place(part: Part) -> tuple[str, int]:
    return part.file, part.start


def _at(sections: Sections, others: Sections) -> Numbers:
    """Events that some sections have in others' places; 0 where they are not among them."""
    known = dict(zip(sections.keys.tolist(), sections.events.tolist(), strict=True))
    return np.asarray([known.get(key, 0) for key in others.keys.tolist()], np.float64)


def _empty_beside_losses(files: Mapping[str, Sequence[Part]], done: Sections) -> Sections:
    """Sections without a processed event that only files with unknown losses hold."""
    damaged: list[Sections] = []
    whole: list[Sections] = []
    for parts in files.values():
        unknown = any(part.lost and part.sections is None for part in parts)
        for part in parts:
            if part.sections is not None:
                (damaged if unknown or part.lost else whole).append(part.sections)
    empty = done.where(done.events == 0)
    suspect, sure = total(damaged), total(whole)
    return empty.where(suspect.holds(empty.keys) & ~sure.holds(empty.keys))


def _beside_losses(files: Mapping[str, Sequence[Part]]) -> Sections:
    """The last section before and the first after each loss whose own sections are not known."""
    found = []
    for parts in files.values():
        for place, part in enumerate(parts):
            if not part.lost or part.sections is not None:
                continue
            for step, end in ((-1, -1), (1, 0)):
                beside = parts[place + step] if 0 <= place + step < len(parts) else None
                if beside is not None and beside.sections is not None and not beside.lost:
                    filled = beside.sections.where(beside.sections.events > 0)
                    found.append(filled.where(np.arange(len(filled)) == (end % max(len(filled), 1))))
    return total(found)


def _repeated(files: Mapping[str, Sequence[Part]]) -> tuple[Sections, tuple[str, ...]]:
    """Sections with events in several files, and those files."""
    held = {
        name: total(part.sections for part in parts if part.sections is not None and not part.lost)
        for name, parts in files.items()
    }
    filled = {name: sections.where(sections.events > 0) for name, sections in held.items()}
    if not filled:
        return NO_SECTIONS, ()
    keys, counts = np.unique(np.concatenate([found.keys for found in filled.values()]), return_counts=True)
    twice = keys[counts > 1]
    events = total(filled.values())
    names = tuple(name for name, found in filled.items() if np.isin(found.keys, twice).any())
    return events.where(np.isin(events.keys, twice)), names


def _by_run(
    seen: Sections,
    good: npt.NDArray[np.bool_],
    fractions: Numbers,
    unseen: Sections,
    table: LuminosityTable | None,
) -> tuple[RunLumi, ...]:
    counted = seen.where(good)
    delivered, recorded = (None, None) if table is None else table.of(counted)
    absent = None if table is None else table.of(unseen)[1]

    def sum_of(values: Numbers | None, mask: npt.NDArray[np.bool_], weights: Numbers | float = 1.0) -> float | None:
        return None if values is None else math.fsum(np.nan_to_num(values * weights)[mask].tolist())

    found = []
    for run in np.unique(seen.runs):
        here, counts = seen.runs == run, counted.runs == run
        missing = unseen.runs == run
        found.append(
            RunLumi(
                run=int(run),
                sections=int(here.sum()),
                certified=int(counts.sum()),
                events=int(seen.events[here & good].sum()),
                uncertified_events=int(seen.events[here & ~good].sum()),
                unseen=int(missing.sum()),
                delivered_ub=sum_of(delivered, counts, fractions),
                recorded_ub=sum_of(recorded, counts, fractions),
                unseen_ub=sum_of(absent, missing),
            )
        )
    return tuple(found)


def _sum(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) if numbers else None
