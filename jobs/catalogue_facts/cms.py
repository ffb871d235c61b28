"""Records of CMS: NanoAOD and PFNano of 2016, NanoAOD of Run 1."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from catalogue_facts.made import Fact, Made, doubt, from_source, of_portal, slug

TITLE = re.compile(r"/(?P<primary>\w+)/(?P<run>Run2016[GH])-(?P<version>[\w-]+)/NANOAOD")
MINIAOD = re.compile(r"/(?P<primary>\w+)/(?P<run>Run2016[GH])-[\w-]+/MINIAOD")
INDEX = re.compile(r"CMS_(?P<run>Run2016[GH])_(?P<primary>\w+?)_NANOAOD_(?P<version>[\w-]+)_\d+_file_index")
PFNANO = re.compile(
    r"(?P<primary>\w+) dataset in NanoAOD format enhanced with Particle Flow candidates from RunG of 2016"
)
DERIVED = re.compile(r"(?P<sample>[\w-]+) dataset (?:in|from)")
PERIOD = re.compile(r"Run(?P<year>\d{4})(?P<letter>[A-Z])_(?P<primary>\w+)")

OUTREACH = (
    "cms-derived-nanoaod-outreach-higgstautau.json",
    "cms-derived-nanoaod-outreach-higgsfourleptons.json",
    "cms-derived-nanoaod-outreach-DoubleMuParked.json",
)
LUMINOSITY = doubt(
    "lumi_ifb",
    "2016 G and H together are 16.39/fb, known to 1.2 % (portal record 1059); the share of each is not in the facts",
)
SMALLEST_EVENT = 20
"""Bytes: the smallest true event here has 36 (muons only); a size that says less is in another unit."""


def build_2016(facts: list[Fact], indexes: Path) -> dict[str, list[Made]]:
    """All primary datasets of Run2016G and Run2016H in NanoAOD."""
    listed, parents = read_indexes(indexes), read_parents(facts)
    made: dict[str, list[Made]] = {"cms_2016g": [], "cms_2016h": []}
    for fact in facts:
        match = TITLE.fullmatch(fact["title"])
        if match is not None:
            files = listed.get((match["run"], match["primary"], match["version"]), ())
            run = match["run"].removeprefix("Run").lower()
            doubts = _lost(fact, parents[match["run"], match["primary"]])
            made[f"cms_{run}"].append(_nanoaod(fact, f"cms-{run}-{match['primary'].lower()}", files, doubts))
    return made


def read_parents(facts: list[Fact]) -> dict[tuple[str, str], Fact]:
    """The MiniAOD that NanoAOD and PFNano were made from, by run and primary dataset."""
    matches = ((MINIAOD.fullmatch(fact["title"]), fact) for fact in facts)
    return {(match["run"], match["primary"]): fact for match, fact in matches if match is not None}


def _lost(fact: Fact, parent: Fact) -> list[dict[str, str]]:
    missing = parent["events"] - fact["events"]
    if not missing:
        return []
    why = (
        f"{missing} fewer than in the MiniAOD that it was made from (record {parent['recid']}, {parent['events']} "
        "events), so a part of the luminosity is missing"
    )
    return [doubt("events", why)]


def read_indexes(directory: Path) -> dict[tuple[str, ...], tuple[dict[str, Any], ...]]:
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
    return {key: tuple(sorted(files, key=lambda file: str(file["uri"]))) for key, files in found.items()}


def _nanoaod(fact: Fact, name: str, files: tuple[dict[str, Any], ...], lost: list[dict[str, str]]) -> Made:
    """A dataset gets its files only if the indexes hold all of them: a part would lose events without saying so."""
    complete = len(files) == fact["files"] and sum(file["bytes"] for file in files) == fact["size"]
    doubts = [LUMINOSITY, *lost]
    if files and not complete:
        part = (
            f"{len(files)} of {fact['files']} files and {sum(file['bytes'] for file in files)} of {fact['size']} bytes"
        )
        doubts.append(doubt("files", f"left out: the file indexes hold {part}"))
    known = "with the portal's file indexes" if complete else "whose files must be listed from the portal"
    record = {
        "name": name,
        "title": fact["title"],
        "kind": "data",
        "year": 2016,
        "provenance": f"CERN Open Data record {fact['recid']}, {known}",
        "uncertain": doubts,
    }
    return Made(record | of_portal(fact), files if complete else ())


def build_pfnano(facts: list[Fact]) -> list[Made]:
    """PFNano of Run2016G: NanoAOD with the particle-flow candidates."""
    parents, made = read_parents(facts), []
    for fact in from_source(facts, "cms-derived-pfnano-2016.json"):
        match = PFNANO.fullmatch(fact["title"])
        if match is None:
            raise SystemExit(f"record {fact['recid']}: a title of another form: {fact['title']}")
        record, doubts = _with_true_size(of_portal(fact))
        record |= {
            "name": f"cms-pfnano-2016g-{match['primary'].lower()}",
            "title": f"/{match['primary']} of Run2016G with particle-flow candidates",
            "kind": "data",
            "format": "pfnano",
            "year": 2016,
            "provenance": f"CERN Open Data record {fact['recid']}, whose files must be listed from the portal",
            "uncertain": [LUMINOSITY, *_lost(fact, parents["Run2016G", match["primary"]]), *doubts],
        }
        made.append(Made(record))
    return made


def build_run1(facts: list[Fact]) -> list[Made]:
    """Run-1 datasets in a layout like NanoAOD's."""
    return [_derived(fact, "cms-run1") for fact in from_source(facts, "cms-derived-nanoaodrun1.json")]


