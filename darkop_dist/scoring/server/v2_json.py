"""Bodies of the Open Inference Protocol over HTTP: JSON, followed by binary data where both sides want it."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from darkop_dist.scoring.server.request import Scored
from darkop_dist.scoring.server.v2_service import answer_parameters
from darkop_dist.scoring.server.v2_tensors import (
    FP32,
    SCORE,
    VERSION,
    Wanted,
    by_name,
    check_output,
    check_tensor,
    from_bytes,
    from_numbers,
    invalid,
    wanted,
)
from darkop_dist.scoring.wire.problem import Problem, RefusedError

HEADER_LENGTH = "inference-header-content-length"
"""Header: how many bytes of the body are JSON; the rest is binary data."""

MOST_JSON_BYTES = 16 * 1024 * 1024
"""JSON of one request. Numbers as text take up to twenty times their memory while they are read."""

_SIZE, _BINARY, _BINARY_ALL = "binary_data_size", "binary_data", "binary_data_output"
_WINDOWS = {"gzip": 31, "deflate": 15}  # as zlib.decompressobj calls the two formats
_STRICT = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Tensor(BaseModel):
    model_config = _STRICT

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, JsonValue] = {}
    data: Any = None


class _Output(BaseModel):
    model_config = _STRICT

    name: str
    parameters: dict[str, JsonValue] = {}


class _Request(BaseModel):
    model_config = _STRICT

    id: str = ""
    parameters: dict[str, JsonValue] = {}
    inputs: list[_Tensor] = Field(min_length=1, max_length=1000)
    outputs: list[_Output] = Field(default=[], max_length=1000)


@dataclass(frozen=True)
class Inference:
    """A request for scores.

    Attributes:
        batch: arrays by name, views of the body where they can be.
        wanted: what it wants besides.
        is_binary: the scores are to come as binary data.
    """

    batch: dict[str, npt.NDArray[np.float32]]
    wanted: Wanted
    is_binary: bool


def decompress(body: Any, encoding: str, most_bytes: int) -> Any:
    """A body without its compression.

    Args:
        body: bytes or another buffer.
        encoding: its ``content-encoding``.
        most_bytes: what it may become; no more than that is ever held.

    Raises:
        RefusedError: the encoding is unknown, the body is damaged, or becomes too large.
    """
    encoding = encoding.strip().lower() or "identity"
    if encoding == "identity":
        return body
    if encoding not in _WINDOWS:
        raise invalid(f"content-encoding {encoding[:40]!r} is not understood. Send gzip, deflate or identity")
    reader = zlib.decompressobj(_WINDOWS[encoding])
    try:
        found = reader.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise invalid(f"the body is no {encoding}: {error}") from error
    if len(found) > most_bytes:
        raise too_large("the decompressed body", most_bytes)
    if not reader.eof or reader.unused_data:
        raise invalid(f"the {encoding} body {'goes on after its end' if reader.eof else 'ends too early'}")
    return found


def parse(body: Any, header_length: str | None, version: str) -> Inference:
    """The request that a body holds.

    Args:
        body: a buffer, decompressed.
        header_length: the header of this name; None if the body is JSON alone.
        version: of the model, from the address.

    Raises:
        RefusedError: the body is no such request, or asks for what is not offered.
    """
    view = memoryview(body)
    length = len(view) if header_length is None else _length(header_length, len(view))
    if length > MOST_JSON_BYTES:
        raise too_large("the JSON of the request", MOST_JSON_BYTES, "Send the numbers as binary data. ")
    request = _validated(bytes(view[:length]))
    data, arrays = view[length:], []
    for tensor in request.inputs:
        count = check_tensor(tensor.name, tensor.datatype, tensor.shape, tensor.parameters)
        if _SIZE in tensor.parameters:
            size = _size(tensor, len(data))
            arrays.append((tensor.name, from_bytes(tensor.name, tensor.shape, data[:size])))
            data = data[size:]
        elif isinstance(tensor.data, list):
            arrays.append((tensor.name, from_numbers(tensor.name, tensor.shape, tensor.data)))
        else:
            raise invalid(
                f"input {tensor.name[:100]} holds neither data nor {_SIZE}, but {count} numbers are announced"
            )
    if len(data):
        raise invalid(f"{len(data)} bytes follow the last input. Let {_SIZE} of the inputs add up to the body")
    found = wanted(request.id, version, request.parameters)
    return Inference(by_name(arrays), found, _wants_binary(request))


def answer(model: str, scored: Scored, inference: Inference) -> tuple[bytes, dict[str, str]]:
    """An answer.

    Returns:
        The body, and its headers.
    """
    output: dict[str, Any] = {"name": SCORE, "datatype": FP32, "shape": [len(scored.scores)]}
    message: dict[str, Any] = {"model_name": model, "model_version": VERSION, "outputs": [output]}
    if inference.wanted.id:
        message["id"] = inference.wanted.id
    message["parameters"] = answer_parameters(scored)
    headers = {
        "content-type": "application/json",
        "darkop-fingerprint": scored.fingerprint,
        "darkop-queue-s": f"{scored.queue_s:.6f}",
        "darkop-compute-s": f"{scored.compute_s:.6f}",
    }
    if not inference.is_binary:
        output["data"] = scored.scores.tolist()
        return json.dumps(message).encode(), headers
    data = scored.scores.astype("<f4", copy=False).tobytes()
    output["parameters"] = {_SIZE: len(data)}
    head = json.dumps(message).encode()
    return head + data, headers | {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def too_large(what: str, most_bytes: int, advice: str = "") -> RefusedError:
    """The refusal of what is longer than it may be."""
    detail = f"{what} is longer than the {most_bytes} bytes that are allowed. {advice}Send the events in pieces"
    return RefusedError(Problem(code="too-large", detail=detail, values={"most_bytes": most_bytes}))


def _length(header: str, most: int) -> int:
    if not (header.isascii() and header.isdigit() and len(header) < 20 and int(header) <= most):
        raise invalid(f"the header {HEADER_LENGTH} is {header[:40]!r}; the body has {most} bytes")
    return int(header)


def _validated(text: bytes) -> _Request:
    try:
        return _Request.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:200] or "the body"
        raise invalid(f"{place}: {first['msg']}. Send an inference request of the Open Inference Protocol") from error


def _size(tensor: _Tensor, most: int) -> int:
    size = tensor.parameters[_SIZE]
    if tensor.data is not None:
        raise invalid(f"input {tensor.name[:100]} holds both data and {_SIZE}. Send one of them")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= most:
        raise invalid(f"input {tensor.name[:100]}: {_SIZE} is {str(size)[:40]}, {most} bytes of the body are left")
    return size


def _wants_binary(request: _Request) -> bool:
    every = _flag("parameters", request.parameters, _BINARY_ALL, default=False)
    found = [every]
    for output in request.outputs:
        check_output(output.name, output.parameters)
        found.append(_flag(f"output {SCORE}", output.parameters, _BINARY, default=every))
    return found[-1]


def _flag(place: str, parameters: dict[str, JsonValue], key: str, *, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise invalid(f"{place}: {key} is {str(value)[:40]!r}. Send true or false")
    return value
