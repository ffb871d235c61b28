"""What goes into a package, by path: bytes that were cleaned, or files as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from darkop_dist.config import parse_processor
from darkop_dist.errors import InputFileError, UnknownNameError
from darkop_dist.execution import Ledger, LedgerEntry, load_ledger
from darkop_dist.operators import find_checkpoint
from darkop_dist.operators.checkpoint import packaged_names
from darkop_dist.runs import RunDirectory, file_sha256, version
from darkop_dist.stages.context import RunContext
from darkop_dist.stages.preservation.clean import Cleaner, machine_paths
from darkop_dist.stages.preservation.document import packaged_document, replaced, written_document
from darkop_dist.stages.preservation.inputs import LOCAL, RunInputs, packaged_record
from darkop_dist.stages.served import read_served
from darkop_dist.stages.sources import FILE, Sources

RESULTS = (
    "document.json", "histograms.json", "cutflow.json", "candidates.parquet", "score-groups.parquet", "drift.json",
    "lumi.json", "displays.json", "calibration.json", "limits.json", "provenance.json",
)  # fmt: skip
TEXTS = (".json", ".html", ".svg", ".css", ".js", ".txt")
Content = dict[str, bytes | Path]
Say = Callable[[str], None]


def cleaner_of(context: RunContext, inputs: RunInputs, sources: Sources) -> Cleaner:
    """What calls the paths of this machine by the names that the package has for them."""
    document = context.document
    reference = parse_processor(document.processor)
    names = machine_paths()
    folders = [*document.catalogue, *(file.path for file in inputs.local)]
    if reference.file is not None:
        folders.append(reference.file)
        names[str(reference.file)] = sources.processor.rpartition(":")[0]
    operator = document.operator
    if operator is not None:
        places = (operator.checkpoint, *(operator.choose_from or ()))
        names |= {place: "operator/checkpoint" for place in places if place and "/" in place}
    names |= {str(folder.parent): "local:" for folder in folders} | {
        str(path): path.name for path in document.catalogue
    }
    names |= {str(context.run.path.absolute()): "results", str(context.run.path.resolve()): "results"}
    return Cleaner(names | dict(inputs.names))


def source_files(run: RunDirectory) -> Content:
    """The user's code and the files that it and the document name, to the last byte."""
    kept = sorted(path for path in run.sources.rglob("*") if path.is_file())
    outside = {run.sources / FILE, run.sources / "document.yml"}
    return {path.relative_to(run.sources).as_posix(): path for path in kept if path not in outside}


def operator_files(context: RunContext) -> Content:
    """The checkpoint that scored the events, with what is known of its training; nothing for one of darkop-dist's.

    Raises:
        InputFileError: only a server had it.
    """
    operator, run = context.document.operator, context.run
    if operator is None or operator.checkpoint in packaged_names():
        return {}
    try:
        place = run.checkpoint if operator.checkpoint is None else find_checkpoint(operator.checkpoint)
    except UnknownNameError as error:
        served = read_served(run)
        if served is None:
            raise
        problem = f"was on the server at {served['at']} only, and a package holds its model"
        raise InputFileError(
            f"model {operator.checkpoint} of {run.path}",
            problem,
            f"Name the directory of the checkpoint {served['fingerprint']} in operator.checkpoint and run again with "
            "--resume, which takes up all scores",
        ) from error
    files: Content = {f"operator/checkpoint/{path.name}": path for path in sorted(place.iterdir()) if path.is_file()}
    return files | {f"operator/{path.name}": path for path in (run.training, run.choice) if path.exists()}


