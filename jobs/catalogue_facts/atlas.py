"""Records of ATLAS: PHYSLITE data of 2015 and 2016, and one record per simulated sample (DSID)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogue_facts.made import Fact, Made, doubt, of_portal

GROUPS = {"boson": 80010, "exotics": 80011, "higgs": 80012, "jet": 80014, "susy": 80016, "top": 80017}
"""Portal record of the samples of each table."""

SYSTEMATIC = {"higgs": 80013, "jet": 80015, "top": 80018}
"""Portal records of systematic samples: no table gives their DSIDs and cross sections."""

DATA = {2015: 80000, 2016: 80001}
FILES = "atlas/atlas_mc_files_2024-04-16.json"
PHYSLITE = {"experiment": "ATLAS", "format": "physlite", "tree": "CollectionTree"}

ROUNDED = 0.005
"""Relative rounding of a printed cross section from which on a record says so."""

BRANCHING = (
    "the table does not say which samples contain the branching fraction of the Higgs decay: 28.3 pb for gg to H to "
    "gamma gamma (343981) is without, 0.0106 pb for gg to H to mu mu (345097) is with it"
)
SUSPECTS = {
    801976: "1.2465 pb is 700 times that of the same Z' to ee (301204, 0.001762 pb), while its couplings are universal",
}
TITLES = {
    "boson": "electroweak bosons",
    "exotics": "exotic signal",
    "higgs": "Higgs boson",
    "jet": "jets and photons",
    "susy": "supersymmetric signal",
    "top": "top quarks",
}


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        group: name of the table.
        dsid: number of the sample.
        name: name of the sample.
        tags: tags of generation and simulation; NaN where the table has none.
        xsec_pb: cross section as printed.
        filter_efficiency: fraction of generated events that pass the filter.
        k_factor: correction to higher order.
        events: number of events.
    """

    group: str
    dsid: int
    name: str
    tags: tuple[str, str]
    xsec_pb: str
    filter_efficiency: float
    k_factor: float
    events: int


def build_data(facts: list[Fact]) -> list[Made]:
    """Collisions, one record per year."""
    by_recid = {int(fact["recid"]): fact for fact in facts}
    made = []
    for year, recid in DATA.items():
        fact = by_recid[recid]
        own = {
            "name": f"atlas-{year}-data",
            "title": f"{fact['title']}, 13 TeV",
            "kind": "data",
            "year": year,
            "provenance": f"CERN Open Data record {recid}, whose files must be listed from the portal",
            "uncertain": [doubt("lumi_ifb", "not in the facts; the portal's record does not give it")],
        }
        made.append(Made(PHYSLITE | own | of_portal(fact)))
    return made


def build_mc(facts: list[Fact], directory: Path) -> list[Made]:
    """One record per DSID, and one for each of the portal's records of systematic samples."""
    by_recid = {int(fact["recid"]): fact for fact in facts}
    listed = read_files(directory / FILES)
    made: list[Made] = []
    for group, recid in GROUPS.items():
        rows = read_table(directory / f"atlas/atlas_mc_{group}_nominal.txt", group)
        made += [_sample(row, by_recid[recid], *listed.pop(row.dsid, ("", ()))) for row in rows]
    made += [_untabled(dsid, name, files) for dsid, (name, files) in sorted(listed.items())]
    made += [_systematic(group, by_recid[recid]) for group, recid in SYSTEMATIC.items()]
    return made


def read_table(path: Path, group: str) -> Iterator[Row]:
    """The lines of one table, ``DSID & name & etag & stag & xsec & filter & k-factor & events``."""
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().removesuffix("\\\\").split("&")]
        if cells == [""]:
            continue
        if len(cells) != 8:
            raise SystemExit(f"{path}: not a line of eight columns: {line}")
        dsid, name, etag, stag, xsec, efficiency, k_factor, events = cells
        yield Row(
            group,
            int(dsid),
            name.replace("\\_", "_"),
            (etag, stag),
            xsec,
            float(efficiency),
            float(k_factor),
            int(events.replace(",", "")),
        )


