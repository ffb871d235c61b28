"""From a document to everything a run needs: datasets with their files, the processor's class and its parameters."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import platformdirs
from pydantic import BaseModel

from darkop_dist.catalogue.files import resolve_files
from darkop_dist.catalogue.search import find_datasets, load_catalogue
from darkop_dist.config import (
    DatasetRecord,
    Document,
    LoadedDocument,
    check_datasets,
    check_parameters,
    load_document,
    parse_processor,
)
from darkop_dist.errors import DocumentError, InputFileError, UnknownNameError, nearest_names
from darkop_dist.execution import DatasetFiles
from darkop_dist.generation.materialise import materialise

Say = Callable[[str], None]


@dataclass(frozen=True)
class Search:
    """A search that is ready to run.

    Attributes:
        loaded: the document with its lines.
        datasets: every dataset with its files; generated ones exist by now.
        processor: the processor's class.
        parameters: its checked parameters.
    """

    loaded: LoadedDocument
    datasets: tuple[DatasetFiles, ...]
    processor: type[Any]
    parameters: BaseModel

    @property
    def document(self) -> Document:
        """The document."""
        return self.loaded.document

    @property
    def records(self) -> tuple[DatasetRecord, ...]:
        """The records of all datasets."""
        return tuple(dataset.record for dataset in self.datasets)


def cache_directory() -> Path:
    """Where generated and unpacked files are kept: ``DARKOP_CACHE``, or the user's cache directory."""
    import os

    return Path(os.environ.get("DARKOP_CACHE") or platformdirs.user_cache_dir("darkop-dist"))


def prepare_search(path: Path, *, workers: int | None = None, say: Say = lambda _: None) -> Search:
    """Check a document and find, unpack or generate its files.

    Everything that can be checked is checked before anything is generated.

    Args:
        path: the document.
        workers: processes for the generation; the document's number by default.
        say: is told what takes long.

    Raises:
        UserError: a mistake in the document or a file that cannot be used.
    """
    loaded = load_document(path)
    processor = load_processor(loaded)
    parameters = check_parameters(loaded, processor.Parameters)
    check_signal_region(loaded, processor)
    datasets = find_files(loaded, workers=workers, say=say)
    return Search(loaded, datasets, processor, parameters)


def find_files(
    loaded: LoadedDocument, *, workers: int | None = None, say: Say = lambda _: None
) -> tuple[DatasetFiles, ...]:
    """Find, unpack or generate the files of all datasets of a document.

    Args:
        loaded: the document.
        workers: processes for the generation; the document's number by default.
        say: is told what takes long.

    Raises:
        UserError: a mistake in the datasets or a file that cannot be used.
    """
    records = find_records(loaded)
    check_datasets(loaded, records)
    cache = cache_directory()
    datasets = []
    for record in records:
        made = record
        if record.generated is not None:
            processes = workers or loaded.document.execution.workers
            made = materialise(record, cache / "generated", workers=processes, progress=_announcing(record, say))
        files = resolve_files(made, loaded.source.parent, cache / "archives")
        replicas = {file.path_or_url: file.replicas for file in files if file.replicas}
        promised = {file.path_or_url: file.events for file in files if file.events is not None}
        datasets.append(DatasetFiles(made, tuple(file.path_or_url for file in files), replicas, promised))
    _refuse_shared_files(datasets)
    return tuple(datasets)


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


def _announcing(record: DatasetRecord, say: Say) -> Callable[[int], None]:
    """Says once that events are generated; never if they come from the cache."""
    said: list[str] = []

    def progress(done: int) -> None:
        if record.generated is not None and not said:
            said.append(f"generating {record.name}: {done} of {record.generated.events} events done")
            say(said[0])

    return progress


def _refuse_shared_files(datasets: Sequence[DatasetFiles]) -> None:
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
