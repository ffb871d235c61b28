"""A document whose processor is any of coffea's, not one of a search: it ends at the ledger and the output.

Such a class declares no parameters and no regions, and its output may be anything that coffea can accumulate. Scores,
p-values and limits need a search processor.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffea.nanoevents import BaseSchema, PFNanoAODSchema, PHYSLITESchema
from pydantic import BaseModel, ConfigDict

from darkop_dist.config import Corrections, LoadedDocument, load_document
from darkop_dist.errors import DocumentError, LedgerError
from darkop_dist.events.read import OpenDataSchema
from darkop_dist.execution import DatasetFiles, Task, Watch
from darkop_dist.execution.filesets import FileOf, plan_fileset
from darkop_dist.execution.foreign import ForeignProcessor
from darkop_dist.execution.processor import run_foreign
from darkop_dist.runs import PendingRun, RunDirectory
from darkop_dist.stages.context import save_document
from darkop_dist.stages.open_run import put_open_run
from darkop_dist.stages.output_file import write_output
from darkop_dist.stages.provenance import Stopwatch, write_provenance
from darkop_dist.stages.search import Say, Search, find_files, is_search, load_class

SEARCH_ONLY = ("operator", "anomaly_detection", "signal_region", "systematics", "limits")
NEEDS_SEARCH = (
    "The run ends at ledger.json and output.json: histograms of a search, p-values, limits and a page need a search "
    "processor, which declares its Parameters (see processors/zprime.py)."
)
SCHEMAS = {"nanoaod": OpenDataSchema, "pfnano": PFNanoAODSchema, "physlite": PHYSLITESchema, "flat": BaseSchema}
"""coffea's own: a foreign processor sees PHYSLITE as coffea does, in MeV and under ATLAS' names."""


class Given(BaseModel):
    """The parameters of a document, as they stand there: they are the arguments of the processor's class."""

    model_config = ConfigDict(extra="allow", frozen=True)


@dataclass(frozen=True)
class ForeignRun:
    """A document of a processor of others, ready to run.

    Attributes:
        search: document, datasets and class.
        processor: an instance, with its schema and metadata.
        tasks: the chunks.
    """

    search: Search
    processor: ForeignProcessor
    tasks: tuple[Task, ...]


def is_foreign(document: Path) -> bool:
    """Whether a document's processor is any of coffea's rather than one of a search."""
    found = load_class(load_document(document))
    return hasattr(found, "process") and not is_search(found)


def prepare_foreign(document: Path, *, cached: bool = False, say: Say = lambda _: None) -> ForeignRun:
    """Check a document, find its files, make its processor and divide the files into chunks.

    Raises:
        UserError: a mistake in the document, or a file that cannot be used.
    """
    loaded = load_document(document)
    found = load_class(loaded)
    _refuse_sections(loaded, found)
    made = _made(loaded, found)
    datasets = find_files(loaded, cached=cached, say=say)
    search = Search(loaded, datasets, found, Given(**loaded.document.parameters))
    files = [file for dataset in datasets for file in _files_of(dataset)]
    metadata = {dataset.record.name: _metadata(dataset) for dataset in datasets}
    processor = ForeignProcessor(made, _schema(loaded, found, datasets), metadata)
    return ForeignRun(search, processor, plan_fileset(files, loaded.document.execution, access=loaded.document.access))


def run_foreign_document(request: Any, pending: PendingRun, monitor: Any) -> RunDirectory:
    """Run a document of a processor of others; writes document, ledger, output and provenance.

    Args:
        request: what to run.
        pending: the run to write to.
        monitor: is told what happens.

    Raises:
        UserError: the document, its files or the output cannot be used.
        ChunkError: the processor failed.
        LedgerError: events were lost that are not accepted.
    """
    stopwatch, run = Stopwatch(), pending.run
    with stopwatch.stage("prepare"):
        ready = prepare_foreign(request.document, cached=request.cached, say=monitor.say)
        save_document(ready.search, run)
    monitor.planned([task.chunk for task in ready.tasks])
    earlier = () if pending.earlier is None else (pending.earlier.chunks,)
    with stopwatch.stage("events"):
        result = run_foreign(
            ready.tasks,
            ready.processor,
            ready.search.document.execution,
            store=run.chunks,
            earlier=earlier,
            watch=Watch(monitor.say, monitor.processed, monitor.dashboard),
        )
    result.ledger.save(run.ledger)
    for left_out in write_output(run.path, result.output, result.ledger.digest):
        monitor.say(f"not written, since it is neither histogram, number, text nor column: {left_out}")
    write_provenance(ready.search, run, stopwatch, fingerprint=None, arguments=request.arguments)
    try:
        result.ledger.require_closed(request.accept_loss)
    except LedgerError as error:
        _, where = put_open_run(pending, result.ledger)
        raise LedgerError(f"{error}\n{where}") from error
    finished = pending.finish()
    monitor.say(NEEDS_SEARCH)
    return finished


def _refuse_sections(loaded: LoadedDocument, found: type[Any]) -> None:
    given = [name for name in SEARCH_ONLY if getattr(loaded.document, name)]
    given += ["corrections"] if loaded.document.corrections != Corrections() else []
    message = f"{found.__name__} is no search processor, which this needs: it declares no pydantic class Parameters"
    if given:
        raise DocumentError(str(loaded.source), [loaded.mistake((name,), message) for name in given])


def _made(loaded: LoadedDocument, found: type[Any]) -> Any:
    """The processor, with the document's parameters as its arguments."""
    try:
        inspect.signature(found).bind(**loaded.document.parameters)
    except TypeError as error:
        takes = ", ".join(inspect.signature(found).parameters) or "none"
        message = f"{found.__name__} does not take these parameters ({error}): it takes {takes}"
        raise DocumentError(str(loaded.source), [loaded.mistake(("parameters",), message)]) from error
    return found(**loaded.document.parameters)


def _files_of(dataset: DatasetFiles) -> list[FileOf]:
    record = dataset.record
    return [
        FileOf(
            record.name,
            path,
            record.tree,
            entries=dataset.promised.get(path),
            replicas=dataset.replicas.get(path, ()),
            local=dataset.local.get(path, ""),
        )
        for path in dataset.paths
    ]


def _metadata(dataset: DatasetFiles) -> dict[str, Any]:
    """What the record says, for ``events.metadata``."""
    told = dataset.record.model_dump(include={"kind", "experiment", "sample", "xsec_pb", "lumi_ifb", "year"})
    return {name: value for name, value in told.items() if value is not None}


def _schema(loaded: LoadedDocument, found: type[Any], datasets: tuple[DatasetFiles, ...]) -> type[Any]:
    """The class's own ``schema`` if it names one of coffea's; otherwise what the format of the datasets calls for."""
    own = getattr(found, "schema", None)
    if isinstance(own, type) and issubclass(own, BaseSchema):
        return own
    formats = {dataset.record.format for dataset in datasets}
    if len(formats) > 1:
        message = f"the datasets are of several formats ({', '.join(sorted(formats))}), the processor reads one"
        raise DocumentError(str(loaded.source), [loaded.mistake(("datasets",), message)])
    schema: type[Any] = SCHEMAS[formats.pop()]
    return schema
