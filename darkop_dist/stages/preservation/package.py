"""From a run directory to a package: everything is collected and cleaned first, then written beside and renamed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.errors import InputFileError
from darkop_dist.runs import RunDirectory, read_json, version
from darkop_dist.stages import provenance
from darkop_dist.stages.context import RunContext, load_context
from darkop_dist.stages.limits import headlines
from darkop_dist.stages.preservation import collect
from darkop_dist.stages.preservation.clean import Cleaner
from darkop_dist.stages.preservation.crate import METADATA, Story, metadata
from darkop_dist.stages.preservation.inputs import find_inputs, packaged_record
from darkop_dist.stages.preservation.readme import CONTENT, readme
from darkop_dist.stages.preservation.write import require_free, write_files
from darkop_dist.stages.sources import FILE, Sources, load_sources

SCHEMA = "darkop.package/1"
NO_LICENCE = (
    "Whoever made this package has stated no licence for it. The datasets carry their own: see catalogue/records.json."
)
Say = Callable[[str], None]


@dataclass(frozen=True)
class PackageRequest:
    """What to export.

    Attributes:
        run: the run directory.
        output: the directory, or the ``.zip`` file, to make.
        with_inputs: copy the local input files into the package.
        licence: of the package: an identifier of SPDX, an address or a sentence.
        accept_loss: datasets whose lost events are accepted.
    """

    run: Path
    output: Path
    with_inputs: bool = False
    licence: str = ""
    accept_loss: Sequence[str] = ()


@dataclass(frozen=True)
class Package:
    """What was written.

    Attributes:
        files: paths in the package.
        sha256: of its metadata, which hold the SHA-256 of every other file.
        notes: what a reader must know, in sentences.
    """

    files: tuple[str, ...]
    sha256: str
    notes: tuple[str, ...]


def write_package(request: PackageRequest, say: Say = lambda _: None) -> Package:
    """Export a run as a package that says what it is.

    Args:
        request: what to export.
        say: is told what takes long, and how much is copied.

    Raises:
        LedgerError: the run lost events that are not accepted.
        InputFileError: the run is not whole, was made by an older version, or an input has changed since.
        OutputError: the output exists already or cannot be written.
        MissingExtraError: the extra ``preservation`` is not installed.
    """
    require_free(request.output)
    run = RunDirectory(request.run)
    context, sources, told = _whole_run(run, request.accept_loss)
    inputs, uncertain = find_inputs(run, context.records, say=say)
    clean = collect.cleaner_of(context, inputs, sources)
    content = {**collect.source_files(run), **collect.operator_files(context), **collect.result_files(run, clean)}
    content |= collect.documents(run, context, inputs, sources, clean)
    if request.with_inputs:
        size = sum(file.bytes for file in inputs.local)
        say(f"copying {len(inputs.local)} input files, {size / 1e6:.1f} MB")
        content |= collect.input_files(inputs)
    notes = (
        *sources.notes,
        *uncertain,
        *collect.changes_since(run, told["hashes"]),
        *collect.paths_in_code(content, clean),
    )
    accepted = tuple(sorted({*request.accept_loss, *told["accepted_loss"]}))
    content["package.json"] = _package_file(context, told, sources, accepted, notes)
    content["requirements.txt"] = "".join(f"{name}=={found}\n" for name, found in told["environment"].items()).encode()
    records = [packaged_record(record, inputs) for record in context.records]
    content["README.md"] = clean(readme(context.document, records, told, headlines(run), notes)).encode()
    story = _story(context, told, clean, request.licence)
    listed = json.loads(bytes(content["inputs.json"]))
    content[METADATA] = metadata(content, story, records, listed)
    write_files(request.output, content, str(told["made"]))
    return Package(tuple(sorted(content)), hashlib.sha256(bytes(content[METADATA])).hexdigest(), notes)


def _whole_run(run: RunDirectory, accepted: Sequence[str]) -> tuple[RunContext, Sources, dict[str, Any]]:
    """A run that came to its end, with what it was made from."""
    if not run.path.is_dir():
        raise InputFileError(str(run.path), "no such run directory", "Name the directory that darkop run wrote.")
    if (run.path / "output.json").exists():
        problem = "is the run of a processor that is no search: it has no histograms to compare"
        raise InputFileError(str(run.path), problem, "Export the run of a search processor.")
    context = load_context(run)
    context.require_closed(accepted)
    told: dict[str, Any] = read_json(run.require(run.provenance, "darkop run"), provenance.SCHEMA)
    if context.document.limits is not None:
        run.require(run.limits, "darkop limits")
    if not (run.sources / FILE).exists() or "environment" not in told:
        problem = "was made by a version that did not keep what a run is made from"
        raise InputFileError(str(run.path), problem, "Run the search again.")
    return context, load_sources(run.sources), told


def _package_file(
    context: RunContext, told: Mapping[str, Any], sources: Sources, accepted: Sequence[str], notes: Sequence[str]
) -> bytes:
    operator = context.document.operator
    body = {
        "schema": SCHEMA,
        "writer": f"darkop-dist {version()}",
        "python_path": list(sources.python_path),
        "begins_in": sources.begins_in,
        "accepted_loss": list(accepted),
        "taught": bool(operator and operator.checkpoint is None),
        "fingerprint": context.histograms.fingerprint,
        "code": told["code"],
        "notes": list(notes),
    }
    return (json.dumps(body, indent=1) + "\n").encode()


def _story(context: RunContext, told: Mapping[str, Any], clean: Cleaner, licence: str) -> Story:
    document = context.document
    what = "The document, code, model, dataset records and results of this search, which darkop reproduce runs again."
    return Story(
        name=document.name,
        description=" ".join(f"{document.description} {what}".split()),
        licence=licence or NO_LICENCE,
        command=clean(told["command"]),
        started=told["started"],
        ended=told["made"],
        software=told["versions"]["darkop-dist"],
        commit=told["code"]["darkop-dist"]["commit"] or "",
        about=dict(CONTENT),
    )
