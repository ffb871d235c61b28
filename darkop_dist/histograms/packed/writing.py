"""From a Python object to a packed result."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import UnpackableError
from darkop_dist.histograms.candidates import Candidates
from darkop_dist.histograms.groups import ScoreGroups
from darkop_dist.histograms.packed import cells
from darkop_dist.histograms.packed.blobs import blob_of
from darkop_dist.histograms.packed.container import Packed, raw_bytes
from darkop_dist.histograms.packed.plain import encode_plain
from darkop_dist.histograms.packed.structure import (
    BYTES,
    Blob,
    Branch,
    Joined,
    Node,
    Numbers,
    Plain,
    Sequence,
    Wrapped,
    structure_of,
)
from darkop_dist.histograms.state import numbers_of, storage_of

FACTORIES: dict[Any, str] = {kind: kind.__name__ for kind in (int, float, complex, str, list, dict, set, bool)}
_PYTHON = {float: "<f8", complex: "<c16"}
_ARRAY_KINDS = "biufc"
_WHOLE = 1 << 62
_ACCEPTED = (
    "dicts, histograms, numbers, numpy arrays without objects, text, lists, sets, coffea accumulators, candidates"
)


def pack(output: Any) -> Packed:
    """A result of a processor as structure and numbers.

    Raises:
        UnpackableError: it holds something that only pickle could write.
    """
    return _packed(output, "", apart=True)


def pack_payload(value: Any) -> Packed:
    """A value that does not add number by number, for a payload of its own."""
    return _packed(value, "", apart=False)


def coffea_kind(value: Any) -> str | None:
    """Name of coffea's accumulator class that an object has, such as ``coffea.column_accumulator``."""
    kind = type(value)
    return f"coffea.{kind.__name__}" if kind.__module__ == "coffea.processor.accumulator" else None


def _packed(value: Any, path: str, *, apart: bool) -> Packed:
    writer = _Writer(apart)
    root = writer.node(value, path)
    numbers = {name: np.concatenate(found) for name, found in writer.found.items()}
    structure = structure_of(root)
    return Packed(structure, {name: numbers[name] for name in structure.sizes}, tuple(writer.joined))


