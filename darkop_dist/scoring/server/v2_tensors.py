"""Tensors and parameters of the Open Inference Protocol, however they came: what they mean here, and what is refused.

https://github.com/kserve/open-inference-protocol, with Triton's extensions for binary data and parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.scoring.wire.problem import Problem, RefusedError

SCORE = "score"
"""Name of the one output: FP32, shape [events]."""

FP32 = "FP32"
VERSION = "1"
"""The version under which every model is served; its fingerprint is another name of it."""

FINGERPRINT = "darkop_fingerprint"
"""Parameter of requests and answers."""

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_LONGEST_AXIS = 2**31


@dataclass(frozen=True)
class Wanted:
    """What a request wants besides scores.

    Attributes:
        id: given back in the answer.
        fingerprint: what the client's run began with; None if it does not mind.
        timeout_s: how long the client waits; None for ever.
    """

    id: str = ""
    fingerprint: str | None = None
    timeout_s: float | None = None


def invalid(detail: str) -> RefusedError:
    """The refusal of a request that is wrong."""
    return RefusedError(Problem(code="invalid-input", detail=detail))


def wanted(request_id: str, version: str, parameters: Mapping[str, Any]) -> Wanted:
    """What a request wants.

    Args:
        request_id: as the client gave it.
        version: of the model; empty for any.
        parameters: of the request.

    Raises:
        RefusedError: a parameter has a value that means nothing, or asks for what is not offered.
    """
    pinned, named = fingerprint_of(version), parameters.get(FINGERPRINT)
    if named is not None and not isinstance(named, str):
        raise invalid(f"parameter {FINGERPRINT} is no text. Send the fingerprint that the run began with")
    if pinned and named and pinned != named:
        raise invalid(f"the version names the fingerprint {pinned}, the parameter {FINGERPRINT} another: {named[:100]}")
    if parameters.get("sequence_id"):
        raise invalid("sequence_id: models here remember nothing between requests. Leave it out")
    return Wanted(request_id, pinned or named or None, _timeout_s(parameters.get("timeout")))


def fingerprint_of(version: str) -> str | None:
    """The fingerprint that a version asks for; None if any will do.

    Raises:
        RefusedError: there is no such version.
    """
    if version in {"", VERSION}:
        return None
    if _FINGERPRINT.fullmatch(version):
        return version
    detail = f"there is no version {version[:100]!r}. Ask for version {VERSION}, or for a fingerprint"
    raise RefusedError(Problem(code="unknown-model", detail=detail))


def check_output(name: str, parameters: Mapping[str, Any]) -> None:
    """Check one output that a request asks for.

    Raises:
        RefusedError: there is no such output, or it is asked for in a way that is not offered.
    """
    if name != SCORE:
        raise invalid(f"there is no output {name[:100]!r}. Ask for {SCORE}")
    if parameters.get("classification"):
        raise invalid(f"output {SCORE}: classification means nothing for a score. Leave class_count out")
    _refuse_shared_memory(f"output {SCORE}", parameters)


def check_tensor(name: str, datatype: str, shape: Sequence[int], parameters: Mapping[str, Any]) -> int:
    """Check what is said of an input.

    Returns:
        The numbers that it holds.

    Raises:
        RefusedError: it is of another type than FP32, is of an impossible shape, or lies in shared memory.
    """
    _refuse_shared_memory(f"input {name[:100]}", parameters)
    if datatype != FP32:
        raise invalid(
            f"input {name[:100]}: datatype {datatype[:20]!r}, models here take {FP32} alone. Convert it before it is "
            "sent, in Python with array.astype('float32')"
        )
    if not shape or any(not 0 <= length < _LONGEST_AXIS for length in shape):
        raise invalid(f"input {name[:100]}: no array has the shape {list(shape)[:10]}. Send [events, ...]")
    return math.prod(shape)


def from_bytes(name: str, shape: Sequence[int], data: Any) -> npt.NDArray[np.float32]:
    """An input from little-endian bytes, uncopied where they are aligned; checked with ``check_tensor`` before.

    Raises:
        RefusedError: the bytes are not as many as the shape says.
    """
    size = 4 * math.prod(shape)
    if len(data) != size:
        raise invalid(f"input {name[:100]}: {len(data)} bytes, its shape {list(shape)[:10]} needs {size} of {FP32}")
    array = np.frombuffer(data, dtype="<f4") if size else np.empty(0, dtype=np.float32)
    return _shaped(name, np.require(array, requirements="A"), shape)


def from_numbers(name: str, shape: Sequence[int], data: Any) -> npt.NDArray[np.float32]:
    """An input from numbers, flat or nested as its shape says; checked with ``check_tensor`` before.

    Raises:
        RefusedError: they are no numbers, or not as many as the shape says.
    """
    try:
        array = np.asarray(data if len(data) else np.empty(0))
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(f"input {name[:100]}: data is no array of numbers: {error}") from error
    if array.dtype.kind not in "fiu":
        raise invalid(f"input {name[:100]}: data holds something other than numbers")
    if array.size != math.prod(shape) or (array.ndim != 1 and array.shape != tuple(shape)):
        raise invalid(f"input {name[:100]}: data of shape {list(array.shape)}, but shape says {list(shape)[:10]}")
    with np.errstate(over="ignore"):  # becomes inf, which the engine refuses
        return _shaped(name, array.astype(np.float32), shape)


def by_name(arrays: Sequence[tuple[str, npt.NDArray[np.float32]]]) -> dict[str, npt.NDArray[np.float32]]:
    """The batch of named arrays.

    Raises:
        RefusedError: two have the same name.
    """
    batch = dict(arrays)
    if len(batch) != len(arrays):
        raise invalid(f"an input stands there twice; the inputs are {', '.join(name[:100] for name, _ in arrays[:10])}")
    return batch


def _shaped(name: str, array: npt.NDArray[np.float32], shape: Sequence[int]) -> npt.NDArray[np.float32]:
    try:
        return array.reshape(tuple(shape))
    except ValueError as error:  # more axes than numpy has, or an empty array with axes that are too long
        raise invalid(f"input {name[:100]}: no array has the shape {list(shape)[:10]}: {error}") from error


def _refuse_shared_memory(place: str, parameters: Mapping[str, Any]) -> None:
    if any(key.startswith("shared_memory") for key in parameters):
        raise invalid(f"{place}: shared memory is not offered. Send the data in the request")


def _timeout_s(timeout: object) -> float | None:
    """Triton's ``timeout``, which is in microseconds; 0 stands for none."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise invalid(f"parameter timeout is {str(timeout)[:40]!r}. Send microseconds, a whole number")
    return min(timeout, 2**53) / 1e6 or None
