"""Histograms on disk, in the Unified Histogram Interchange format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import hist
import uhi.io.json as uhi_json

from darkop_dist.errors import InputFileError
from darkop_dist.runs import read_json, version, write_atomically

SCHEMA = "darkop.histograms/1"


@dataclass(frozen=True)
class HistogramSet:
    """All histograms of a run.

    Attributes:
        histograms: by observable; axes dataset, region, variation, observable; generator weights.
        score_counts: integer counts with axes dataset, region, split, score; None without an operator.
        fingerprint: of the operator that made the scores; None without one.
        ledger_digest: SHA-256 of the ledger of the same run.
    """

    histograms: Mapping[str, hist.Hist]
    score_counts: hist.Hist | None
    fingerprint: str | None
    ledger_digest: str


def save_histograms(path: Path, histograms: HistogramSet) -> None:
    """Write all histograms to one JSON file."""
    body = {
        "schema": SCHEMA,
        "writer": f"darkop-dist {version()}",
        "fingerprint": histograms.fingerprint,
        "ledger_digest": histograms.ledger_digest,
        "score_counts": histograms.score_counts,
        "histograms": dict(histograms.histograms),
    }
    write_atomically(path, json.dumps(body, default=uhi_json.default))


def load_histograms(path: Path) -> HistogramSet:
    """Read what ``save_histograms`` wrote.

    Raises:
        InputFileError: the file is missing, damaged or of another schema.
    """
    body = read_json(path, SCHEMA)
    try:
        parsed = json.loads(path.read_text(), object_hook=uhi_json.object_hook)
        named = {name: hist.Hist(value) for name, value in parsed["histograms"].items()}
        counts = parsed["score_counts"]
        counts = hist.Hist(counts) if counts is not None else None
    except (KeyError, TypeError, ValueError) as error:
        raise InputFileError(str(path), f"is damaged ({error})", "Run the search again.") from error
    fingerprint = body["fingerprint"]
    return HistogramSet(named, counts, str(fingerprint) if fingerprint else None, str(body["ledger_digest"]))
