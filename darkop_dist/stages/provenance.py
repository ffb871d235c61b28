"""What a result was made with: versions, hashes, seeds and seconds per stage."""

from __future__ import annotations

import platform
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata

from darkop_dist.config import parse_processor
from darkop_dist.config.parse import show_path
from darkop_dist.runs import RunDirectory, file_sha256, version, write_json
from darkop_dist.stages.code_version import UNKNOWN, CodeVersion, package_version
from darkop_dist.stages.search import Search

SCHEMA = "darkop.provenance/1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PACKAGES = (
    "awkward",
    "awkward-cpp",
    "boost-histogram",
    "cabinetry",
    "coffea",
    "correctionlib",
    "cramjam",
    "dask",
    "distributed",
    "fastjet",
    "hist",
    "iminuit",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pyhf",
    "pythia8mc",
    "scikit-learn",
    "scipy",
    "torch",
    "uproot",
    "vector",
)
"""Libraries that compute: with others, results may differ in their last digits."""


@dataclass
class Stopwatch:
    """Seconds of each stage, in the order in which they ran.

    Attributes:
        seconds: wall-clock seconds by stage.
        started: when the first began.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def write_provenance(
    search: Search,
    run: RunDirectory,
    stopwatch: Stopwatch,
    *,
    fingerprint: str | None,
    arguments: list[str],
    accepted: Sequence[str] = (),
    code: CodeVersion = UNKNOWN,
) -> None:
    """Write provenance.json.

    Args:
        search: the search.
        run: the run that was made.
        stopwatch: seconds of its stages.
        fingerprint: of the operator; None without one.
        arguments: the command line that made it.
        accepted: datasets whose lost events the user accepted.
        code: commit of the processor's repository.
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
    for path, named in document.corrections.files():
        hashes[show_path(("corrections", *path))] = file_sha256(named)
    for file in (run.ledger, run.lumi, run.histograms, run.candidates, run.calibration, run.workspace, run.limits):
        if file.exists():
            hashes[file.name] = file_sha256(file)
    if fingerprint:
        hashes["operator"] = fingerprint
    content = {
        "started": stopwatch.started,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(arguments),
        "accepted_loss": list(accepted),
        "versions": dict(versions()),
        "environment": dict(environment()),
        "code": {"darkop-dist": asdict(package_version()), "processor": asdict(code)},
        "platform": platform.platform(),
        "hashes": hashes,
        "seeds": seeds,
        "times_s": stopwatch.seconds,
    }
    write_json(run.provenance, SCHEMA, content)


@lru_cache(maxsize=1)
def versions() -> Mapping[str, str]:
    """Versions of this package and of all that computes with it, down to the processor and the C library."""
    found = {"darkop-dist": version(), "python": sys.version.split()[0], "machine": platform.machine()}
    found["libc"] = "-".join(filter(None, platform.libc_ver())) or "unknown"
    return found | {name: told for name in PACKAGES if (told := _version(name)) is not None}


@lru_cache(maxsize=1)
def environment() -> Mapping[str, str]:
    """Versions of every installed distribution that this package may use, however indirectly."""
    found: dict[str, str] = {}
    waiting = ["darkop-dist"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        told = None if name in found else _version(name)
        if told is not None:
            found[name] = told
            waiting += [_NAME.match(need)[0] for need in metadata.requires(name) or []]  # type: ignore[index]  # of PEP 508
    return dict(sorted(found.items()))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
