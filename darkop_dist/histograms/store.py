"""Histograms on disk, in the Unified Histogram Interchange format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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
        score_weights: sums of weights with the axes of ``score_counts``; None without an operator.
        weight_sizes: by dataset, region and split, how many weights are of which size (`sizes_of`).
        category_counts: as ``score_counts`` with a category before the score; None where none was asked for.
    """

    histograms: Mapping[str, hist.Hist]
    score_counts: hist.Hist | None
    fingerprint: str | None
    ledger_digest: str
    score_weights: hist.Hist | None = None
    weight_sizes: Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]] = field(default_factory=dict)
    category_counts: hist.Hist | None = None


def save_histograms(path: Path, histograms: HistogramSet) -> None:
    """Write all histograms to one JSON file."""
    body = {
        "schema": SCHEMA,
        "writer": f"darkop-dist {version()}",
        "fingerprint": histograms.fingerprint,
        "ledger_digest": histograms.ledger_digest,
        "score_counts": histograms.score_counts,
        "score_weights": histograms.score_weights,
        "weight_sizes": histograms.weight_sizes,
        "category_counts": histograms.category_counts,
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
        counts, weights, categories = (
            None if (found := parsed.get(name)) is None else hist.Hist(found)
            for name in ("score_counts", "score_weights", "category_counts")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputFileError(str(path), f"is damaged ({error})", "Run the search again.") from error
    fingerprint = body["fingerprint"]
    return HistogramSet(
        histograms=named,
        score_counts=counts,
        fingerprint=str(fingerprint) if fingerprint else None,
        ledger_digest=str(body["ledger_digest"]),
        score_weights=weights,
        weight_sizes=parsed.get("weight_sizes", {}),
        category_counts=categories,
    )
