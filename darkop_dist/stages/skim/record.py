"""The record of a skim, for the documents that take it, and the account of what it was made from."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.execution import Ledger
from darkop_dist.generation.record import file_entry
from darkop_dist.runs import RunDirectory, version, write_atomically, write_json
from darkop_dist.stages.run_events import data_fraction
from darkop_dist.stages.skim.outputs import OutputBook
from darkop_dist.stages.skim.request import SkimRequest

SCHEMA = "darkop.skim/1"
PROVENANCE_SCHEMA = "darkop.provenance/1"
RECORD, BOOK = "skim.record.json", "skim.json"
FACTS_OF_FILES = ("file_list", "file_count", "bytes")
"""What a record says of its own files, and not of those of a skim."""
PACKAGES = ("awkward", "coffea", "h5py", "numpy", "pyarrow", "uproot")


def about_request(request: SkimRequest) -> dict[str, Any]:
    """What was asked, for the outputs and ``skim.json``."""
    about: dict[str, Any] = {
        "selection": request.selection.text,
        "columns": list(request.columns.keep),
        "drop": list(request.columns.drop),
        "format": request.layout,
    }
    if request.jets is not None:
        jets = request.jets
        about |= {"collection": jets.collection, "pt_min_gev": jets.pt_min, "constituents": jets.constituents}
        about |= {"features": list(jets.features)}
        del about["columns"], about["drop"]
    return about


def about_dataset(record: DatasetRecord, ledger: Ledger) -> dict[str, Any]:
    """What is known of a dataset, and what normalises its weights."""
    told = record.model_dump(
        include={"name", "experiment", "kind", "sample", "year", "recid", "doi", "licence", "xsec_pb", "k_factor",
                 "filter_efficiency", "lumi_ifb"}
    )  # fmt: skip
    if record.lumi_ifb is not None:
        told["lumi_ifb"] = record.lumi_ifb * data_fraction([record], ledger)
    return {key: value for key, value in told.items() if value is not None}


def write_records(
    directory: Path,
    request: SkimRequest,
    records: Sequence[DatasetRecord],
    ledger: Ledger,
    outputs: Sequence[OutputBook],
) -> Path:
    """Write ``skim.record.json``: a record for each dataset, with cross section, luminosity and DOI of the whole one.

    Returns:
        The file.

    Raises:
        OutputError: it cannot be written.
    """
    made = [_record(directory, request, r, ledger, [o for o in outputs if o.dataset == r.name]) for r in records]
    content: Mapping[str, Any] = {"schema_version": 1, "provenance": "darkop skim", "records": made}
    write_atomically(directory / RECORD, json.dumps(content, indent=1) + "\n")
    return directory / RECORD


def _record(
    directory: Path, request: SkimRequest, record: DatasetRecord, ledger: Ledger, outputs: Sequence[OutputBook]
) -> dict[str, Any]:
    inputs = [book for output in outputs for book in output.inputs]
    rows, entries = sum(output.rows for output in outputs), sum(book.entries for book in inputs)
    closure = next(found for found in ledger.closure() if found.dataset == record.name)
    parents = ", ".join(f"{Path(book.file).name} ({book.identity})" for book in inputs[:20])
    parents += f" and {len(inputs) - 20} more" if len(inputs) > 20 else ""
    said = [
        f"skim of {record.name}: {rows} of {entries} events by {request.selection.text or 'no selection'!r}",
        f"columns {', '.join(request.columns.keep)}"
        + (f" without {', '.join(request.columns.drop)}" if request.columns.drop else ""),
        f"inputs {parents}",
    ]
    if not closure.closed:
        said.append(f"lost and accepted: {closure.loss}; sums of weights and luminosity are of what was processed")
    dropped = {"generated", "weights", *FACTS_OF_FILES}
    content = record.model_dump(mode="json", exclude=dropped, exclude_defaults=True)
    content |= {
        "name": f"{record.name}{request.suffix}",
        "title": f"Skim of {record.title or record.name}",
        "kind": record.kind,
        "sample": record.sample_name,
        "files": [_file_entry(directory, output) for output in outputs],
        "events": rows,
        "uncertain": [d.model_dump() for d in record.uncertain if d.fact not in ("events", "files", *FACTS_OF_FILES)],
        "allow_empty": any(output.rows == 0 for output in outputs),
        "provenance": ". ".join(filter(None, (record.provenance.rstrip(". "), *said))),
    }
    if record.lumi_ifb is not None:
        content["lumi_ifb"] = about_dataset(record, ledger)["lumi_ifb"]
    return content


def _file_entry(directory: Path, output: OutputBook) -> dict[str, Any]:
    return {**file_entry(directory / output.file, output.rows), "uri": output.file}


def write_book(directory: Path, request: SkimRequest, ledger: Ledger, outputs: Sequence[OutputBook]) -> None:
    """Write ``skim.json``.

    Raises:
        OutputError: it cannot be written.
    """
    inputs = [book for output in outputs for book in output.inputs]
    totals = {
        "entries": sum(closure.expected for closure in ledger.closure()),
        "kept": sum(book.kept for book in inputs),
        "rejected": sum(book.rejected for book in inputs),
        "lost": sum(closure.lost for closure in ledger.closure()),
        "rows": sum(output.rows for output in outputs),
    }
    content = {"request": about_request(request), "totals": totals, "ledger_digest": ledger.digest}
    write_json(directory / BOOK, SCHEMA, {**content, "outputs": [output.to_json() for output in outputs]})


def write_provenance(run: RunDirectory, request: SkimRequest, times_s: Mapping[str, float]) -> None:
    """Write ``provenance.json``.

    Raises:
        OutputError: it cannot be written.
    """
    versions = {name: metadata.version(name) for name in PACKAGES if _is_installed(name)}
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(request.arguments),
        "versions": {"darkop-dist": version(), "python": sys.version.split()[0], **versions},
        "platform": platform.platform(),
        "times_s": dict(times_s),
    }
    write_json(run.provenance, PROVENANCE_SCHEMA, content)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
