"""Corrections in correctionlib's JSON, held by content so that they travel to workers and enter the keys of results."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import correctionlib
import numpy as np
import numpy.typing as npt
from correctionlib import schemav2

from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError

Numbers = npt.NDArray[np.float64]
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class CorrectionTable:
    """One file of corrections.

    Attributes:
        name: what messages call it.
        content: its bytes, compressed or not.
    """

    name: str
    content: bytes

    @property
    def names(self) -> tuple[str, ...]:
        """Its corrections, plain and compound."""
        found = _opened(self.content)
        return (*found, *found.compound)

    def inputs(self, correction: str) -> dict[str, str]:
        """Names of the inputs of a correction with their types ``real``, ``int`` or ``string``, in their order."""
        return {variable.name: variable.type for variable in self._find(correction).inputs}

    def evaluate(self, correction: str, inputs: Mapping[str, Any]) -> Numbers:
        """A correction for many objects.

        Args:
            correction: its name.
            inputs: arrays of shape (objects,) or texts by name; those that the correction has no input for are ignored.

        Raises:
            UnknownNameError: there is no such correction.
            InputValueError: it needs an input that is not given, or does not cover a value.
        """
        wanted = self.inputs(correction)
        missing = [name for name in wanted if name not in inputs]
        if missing:
            told = f"needs the inputs {', '.join(missing)}; there are {', '.join(inputs)}"
            raise InputValueError(f"{self.name}: {correction}", told, "Name a correction of another kind")
        given = [_typed(inputs[name], kind) for name, kind in wanted.items()]
        size = max((len(values) for values in given if not isinstance(values, str)), default=0)
        if size == 0:
            return np.zeros(0)
        try:
            return np.asarray(self._find(correction).evaluate(*given), np.float64)
        except (RuntimeError, ValueError, IndexError) as error:
            problem = f"does not cover its inputs ({str(error).strip().splitlines()[0][:200]})"
            what = "Compare the inputs with what the correction was made for"
            raise InputValueError(f"{self.name}: {correction}", problem, what) from error

    def edges(self, correction: str, variable: str) -> tuple[float, float] | None:
        """Range of an input that the correction's bins cover; None where it has no such bins."""
        return _edges(self.content, correction, variable)

    def _find(self, correction: str) -> Any:
        found = _opened(self.content)
        if correction in found.compound:
            return found.compound[correction]
        if correction not in set(found):
            known = self.names
            shown = f"{', '.join(known[:8])}{' and more' if len(known) > 8 else ''}"
            raise UnknownNameError("correction", correction, known, f"{self.name} has {shown}.")
        return found[correction]


def read_table(path: Path) -> CorrectionTable:
    """Read a file of corrections.

    Raises:
        InputFileError: it is missing, or not in correctionlib's format.
    """
    try:
        table = CorrectionTable(path.name, path.read_bytes())
        _opened(table.content)
    except OSError as error:
        raise InputFileError(str(path), f"cannot be read ({error.strerror or error})", "Check the path.") from error
    except (RuntimeError, ValueError, EOFError, zlib.error) as error:
        problem = f"is no file of corrections ({str(error).strip().splitlines()[0][:160]})"
        raise InputFileError(str(path), problem, "Use correctionlib's JSON, schema version 2, plain or .gz.") from error
    return table


def table_of(name: str, correction: schemav2.Correction) -> CorrectionTable:
    """A table with one correction that was made here."""
    made = schemav2.CorrectionSet(schema_version=2, corrections=[correction])
    return CorrectionTable(name, made.model_dump_json(exclude_unset=True).encode())


def _text(content: bytes) -> str:
    return (gzip.decompress(content) if content.startswith(GZIP) else content).decode()


@lru_cache(maxsize=16)
def _opened(content: bytes) -> Any:
    return correctionlib.CorrectionSet.from_string(_text(content))


@lru_cache(maxsize=16)
def _edges(content: bytes, correction: str, variable: str) -> tuple[float, float] | None:
    for found in json.loads(_text(content))["corrections"]:
        if found["name"] == correction:
            return _edges_in(found["data"], variable)
    return None


def _edges_in(node: Any, variable: str) -> tuple[float, float] | None:
    """The first bins of a variable below a node."""
    if isinstance(node, list):
        return next((edges for part in node if (edges := _edges_in(part, variable)) is not None), None)
    if not isinstance(node, dict):
        return None
    if node.get("nodetype") == "binning" and node["input"] == variable:
        edges = node["edges"]
        return (edges["low"], edges["high"]) if isinstance(edges, dict) else (float(edges[0]), float(edges[-1]))
    return _edges_in([node.get("content"), node.get("value"), node.get("rule")], variable)


def _typed(values: Any, kind: str) -> Any:
    if kind == "string":
        return str(values)
    return np.asarray(values, np.int64 if kind == "int" else np.float64)
