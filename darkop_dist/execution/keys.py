"""What a chunk's result depends on, as one hash: equal keys mean equal results, so that a result can be taken up again.

A key covers the source of the processor and of every module of the user's that it imports, the source of the rooms that
chunks pass through, the versions of the libraries that compute, the processor's settings, the operator's fingerprint,
the dataset's record, the file's identity and the range of entries.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle
from pydantic import BaseModel

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.execution.foreign import ForeignProcessor
from darkop_dist.execution.plan import Chunk

ROOMS = ("config/datasets.py", "config/selection.py", "events", "histograms", "scoring", "execution/chunk.py")
LIBRARIES = ("coffea", "awkward", "uproot", "numpy", "numba", "hist", "boost-histogram", "torch")
READ_FROM_RECORD = ("name", "experiment", "kind", "format", "tree", "weights")


@dataclasses.dataclass(frozen=True)
class RunKey:
    """What all chunks of a run depend on.

    Attributes:
        parts: hash by the name of what was hashed, such as ``processor monojet.py``.
    """

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """All parts as one hash."""
        return _hash(dict(sorted(self.parts.items())))

    def changes(self, earlier: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the parts that are not as they were."""
        names = sorted(set(self.parts) | set(earlier))
        return tuple(name for name in names if self.parts.get(name) != earlier.get(name))


def run_key(processor: Any, fingerprint: str | None) -> RunKey:
    """What the results of a processor depend on besides the files.

    Args:
        processor: has ``process(events)``; its attributes are its settings.
        fingerprint: of the operator; None without one.
    """
    homes, own = homes_of(processor), processor
    sources = sorted({path for home in homes for path in own_sources(home)})
    parts = {f"processor {path.name}": _hash_file(path) for path in sources}
    if isinstance(processor, ForeignProcessor):
        own = processor.wrapped
        parts |= {f"{name} of the events": _hash(_plain(value)) for name, value in processor.dressing.items()}
        parts["darkop-dist execution/foreign.py"] = hash_room("execution/foreign.py")
    if not own_sources(homes[0]):  # a class of a notebook, or of an installed package
        parts["processor"] = hashlib.sha256(cloudpickle.dumps(_class_of(own))).hexdigest()
    parts |= {"settings": _hash(_plain(_settings(own))), "operator": fingerprint or "none"}
    parts |= {f"darkop-dist {room}": hash_room(room) for room in ROOMS}
    for library in LIBRARIES:
        try:
            parts[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return RunKey(parts)


def chunk_key(run_digest: str, record: DatasetRecord, chunk: Chunk) -> str:
    """The key of one chunk's result: 64 hexadecimal digits.

    Args:
        run_digest: of the run's key.
        record: the dataset.
        chunk: the chunk; its place in the plan and its replicas do not matter.
    """
    weights = None if chunk.file_sum_weights is None else chunk.file_sum_weights.hex()
    place = [chunk.label, chunk.identity, chunk.start, chunk.stop, chunk.file_entries, weights]
    return hashlib.sha256(f"{run_digest} {_record_hash(record)} {json.dumps(place)}".encode()).hexdigest()


@lru_cache(maxsize=64)
def _hash_of_record(content: str) -> str:
    return _hash(content)


def _record_hash(record: DatasetRecord) -> str:
    return _hash_of_record(record.model_dump_json(include=set(READ_FROM_RECORD)))


def homes_of(processor: Any) -> tuple[str, ...]:
    """Names of the modules that a processor's own code begins in; its class's is the first."""
    if isinstance(processor, ForeignProcessor):
        schema = processor.schema.__module__
        return (_class_of(processor.wrapped).__module__, *([schema] if own_sources(schema) else []))
    return (type(processor).__module__,)


def _class_of(processor: Any) -> Any:
    """The class of a processor; a function is its own."""
    return processor if isinstance(processor, FunctionType) else type(processor)


def own_sources(module: str) -> tuple[Path, ...]:
    """Source files of a module and of everything that it imports and that is the user's own.

    Installed packages and the standard library are not the user's own: their versions count instead. Imports within
    functions are found too; what is imported by computed names is not.

    Args:
        module: name of an imported module.
    """
    first = getattr(sys.modules.get(module), "__file__", None)
    if first is None or not _is_own(Path(first)):
        return ()
    found: dict[Path, None] = {}
    waiting = [(Path(first), getattr(sys.modules[module], "__package__", "") or "")]
    while waiting:
        path, package = waiting.pop()
        if path in found:
            continue
        found[path] = None
        waiting += [origin for name in _imports(path, package) if (origin := _origin(name)) is not None]
    return tuple(sorted(found))


def own_modules(module: str) -> tuple[ModuleType, ...]:
    """The imported modules that have to travel with a processor: its own, and the user's that it imports.

    Args:
        module: name of the processor's module.
    """
    if module == "__main__" or module not in sys.modules or module.split(".", maxsplit=1)[0] == "darkop_dist":
        return ()
    sources = {str(path) for path in own_sources(module)}
    found = {name: value for name, value in sys.modules.items() if getattr(value, "__file__", None) in sources}
    return tuple((found | {module: sys.modules[module]}).values())


def _imports(path: Path, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _origin(name: str) -> tuple[Path, str] | None:
    module = sys.modules.get(name)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py") or not _is_own(Path(spec.origin)):
        return None
    return Path(spec.origin), spec.parent or ""


def _is_own(path: Path) -> bool:
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    here = Path(__file__).parents[1]
    return path.exists() and not any(path.is_relative_to(place) for place in (*installed, here))


def _settings(processor: Any) -> Any:
    settings = getattr(processor, "settings", None)
    return settings if dataclasses.is_dataclass(settings) else getattr(processor, "__dict__", {})


def _plain(value: Any) -> Any:
    """Settings as JSON; what JSON does not know enters by the hash of its pickle, which may differ without need."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, BaseModel):
        return {type(value).__name__: {name: _plain(getattr(value, name)) for name in type(value).model_fields}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {type(value).__name__: content}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_plain(item)) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return hashlib.sha256(cloudpickle.dumps(value)).hexdigest()


@lru_cache(maxsize=16)
def hash_room(room: str) -> str:
    """Hash of the source of a room of this package, such as ``events``, or of one file in it."""
    place = Path(__file__).parents[1] / room
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return _hash({file.relative_to(place.parent).as_posix(): _hash_file(file) for file in files})


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
