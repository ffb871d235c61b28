"""The luminosity that a run processed: written beside its ledger, shown, and used where the document asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from darkop_dist.config import Corrections
from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.corrections.accounting import DatasetLumi, Part, RunLumi, account, luminosity_of_all
from darkop_dist.events.corrections.certified import read_certified
from darkop_dist.events.corrections.luminosity_table import UB_PER_FB, read_luminosity
from darkop_dist.events.corrections.sections import Sections
from darkop_dist.execution import Ledger, LedgerEntry
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.lumi/1"
DIFFERENT = 0.001
"""Relative difference of luminosities that is worth a sentence."""
SHOWN = 5


@dataclass(frozen=True)
class Luminosity:
    """Luminosity of all collision data of a run.

    Attributes:
        datasets: by dataset.
        recorded_ub: recorded luminosity in 1/ub of the certified sections that were processed, each section once
            however many datasets hold it; None without a table.
        certified: whether there is a list of certified sections.
        ledger_digest: of the ledger that it was made with.
    """

    datasets: tuple[DatasetLumi, ...]
    recorded_ub: float | None
    certified: bool
    ledger_digest: str

    @property
    def recorded_ifb(self) -> float | None:
        """The same in 1/fb."""
        return None if self.recorded_ub is None else self.recorded_ub / UB_PER_FB

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it; of the luminosity of each dataset the sums as well."""
        datasets = []
        for found in self.datasets:
            content = {key: value for key, value in asdict(found).items() if key != "fractions"}
            datasets.append({**content, "delivered_ub": found.delivered_ub, "recorded_ub": found.recorded_ub})
        return {
            "recorded_ub": self.recorded_ub,
            "recorded_ifb": self.recorded_ifb,
            "certified": self.certified,
            "ledger_digest": self.ledger_digest,
            "datasets": datasets,
        }


def write_luminosity(section: Corrections, data: Sequence[str], ledger: Ledger, path: Path) -> Luminosity | None:
    """Account for the luminosity of a run and write lumi.json.

    Args:
        section: the document's corrections.
        data: names of the datasets of collision data.
        ledger: what became of every chunk.
        path: where it goes; nothing is written where no file numbers its sections.

    Raises:
        InputFileError: a list or a table cannot be used.
        OutputError: the file cannot be written.
    """
    if not any(entry.sections for entry in ledger.entries):
        path.unlink(missing_ok=True)
        return None
    certified = read_certified(section.golden_json) if section.golden_json else None
    table = read_luminosity(section.luminosity_csv) if section.luminosity_csv else None
    datasets = tuple(
        account(name, [_part(entry) for entry in ledger.entries if entry.dataset == name], certified, table)
        for name in data
    )
    total = None if table is None else luminosity_of_all(datasets, table)
    found = Luminosity(datasets, total, certified is not None, ledger.digest)
    write_json(path, SCHEMA, found.to_plain())
    return found


def load_luminosity(path: Path) -> Luminosity:
    """Read what ``write_luminosity`` wrote.

    Raises:
        InputFileError: the file is missing or damaged.
    """
    body: Any = read_json(path, SCHEMA)
    try:
        datasets = tuple(map(_dataset, body["datasets"]))
        return Luminosity(datasets, body["recorded_ub"], body["certified"], body["ledger_digest"])
    except (KeyError, TypeError) as error:
        raise InputFileError(str(path), f"is damaged ({error})", "Run the search again.") from error


def measured_ifb(found: Luminosity | None) -> float:
    """The luminosity in 1/fb to which simulation is normalised where the document says that it is measured.

    Raises:
        InputValueError: it is not known, or nothing was recorded.
    """
    if found is None or found.recorded_ifb is None or found.recorded_ifb <= 0:
        problem = "no luminosity was recorded in the certified sections that were processed"
        raise InputValueError("lumi_ifb: measured", problem, "Compare the files with the golden JSON and the table")
    blind = [dataset.dataset for dataset in found.datasets if dataset.unknown_chunks]
    if blind:
        problem = f"files of {', '.join(blind)} do not number their luminosity sections"
        raise InputValueError("lumi_ifb: measured", problem, "Give the luminosity as a number")
    return found.recorded_ifb


def require_distinct(section: Corrections, found: Luminosity | None) -> None:
    """Refuse to go on with sections that several files hold, if the document says so.

    Raises:
        InputValueError: names the dataset, its sections and files.
    """
    for dataset in found.datasets if found is not None and section.repeated_sections == "refuse" else ():
        if dataset.repeated:
            what = "Remove the copies, or set corrections.repeated_sections to warn"
            raise InputValueError(f"dataset {dataset.dataset}", _repeated(dataset), what)


