"""README.md of a package: what it holds, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from darkop_dist.config import DatasetRecord, Document

CONTENT = (
    ("document/search.json", "the document with everything resolved, as it is run again"),
    ("document/as-written.yml", "the document as it was written, without what concerns one site only"),
    ("code/, files/", "the processor, the user's modules that it imports, and files that it or the document names"),
    ("operator/", "the model that scored the events, unless it comes with darkop-dist"),
    ("catalogue/records.json", "all datasets: DOIs, records, licences, cross sections"),
    ("inputs.json", "every input file: address, size, entries, what tells it from every other"),
    ("requirements.txt", "versions of all libraries; results/provenance.json has the commit, the seeds and the hashes"),
    (
        "results/",
        "ledger, luminosity, histograms, cutflow, candidates, calibration, workspace, limits; report/index.html",
    ),
    ("ro-crate-metadata.json", "size and SHA-256 of every file, and the run, as RO-Crate 1.1 metadata"),
)


def readme(
    document: Document,
    records: Sequence[DatasetRecord],
    provenance: Mapping[str, Any],
    results: Iterable[str],
    notes: Iterable[str],
) -> str:
    """The text.

    Args:
        document: the document.
        records: its datasets.
        provenance: of the run.
        results: the limits, a line each.
        notes: what a reader must know.
    """
    commit = provenance.get("code", {}).get("darkop-dist", {})
    told = f", commit {commit['commit']}{' (modified)' if commit['modified'] else ''}" if commit.get("commit") else ""
    made = f"run with {provenance['writer']}{told}, {provenance['made']}"
    lines = [
        f"# {document.name}",
        "",
        *([" ".join(document.description.split()), ""] if document.description else []),
        f"A search, its results and all that it was made from: {made}.",
        "",
        *(f"- {line.strip()}" for line in results),
        "",
        "Run it again and compare: `darkop reproduce` and the path of this package; files of datasets marked `local`",
        "are looked for with `--inputs DIRECTORY`.",
        "",
        "| what | content |",
        "|---|---|",
        *(f"| {name} | {about} |" for name, about in CONTENT),
        "",
        "| dataset | source | licence |",
        "|---|---|---|",
        *(f"| {record.name} | {source_of(record)} | {record.licence or 'not stated'} |" for record in records),
        "",
        *(f"Note: {note}" for note in notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def source_of(record: DatasetRecord) -> str:
    """Where a dataset comes from, in a few words."""
    if record.generated is not None:
        return f"generated: {record.generated.process}, {record.generated.events} events, seed {record.generated.seed}"
    if record.doi:
        return f"https://doi.org/{record.doi}"
    if record.recid:
        return f"https://opendata.cern.ch/record/{record.recid}"
    if any("://" in uri and not uri.startswith(("tar://", "file://")) for uri in record.uris):
        return "addresses in inputs.json"
    return "local" + (f"; {record.provenance}" if record.provenance else "")
