"""What a chunk's result depends on, as one hash: equal keys mean equal results, so that a result can be taken up again.

A key covers the source of the processor and of every module of the user's that it imports or was handed, the files
that it names, the source of the rooms that chunks pass through, the versions of the libraries that compute, all that
the processor holds, the operator's fingerprint, the dataset's record, the file's identity and the range of entries.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.execution.foreign import ForeignProcessor
from darkop_dist.execution.plan import Chunk, file_labels
from darkop_dist.execution.state import LONGEST_PATH, bare, file_content, modules_mentioned, plain, state_of

ROOMS = (
    "config/datasets.py",
    "config/selection.py",
    "events",
    "histograms",
    "scoring",
    "execution/chunk.py",
    "execution/ledger.py",
)
LIBRARIES = ("coffea", "awkward", "uproot", "numpy", "numba", "hist", "boost-histogram", "torch")
READ_FROM_RECORD = ("name", "experiment", "kind", "format", "tree", "weights", "columns")


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
    labels = file_labels([str(path) for path in sources])
    parts = {f"processor {labels[str(path)]}": _hash_file(path) for path in sources}
    files = {path: content for _, path, content in named_files(sources)}
    names = file_labels([str(path) for path in files])
    parts |= {f"file {names[str(path)]}": content for path, content in files.items()}
    if isinstance(processor, ForeignProcessor):
        own = processor.wrapped
        parts |= {f"{name} of the events": _hash(plain(value)) for name, value in processor.dressing.items()}
        parts["darkop-dist execution/foreign.py"] = hash_room("execution/foreign.py")
    if not own_sources(homes[0]):  # a class of a notebook, or of an installed package
        parts["processor"] = hashlib.sha256(cloudpickle.dumps(_class_of(own))).hexdigest()
    settings = own.settings if _has_settings(processor) else state_of(own)
    parts |= {"settings": _hash(plain(settings)), "operator": fingerprint or "none"}
    rooms, libraries = _imported(sources, homes[0])
    rooms = {*ROOMS, *rooms, *(("operators",) if fingerprint else ())}
    parts |= {f"darkop-dist {room}": hash_room(room) for room in sorted(rooms)}
    parts |= {name: found for name in {*LIBRARIES, *libraries} if (found := _version(name)) is not None}
    return RunKey(parts | {"python": f"{sys.version_info.major}.{sys.version_info.minor}"})


def _has_settings(processor: Any) -> bool:
    """Whether a search's processor keeps all that it was told in ``settings``."""
    return not isinstance(processor, ForeignProcessor) and dataclasses.is_dataclass(
        getattr(processor, "settings", None)
    )


def _imported(sources: Iterable[Path], home: str) -> tuple[set[str], set[str]]:
    """Rooms of this package, and installed packages, that the user's sources import."""
    names = {name for path in sources for name in _imports(path, "")} | {home}
    ours = {name.split(".")[1] for name in names if name.startswith("darkop_dist.")}
    here = Path(__file__).parents[1]
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"", "darkop_dist"}
    return {room for room in ours if (here / room).is_dir()}, tops


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        found = getattr(sys.modules.get(library), "__version__", None)
        return found if isinstance(found, str) else None


def named_files(sources: Iterable[Path]) -> Iterator[tuple[Path, Path, str]]:
    """Files beside the user's sources, or where the run begins, that the sources name: corrections, lists of runs.

    Yields:
        The source, the file and what tells its content from any other.
    """
    for source in sources:
        for text in _read(source).texts:
            if "." not in text or "\n" in text or len(text) >= LONGEST_PATH:
                continue
            for path in (source.parent / text, Path(text)):
                content = file_content(path)
                if content is not None:
                    yield source, path, content
                    break


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
    """Names of the modules that a processor's own code begins in; its class's is the first.

    They are also those of what was handed to it, and, for a class of a notebook, what the notebook imported for it.
    """
    own = processor.wrapped if isinstance(processor, ForeignProcessor) else processor
    mentioned = [name for name in modules_mentioned(processor) if own_sources(name)]
    return tuple(dict.fromkeys((_class_of(own).__module__, *mentioned)))


def _class_of(processor: Any) -> Any:
    """The class of a processor; a function is its own."""
    found = bare(processor)
    return found if isinstance(found, FunctionType) else type(found)


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
    source = _read(path)
    yield from source.imported
    for level, module, names in source.imported_from:
        base = module
        if level:
            parents = package.split(".")[: len(package.split(".")) - level + 1]
            base = ".".join([*parents, base] if base else parents)
        yield base
        yield from (f"{base}.{name}" for name in names)


@dataclasses.dataclass(frozen=True)
class _Source:
    """What a source file imports, and the texts that stand in it."""

    imported: tuple[str, ...]
    imported_from: tuple[tuple[int, str, tuple[str, ...]], ...]
    texts: tuple[str, ...]


def _read(path: Path) -> _Source:
    return _parsed(path.read_text(), str(path))


@lru_cache(maxsize=256)
def _parsed(text: str, name: str) -> _Source:
    imported: list[str] = []
    imported_from = []
    texts = []
    for node in ast.walk(ast.parse(text, filename=name)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported_from.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return _Source(tuple(imported), tuple(imported_from), tuple(texts))


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
    return path.exists() and not any(path.is_relative_to(place) for place in _installed())


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    """Where installed packages, the standard library and this package are."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return (*(Path(sysconfig.get_path(name)) for name in names), Path(__file__).parents[1])


@lru_cache(maxsize=16)
def hash_room(room: str) -> str:
    """Hash of the source and the tables of a room of this package, such as ``events``, or of one file in it."""
    place = Path(__file__).parents[1] / room
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.suffix in (".py", ".toml"))
    return _hash({file.relative_to(place.parent).as_posix(): _hash_file(file) for file in files})


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