def documents(run: RunDirectory, context: RunContext, inputs: RunInputs, sources: Sources, clean: Cleaner) -> Content:
    """The document in both forms, the records of its datasets, and the list of inputs."""
    records = [packaged_record(record, inputs).model_dump(mode="json") for record in context.records]
    written = written_document((run.sources / "document.yml").read_text(encoding="utf-8"))
    provenance = f"datasets of the search {context.document.name}"
    files = [{**file, "path": inputs.names.get(file["path"], file["path"])} for file in inputs.files]
    local = [{k: v for k, v in asdict(file).items() if k != "path"} for file in inputs.local]
    bodies = {
        "document/search.json": packaged_document(context.document, records, sources),
        "catalogue/records.json": {"schema_version": 1, "provenance": provenance, "records": records},
        "inputs.json": {"schema": "darkop.packaged-inputs/1", "local": local, "files": files},
    }
    content: Content = {name: _json(replaced(body, clean)) for name, body in bodies.items()}
    return content | {"document/as-written.yml": clean(written).encode()}


def result_files(run: RunDirectory, clean: Cleaner) -> Content:
    """What the run wrote, without paths of this machine; the digest of the ledger stays."""
    names = [*RESULTS, *(path.name for path in run.path.glob("workspace*.json"))]
    paths = [run.path / name for name in names]
    paths += [path for path in run.report.rglob("*") if path.is_file()]
    content: Content = {}
    for path in sorted(path for path in paths if path.exists()):
        name = f"results/{path.relative_to(run.path).as_posix()}"
        content[name] = _cleaned(path, clean) if path.suffix in TEXTS else path
    ledger = load_ledger(run.ledger)
    cleaned = _ledger(ledger, clean)
    if cleaned.digest != ledger.digest:
        problem = "names files in a way that the package cannot keep"
        raise InputFileError(str(run.ledger), problem, "Give the input files names without colons.")
    closure = [{**asdict(row), "closed": row.closed} for row in cleaned.closure()]
    head = {"schema": "darkop.ledger/2", "writer": f"darkop-dist {version()}", "digest": cleaned.digest}
    content["results/ledger.json"] = _json({**head, "closure": closure, "entries": list(map(asdict, cleaned.entries))})
    return content


def input_files(inputs: RunInputs) -> Content:
    """The local inputs themselves.

    Raises:
        InputFileError: one of them is not there any more.
    """
    for file in inputs.local:
        if file.sha256 is None:
            raise InputFileError(str(file.path), "is not there any more", "Put it back, or export without the inputs.")
    return {f"inputs/{file.name.removeprefix(LOCAL)}": file.path for file in inputs.local}


def changes_since(run: RunDirectory, hashes: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each result that is not as the run wrote it: a stage was run again."""
    for name, sha256 in hashes.items():
        path = run.path / name
        if path.suffix in (".json", ".parquet") and path.exists() and file_sha256(path) != sha256:
            yield f"results/{name} is not the one that the run wrote: a stage was run again since"


def paths_in_code(content: Mapping[str, bytes | Path], clean: Cleaner) -> Iterator[str]:
    """A sentence for each source that holds a path of this machine: sources stay as they are to the last byte."""
    for name, source in content.items():
        is_code = name.startswith("code/") and name.endswith(".py") and isinstance(source, Path)
        if is_code and clean.left(Path(source).read_text(encoding="utf-8", errors="replace")):  # type: ignore[arg-type]
            yield f"{name} holds a path of the machine of the run, or a token in an address; it stays as it is"


def _cleaned(path: Path, clean: Cleaner) -> bytes | Path:
    """A file by its path where nothing is to be cleaned, so that its hash stays that of the run."""
    text = path.read_text(encoding="utf-8")
    cleaned = clean(text)
    return path if cleaned == text else cleaned.encode()


def _ledger(ledger: Ledger, clean: Cleaner) -> Ledger:
    workers = {
        name: f"worker {number}" for number, name in enumerate(dict.fromkeys(e.worker for e in ledger.entries), 1)
    }

    def told(entry: LedgerEntry) -> LedgerEntry:
        return replace(
            entry,
            file=clean(entry.file),
            reason=clean(entry.reason),
            replica_of=clean(entry.replica_of),
            worker=workers[entry.worker],
        )

    return Ledger(tuple(told(entry) for entry in ledger.entries))


def _json(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, indent=1) + "\n").encode()
