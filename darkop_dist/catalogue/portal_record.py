"""What a record of the CERN Open Data portal means as a dataset record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from darkop_dist.catalogue.portal import PortalRecord
from darkop_dist.config.datasets import FILE_SUFFIXES, DatasetRecord, is_root_file
from darkop_dist.errors import InputValueError

EXPERIMENTS = ("CMS", "ATLAS")
_YEAR = re.compile(r"(?:Run)?(20[012]\d)[A-Z]?\b")
_COLLISIONS = re.compile(r"Run20\d\d[A-Z]")
_UNREADABLE = frozenset({"aod", "aodsim", "miniaod", "miniaodsim", "raw", "reco", "gen-sim", "hepmc", "daod_hion14"})


def dataset_of(found: PortalRecord, name: str | None = None) -> DatasetRecord:
    """The dataset record of a portal's record.

    Args:
        found: what the portal said.
        name: name of the dataset; ``cern-RECID`` by default.

    Returns:
        The record with its files; what the portal leaves open is marked as not certain.

    Raises:
        InputValueError: a record of another experiment, in a format that is not read, or without data files.
    """
    metadata, recid = found.metadata, found.recid
    thing = f"record {recid} of the portal"
    files = [_file(file) for file in found.files if _is_data(str(file["uri"]))]
    if not files:
        raise InputValueError(thing, "has no ROOT, CSV, Parquet or HDF5 files", "Look at its page.")
    doubts: list[dict[str, str]] = []
    keys = (
        {"name": name or f"cern-{recid}", "title": str(metadata["title"]), "recid": recid, "files": files}
        | {"experiment": _experiment(metadata, thing)}
        | _kind(metadata, doubts)
        | _format(metadata, files, thing, doubts)
        | _normalisation(metadata, doubts)
        | _totals(found, files, doubts)
        | _years(metadata)
    )
    licence = metadata.get("license")
    keys |= {
        "doi": metadata.get("doi"),
        "licence": licence.get("attribution") if isinstance(licence, dict) else licence,
        "provenance": f"CERN Open Data record {recid}, asked for by darkop",
        "uncertain": doubts,
    }
    return DatasetRecord.model_validate(keys)


def _is_data(uri: str) -> bool:
    return is_root_file(uri) or uri.lower().endswith((*FILE_SUFFIXES, ".h5", ".hdf5"))


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    checksum = re.fullmatch(r"adler32:?([0-9a-fA-F]{1,8})", str(file.get("checksum") or ""))
    adler32 = {"adler32": checksum[1].lower().zfill(8)} if checksum else {}
    return {"uri": str(file["uri"]), "bytes": int(file["size"])} | adler32


def _experiment(metadata: Mapping[str, Any], thing: str) -> str:
    given = metadata.get("experiment") or []
    names = [given] if isinstance(given, str) else list(given)
    for known in EXPERIMENTS:
        if known in names:
            return known
    raise InputValueError(thing, f"is of {', '.join(map(str, names)) or 'no experiment'}", "Ask for CMS or ATLAS.")


def _kind(metadata: Mapping[str, Any], doubts: list[dict[str, str]]) -> dict[str, str]:
    given = metadata.get("type")
    secondary = (given.get("secondary") or []) if isinstance(given, dict) else []
    if "Simulated" in secondary and "Collision" not in secondary:
        return {"kind": "simulation"}
    if "Collision" in secondary and "Simulated" not in secondary:
        return {"kind": "data"}
    kind = "data" if _COLLISIONS.search(str(metadata["title"])) else "simulation"
    said = ", ".join(secondary) or "nothing"
    doubts.append({"fact": "kind", "why": f"the portal says {said}; told from whether the title names a run period"})
    return {"kind": kind}


def _format(
    metadata: Mapping[str, Any], files: list[dict[str, Any]], thing: str, doubts: list[dict[str, str]]
) -> dict[str, str]:
    """Format and tree, from the portal's list of formats and the title."""
    told = [str(each).casefold() for each in (metadata.get("distribution") or {}).get("formats") or []]
    text = f"{metadata['title']} {' '.join(told)}".casefold()
    unreadable = _UNREADABLE & set(told)
    if unreadable:
        what = f"holds {', '.join(sorted(unreadable)).upper()}, which this package does not read"
        raise InputValueError(thing, what, "Look for the same dataset in NanoAOD or PHYSLITE.")
    if not is_root_file(files[0]["uri"]):
        return {"format": "hdf5" if files[0]["uri"].lower().endswith(("h5", "hdf5")) else "flat"}
    if "physlite" in text or "physlite" in files[0]["uri"].casefold():
        return {"format": "physlite", "tree": "CollectionTree"}
    if "pfnano" in text or "particle flow candidates" in text:
        return {"format": "pfnano"}
    if "nanoaod" not in text:
        doubts.append({"fact": "format", "why": "the portal does not name the layout: taken for flat columns"})
        doubts.append({"fact": "tree", "why": "the portal does not name the tree"})
        return {"format": "flat"}
    return {"format": "nanoaod"}


def _normalisation(metadata: Mapping[str, Any], doubts: list[dict[str, str]]) -> dict[str, float]:
    given = metadata.get("cross_section")
    if not isinstance(given, dict):
        return {}
    xsec, efficiency = _number(given.get("total_value")), _number(given.get("filter_efficiency"))
    found = {} if xsec is None or xsec <= 0 else {"xsec_pb": xsec}
    if efficiency is not None and 0 < efficiency <= 1:
        found["filter_efficiency"] = efficiency
    matching = _number(given.get("matching_efficiency"))
    if matching is not None and matching not in (1.0, -1.0):
        why = f"the portal also gives a matching efficiency of {matching:g}; whether the number contains it is not said"
        doubts.append({"fact": "xsec_pb", "why": why})
    return found


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _totals(found: PortalRecord, files: list[dict[str, Any]], doubts: list[dict[str, str]]) -> dict[str, Any]:
    """Numbers of events, files and bytes, and whether files and totals agree."""
    held = sum(file["bytes"] for file in files)
    totals = found.metadata.get("distribution") or {}
    on_tape = sum(file.get("availability") == "on demand" for file in found.files)
    if on_tape:
        doubts.append(
            {"fact": "files", "why": f"{on_tape} of {len(files)} are on tape: ask for them on the record's page"}
        )
    if found.parts:
        doubts.append(
            {"fact": "events", "why": f"a part of the record's {totals.get('number_events')} events was chosen"}
        )
        return {"file_count": len(files), "bytes": held}
    for what, own, said in (("files", len(files), totals.get("number_files")), ("bytes", held, totals.get("size"))):
        if isinstance(said, int) and said != own:
            doubts.append({"fact": what, "why": f"{own} in the list of files, {said} in the record's total"})
    events = totals.get("number_events")
    return {"file_count": len(files), "bytes": held, "events": events if isinstance(events, int) else None}


def _years(metadata: Mapping[str, Any]) -> dict[str, Any]:
    given = metadata.get("run_period") or []
    text = " ".join([given] if isinstance(given, str) else map(str, given))
    years = sorted({int(year) for year in _YEAR.findall(text)})
    if not years:
        return {}
    return {"year": years[0]} if len(years) == 1 else {"years": years}
