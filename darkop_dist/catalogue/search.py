"""Find datasets by name, pattern or property, and turn the document's entries into records."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from darkop_dist.catalogue.records_file import packaged_records, read_records
from darkop_dist.config.datasets import DatasetRecord, is_file_entry, is_pattern
from darkop_dist.errors import DocumentError, InputValueError, Mistake, UnknownNameError

_WHAT_TO_DO = (
    "Files need a slash or an ending such as .root; describe any other dataset in the document itself, or in a record "
    "file that the document names under `catalogue`."
)


@dataclass(frozen=True)
class Catalogue(Mapping[str, DatasetRecord]):
    """All datasets that can be named.

    Attributes:
        records: the records by name.
    """

    records: Mapping[str, DatasetRecord]

    def __getitem__(self, name: str) -> DatasetRecord:
        return self.records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def find(self, name: str) -> DatasetRecord:
        """The record of a name.

        Args:
            name: exact name of a dataset.

        Returns:
            The record.

        Raises:
            UnknownNameError: there is no such dataset; gives the nearest names.
        """
        if name not in self.records:
            raise UnknownNameError("dataset", name, self.records, _WHAT_TO_DO)
        return self.records[name]

    def match(self, pattern: str) -> tuple[DatasetRecord, ...]:
        """The records whose name matches a glob.

        Args:
            pattern: glob with ``*``, ``?`` and ``[...]``.

        Returns:
            At least one record, by name.

        Raises:
            UnknownNameError: no name matches.
        """
        found = tuple(self.records[name] for name in sorted(self.records) if fnmatchcase(name, pattern))
        if not found:
            raise UnknownNameError("dataset pattern", pattern, self.records, _WHAT_TO_DO)
        return found

    def list_datasets(
        self,
        experiment: str | None = None,
        years: Collection[int] | None = None,
        kind: Literal["data", "simulation"] | None = None,
    ) -> tuple[DatasetRecord, ...]:
        """The records with given properties.

        Args:
            experiment: ``CMS``, ``ATLAS`` or ``simulation``; any by default.
            years: years of data taking; any by default.
            kind: collision data or simulation; both by default.

        Returns:
            Records by name; none if nothing has these properties.
        """
        return tuple(
            record
            for _, record in sorted(self.records.items())
            if (experiment is None or record.experiment == experiment)
            and (years is None or record.year in years)
            and (kind is None or record.kind == kind)
        )


def load_catalogue(extra: Sequence[Path] = ()) -> Catalogue:
    """Read the package's records and a user's.

    Args:
        extra: the user's record files, TOML or JSON.

    Returns:
        The catalogue.

    Raises:
        InputFileError: a record file cannot be read.
        DocumentError: a record file has mistakes, or gives a name that exists already.
    """
    records = {record.name: record for record in packaged_records()}
    for path in extra:
        mistakes = []
        for index, record in enumerate(read_records(path)):
            if record.name in records:
                message = "the catalogue has a dataset of this name already: choose another"
                mistakes.append(Mistake(None, f"records[{index}].name", record.name, message))
            records.setdefault(record.name, record)
        if mistakes:
            raise DocumentError(str(path), mistakes)
    return Catalogue(MappingProxyType(records))


def find_datasets(entries: Sequence[str | DatasetRecord], catalogue: Catalogue) -> tuple[DatasetRecord, ...]:
    """The records of a document's dataset entries.

    Args:
        entries: names, patterns, files or records, as in ``Document.datasets``.
        catalogue: where names and patterns are looked up.

    Returns:
        Each dataset once, in the order of the entries.

    Raises:
        UnknownNameError: a name or pattern that the catalogue does not have.
        InputValueError: two different datasets have the same name.
    """
    found: dict[str, DatasetRecord] = {}
    for entry in entries:
        for record in _records_of(entry, catalogue):
            if found.setdefault(record.name, record) != record:
                raise InputValueError(
                    record.name, "two different datasets have this name", "Describe one as a record with another name."
                )
    return tuple(found.values())


def _records_of(entry: str | DatasetRecord, catalogue: Catalogue) -> tuple[DatasetRecord, ...]:
    if isinstance(entry, DatasetRecord):
        return (entry,)
    if is_file_entry(entry):
        return (record_of_file(entry),)
    return catalogue.match(entry) if is_pattern(entry) else (catalogue.find(entry),)


def record_of_file(uri: str) -> DatasetRecord:
    """A record for a file of which nothing else is known.

    Args:
        uri: path, pattern or address.

    Returns:
        A record named after the file. It counts as collision data (every event has weight 1), because a cross section
        is not known; ROOT files are taken for NanoAOD, all others for flat columns.

    >>> record_of_file("/data/Run2012B_SingleMu*.root").name
    'Run2012B_SingleMu'
    """
    stem = PurePosixPath(uri.rsplit("::", maxsplit=1)[-1]).stem
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "-", stem).strip("-_.") or "file"
    return DatasetRecord(
        name=name,
        kind="data",
        format="nanoaod" if uri.lower().endswith(".root") else "flat",
        files=(uri,),
        provenance="named as a file in the document",
    )
