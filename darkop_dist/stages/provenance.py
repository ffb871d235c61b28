"""What a result was made with: versions, hashes, seeds and seconds per stage."""

from __future__ import annotations

import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata

from darkop_dist.config import parse_processor
from darkop_dist.runs import RunDirectory, file_sha256, version, write_json
from darkop_dist.stages.search import Search

SCHEMA = "darkop.provenance/1"
PACKAGES = (
    "awkward",
    "cabinetry",
    "coffea",
    "dask",
    "distributed",
    "hist",
    "numpy",
    "pyhf",
    "pythia8mc",
    "scikit-learn",
    "torch",
    "uproot",
)


@dataclass
class Stopwatch:
    """Seconds of each stage, in the order in which they ran.

    Attributes:
        seconds: wall-clock seconds by stage.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def write_provenance(
    search: Search, run: RunDirectory, stopwatch: Stopwatch, *, fingerprint: str | None, arguments: list[str]
) -> None:
    """Write provenance.json.

    Args:
        search: the search.
        run: the run that was made.
        stopwatch: seconds of its stages.
        fingerprint: of the operator; None without one.
        arguments: the command line that made it.
    """
    document = search.document
    seeds = {
        dataset.record.name: dataset.record.generated.seed for dataset in search.datasets if dataset.record.generated
    }
    if document.operator and document.operator.train:
        seeds["operator"] = document.operator.train.seed
    if document.anomaly_detection:
        seeds["split"] = document.anomaly_detection.seed
    hashes = {"document": file_sha256(search.loaded.source)}
    processor = parse_processor(document.processor).file
    if processor is not None:
        hashes["processor"] = file_sha256(processor)
    for file in (run.ledger, run.histograms, run.candidates, run.calibration, run.workspace, run.limits):
        if file.exists():
            hashes[file.name] = file_sha256(file)
    if fingerprint:
        hashes["operator"] = fingerprint
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(arguments),
        "versions": {"darkop-dist": version(), "python": sys.version.split()[0], **_versions()},
        "platform": platform.platform(),
        "hashes": hashes,
        "seeds": seeds,
        "times_s": stopwatch.seconds,
    }
    write_json(run.provenance, SCHEMA, content)


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
