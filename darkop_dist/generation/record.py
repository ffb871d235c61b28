"""What a sample was made with, for the file itself and for the record beside it that documents can name."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from darkop_dist.generation.own_lines import own_text
from darkop_dist.generation.plan import PartPlan
from darkop_dist.generation.process import load_process
from darkop_dist.runs import write_atomically

PACKAGES = ("darkop-dist", "pythia8mc", "fastjet")
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class GeneratedSample:
    """A file of generated events.

    Attributes:
        file: the ROOT file.
        process: name of the process.
        events: number of events.
        seed: seed of the sample.
        xsec_pb: cross section in pb.
        xsec_error_pb: its statistical uncertainty in pb.
        sum_weights: sum of the generator weights.
        wall_s: seconds that it took.
        recipe: what the events were made with; stands in the file too.
        failed: events that were left out because Pythia failed them or a matching vetoed them; the cross section is
            that of the others.
    """

    file: Path
    process: str
    events: int
    seed: int
    xsec_pb: float
    xsec_error_pb: float
    sum_weights: float
    wall_s: float
    recipe: Mapping[str, Any]
    failed: int = 0


def recipe_of(plans: Sequence[PartPlan], seed: int) -> dict[str, Any]:
    """All that decides the events of a sample, with the process and the response card of the version that it names.

    Args:
        plans: of its parts.
        seed: of the sample.
    """
    first = plans[0]
    recipe: dict[str, Any] = {
        "process": first.process,
        "pythia": list(first.lines),
        **asdict(first.measurement),
        "seed": seed,
        "events": sum(plan.events for plan in plans),
        "events_per_part": first.events,
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
    if first.lhe is not None:
        recipe["lhe"] = {"file": first.lhe.path.name, "adler32": adler32(first.lhe.path)}
    return recipe


def left_out(sample: GeneratedSample) -> str:
    """How many events failed, for people; empty where none did."""
    if not sample.failed:
        return ""
    tried = sample.events + sample.failed
    return f"{sample.failed} of {tried} events ({sample.failed / tried:.2%}) failed and are not in the cross section; "


def has_cross_section(recipe: Mapping[str, Any]) -> bool:
    """Whether the generator's cross section can be used: the process or its settings may say that it cannot.

    Args:
        recipe: see ``recipe_of``.

    Raises:
        UnknownNameError: this version has no such process.
    """
    if "lhe" in recipe:
        return True
    return load_process(recipe["process"]).cross_section == "pythia" and not own_text(recipe["pythia"], "cross-section")


def record_file(output: Path) -> Path:
    """The record that belongs to a file of events."""
    return output.with_suffix(".record.json")


def write_record(sample: GeneratedSample) -> Path:
    """Write a file of one dataset record beside a sample: ``catalogue: [FILE]`` in a document adds it.

    The cross section is left out where Pythia's is known to be wrong; limits then ask for it.

    Args:
        sample: that was generated.

    Returns:
        The record file.

    Raises:
        OutputError: it cannot be written.
    """
    recipe = sample.recipe
    record: dict[str, Any] = {
        "name": dataset_name(sample.file.stem, otherwise="sample"),
        "title": f"{sample.events} events of {sample.process}",
        "experiment": "simulation",
        "kind": "simulation",
        "files": [file_entry(sample.file, sample.events)],
        "events": sample.events,
        "provenance": f"generated, cross section {sample.xsec_pb:.6g} +- {sample.xsec_error_pb:.2g} pb; "
        f"{left_out(sample)}recipe: {json.dumps(recipe, sort_keys=True)}",
    }
    if has_cross_section(recipe) and sample.xsec_pb > 0:
        record["xsec_pb"] = sample.xsec_pb
    content: Mapping[str, Any] = {"schema_version": 1, "provenance": "darkop generate", "records": [record]}
    target = record_file(sample.file)
    write_atomically(target, json.dumps(content, indent=1) + "\n")
    return target


def dataset_name(name: str, *, otherwise: str) -> str:
    """The name of a file or directory as that of a dataset: a letter or digit, then these, ``_``, ``.`` and ``-``.

    Args:
        name: of the file or directory.
        otherwise: the dataset's name if nothing is left.

    >>> dataset_name("_svj 0.3", otherwise="sample")
    'svj_0.3'
    """
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9_.\-]", "_", name).lstrip("_") or otherwise


def file_entry(file: Path, events: int) -> dict[str, Any]:
    """A file of a dataset record; its address is its name, for a record that lies beside it.

    Args:
        file: that exists.
        events: in it.
    """
    return {"uri": file.name, "bytes": file.stat().st_size, "adler32": adler32(file), "events": events}


def adler32(file: Path) -> str:
    """Checksum of a file as the portals give it: eight hexadecimal digits."""
    found = 1
    with file.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            found = zlib.adler32(block, found)
    return f"{found:08x}"