def read_files(path: Path) -> dict[int, tuple[str, tuple[dict[str, Any], ...]]]:
    """Name of the dataset and its files, sorted by address, by DSID."""
    found = {}
    for name, files in json.loads(path.read_text())["file_locations"].items():
        listed = tuple(
            {
                "uri": file["uri"],
                "bytes": file["size"],
                "adler32": file["checksum"].removeprefix("adler32"),
                "events": file["events"],
            }
            for file in sorted(files.values(), key=lambda file: str(file["uri"]))
        )
        found[int(re.split(r"\.", name)[1])] = (name, listed)
    return found


def _sample(row: Row, fact: Fact, dataset: str, files: tuple[dict[str, Any], ...]) -> Made:
    record = PHYSLITE | {
        "name": f"atlas-mc20-{row.dsid}",
        "title": row.name,
        "kind": "simulation",
        "events": sum(file["events"] for file in files) if files else row.events,
        "xsec_pb": float(row.xsec_pb),
        "filter_efficiency": row.filter_efficiency,
        "k_factor": row.k_factor,
        "years": [2015, 2016],
        "dsid": row.dsid,
        "recid": int(fact["recid"]),
        "doi": fact["doi"],
        "licence": fact["licence"],
        "provenance": (
            f"ATLAS table of {TITLES[row.group]} in CERN Open Data record {fact['recid']}, tags {' '.join(row.tags)}; "
            + (f"files of {dataset} as of 2024-04-16" if files else "files must be asked for")
        ),
        "uncertain": _doubts(row, files),
    }
    return Made(record | _totals(files), files)


def _totals(files: tuple[dict[str, Any], ...]) -> dict[str, int]:
    return {"file_count": len(files), "bytes": sum(file["bytes"] for file in files)} if files else {}


def _doubts(row: Row, files: tuple[dict[str, Any], ...]) -> list[dict[str, str]]:
    found = []
    held = sum(file["events"] for file in files)
    if not files:
        why = (
            "the number of the table; where files are listed, most samples hold another one (0.87 to 18 times as many)"
        )
        found.append(doubt("events", why))
    elif held != row.events:
        found.append(doubt("events", f"{held} in the files' own counts, {row.events} in the table"))
    if "NaN" in row.tags:
        found.append(doubt("provenance", "the table has no simulation tag for this sample (NaN)"))
    decimals = len(row.xsec_pb.partition(".")[2])
    rounding = 0.5 * 10**-decimals / float(row.xsec_pb)
    if rounding > ROUNDED:
        found.append(doubt("xsec_pb", f"printed as {row.xsec_pb}: rounded by up to {100 * rounding:.0f} %"))
    if row.group == "higgs":
        found.append(doubt("xsec_pb", BRANCHING))
    if row.dsid in SUSPECTS:
        found.append(doubt("xsec_pb", SUSPECTS[row.dsid]))
    return found


def _untabled(dsid: int, dataset: str, files: tuple[dict[str, Any], ...]) -> Made:
    record = PHYSLITE | {
        "name": f"atlas-mc20-{dsid}",
        "title": dataset.split(".")[2],
        "kind": "simulation",
        "events": sum(file["events"] for file in files),
        "years": [2015, 2016],
        "dsid": dsid,
        "licence": "CC0-1.0",
        "provenance": f"files of {dataset} as of 2024-04-16",
        "uncertain": [
            doubt(
                "xsec_pb", "in none of the tables, so neither cross section, filter efficiency nor k-factor is known"
            ),
            doubt("recid", "in none of the tables of nominal samples; perhaps in 80013 or 80018"),
        ],
    }
    return Made(record | _totals(files), files)


def _systematic(group: str, fact: Fact) -> Made:
    own = {
        "name": f"atlas-mc20-{group}-syst",
        "title": f"{fact['title']}, several samples",
        "kind": "simulation",
        "years": [2015, 2016],
        "provenance": f"CERN Open Data record {fact['recid']}, whose files must be listed from the portal",
        "uncertain": [doubt("xsec_pb", "the record joins several samples (DSIDs) that no table of the facts names")],
    }
    return Made(PHYSLITE | own | of_portal(fact))
