"""Build the record files of the catalogue from public lists of the CERN Open Data portal.

    python jobs/build_catalogue.py FACTS [--output darkop_dist/catalogue/records]

FACTS is a directory with two things from the portal:

- ``cern_open_data_records.json``: one entry per record with recid, title, events, files, size, doi and licence;
- ``eos-file-indexes/*_file_index.json``: the portal's file indexes of the CMS Run2016G and Run2016H NanoAOD records,
  with uri, size and adler32 checksum of each file.

A record gets its files only if the indexes hold all of them, in number and bytes: a partial list would lose events
without saying so.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from darkop_dist.config import DatasetRecord

TITLE = re.compile(r"/(?P<primary>\w+)/(?P<run>Run2016[GH])-(?P<version>[\w-]+)/NANOAOD")
INDEX = re.compile(r"CMS_(?P<run>Run2016[GH])_(?P<primary>\w+?)_NANOAOD_(?P<version>[\w-]+)_\d+_file_index")


def read_indexes(directory: Path) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The files of each dataset, by (run, primary dataset, version), sorted by address."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for path in sorted(directory.glob("*_file_index.json")):
        match = INDEX.fullmatch(path.stem)
        if match is None:
            message = f"{path}: the name of a file index should look like CMS_Run2016G_MET_NANOAOD_..._file_index.json"
            raise SystemExit(message)
        files = found.setdefault((match["run"], match["primary"], match["version"]), [])
        for entry in json.loads(path.read_text()):
            adler32 = entry["checksum"].removeprefix("adler32:")
            files.append({"uri": entry["uri"], "bytes": entry["size"], "adler32": adler32})
    return {key: sorted(files, key=lambda file: str(file["uri"])) for key, files in found.items()}


def build_record(fact: dict[str, Any], indexes: dict[tuple[str, ...], list[dict[str, Any]]]) -> DatasetRecord | None:
    """The record of one NanoAOD dataset of Run2016G or Run2016H; None for all other entries of the portal."""
    match = TITLE.fullmatch(fact["title"])
    if match is None:
        return None
    files = indexes.get((match["run"], match["primary"], match["version"]), [])
    complete = len(files) == fact["files"] and sum(file["bytes"] for file in files) == fact["size"]
    known = "with the portal's file indexes" if complete else "whose files must be listed from the portal"
    return DatasetRecord.model_validate(
        {
            "name": f"cms-{match['run'].removeprefix('Run').lower()}-{match['primary'].lower()}",
            "title": fact["title"],
            "kind": "data",
            "files": tuple(files) if complete else (),
            "events": fact["events"],
            "year": 2016,
            "recid": int(fact["recid"]),
            "doi": fact["doi"],
            "licence": fact["licence"],
            "provenance": f"CERN Open Data record {fact['recid']}, {known}",
        }
    )


def write_records(path: Path, records: list[DatasetRecord], provenance: str) -> None:
    """Write one file of the catalogue; keys that have their default value are left out."""
    rows = ",\n".join(
        json.dumps(record.model_dump(mode="json", exclude_defaults=True), indent=1, sort_keys=False)
        for record in records
    )
    path.write_text(
        f'{{"schema_version": 1,\n"provenance": {json.dumps(provenance)},\n"records": [\n{rows}\n]}}\n',
        encoding="utf-8",
    )


def main() -> None:
    """Read the facts, write the records, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--output", type=Path, default=Path("darkop_dist/catalogue/records"))
    arguments = parser.parse_args()
    indexes = read_indexes(arguments.facts / "eos-file-indexes")
    facts = json.loads((arguments.facts / "cern_open_data_records.json").read_text())
    records = [record for record in (build_record(fact, indexes) for fact in facts) if record is not None]
    records.sort(key=lambda record: record.name)
    provenance = (
        "CERN Open Data portal (opendata.cern.ch): records and file indexes; built by jobs/build_catalogue.py. "
        "CMS luminosity of 2016: record 1059 (16.39/fb for G and H together, 1.2%)"
    )
    for run in ("2016g", "2016h"):
        chosen = [record for record in records if record.name.startswith(f"cms-{run}-")]
        write_records(arguments.output / f"cms_{run}.json", chosen, provenance)
        print(f"cms_{run}.json: {len(chosen)} records, {sum(bool(record.files) for record in chosen)} with files")


if __name__ == "__main__":
    main()