@dataclass
class _Writer:
    """Collects numbers; ``apart`` says whether what does not add is put in a payload of its own."""

    apart: bool
    found: defaultdict[str, list[npt.NDArray[Any]]] = field(default_factory=lambda: defaultdict(list))
    joined: list[bytes] = field(default_factory=list)
    at: Counter[str] = field(default_factory=Counter)

    def node(self, value: Any, path: str) -> Node:
        kind = type(value)
        if value is None:
            return Plain(None)
        branch = _branch_kind(value)
        if branch is not None:
            return self._branch(value, branch, path)
        if coffea_kind(value) == "coffea.value_accumulator":
            about = _factory_name(value.default_factory, path)
            return Wrapped("coffea.value_accumulator", about, self.node(value.value, _within(path, "value")))
        numbers = self._numbers(value, kind)
        if numbers is not None:
            return numbers
        histogram = cells.kind_of_histogram(value)
        if histogram is not None:
            return self._histogram(value, histogram, path)
        if self.apart:
            self.joined.append(raw_bytes(_packed(value, path, apart=False)))
            return Joined(coffea_kind(value) or f"{kind.__module__}.{kind.__qualname__}", len(self.joined) - 1)
        return self._other(value, path)

    def _keep(self, bucket: str, numbers: npt.NDArray[Any]) -> int:
        start = self.at[bucket]
        self.found[bucket].append(numbers)
        self.at[bucket] += len(numbers)
        return start

    def _branch(self, value: Any, kind: str, path: str) -> Branch:
        factory = None
        if isinstance(value, defaultdict) and value.default_factory is not None:
            factory = _factory_name(value.default_factory, path)
        items = []
        for key, child in value.items():
            try:
                encode_plain(key)
            except TypeError as error:
                raise _refusal(path, f"a key of type {error}", "keys of text, numbers or tuples of them") from None
            items.append((key, self.node(child, _within(path, key))))
        return Branch(kind, factory, tuple(items))

    def _numbers(self, value: Any, kind: type) -> Numbers | None:
        if kind is int and -_WHOLE < value < _WHOLE:
            return Numbers("int", "int", (), self._keep("int", np.array([value], np.int64)))
        if kind in _PYTHON:
            bucket = _PYTHON[kind]
            return Numbers(kind.__name__, bucket, (), self._keep(bucket, np.array([value], bucket)))
        if not isinstance(value, (np.generic, np.ndarray)) or not _adds(value.dtype):
            return None
        bucket = value.dtype.str
        if kind is value.dtype.type:
            return Numbers("scalar", bucket, (), self._keep(bucket, np.array([value], bucket)))
        if kind is np.ndarray and value.ndim:
            return Numbers("array", bucket, value.shape, self._keep(bucket, value.reshape(-1)))
        return None

    def _histogram(self, value: Any, kind: str, path: str) -> Node:
        storage = storage_of(value)
        if self.apart and storage not in cells.ADDABLE and storage in cells.STORAGES:
            self.joined.append(raw_bytes(_packed(value, path, apart=False)))
            return Joined(f"{kind}.{storage}", len(self.joined) - 1)
        try:
            found = cells.describe(value, kind)
        except TypeError as error:
            accepted = (
                f"storages {', '.join(cells.STORAGES)}, transforms log, sqrt and Pow, metadata that JSON can write"
            )
            raise _refusal(path, f"a {kind} with {error}", accepted) from None
        return replace(found, start=self._keep(found.bucket, numbers_of(value)))

    def _other(self, value: Any, path: str) -> Node:
        kind = type(value)
        if kind in (str, bytes, bool, int):
            return Plain(value)
        name = coffea_kind(value)
        if name in ("coffea.list_accumulator", "coffea.set_accumulator") or kind in (list, tuple, set, frozenset):
            items = _ordered(value) if isinstance(value, (set, frozenset)) else value
            nodes = tuple(self.node(item, _within(path, place)) for place, item in enumerate(items))
            return Sequence(name or kind.__name__, nodes)
        if name == "coffea.column_accumulator":
            return Wrapped(name, "", self.node(value.value, _within(path, "value")))
        if isinstance(value, Candidates):
            return Wrapped("candidates", str(value.most), self._blob(value.table, path))
        if isinstance(value, ScoreGroups):
            return Wrapped("score groups", "", self._blob(value.table, path))
        return self._blob(value, path)

    def _blob(self, value: Any, path: str) -> Blob:
        try:
            kind, about, content = blob_of(value)
        except TypeError as error:
            raise _refusal(path, str(error), _ACCEPTED) from error
        start = self._keep(BYTES, np.frombuffer(content, np.uint8))
        return Blob(kind, about, len(content), start)


def _branch_kind(value: Any) -> str | None:
    kind = type(value)
    if kind in (dict, OrderedDict, defaultdict):
        return kind.__name__
    name = coffea_kind(value)
    return name if name in ("coffea.dict_accumulator", "coffea.defaultdict_accumulator") else None


def _adds(dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return True
    return dtype.kind in _ARRAY_KINDS and dtype.isnative and dtype.itemsize <= (16 if dtype.kind == "c" else 8)


def _ordered(items: Any) -> list[Any]:
    return sorted(items, key=lambda item: (type(item).__name__, repr(item)))


def _factory_name(factory: Any, path: str) -> str:
    if isinstance(factory, type):
        if factory in FACTORIES:
            return FACTORIES[factory]
        if factory.__module__ == "coffea.processor.accumulator":
            return f"coffea.{factory.__name__}"
        if factory in (defaultdict, OrderedDict):
            return factory.__name__
    found = getattr(factory, "__qualname__", repr(factory))
    raise _refusal(
        path, f"a default factory {found}", f"{', '.join(FACTORIES.values())}; or return dict(value) instead"
    )


def _within(path: str, key: Any) -> str:
    return f"{path}[{key!r}]"


def _refusal(path: str, found: str, accepted: str) -> UnpackableError:
    return UnpackableError(f"output{path}", found, accepted)
