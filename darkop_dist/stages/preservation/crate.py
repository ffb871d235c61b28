"""RO-Crate metadata of a package (RO-Crate 1.1, with the profile Process Run Crate 0.5).

https://www.researchobject.org/ro-crate/specification/1.1 and https://w3id.org/ro/wfrun/process/0.5. The context of that
profile has the term ``sha256``. Nobody is named as agent or author: the package does not know who ran the search.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import MissingExtraError
from darkop_dist.runs import file_sha256
from darkop_dist.stages.preservation.inputs import GENERATED, LOCAL

METADATA = "ro-crate-metadata.json"
VERSION = "1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PROFILE_CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
FORMATS = {
    ".json": "application/json",
    ".yml": "application/yaml",
    ".py": "text/x-python",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".html": "text/html",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".root": "application/x-root",
}
UNKNOWN_FORMAT = "application/octet-stream"
INPUT_OF_RUN = ("document/search.json", "code/", "files/", "operator/", "inputs/")
Content = Mapping[str, bytes | Path]
Inputs = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Story:
    """What the metadata say besides the files.

    Attributes:
        name: of the search.
        description: of the search and of what the package is, in sentences.
        licence: of the package: an identifier of SPDX, an address or a sentence.
        command: what was run.
        started: when, in ISO 8601.
        ended: when it was done.
        software: version of this package.
        commit: its commit; empty where it is not known.
        about: by path, what a file is, in one line.
    """

    name: str
    description: str
    licence: str
    command: str
    started: str
    ended: str
    software: str
    commit: str
    about: Mapping[str, str]


def metadata(content: Content, story: Story, records: Sequence[DatasetRecord], inputs: Inputs) -> bytes:
    """The file ``ro-crate-metadata.json`` of a package.

    Args:
        content: all other files, by path.
        story: what is said besides.
        records: the datasets.
        inputs: as in ``inputs.json`` of the package.

    Raises:
        MissingExtraError: the extra ``preservation`` is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ModuleNotFoundError as error:
        raise MissingExtraError("rocrate", "preservation") from error
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_contexts.append(PROFILE_CONTEXT)
    _add_root(crate, story)
    files = {
        path: _add_file(crate, path, source, story.about.get(path, "")) for path, source in sorted(content.items())
    }
    read = [*_add_records(crate, records), *_add_inputs(crate, inputs, files)]
    used = [entity for path, entity in files.items() if path.startswith(INPUT_OF_RUN)]
    made = [entity for path, entity in files.items() if path.startswith("results/")]
    _add_run(crate, story, [*used, *read], made)
    return (json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def file_format(path: str) -> str:
    """Media type of a file by its ending."""
    return FORMATS.get(PurePosixPath(path).suffix.lower(), UNKNOWN_FORMAT)


def _add_root(crate: Any, story: Story) -> None:
    crate.root_dataset.append_to(
        "conformsTo", _context(crate, PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    )
    crate.name, crate.description, crate.license = story.name, story.description, story.licence
    crate.root_dataset["datePublished"] = story.ended


def _add_file(crate: Any, path: str, source: bytes | Path, about: str) -> Any:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    sha256 = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_sha256(source)
    properties = {
        "name": about or PurePosixPath(path).name,
        "encodingFormat": file_format(path),
        "contentSize": str(size),
        "sha256": sha256,
    }
    return crate.add_file(dest_path=quote(path), properties=properties)


def _add_records(crate: Any, records: Sequence[DatasetRecord]) -> list[Any]:
    return [
        _context(
            crate,
            f"#dataset-{record.name}",
            "CreativeWork",
            additionalType="Dataset",
            name=record.title or record.name,
            identifier=f"https://doi.org/{record.doi}" if record.doi else record.name,
            url=f"https://opendata.cern.ch/record/{record.recid}" if record.recid else None,
            license=record.licence,
            description=record.provenance or None,
        )
        for record in records
    ]


def _add_inputs(crate: Any, inputs: Inputs, files: Mapping[str, Any]) -> list[Any]:
    """Input files: addresses are files of the web, local ones are named, those that the package holds are there."""
    added = []
    for local in inputs["local"]:
        if f"inputs/{local['name'].removeprefix(LOCAL)}" in files:
            continue
        size = str(local["bytes"]) if local["bytes"] else None
        told = {"contentSize": size, "sha256": local["sha256"], "encodingFormat": file_format(local["name"])}
        name = f"#{quote(local['name'])}"
        added.append(_context(crate, name, "CreativeWork", name=local["name"], **told))
    for file in inputs["files"]:
        if file["path"].startswith((LOCAL, GENERATED)):
            continue
        size = str(file["bytes"]) if file["bytes"] else None
        told = {"contentSize": size, "encodingFormat": file_format(file["path"])}
        given = {key: value for key, value in told.items() if value}
        added.append(crate.add_file(file["path"], properties={"name": file["label"], **given}))
    return added


def _add_run(crate: Any, story: Story, used: list[Any], made: list[Any]) -> None:
    version = f"{story.software}+{story.commit}" if story.commit else story.software
    software = _context(
        crate,
        "#darkop-dist",
        "SoftwareApplication",
        name="darkop-dist",
        softwareVersion=version,
        softwareRequirements={"@id": "requirements.txt"},
        description="Dark-sector searches on public LHC data: from collision files to a limit.",
    )
    action = crate.add_action(
        software,
        identifier="#run",
        object=used,
        result=made,
        properties={
            "name": f"The run of the search {story.name}",
            "description": story.command,
            "startTime": story.started,
            "endTime": story.ended,
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    crate.root_dataset.append_to("mentions", action)


def _context(crate: Any, name_of: str, kind: str, /, **properties: Any) -> Any:
    from rocrate.model import ContextEntity

    given = {"@type": kind, **{key: value for key, value in properties.items() if value is not None}}
    return crate.add(ContextEntity(crate, name_of, properties=given))
