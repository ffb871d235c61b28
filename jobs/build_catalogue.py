"""Build the record files of the catalogue from public lists of the CERN Open Data portal.

    python jobs/build_catalogue.py FACTS [--output darkop_dist/catalogue/records]

FACTS is a directory with

- ``cern_open_data_records.json``: one entry per record of the portal with recid, title, events, files, size, doi,
  licence and source;
- ``eos-file-indexes/*_file_index.json``: the portal's file indexes of the CMS Run2016G and Run2016H NanoAOD records,
  with uri, size and adler32 checksum of each file;
- ``cms_2015_nanoaod_inputs.json``: files and events of CMS 2015 simulation, by process and variation;
- ``atlas/atlas_mc_*_nominal.txt``: tables of the ATLAS samples with cross sections; and
  ``atlas/atlas_mc_files_2024-04-16.json`` with the files of some of them.

Each record file says with which command and from which files (SHA-256) it was made. Files of datasets go to lists of
their own in ``files/``. What the facts leave open is marked in the records: docs/catalogue.md has the format. Sets
that other people derived (``derived.json``) and generated ones (``generated.json``) are written by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from catalogue_facts import atlas, cms, cms_2015
from catalogue_facts.made import Made

from darkop_dist.catalogue.file_lists import format_file_list
from darkop_dist.config.datasets import DatasetFile, DatasetRecord

PORTAL = "cern_open_data_records.json"
INDEXES = "eos-file-indexes"
COMMAND = "python jobs/build_catalogue.py FACTS"
PROVENANCE = {
    "cms_2016": (
        "CERN Open Data portal (opendata.cern.ch): records and file indexes of CMS 2016 NanoAOD. CMS luminosity of "
        "2016: record 1059 (16.39/fb for G and H together, 1.2 %)"
    ),
    "cms_pfnano": "CERN Open Data portal (opendata.cern.ch): records of CMS PFNano, Run2016G",
    "cms_2015": "Inputs and cross sections of the IRIS-HEP Analysis Grand Challenge (CMS 2015 simulation in NanoAOD)",
    "cms_run1": "CERN Open Data portal (opendata.cern.ch): records of CMS Run 1 in a layout like NanoAOD's",
    "cms_outreach": "CERN Open Data portal (opendata.cern.ch): records of CMS Run 1 in reduced NanoAOD for outreach",
    "atlas_data": "CERN Open Data portal (opendata.cern.ch): records 80000 and 80001 of ATLAS",
    "atlas_mc20": (
        "ATLAS open data for research: tables of the samples and list of files of 2024-04-16, and records 80010 to "
        "80018 of the CERN Open Data portal (opendata.cern.ch)"
    ),
}


def build(facts: Path) -> dict[str, list[Made]]:
    """All datasets by the record file that they go to."""
    portal = json.loads((facts / PORTAL).read_text())
    return {
        **cms.build_2016(portal, facts / INDEXES),
        "cms_pfnano_2016g": cms.build_pfnano(portal),
        "cms_2015": cms_2015.build_2015(facts),
        "cms_run1": cms.build_run1(portal),
        "cms_outreach": cms.build_outreach(portal),
        "atlas_data": atlas.build_data(portal),
        "atlas_mc20": atlas.build_mc(portal, facts),
    }


def sources_of(stem: str, facts: Path) -> dict[str, str]:
    """SHA-256 of the facts that a record file was made from; that of a directory covers names and contents."""
    names = {
        "cms_2015": [cms_2015.LISTED],
        "cms_2016g": [PORTAL, INDEXES],
        "cms_2016h": [PORTAL, INDEXES],
        "atlas_mc20": [PORTAL, atlas.FILES, *(f"atlas/atlas_mc_{group}_nominal.txt" for group in atlas.GROUPS)],
    }
    return {name: _sha256(facts / name) for name in names.get(stem, [PORTAL])}


def _sha256(path: Path) -> str:
    if path.is_dir():
        inside = "".join(f"{_sha256(file)}  {file.name}\n" for file in sorted(path.iterdir()))
        return hashlib.sha256(inside.encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_records(output: Path, stem: str, made: Iterable[Made], sources: dict[str, str]) -> str:
    """Write one record file and its file lists; keys that have their default value are left out.

    Returns:
        A line that says what was written.
    """
    records, listed = [], 0
    for one in sorted(made, key=lambda one: one.name):
        files = [DatasetFile.model_validate(file) for file in one.files]
        if files:
            listed += 1
            (output / "files" / f"{one.name}.json").write_text(format_file_list(files), encoding="utf-8")
        keys = one.record | ({"file_list": f"files/{one.name}.json"} if files else {})
        records.append(DatasetRecord.model_validate(keys))
    told = next(text for start, text in PROVENANCE.items() if stem.startswith(start))
    head = {"schema_version": 1, "provenance": told, "built_by": COMMAND, "sources": sources}
    rows = ",\n".join(json.dumps(record.model_dump(mode="json", exclude_defaults=True), indent=1) for record in records)
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "records": [\n{rows}\n]}}\n'
    (output / f"{stem}.json").write_text(text, encoding="utf-8")
    return f"{stem}.json: {len(records)} records, {listed} with files"


def main() -> None:
    """Read the facts, write the records, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--output", type=Path, default=Path("darkop_dist/catalogue/records"))
    arguments = parser.parse_args()
    (arguments.output / "files").mkdir(parents=True, exist_ok=True)
    for stem, made in build(arguments.facts).items():
        print(write_records(arguments.output, stem, made, sources_of(stem, arguments.facts)))


if __name__ == "__main__":
    main()
