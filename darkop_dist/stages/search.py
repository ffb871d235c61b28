"""From a document to everything a run needs: datasets with their files, the processor's class and its parameters."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from darkop_dist.catalogue.files import resolve_files
from darkop_dist.catalogue.search import find_datasets, load_catalogue
from darkop_dist.config import (
    DatasetRecord,
    Document,
    Execution,
    LoadedDocument,
    check_datasets,
    check_parameters,
    kind_of,
    load_document,
    parse_processor,
)
from darkop_dist.config.access import Access
from darkop_dist.config.anomaly import REGION, YEAR
from darkop_dist.errors import DocumentError, InputFileError, UnknownNameError, nearest_names
from darkop_dist.events.corrections.search import NO_CORRECTIONS, SearchCorrections
from darkop_dist.events.remote import DEFAULT
from darkop_dist.execution import DatasetFiles
from darkop_dist.generation.materialise import materialise
from darkop_dist.runs import cache_directory
from darkop_dist.stages.cached import with_local_copies
from darkop_dist.stages.corrections import check_applied, load_corrections
from darkop_dist.stages.generation import kept_parts

Say = Callable[[str], None]


@dataclass(frozen=True)
class Search:
    """A search that is ready to run.

    Attributes:
        loaded: the document with its lines.
        datasets: every dataset with its files; generated ones exist by now.
        processor: the processor's class.
        parameters: its checked parameters.
        corrections: those of the document, with the content of their files.
    """

    loaded: LoadedDocument
    datasets: tuple[DatasetFiles, ...]
    processor: type[Any]
    parameters: BaseModel
    corrections: SearchCorrections = NO_CORRECTIONS

    @property
    def document(self) -> Document:
        """The document."""
        return self.loaded.document

    @property
    def records(self) -> tuple[DatasetRecord, ...]:
        """The records of all datasets."""
        return tuple(dataset.record for dataset in self.datasets)


def prepare_search(
    path: Path,
    *,
    workers: int | None = None,
    cached: bool = False,
    say: Say = lambda _: None,
    generated: Path | None = None,
) -> Search:
    """Check a document and find, unpack or generate its files.

    Everything that can be checked is checked before anything is generated.

    Args:
        path: the document.
        workers: processes for the generation; the document's number by default.
        cached: read remote files from the cache, fetched first if need be.
        say: is told what takes long.
        generated: where datasets are generated and looked for; the cache by default.

    Raises:
        UserError: a mistake in the document or a file that cannot be used.
    """
    loaded = load_document(path)
    processor = load_processor(loaded)
    parameters = check_parameters(loaded, processor.Parameters)
    check_signal_region(loaded, processor)
    check_category(loaded, processor)
    check_applied(loaded, processor)
    corrections = load_corrections(loaded, find_records(loaded))
    datasets = find_files(loaded, workers=workers, cached=cached, say=say, generated=generated)
    return Search(loaded, datasets, processor, parameters, corrections)


def find_files(
    loaded: LoadedDocument,
    *,
    workers: int | None = None,
    cached: bool = False,
    say: Say = lambda _: None,
    generated: Path | None = None,
) -> tuple[DatasetFiles, ...]:
    """Find, unpack or generate the files of all datasets of a document.

    Args:
        loaded: the document.
        workers: processes for the generation; the document's number by default.
        cached: read remote files from the cache, fetched first if need be.
        say: is told what takes long.
        generated: where datasets are generated and looked for; the cache by default.

    Raises:
        UserError: a mistake in the datasets or a file that cannot be used.
    """
    records = find_records(loaded)
    check_datasets(loaded, records)
    place = generated or cache_directory() / "generated"
    datasets = []
    for record in records:
        made = record
        if record.generated is not None:
            settings = _generating_on(loaded.document.execution, workers)
            makers = functools.partial(kept_parts, settings=settings, resume=True)
            made = materialise(record, place, makers=makers, progress=_announcing(record, say))
        datasets.append(files_of(made, loaded.source.parent, loaded.document.access))
    refuse_shared_files(datasets)
    access = loaded.document.access
    return tuple(with_local_copies(datasets, say, access=access) if cached or access.cache else datasets)


def _generating_on(execution: Execution, workers: int | None) -> Execution:
    """Where datasets are generated: on a cluster that runs already, otherwise here, before any batch job is sent."""
    if kind_of(execution.where) == "address":
        return execution
    return Execution(workers=workers or execution.workers, retries=execution.retries)


def files_of(record: DatasetRecord, base: Path, access: Access = DEFAULT) -> DatasetFiles:
    """A dataset with its files; archives are unpacked into the cache.

    Args:
        record: the dataset, generated by now if it is one of those.
        base: directory that relative paths count from.
        access: how remote files are reached.

    Raises:
        UserError: a file is missing or cannot be used.
    """
    files = resolve_files(record, base, cache_directory() / "archives")
    replicas = {file.path_or_url: file.replicas for file in files if file.replicas}
    promised = {file.path_or_url: file.events for file in files if file.events is not None}
    return DatasetFiles(record, tuple(file.path_or_url for file in files), replicas, promised, access=access)


def check_signal_region(loaded: LoadedDocument, processor: type[Any]) -> None:
    """Refuse a signal region that the processor would not apply.

    A processor names the columns that it evaluates the region on in ``region_columns``.

    Raises:
        DocumentError: the processor applies no region, or has no column of that name.
    """
    selection = loaded.document.signal_region
    if selection is None:
        return
    known = tuple(getattr(processor, "region_columns", ()))
    folded = {name.casefold() for name in known}
    unknown = [name for name in selection.observables if name.casefold() not in folded]
    if unknown:
        columns = f"must use its columns {', '.join(known)}" if known else "it applies none (no region_columns)"
        message = f"{processor.__name__} cannot cut on {', '.join(unknown)}: {columns}"
        mistake = loaded.mistake(("signal_region",), message, nearest_names(unknown[0], known))
        raise DocumentError(str(loaded.source), [mistake])


def check_category(loaded: LoadedDocument, processor: type[Any]) -> None:
    """Refuse a category that the processor does not count by; it names those that it does in ``categories``.

    Raises:
        DocumentError: the processor has none of that name.
    """
    section = loaded.document.anomaly_detection
    if section is None or section.category is None:
        return
    known = (REGION, YEAR, *getattr(processor, "categories", ()))
    if section.category not in known:
        message = f"{processor.__name__} does not count by {section.category}: must be one of {', '.join(known)}"
        path = ("anomaly_detection", "category")
        raise DocumentError(str(loaded.source), [loaded.mistake(path, message, nearest_names(section.category, known))])


def _announcing(record: DatasetRecord, say: Say) -> Callable[[int], None]:
    """Says once that events are generated; never if they come from the cache."""
    said: list[str] = []

    def progress(done: int) -> None:
        if record.generated is not None and not said:
            said.append(f"generating {record.name}: {done} of {record.generated.events} events done")
            say(said[0])

    return progress


def refuse_shared_files(datasets: Sequence[DatasetFiles]) -> None:
    """Refuse a file that belongs to two datasets.

    Raises:
        InputFileError: names the file and both datasets.
    """
    owners: dict[str, str] = {}
    for dataset in datasets:
        for path in dataset.paths:
            first = owners.setdefault(path, dataset.record.name)
            if first != dataset.record.name:
                raise InputFileError(
                    path,
                    f"belongs to the datasets {first} and {dataset.record.name}: its events would count twice",
                    "Leave it in one of them.",
                )


def find_records(loaded: LoadedDocument) -> tuple[DatasetRecord, ...]:
    """The record of every dataset that the document names.

    Raises:
        UnknownNameError: no dataset has that name.
    """
    return find_datasets(loaded.document.datasets, load_catalogue(loaded.document.catalogue))


def load_processor(loaded: LoadedDocument) -> type[Any]:
    """The class of search that the document's ``processor`` names.

    Raises:
        InputFileError: the file or module cannot be imported, or it is no processor with parameters.
        UnknownNameError: the file has no class of that name.
    """
    found = load_class(loaded)
    if not is_search(found):
        raise InputFileError(
            loaded.document.processor,
            "is no search processor: it needs process(events) and a pydantic class Parameters",
            "See processors/zprime.py for an example.",
        )
    return found


def is_search(processor: type[Any]) -> bool:
    """Whether a class of processor is one of a search, which declares its parameters, rather than any of coffea's."""
    model = getattr(processor, "Parameters", None)
    return isinstance(model, type) and issubclass(model, BaseModel) and hasattr(processor, "process")


def load_class(loaded: LoadedDocument) -> type[Any]:
    """The class that the document's ``processor`` names.

    Raises:
        InputFileError: the file or module cannot be imported.
        UnknownNameError: the file has no class of that name.
    """
    reference = parse_processor(loaded.document.processor)
    source = str(reference.file or reference.module)
    try:
        module = load_module(reference.file) if reference.file else importlib.import_module(str(reference.module))
    except Exception as error:
        raise InputFileError(source, f"cannot be imported ({type(error).__name__}: {error})", "Correct it.") from error
    found = getattr(module, reference.name, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise UnknownNameError("processor class", reference.name, classes, f"Name a class of {source}.")
    return found


def dataset_names(records: Sequence[DatasetRecord], names: Sequence[str]) -> tuple[str, ...]:
    """Datasets that names stand for, which may be names of datasets or of samples."""
    chosen = [r.name for r in records if r.name in names or r.sample_name in names]
    return tuple(chosen)


def load_module(path: Path) -> ModuleType:
    """Import a Python file that is no part of a package, such as a processor.

    Raises:
        ImportError: the file is no Python file.
    """
    name = f"darkop_processor_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module
