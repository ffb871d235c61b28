"""Whatever a body holds, it becomes a request or a refusal; what was written comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import service_pb2
from tritonclient.http import InferenceServerClient, InferInput, InferResult

from darkop_dist.scoring.server.request import Scored
from darkop_dist.scoring.server.v2_json import answer, decompress, parse
from darkop_dist.scoring.server.v2_messages import parsed
from darkop_dist.scoring.server.v2_model import batch_sizes
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import RefusedError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["binary_data_size", "binary_data", "binary_data_output", "timeout", "darkop_fingerprint", "sequence_id",
     "shared_memory_region", "classification"]
)  # fmt: skip
PARAMETERS = st.dictionaries(KEYS, JSON, max_size=2) | JSON
TENSORS = st.fixed_dictionaries(
    {"name": st.text(max_size=3), "datatype": st.sampled_from(["FP32", "FP64", ""]), "shape": JSON},
    optional={"data": JSON, "parameters": PARAMETERS},
) | st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y"]),
        "datatype": st.just("FP32"),
        "shape": st.lists(st.integers(-1, 3) | st.integers(), max_size=3),
    },
    optional={"data": st.lists(JSON, max_size=3), "parameters": PARAMETERS},
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=2)},
    optional={"id": JSON, "parameters": PARAMETERS, "outputs": st.lists(JSON, max_size=2) | JSON},
)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives; None if it is refused, which says why and is no failure of the server."""
    try:
        return call()
    except RefusedError as error:
        problem = error.problem
    assert problem.status < 500
    assert len(problem.model_dump_json()) < 4000
    return None


def read(body: Any, header_length: str | None, version: str = "") -> None:
    found = outcome(lambda: parse(body, header_length, version))
    assert found is None or all(array.dtype == np.float32 for array in found.batch.values())


@given(st.binary(max_size=200), st.none() | st.text(max_size=5) | st.integers(0, 300).map(str), st.text(max_size=4))
def test_any_bytes(body: bytes, header_length: str | None, version: str) -> None:
    read(body, header_length, version)


@given(JSON)
def test_any_json(content: Any) -> None:
    read(json.dumps(content).encode(), None)


@given(content=REQUESTS, data=st.binary(max_size=40), is_binary=st.booleans())
def test_anything_that_looks_like_a_request(*, content: Any, data: bytes, is_binary: bool) -> None:
    head = json.dumps(content).encode()
    read(head + data if is_binary else head, str(len(head)) if is_binary else None)


def test_deep_json() -> None:
    read(b'{"inputs":' + b"[" * 200_000, None)
    read(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":' + b"[" * 150 + b"]" * 150 + b"}]}", None)


@given(st.binary(max_size=200), st.text(max_size=10) | st.sampled_from(["gzip", "deflate", " GZIP"]))
def test_any_compressed_bytes(body: bytes, encoding: str) -> None:
    found = outcome(lambda: decompress(body, encoding, 1000))
    assert found is None or len(found) <= 1000


@given(st.binary(max_size=300))
def test_any_message_of_grpc(content: bytes) -> None:
    request = service_pb2.ModelInferRequest()
    try:
        request.ParseFromString(content)
    except DecodeError:  # gRPC refuses what is no message
        return
    check_message(request)


@given(
    st.lists(st.tuples(st.sampled_from(["x", "y"]), st.lists(st.integers(-2, 4), max_size=4)), max_size=3),
    st.lists(st.binary(max_size=16), max_size=3),
    st.lists(st.floats(width=32), max_size=4),
)
def test_any_inputs_of_grpc(tensors: list[tuple[str, list[int]]], raw: list[bytes], typed: list[float]) -> None:
    request = service_pb2.ModelInferRequest(raw_input_contents=raw)
    for name, shape in tensors:
        request.inputs.add(name=name, datatype="FP32", shape=shape).contents.fp32_contents.extend(typed)
    check_message(request)


def check_message(request: Any) -> None:
    found = outcome(lambda: parsed(request))
    assert found is None or all(array.dtype == np.float32 for array in found[0].values())


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
FLOATS = hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 3)), elements=FINITE)


@given(st.lists(FLOATS, min_size=1, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3))
def test_what_tritonclient_writes_is_read_to_the_last_bit(arrays: list[Any], binary: list[bool]) -> None:
    inputs = []
    for number, array in enumerate(arrays):
        inputs.append(InferInput(f"input{number}", list(array.shape), "FP32"))
        inputs[-1].set_data_from_numpy(array, binary_data=binary[number])
    body, length = InferenceServerClient.generate_request_body(inputs)

    found = parse(body, None if length is None else str(length), "1")

    assert list(found.batch) == [f"input{number}" for number in range(len(arrays))]
    for array, again in zip(arrays, found.batch.values(), strict=True):
        assert again.flags.aligned
        np.testing.assert_array_equal(again, array)


@given(scores=hnp.arrays(np.float32, st.integers(0, 5), elements=FINITE), is_binary=st.booleans())
def test_what_is_answered_is_read_to_the_last_bit(*, scores: Any, is_binary: bool) -> None:
    asked = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [0], "data": []}]}
    inference = parse(json.dumps(asked | {"parameters": {"binary_data_output": is_binary}}).encode(), None, "")
    body, headers = answer("m", Scored(scores, "f" * 64, 0.0, 0.0), inference)
    length = headers.get("inference-header-content-length")
    assert (length is not None) is is_binary
    again = InferResult.from_response_body(body, header_length=length).as_numpy("score")
    np.testing.assert_array_equal(again, scores)


@pytest.mark.parametrize(("most_bytes", "expected"), [(64 << 20, (16384, 8192)), (1 << 20, (256, 256)), (100, (1, 1))])
def test_the_best_batch_is_one_that_is_let_through(most_bytes: int, expected: tuple[int, int]) -> None:
    spec = {
        "name": "x", "shape": (2, 16, 32), "dtype": "float32", "meaning": "", "representation": "c", "settings": {},
    }  # fmt: skip
    axis = {"edges": (0.0, 1.0), "label": "", "fixed_on": ""}
    description = ModelDescription.model_validate(
        {
            "name": "m", "fingerprint": "f", "inputs": [spec], "score_axis": axis, "best_events": 8192,
            "most_events": 262_144, "most_bytes": most_bytes, "version": "1",
        }
    )  # fmt: skip
    assert batch_sizes(description) == expected