def build_outreach(facts: list[Fact]) -> list[Made]:
    """Run-1 datasets in reduced NanoAOD for education and outreach."""
    return [_derived(fact, "cms-outreach") for fact in from_source(facts, *OUTREACH)]


def _derived(fact: Fact, collection: str) -> Made:
    sample = DERIVED.match(fact["title"])
    if sample is None:
        raise SystemExit(f"record {fact['recid']}: a title of another form: {fact['title']}")
    record, doubts = _with_true_size(of_portal(fact))
    period = PERIOD.fullmatch(sample["sample"])
    if period is not None:
        record |= {"kind": "data", "year": int(period["year"])}
        what = slug(f"{period['year']}{period['letter']}-{period['primary']}")
    elif sample["sample"] == "DoubleMuParked":
        record |= {"kind": "data", "year": 2012}
        what = "2012-doublemuparked"
        doubts.append(doubt("title", _wrong_period(fact)))
    else:
        record |= {"kind": "simulation"}
        what = slug(re.sub(r"(_\dTeV)-.*", r"\1", sample["sample"]))  # the generators stay in the title
        doubts.append(doubt("xsec_pb", "the portal's record gives none"))
        if fact["energy"] is None:
            doubts.append(doubt("year", "the portal's record gives neither an energy nor a period"))
    record |= {
        "name": f"{collection}-{what}",
        "title": fact["title"] + (f", {fact['energy'].replace('TeV', ' TeV')}" if fact["energy"] else ""),
        "provenance": f"CERN Open Data record {fact['recid']}, whose files must be listed from the portal",
        "uncertain": doubts,
    }
    return Made(record)


def _wrong_period(fact: Fact) -> str:
    periods = " and ".join(fact["run_period"])
    return (
        f"the portal's record says {periods}, yet its {fact['events']} events are exactly those of Run2012B and "
        "Run2012C in records 12365 and 12366 (26084708 + 35455705)"
    )


def _with_true_size(record: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Leaves out a size that cannot be in bytes."""
    per_event = record["bytes"] / record["events"]
    if per_event >= SMALLEST_EVENT:
        return record, []
    why = (
        f"left out: the portal's record says {record['bytes']}, which is {per_event:.1f} bytes per event; if it counts "
        f"kB, the dataset has {record['bytes'] / 1e6:.1f} GB"
    )
    return {key: value for key, value in record.items() if key != "bytes"}, [doubt("bytes", why)]