def luminosity_sentences(found: Luminosity, stated_ifb: float | None) -> Iterator[str]:
    """What a reader must know of the luminosity.

    Args:
        found: what was processed.
        stated_ifb: the document's luminosity in 1/fb; None where it is not stated.
    """
    measured = found.recorded_ifb
    if measured is not None and stated_ifb is not None and abs(measured / stated_ifb - 1) > DIFFERENT:
        kind = "certified sections" if found.certified else "sections"
        yield (
            f"The document states {stated_ifb:.5g}/fb, and simulation is normalised to that; the {kind} that were "
            f"processed hold {measured:.5g}/fb ({measured / stated_ifb - 1:+.2%})."
        )
    for dataset in found.datasets:
        yield from _sentences(dataset)
        own = dataset.recorded_ub
        overlapping = sum(other.recorded_ub or 0.0 for other in found.datasets) > (found.recorded_ub or 0) * (1 + 1e-9)
        if overlapping and own is not None and found.recorded_ub and own < found.recorded_ub * (1 - DIFFERENT):
            yield (
                f"{dataset.dataset} shares sections with other data and holds {own / UB_PER_FB:.5g}/fb of the "
                f"{found.recorded_ub / UB_PER_FB:.5g}/fb of all."
            )


def _sentences(dataset: DatasetLumi) -> Iterator[str]:
    name = dataset.dataset
    events = sum(run.uncertified_events for run in dataset.runs)
    if dataset.uncertified:
        yield f"{name}: {events} events were left out: {_named(dataset.uncertified)} not certified."
    if dataset.unseen:
        yield f"{name}: {_named(dataset.unseen)} of its runs are certified and were not in the files."
    if dataset.repeated:
        yield f"{name}: {_repeated(dataset)}."
    if dataset.partial:
        yield (
            f"{name}: {_named(dataset.partial)} were processed in part; their luminosity counts by the fraction of "
            "their entries that was."
        )
    if dataset.doubtful:
        yield (
            f"{name}: {dataset.unknown_losses} chunks were lost whose sections nobody knows: "
            f"{_named(dataset.doubtful)} beside them may be incomplete and count in full."
        )
    elif dataset.unknown_losses:
        yield f"{name}: {dataset.unknown_losses} chunks were lost whose sections nobody knows; they do not count."
    if dataset.uncounted:
        yield f"{name}: {_named(dataset.uncounted)} have no event in files that lost some, and do not count."
    if dataset.no_luminosity:
        yield f"{name}: {_named(dataset.no_luminosity)} are not in the table of luminosities and count as nothing."


def count(ranges: Mapping[str, Sequence[Sequence[int]]]) -> int:
    """Number of sections in ranges by run."""
    return sum(last - first + 1 for several in ranges.values() for first, last in several)


def _repeated(dataset: DatasetLumi) -> str:
    files = ", ".join(dataset.repeated_files[:SHOWN]) + (" and more" if len(dataset.repeated_files) > SHOWN else "")
    return (
        f"{_named(dataset.repeated)} are in several files ({files}): events may be counted twice, "
        "the luminosity is counted once"
    )


def _named(ranges: Mapping[str, Sequence[Sequence[int]]]) -> str:
    """Sections in words, the first of them by name."""
    several = [(run, first, last) for run, found in ranges.items() for first, last in found]
    shown = ", ".join(f"{run}:{first}" + (f"-{last}" if last > first else "") for run, first, last in several[:SHOWN])
    number = count(ranges)
    return f"{number} section{'s' if number != 1 else ''} ({shown}{', ...' if len(several) > SHOWN else ''})"


def _part(entry: LedgerEntry) -> Part:
    sections = None if entry.sections is None else Sections.from_plain(entry.sections)
    if entry.status == "skipped" and sections is None:
        sections = Sections.from_plain({})  # a file without rows
    return Part(entry.planned_file, entry.start, sections, entry.status == "failed")


def _dataset(content: Mapping[str, Any]) -> DatasetLumi:
    names = {item.name for item in fields(DatasetLumi)}
    known = {key: value for key, value in content.items() if key in names}
    runs = tuple(RunLumi(**run) for run in content["runs"])
    return DatasetLumi(**{**known, "runs": runs, "repeated_files": tuple(known["repeated_files"]), "fractions": {}})
