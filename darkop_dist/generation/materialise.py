"""Datasets made on demand: a record that says how it is generated becomes a record with a file, kept in a cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from darkop_dist.config.datasets import DatasetFile, DatasetRecord, GeneratedBy
from darkop_dist.generation.card import DEFAULT_CARD, card_file
from darkop_dist.generation.plan import plan_parts
from darkop_dist.generation.process import process_file
from darkop_dist.generation.record import has_cross_section, recipe_of
from darkop_dist.generation.sample import PartMaker, generate, made_here

if TYPE_CHECKING:
    from darkop_dist.generation.normalisation import Normalisation

WRITER_VERSION = 2
"""Raise it when the same request gives other events or another layout."""


def cache_key(request: GeneratedBy) -> str:
    """SHA-256 of all that decides the events of a sample, as hexadecimal digits.

    That is the content of the process's file and of the response card, the settings, the number of events, the seed,
    the size of the parts and the versions of this writer, Pythia and fastjet.

    Raises:
        UnknownNameError: no such process.
    """
    first = plan_parts(request.process, request.events, seed=request.seed, settings=request.settings)[0]
    content = {
        "process": process_file(request.process).read_text(encoding="utf-8"),
        "response": card_file(DEFAULT_CARD).read_text(encoding="utf-8"),
        "lines": first.lines,
        "events": request.events,
        "seed": request.seed,
        "events_per_part": first.events,
        "writer": WRITER_VERSION,
        **{name: metadata.version(name) for name in ("pythia8mc", "fastjet")},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _here(_output: Path) -> AbstractContextManager[PartMaker]:
    return nullcontext(made_here)


def materialise(
    record: DatasetRecord,
    cache: Path,
    *,
    makers: Callable[[Path], AbstractContextManager[PartMaker]] = _here,
    progress: Callable[[int], None] | None = None,
) -> DatasetRecord:
    """Generate the events of a record, or find them in the cache.

    Args:
        record: a dataset record; one that is not generated comes back as it is.
        cache: directory of generated files.
        makers: gives, for the file that is to be written, what makes its parts; this process by default.
        progress: called with the number of events done so far; not called if the cache has the file.

    Returns:
        The record with its file and number of events, with the generator's cross section if it had none and that one
        can be used, and with what was generated added to its provenance.

    Raises:
        UserError, RunError: see `sample.generate`.
    """
    request = record.generated
    if request is None:
        return record
    plans = plan_parts(request.process, request.events, seed=request.seed, settings=request.settings)
    file = _place(request, cache)
    found = _whole(file, request.events)
    if found is None:
        with makers(file) as make_parts:
            generate(
                request.process,
                request.events,
                file,
                seed=request.seed,
                settings=request.settings,
                make_parts=make_parts,
                overwrite=True,
                progress=progress,
            )
        found = _normalisation(file)
    known = found.xsec_pb if has_cross_section(recipe_of(plans, request.seed)) else None
    made = (
        f"{request.events} events of the process {request.process} generated with Pythia "
        f"{metadata.version('pythia8mc')}, seed {request.seed}, {DEFAULT_CARD} detector response; "
        f"cross section {found.xsec_pb:.4g} +- {found.xsec_error_pb:.2g} pb"
    )
    return record.model_copy(
        update={
            "files": (DatasetFile(uri=str(file), bytes=file.stat().st_size, events=request.events),),
            "events": request.events,
            "xsec_pb": known if record.xsec_pb is None else record.xsec_pb,
            "provenance": f"{record.provenance.rstrip('. ')}. {made}" if record.provenance else made,
        }
    )


def is_materialised(record: DatasetRecord, cache: Path) -> bool:
    """Whether the cache has the events of a record, so that ``materialise`` generates none.

    Raises:
        UnknownNameError: no such process.
    """
    request = record.generated
    return request is None or _whole(_place(request, cache), request.events) is not None


def _place(request: GeneratedBy, cache: Path) -> Path:
    return cache / f"{request.process}-{cache_key(request)[:20]}.root"


def _normalisation(file: Path) -> Normalisation:
    from darkop_dist.generation.nanoaod import read_normalisation

    return read_normalisation(file)


def _whole(file: Path, events: int) -> Normalisation | None:
    """What a cached file says, or nothing if it is absent or damaged in whatever way."""
    if not file.is_file():
        return None
    try:
        found = _normalisation(file)
    except Exception:  # noqa: BLE001 - damage shows as any error of uproot, its decompressors or struct
        return None
    return found if found.events == events else None
