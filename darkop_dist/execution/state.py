"""What a processor holds besides its source: its settings, as JSON, and the modules and files that it names."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pickletools
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import cloudpickle
from pydantic import BaseModel

from darkop_dist.scoring.contract import Scorer

LONGEST_PATH = 1024
HASHED_BYTES = 64 << 20


def bare(processor: Any) -> Any:
    """What stands behind a partial function or a bound method."""
    while isinstance(processor, functools.partial | MethodType):
        processor = processor.func if isinstance(processor, functools.partial) else processor.__self__
    return processor


def state_of(processor: Any) -> dict[str, Any]:
    """Everything that tells two processors of one source from each other: attributes, arguments, closures."""
    if isinstance(processor, functools.partial):
        given = {"arguments": processor.args, "keywords": processor.keywords}
        return {**given, "function": state_of(processor.func)}
    if isinstance(processor, MethodType):
        return {"method": processor.__name__, "object": state_of(processor.__self__)}
    state: dict[str, Any] = {"attributes": dict(getattr(processor, "__dict__", {}))}
    if isinstance(processor, FunctionType):
        cells = [cell.cell_contents for cell in processor.__closure__ or () if not _is_empty(cell)]
        return state | {"defaults": processor.__defaults__, "keywords": processor.__kwdefaults__, "closure": cells}
    names = [name for kind in type(processor).__mro__ for name in _slots(kind)]
    return state | {"slots": {name: getattr(processor, name) for name in names if hasattr(processor, name)}}


def modules_mentioned(processor: Any) -> tuple[str, ...]:
    """Imported modules that a processor refers to by name: those of functions and classes that were handed to it.

    A few too many may be among them, since any text may be the name of a module; none is missing.
    """
    try:
        payload = cloudpickle.dumps(processor)
    except Exception:  # noqa: BLE001  # what cannot travel runs here alone
        return ()
    texts = {argument for _, argument, _ in pickletools.genops(payload) if isinstance(argument, str)}
    return tuple(sorted(texts & sys.modules.keys()))


def plain(value: Any) -> Any:
    """Settings as JSON; what JSON does not know enters by the hash of its pickle, which may differ without need.

    A text that is the path of a file enters with the file's content, a scorer with its fingerprint: wherever its model
    runs, it gives the same scores.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, str | Path):
        content = file_content(Path(value)) if len(str(value)) < LONGEST_PATH else None
        return str(value) if content is None else {"file": str(value), "content": content}
    if isinstance(value, BaseModel):
        return {type(value).__name__: {name: plain(getattr(value, name)) for name in type(value).model_fields}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {type(value).__name__: fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(plain(item)) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Scorer):
        return {"scorer": value.fingerprint}
    return hashlib.sha256(cloudpickle.dumps(value)).hexdigest()


def file_content(path: Path) -> str | None:
    """Hash of a file's bytes, of a large file its size and time of change; None if there is no such file."""
    try:
        if not path.is_file():
            return None
        found = path.stat()
        if found.st_size > HASHED_BYTES:
            return f"{found.st_size}-{found.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return None


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # it is asked for to see whether it is there
    except ValueError:
        return True
    return False
