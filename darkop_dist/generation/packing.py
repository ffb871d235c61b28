"""Parts as bytes, to travel and to be kept, and the key by which a part that was kept is known again."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkop_dist.generation.normalisation import PartNormalisation
from darkop_dist.generation.plan import PartPlan

if TYPE_CHECKING:
    from darkop_dist.generation.part import Part

MAKERS = ("pythia8mc", "fastjet", "numpy", "awkward")
ROOM = Path(__file__).parent


@dataclass(frozen=True)
class PackedPart:
    """A part as it is kept.

    Attributes:
        header: its normalisation.
        data: its columns, of whatever types, as bytes with a checksum and without pickle.
    """

    header: dict[str, Any]
    data: bytes


def pack_part(part: Part) -> PackedPart:
    """A part as bytes."""
    from darkop_dist.histograms.packed import pack

    return PackedPart(asdict(part.normalisation), pack(part.columns).to_bytes())


def unpack_part(header: dict[str, Any], data: bytes | memoryview) -> Part:
    """What ``pack_part`` packed.

    Raises:
        InputFileError: the bytes are damaged.
    """
    from darkop_dist.generation.part import Part
    from darkop_dist.histograms.packed import Packed, unpack

    return Part(unpack(Packed.from_bytes(data)), PartNormalisation(**header))


@functools.cache
def makers_digest() -> str:
    """SHA-256 of what makes parts out of plans here: the code and data files of this room, Pythia, fastjet, numpy."""
    found = hashlib.sha256()
    for path in sorted((*ROOM.rglob("*.py"), *ROOM.rglob("*.toml"))):
        found.update(f"{path.relative_to(ROOM)}\0".encode() + path.read_bytes())
    found.update(json.dumps({name: metadata.version(name) for name in MAKERS}).encode())
    return found.hexdigest()


def part_key(plan: PartPlan) -> str:
    """SHA-256 of all that decides a part: its plan, the text of its events of a Les Houches file, and its makers.

    Args:
        plan: with its text, see `plan.complete_plans`.
    """
    content = asdict(plan)
    if plan.lhe is not None:
        text = hashlib.sha256(plan.lhe.text).hexdigest()
        where = {"path": None, "begin": None, "end": None}  # the same events in another file are the same events
        content["lhe"] = {**content["lhe"], **where, "text": text}
    content["makers"] = makers_digest()
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
