"""Records of CMS 2015 simulation in NanoAOD: the inputs of the IRIS-HEP Analysis Grand Challenge."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from catalogue_facts.made import Made, doubt

LISTED = "cms_2015_nanoaod_inputs.json"

XSEC_PB = {
    "ttbar": 729.84,
    "single_top_s_chan": 3.2944,
    "single_top_t_chan": 234.8,
    "single_top_tW": 75.843,
    "wjets": 15487.0,
}
"""Cross sections that the Analysis Grand Challenge gives to its processes, one for all variations of a process."""

LABELS = {
    "ttbar": "$t\\bar{t}$",
    "single_top_s_chan": "single top, s channel",
    "single_top_t_chan": "single top, t channel",
    "single_top_tW": "$tW$",
    "wjets": "$W$+jets",
}

VARIATIONS = {
    "scaleup": "renormalisation and factorisation scales up",
    "scaledown": "renormalisation and factorisation scales down",
    "ME_var": "another matrix element (aMC@NLO)",
    "PS_var": "another parton shower (Herwig++)",
}

XSEC_DOUBTS = {
    "single_top_t_chan": (
        "one inclusive number for two samples (top and antitop), which the Analysis Grand Challenge scales up from "
        "leptonic decays, (36.993 + 22.175) / 0.252: it holds for both together, not for a part of the files"
    ),
    "single_top_tW": (
        "one number for two samples (top and antitop): it holds for both together, not for a part of the files"
    ),
    "wjets": (
        "the Analysis Grand Challenge takes 61457 x 0.252 for decays to one e or mu, while the name of the sample, "
        "WJetsToLNu, promises all leptons: too small by a factor of up to 4 if it holds them"
    ),
}


def build_2015(facts: Path) -> list[Made]:
    """One record per process and variation, with the number of events of each file."""
    inputs = json.loads((facts / LISTED).read_text())
    return [
        _sample(process, variation, content)
        for process, variations in inputs.items()
        for variation, content in variations.items()
    ]


def _sample(process: str, variation: str, content: dict[str, Any]) -> Made:
    files = sorted(content["files"], key=lambda file: str(file["path"]))
    parents = sorted({int(found[1]) for file in files if (found := re.search(r"_(\d{5})_PU", file["path"]))})
    samples = Counter[str]()
    for file in files:
        samples[file["path"].rsplit("/", 2)[-2]] += file["nevts"]
    total = sum(file["nevts"] for file in files)
    if total != content["nevts_total"]:
        raise SystemExit(f"{process} {variation}: {total} events in the files, {content['nevts_total']} in the sum")
    nominal = variation == "nominal"
    numbers = " and ".join(str(parent) for parent in parents)
    record = {
        "name": "cms-2015-"
        + process.replace("_", "-").lower()
        + ("" if nominal else f"-{variation.replace('_', '-').lower()}"),
        "title": ", ".join(samples) + ("" if nominal else f": {VARIATIONS[variation]}"),
        "kind": "simulation",
        "label": LABELS[process],
        "file_count": len(files),
        "events": total,
        "xsec_pb": XSEC_PB[process],
        "year": 2015,
        "provenance": (
            f"inputs of the IRIS-HEP Analysis Grand Challenge, made from CERN Open Data records {numbers}; cross "
            "section of the process from the same project"
        ),
        "uncertain": _doubts(process, variation, samples),
    }
    return Made(record, tuple({"uri": file["path"], "events": file["nevts"]} for file in files))


def _doubts(process: str, variation: str, samples: Counter[str]) -> list[dict[str, str]]:
    found = [
        doubt(
            "files", "they are served by the University of Nebraska, not by CERN; who may read them there is not known"
        ),
        doubt("licence", "the list gives none; the CMS open data that the files are made from are CC0-1.0"),
    ]
    if process in XSEC_DOUBTS:
        found.append(doubt("xsec_pb", XSEC_DOUBTS[process]))
    if variation != "nominal":
        found.append(doubt("xsec_pb", "that of the nominal sample; the list gives one per process"))
    if len(samples) > 1:
        parts = ", ".join(f"{name} {events}" for name, events in sorted(samples.items()))
        found.append(doubt("sample", f"the record joins samples of different processes: {parts} events"))
    return found
