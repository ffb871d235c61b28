"""From the document's file to its frozen object, with every mistake reported at once."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from darkop_dist.config.access import joined, user_access
from darkop_dist.config.cluster import Cluster
from darkop_dist.config.consistency import Finding, check_records, check_sections
from darkop_dist.config.corrections import LISTS_OF_FILES, PILEUP_FILES, Corrections
from darkop_dist.config.datasets import DatasetFile, DatasetRecord, is_file_entry, is_pattern
from darkop_dist.config.document import Document
from darkop_dist.config.mistakes import in_order, mistake_at, mistakes_from
from darkop_dist.config.operator import Operator
from darkop_dist.config.parse import KeyPath, Place, read_yaml
from darkop_dist.config.processor import parse_processor
from darkop_dist.errors import DocumentError, Mistake

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class LoadedDocument:
    """A document and where each of its values was written.

    Attributes:
        document: the document with absolute paths.
        source: the file.
        data: the file's plain values.
        places: line and text of each key path.
    """

    document: Document
    source: Path
    data: Mapping[str, Any]
    places: Mapping[KeyPath, Place]

    def mistake(self, path: KeyPath, message: str, nearest: tuple[str, ...] = ()) -> Mistake:
        """A mistake at a key path of this document, for checks that later stages make.

        Args:
            path: keys and list indices from the top.
            message: what is wrong and what would be accepted.
            nearest: valid choices, nearest first.
        """
        return mistake_at(path, message, self.data, self.places, nearest=nearest)


def load_document(path: Path) -> LoadedDocument:
    """Read, check and resolve an analysis document.

    Args:
        path: the YAML file.

    Returns:
        The document; its relative paths have been joined to the directory that holds the file.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DocumentError: all mistakes of syntax and schema, or, if there are none, all contradictions between sections;
            also those of the user's own file of access.
    """
    parsed = read_yaml(path)
    mistakes = list(parsed.mistakes)
    try:
        document = Document.model_validate_json(_to_json(parsed.data), strict=True)
    except ValidationError as error:
        unreadable = {(mistake.line, mistake.path) for mistake in mistakes}
        found = mistakes_from(error, Document, parsed.data, parsed.places)
        mistakes += [mistake for mistake in found if (mistake.line, mistake.path) not in unreadable]
        raise DocumentError(str(path), in_order(mistakes)) from error
    document = document.model_copy(update={"access": joined(document.access, user_access())})
    loaded = LoadedDocument(resolve_paths(document, path.parent), path, parsed.data, parsed.places)
    findings = list(check_sections(loaded.document))
    if all(isinstance(entry, DatasetRecord) for entry in document.datasets):
        findings += check_records(loaded.document, document.inline_records)
    _raise_all(loaded, findings, mistakes)
    return loaded


def check_datasets(loaded: LoadedDocument, records: Sequence[DatasetRecord]) -> None:
    """Check what the document says of its datasets, once the catalogue has been asked.

    Args:
        loaded: the document.
        records: the record of every dataset of the document.

    Raises:
        DocumentError: a section names an unknown dataset or sample, or limits lack a luminosity or cross section.
    """
    _raise_all(loaded, check_records(loaded.document, records), [])


def check_parameters(loaded: LoadedDocument, model: type[Model]) -> Model:
    """Check the section ``parameters`` against the class that a processor declares for it.

    Args:
        loaded: the document.
        model: the processor's pydantic class ``Parameters``.

    Returns:
        The parameters. Types are strict: text is no number, a fraction is no whole number.

    Raises:
        DocumentError: every mistake, with paths such as ``parameters.min_pt_gev``.
    """
    data = loaded.data.get("parameters", {})
    try:
        return model.model_validate_json(_to_json(data), strict=True)
    except ValidationError as error:
        mistakes = mistakes_from(error, model, loaded.data, loaded.places, ("parameters",))
        raise DocumentError(str(loaded.source), mistakes) from error


def resolve_paths(document: Document, directory: Path) -> Document:
    """Join a document's relative paths to a directory.

    Args:
        document: the document as it was written.
        directory: the directory that holds its file.

    Returns:
        A copy with absolute paths. Names of the catalogue, names of checkpoints and addresses stay.
    """
    update: dict[str, Any] = {
        "datasets": tuple(_resolve_dataset(entry, directory) for entry in document.datasets),
        "catalogue": tuple(Path(_absolute(str(entry), directory)) for entry in document.catalogue),
    }
    processor = parse_processor(document.processor)
    if processor.file is not None:
        update["processor"] = f"{_absolute(str(processor.file), directory)}:{processor.name}"
    if document.output is not None:
        update["output"] = Path(_absolute(str(document.output), directory))
    if document.operator is not None:
        update["operator"] = _resolve_operator(document.operator, directory)
    update["execution"] = document.execution.model_copy(
        update={"cluster": _resolve_cluster(document.execution.cluster, directory)}
    )
    update["corrections"] = _resolve_corrections(document.corrections, directory)
    return document.model_copy(update=update)


def _resolve_operator(section: Operator, directory: Path) -> Operator:
    update: dict[str, Any] = {}
    if section.checkpoint is not None and "/" in section.checkpoint:
        update["checkpoint"] = _absolute(section.checkpoint, directory)
    if section.choose_from:
        update["choose_from"] = tuple(
            _absolute(name, directory) if "/" in name else name for name in section.choose_from
        )
    if section.serve.ca is not None:
        update["serve"] = section.serve.model_copy(update={"ca": _absolute(section.serve.ca, directory)})
    return section.model_copy(update=update)


def _resolve_corrections(section: Corrections, directory: Path) -> Corrections:
    def absolute(path: Path | None) -> Path | None:
        return None if path is None else Path(_absolute(str(path), directory))

    update: dict[str, Any] = {key: tuple(map(absolute, getattr(section, key))) for key in LISTS_OF_FILES}
    if section.jet_energy is not None:
        update["jet_energy"] = section.jet_energy.model_copy(update={"file": absolute(section.jet_energy.file)})
    if section.pileup is not None:
        files = {key: absolute(getattr(section.pileup, key)) for key in PILEUP_FILES}
        update["pileup"] = section.pileup.model_copy(update=files)
    return section.model_copy(update=update)


def _resolve_cluster(cluster: Cluster, directory: Path) -> Cluster:
    """Certificates and the shared directory; the local directory is on the workers' machines and stays."""
    update: dict[str, Any] = {}
    if cluster.shared_directory is not None:
        update["shared_directory"] = Path(_absolute(str(cluster.shared_directory), directory))
    if cluster.tls is not None:
        files = {key: Path(_absolute(str(path), directory)) for key, path in cluster.tls}
        update["tls"] = cluster.tls.model_copy(update=files)
    return cluster.model_copy(update=update) if update else cluster


