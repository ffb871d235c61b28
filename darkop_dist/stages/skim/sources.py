"""The datasets that are skimmed: those of a document, or named one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darkop_dist.catalogue.search import find_datasets, load_catalogue
from darkop_dist.config import Execution, is_file_entry, load_document
from darkop_dist.config.access import Access, user_access
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import DarkopError, InputFileError, InputValueError
from darkop_dist.events.read import translated_errors
from darkop_dist.events.remote import DEFAULT
from darkop_dist.execution import DatasetFiles
from darkop_dist.generation.materialise import materialise
from darkop_dist.runs import cache_directory
from darkop_dist.stages.search import files_of, find_files, refuse_shared_files
from darkop_dist.stages.skim.input_file import InputFile, open_input
from darkop_dist.stages.skim.request import SkimRequest

DOCUMENTS = (".yml", ".yaml", ".json")
READABLE = ("nanoaod", "pfnano")


@dataclass(frozen=True)
class Sources:
    """What is skimmed.

    Attributes:
        datasets: with their files.
        execution: where and how.
        base: directory that relative paths count from.
    """

    datasets: tuple[DatasetFiles, ...]
    execution: Execution
    base: Path

    @property
    def access(self) -> Access:
        """How remote files are reached: the document's way, or the user's."""
        return self.datasets[0].access if self.datasets else DEFAULT


def find_sources(request: SkimRequest, say: Callable[[str], None]) -> Sources:
    """Find the datasets and their files; those that are made on demand are generated.

    Raises:
        UserError: a name, a file or a format that cannot be skimmed.
    """
    if len(request.sources) == 1 and request.sources[0].lower().endswith(DOCUMENTS):
        loaded = load_document(Path(request.sources[0]))
        datasets = find_files(loaded, say=say)
        execution, base = request.execution or loaded.document.execution, loaded.source.parent
    else:
        records = find_datasets(request.sources, load_catalogue(request.catalogue))
        access = user_access()
        made = [materialise(record, cache_directory() / "generated") for record in records]
        datasets = tuple(files_of(_taken_for_root(record), Path.cwd(), access) for record in made)
        refuse_shared_files(datasets)
        execution, base = request.execution or Execution(), Path.cwd()
    for dataset in datasets:
        _require_nanoaod(dataset.record)
    named = {source for source in request.sources if is_file_entry(source)}
    datasets = tuple(_kind_by_content(d) if set(d.record.uris) & named else d for d in datasets)
    return Sources(datasets, execution, base)


def _taken_for_root(record: DatasetRecord) -> DatasetRecord:
    """A Parquet file that is named alone counts as NanoAOD here, where nothing else can be skimmed."""
    alone = record.provenance == "named as a file in the document"
    is_table = alone and all(uri.lower().endswith((".parquet", ".pq")) for uri in record.uris)
    return record.model_copy(update={"format": "nanoaod"}) if is_table else record


def _require_nanoaod(record: DatasetRecord) -> None:
    if record.format not in READABLE or record.weights is not None:
        raise InputValueError(
            f"dataset {record.name}",
            f"is of the format {record.format}, and skims are made of NanoAOD",
            "Leave it out; flat tables need no skim",
        )


def _kind_by_content(dataset: DatasetFiles) -> DatasetFiles:
    """A file that was named alone is simulation where it has generator weights: its sums have to be kept."""
    file = first_readable(dataset)
    if "genWeight" not in file.names:
        return dataset
    return replace(dataset, record=dataset.record.model_copy(update={"kind": "simulation"}))


def first_readable(dataset: DatasetFiles) -> InputFile:
    """The first file of a dataset that can be opened.

    Raises:
        InputFileError: none can.
    """
    problem: DarkopError | None = None
    for path in _copies(dataset):
        try:
            with translated_errors(path, dataset.record.tree):
                return open_input(path, dataset.record.tree, dataset.access)
        except DarkopError as error:
            problem = problem or error
        except OSError as error:
            problem = problem or InputFileError(path, f"cannot be reached ({error})", "Check the address")
    raise problem or InputFileError(dataset.record.name, "the dataset has no files", "Name some")


def _copies(dataset: DatasetFiles) -> Sequence[str]:
    return [copy for path in dataset.paths for copy in dataset.copies(path)]
