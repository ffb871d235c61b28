"""Find datasets by name, pattern or property, and turn the document's entries into records."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from darkop_dist.catalogue.file_lists import with_files
from darkop_dist.catalogue.records_file import packaged_records, read_records
from darkop_dist.config.datasets import DatasetRecord, is_file_entry, is_pattern, is_root_file
from darkop_dist.errors import DocumentError, InputValueError, Mistake, UnknownNameError

_WHAT_TO_DO = (
    "Files need a slash or an ending such as .root; describe any other dataset in the document itself, or in a record "
    "file that the document names under `catalogue`."
)

_ROOT_ENDING = re.compile(r"(\.pool)?\.root(\.[^.]*)?$", re.IGNORECASE)
_ATLAS = re.compile(r"DAOD_PHYSLITE|\.pool\.root")


@dataclass(frozen=True)
class Catalogue(Mapping[str, DatasetRecord]):
    """All datasets that can be named.

    Records that are looked up, by name or by pattern, hold their files. Those of ``records`` and ``list_datasets``
    may name a file list instead, which has not been read: lists of all datasets stay quick.

    Attributes:
        records: the records by name.
    """

    records: Mapping[str, DatasetRecord]

    def __getitem__(self, name: str) -> DatasetRecord:
        return with_files(self.records[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def find(self, name: str) -> DatasetRecord:
        """The record of a name.

        Args:
            name: exact name of a dataset.

        Returns:
            The record, with its files where they are known.

        Raises:
            UnknownNameError: there is no such dataset; gives the nearest names.
        """
        if name not in self.records:
            raise UnknownNameError("dataset", name, self.records, _WHAT_TO_DO)
        return self[name]

    def match(self, pattern: str) -> tuple[DatasetRecord, ...]:
        """The records whose name matches a glob.

        Args:
            pattern: glob with ``*``, ``?`` and ``[...]``.

        Returns:
            At least one record, by name, with their files where they are known.

        Raises:
            UnknownNameError: no name matches; gives the nearest patterns and names.
        """
        found = tuple(self[name] for name in sorted(self.records) if fnmatchcase(name, pattern))
        if not found:
            raise UnknownNameError("dataset pattern", pattern, known_patterns(self.records), _WHAT_TO_DO)
        return found

    def list_datasets(
        self,
        experiment: str | Collection[str] | None = None,
        years: Collection[int] | None = None,
        kind: Literal["data", "simulation"] | None = None,
        formats: Collection[str] | None = None,
        pattern: str | None = None,
    ) -> tuple[DatasetRecord, ...]:
        """The records with given properties.

        Args:
            experiment: ``CMS``, ``ATLAS`` or ``simulation``, or several of them; any by default.
            years: years of data taking; any by default. A simulation for several years counts for each of them.
            kind: collision data or simulation; both by default.
            formats: layouts of the files; any by default.
            pattern: glob over names, or text that stands in the name or title in any case; any by default.

        Returns:
            Records by name; none if nothing has these properties. Their file lists are not read.
        """
        experiments = (experiment,) if isinstance(experiment, str) else experiment
        return tuple(
            record
            for _, record in sorted(self.records.items())
            if (experiments is None or record.experiment in experiments)
            and (years is None or record.year in years or any(year in years for year in record.years))
            and (kind is None or record.kind == kind)
            and (formats is None or record.format in formats)
            and (pattern is None or _is_like(record, pattern))
        )


def _is_like(record: DatasetRecord, pattern: str) -> bool:
    if is_pattern(pattern):
        return fnmatchcase(record.name, pattern)
    return pattern.casefold() in f"{record.name} {record.title}".casefold()


def known_patterns(names: Iterable[str]) -> tuple[str, ...]:
    """Names, and the patterns for all names that begin alike, as choices for a pattern that matches nothing.

    >>> known_patterns(["cms-2016g-met", "cms-2016h-met"])
    ('cms-2016g-met', 'cms-2016h-met', 'cms-*', 'cms-2016g-*', 'cms-2016h-*')
    """
    listed = tuple(names)
    parts = (name.split("-") for name in listed)
    beginnings = ("-".join([*part[:depth], "*"]) for part in parts for depth in range(1, len(part)))
    return (*listed, *dict.fromkeys(beginnings))


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
        Each dataset once, in the order of the entries, with their files where they are known.

    Raises:
        InputFileError: a file list that cannot be read.
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
        return (with_files(entry),)
    if is_file_entry(entry):
        return (record_of_file(entry),)
    return catalogue.match(entry) if is_pattern(entry) else (catalogue.find(entry),)


def record_of_file(uri: str) -> DatasetRecord:
    """A record for a file of which nothing else is known.

    Args:
        uri: path, pattern or address.

    Returns:
        A record named after the file. It counts as collision data (every event has weight 1), because a cross section
        is not known. ROOT files are taken for NanoAOD, those of ATLAS (``.pool.root`` or ``DAOD_PHYSLITE``) for
        PHYSLITE, all others for flat columns.

    >>> record_of_file("/data/Run2012B_SingleMu*.root").name
    'Run2012B_SingleMu'
    >>> record_of_file("DAOD_PHYSLITE.37110904._000001.pool.root.1").format
    'physlite'
    """
    last = PurePosixPath(uri.rsplit("::", maxsplit=1)[-1])
    stem = _ROOT_ENDING.sub("", last.name) if is_root_file(last.name) else last.stem
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "-", stem).strip("-_.") or "file"
    facts: dict[str, str] = {"format": "nanoaod"} if is_root_file(uri) else {"format": "flat"}
    if is_root_file(uri) and _ATLAS.search(uri):
        facts = {"format": "physlite", "tree": "CollectionTree", "experiment": "ATLAS"}
    return DatasetRecord.model_validate(
        facts | {"name": name, "kind": "data", "files": (uri,), "provenance": "named as a file in the document"}
    )