def resolve_record(record: DatasetRecord, directory: Path) -> DatasetRecord:
    """Join a record's relative files to a directory.

    Args:
        record: the record as it was written.
        directory: the directory that holds the document or the record file.

    Returns:
        A copy with absolute paths, also that of a file list; addresses stay.
    """
    files = tuple(
        file.model_copy(update={"uri": _resolve_uri(file.uri, directory)})
        if isinstance(file, DatasetFile)
        else _resolve_uri(file, directory)
        for file in record.files
    )
    listed = None if record.file_list is None else _absolute(record.file_list, directory)
    return record.model_copy(update={"files": files, "file_list": listed})


def _resolve_dataset(entry: str | DatasetRecord, directory: Path) -> str | DatasetRecord:
    if isinstance(entry, DatasetRecord):
        return resolve_record(entry, directory)
    return _resolve_uri(entry, directory) if is_file_entry(entry) else entry


def _resolve_uri(uri: str, directory: Path) -> str:
    if uri.startswith("tar://"):
        members, separator, archive = uri.partition("::")
        return f"{members}::{_absolute(archive, directory)}" if separator else uri
    return uri if "://" in uri else _absolute(uri, directory)


def _absolute(path: str, directory: Path) -> str:
    parent = str(directory.absolute())
    return os.path.normpath(Path(glob.escape(parent) if is_pattern(path) else parent, path))


def _to_json(data: object) -> str:
    """Plain values as JSON: pydantic is strict there about numbers, yet takes lists for tuples and text for paths."""
    return json.dumps(data, default=str)


def _raise_all(loaded: LoadedDocument, findings: Iterable[Finding], mistakes: list[Mistake]) -> None:
    found = [*mistakes, *(loaded.mistake(finding.path, finding.message, finding.nearest) for finding in findings)]
    if found:
        raise DocumentError(str(loaded.source), in_order(found))
