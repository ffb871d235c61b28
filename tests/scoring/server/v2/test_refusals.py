"""What is refused, over HTTP and gRPC, with the sentence and the status that a client sees."""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from darkop_dist.scoring.server import EngineSettings

MODULES: dict[str, ModuleType] = {"http": tritonclient.http, "grpc": tritonclient.grpc}
STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    413: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
Floats = npt.NDArray[np.float32]


def batch(events: int) -> dict[str, Floats]:
    return {"x": np.ones((events, 3), dtype=np.float32), "y": np.ones((events, 2, 2), dtype=np.float32)}


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(sums_server: Any, protocol: str) -> Iterator[Any]:
    with MODULES[protocol].InferenceServerClient(getattr(sums_server, protocol)) as found:
        yield found


@pytest.fixture
def inputs(protocol: str) -> Callable[..., list[Any]]:
    """Inputs of arrays; the datatype is that of the array."""

    def make(arrays: dict[str, npt.NDArray[Any]], **settings: Any) -> list[Any]:
        found = []
        for name, array in arrays.items():
            datatype = tritonclient.utils.np_to_triton_dtype(array.dtype)
            found.append(MODULES[protocol].InferInput(name, list(array.shape), datatype))
            found[-1].set_data_from_numpy(array, **settings)
        return found

    return make


@pytest.fixture
def refused(protocol: str) -> Callable[[Callable[[], Any], int], str]:
    """The sentence of a refusal, whose status was checked."""

    def check(call: Callable[[], Any], status: int) -> str:
        with pytest.raises(InferenceServerException) as error:
            call()
        assert error.value.status() == (str(status) if protocol == "http" else f"StatusCode.{STATUS[status]}")
        return str(error.value.message())

    return check


WRONG = {
    "absent": ({"x": batch(2)["x"]}, "input y: it is absent"),
    "shape": (batch(2) | {"y": np.ones((2, 3), dtype=np.float32)}, r"input y: float32 of shape \(2, 3\) instead of"),
    "events": (batch(2) | {"y": batch(3)["y"]}, "input y: 3 events, but 2 in x"),
    "nan": (batch(2) | {"x": np.full((2, 3), np.nan, dtype=np.float32)}, "input x: not finite, first in event 0"),
    "double": (batch(2) | {"x": np.ones((2, 3))}, r"input x: datatype 'FP64'.*take FP32 alone.*astype"),
    "half": (batch(2) | {"x": np.ones((2, 3), dtype=np.float16)}, "input x: datatype 'FP16'"),
    "integer": (batch(2) | {"x": np.ones((2, 3), dtype=np.int64)}, "input x: datatype 'INT64'"),
    "text": (batch(2) | {"x": np.full((2, 3), b"1", dtype=np.object_)}, "input x: datatype 'BYTES'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_batch(client: Any, inputs: Any, refused: Any, case: str) -> None:
    arrays, message = WRONG[case]
    found = refused(lambda: client.infer("sums", inputs(arrays)), 400)
    assert re.search(message, found), found


def test_nan_as_json(sums_server: Any) -> None:
    x = tritonclient.http.InferInput("x", [1, 3], "FP32")
    x.set_data_from_numpy(np.full((1, 3), np.nan, dtype=np.float32), binary_data=False)
    y = tritonclient.http.InferInput("y", [1, 2, 2], "FP32")
    y.set_data_from_numpy(np.ones((1, 2, 2), dtype=np.float32), binary_data=False)
    with (
        tritonclient.http.InferenceServerClient(sums_server.http) as client,
        pytest.raises(InferenceServerException, match="not finite"),
    ):
        client.infer("sums", [x, y])


def test_unknown_models_and_versions(client: Any, inputs: Any, refused: Any) -> None:
    assert "there is no model 'some'; did you mean sums?" in refused(
        lambda: client.infer("some", inputs(batch(1))), 404
    )
    for call in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
        assert "there is no model 'some'" in refused(lambda call=call: call("some"), 404)
        assert "there is no version '7'. Ask for version 1" in refused(lambda call=call: call("sums", "7"), 404)
    assert "there is no version '7'" in refused(lambda: client.infer("sums", inputs(batch(1)), "7"), 404)


def test_a_model_that_does_not_exist_is_not_ready(client: Any, protocol: str, refused: Any) -> None:
    if protocol == "http":
        assert not client.is_model_ready("some")
    else:
        assert "there is no model 'some'" in refused(lambda: client.is_model_ready("some"), 404)


def test_an_unknown_output(client: Any, protocol: str, inputs: Any, refused: Any) -> None:
    asked = [MODULES[protocol].InferRequestedOutput("logits")]
    message = refused(lambda: client.infer("sums", inputs(batch(1)), outputs=asked), 400)
    assert message.endswith("there is no output 'logits'. Ask for score")


def test_what_scores_have_not(client: Any, protocol: str, inputs: Any, refused: Any) -> None:
    classes = [MODULES[protocol].InferRequestedOutput("score", class_count=2)]
    assert "classification" in refused(lambda: client.infer("sums", inputs(batch(1)), outputs=classes), 400)
    shared = MODULES[protocol].InferRequestedOutput("score")
    shared.set_shared_memory("mine", 4)
    assert "shared memory" in refused(lambda: client.infer("sums", inputs(batch(1)), outputs=[shared]), 400)
    lent = inputs(batch(1))
    lent[0].set_shared_memory("mine", 12)
    assert "input x: shared memory" in refused(lambda: client.infer("sums", lent), 400)
    assert "sequence_id" in refused(lambda: client.infer("sums", inputs(batch(1)), sequence_id=3), 400)


def test_too_many_events(client: Any, inputs: Any, refused: Any) -> None:
    message = refused(lambda: client.infer("sums", inputs(batch(1001))), 413)
    assert "1001 events, more than the 1000 that are allowed. Send it in pieces" in message


def test_too_many_bytes(client: Any, protocol: str, inputs: Any, refused: Any) -> None:
    message = refused(lambda: client.infer("sums", inputs(batch(400_000))), 413)
    assert ("longer than the" if protocol == "http" else "larger than max") in message
    assert client.infer("sums", inputs(batch(2))).as_numpy("score").tolist() == [7.0, 7.0]


def test_too_many_bytes_once_they_are_decompressed(client: Any, protocol: str, inputs: Any, refused: Any) -> None:
    key = "request_compression_algorithm" if protocol == "http" else "compression_algorithm"
    large = inputs({"x": np.zeros((8_000_000, 3), dtype=np.float32)})  # 96 MB, some 100 kB on the wire
    message = refused(lambda: client.infer("sums", large, **{key: "gzip"}), 413)
    assert ("the decompressed body is longer" if protocol == "http" else "max") in message


def test_a_bug_of_the_model(client: Any, inputs: Any, refused: Any, caplog: pytest.LogCaptureFixture) -> None:
    refused(lambda: client.infer("sums", inputs(batch(1) | {"x": np.full((1, 3), 666, dtype=np.float32)})), 500)
    assert client.infer("sums", inputs(batch(2))).as_numpy("score").tolist() == [7.0, 7.0]


def test_a_timeout_in_microseconds(client: Any, inputs: Any, refused: Any, sums_server: Any, sums: Any) -> None:
    sums.called.clear()
    sums.gate.clear()
    with grpc.insecure_channel(sums_server.grpc) as channel:
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        first = stub.ModelInfer.future(_grpc_request())
        assert sums.called.wait(10)
        began = time.monotonic()
        refused(lambda: client.infer("sums", inputs(batch(2)), timeout=200_000), 504)
        assert 0.15 < time.monotonic() - began < 5
        sums.gate.set()
        assert first.result().model_name == "sums"


def test_a_timeout_that_means_nothing(client: Any, inputs: Any, refused: Any) -> None:
    message = refused(lambda: client.infer("sums", inputs(batch(1)), timeout=-1), 400)
    assert "parameter timeout is '-1'. Send microseconds" in message


def test_the_deadline_of_grpc_reaches_the_engine(sums_server: Any, sums: Any) -> None:
    request = _grpc_request()
    with grpc.insecure_channel(sums_server.grpc) as channel:
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        sums.gate.clear()
        sums.called.clear()
        first = stub.ModelInfer.future(request)
        assert sums.called.wait(10)
        second = stub.ModelInfer.future(request, timeout=0.3)
        with pytest.raises(grpc.RpcError) as error:
            second.result()
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        deadline = time.monotonic() + 10
        while sums_server.engine.stats().waiting["sums"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sums_server.engine.stats().waiting["sums"] == 0, "nobody waits for it any more"
        sums.gate.set()
        assert np.frombuffer(first.result().raw_output_contents[0], "<f4").tolist() == [7.0]


def _grpc_request(**settings: Any) -> Any:
    request = service_pb2.ModelInferRequest(model_name="sums", **settings)
    for name, array in batch(1).items():
        request.inputs.add(name=name, datatype="FP32", shape=list(array.shape))
        request.raw_input_contents.append(array.tobytes())
    return request


def test_a_busy_server_says_when_to_come_again(sums_server: Any, sums: Any) -> None:
    with grpc.insecure_channel(sums_server.grpc) as channel:
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        sums.gate.clear()
        sums.called.clear()
        first = stub.ModelInfer.future(_grpc_request())
        assert sums.called.wait(10)
        others = [stub.ModelInfer.future(_grpc_request()) for _ in range(3)]  # one may wait
        done = [other for other in others if _is_refused(other)]
        connection = HTTPConnection(sums_server.http)
        response = _post(connection, _json_body())
        answer = json.loads(response.read())
        connection.close()
        sums.gate.set()

        assert len(done) == 2
        assert done[0].code() == grpc.StatusCode.UNAVAILABLE
        trailing = dict(done[0].trailing_metadata())
        assert trailing["darkop-code"] == "busy"
        assert int(trailing["retry-after"]) >= 1
        assert response.status == 503
        assert int(response.headers["retry-after"]) >= 1
        assert answer["code"] == "busy"
        assert answer["error"] == answer["detail"]
        assert first.result().model_name == "sums"


def _is_refused(call: Any) -> bool:
    try:
        call.result(timeout=1)
    except grpc.FutureTimeoutError:
        return False
    except grpc.RpcError:
        return True
    return False


def test_health_while_the_server_drains(
    sums_server: Any, protocol: str, client: Any, inputs: Any, refused: Any
) -> None:
    assert client.is_server_ready()
    assert client.is_model_ready("sums")
    assert client.infer("sums", inputs(batch(1))).as_numpy("score").tolist() == [7.0]

    sums_server.drain()

    assert client.is_server_live()
    assert not client.is_server_ready()
    assert not client.is_model_ready("sums")
    assert "being stopped" in refused(lambda: client.infer("sums", inputs(batch(1))), 503)
    index = client.get_model_repository_index(**({} if protocol == "http" else {"as_json": True}))
    assert (index if protocol == "http" else index["models"])[0]["state"] == "UNAVAILABLE"


def test_what_is_not_offered(client: Any, protocol: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.load_model("other")
    assert error.value.status() == ("404" if protocol == "http" else "StatusCode.UNIMPLEMENTED")
    sentence = "there is no such address" if protocol == "http" else "clients cannot load or unload them"
    assert sentence in error.value.message()


def _json_body(**changes: Any) -> dict[str, Any]:
    inputs = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in batch(1).items()
    ]
    return {"inputs": inputs} | changes


def _post(connection: HTTPConnection, body: Any, **headers: Any) -> HTTPResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    connection.request("POST", "/v2/models/sums/infer", content, named)
    return connection.getresponse()


BODIES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no json": (b"hello", {}, "the body: Invalid JSON"),
    "empty": (b"", {}, "the body: Invalid JSON"),
    "no inputs": ({"inputs": []}, {}, "inputs: List should have at least 1 item"),
    "no shape": ({"inputs": [{"name": "x", "datatype": "FP32"}]}, {}, r"inputs.0.shape: Field required"),
    "shape of text": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": ["1"]}]}, {}, r"inputs.0.shape.0"),
    "no data": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3]}]}, {}, "neither data nor binary_data"),
    "few numbers": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2]}]}, {}, "data of shape .2.",
    ),
    "nested otherwise": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [[1, 2], [3, 4]]}]}, {}, "but shape says",
    ),
    "ragged": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [[1, 2], [3]]}]}, {}, "no array of num",
    ),
    "text as numbers": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": ["1", "2", "3"]}]}, {}, "other than num",
    ),
    "null": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [None]}]}, {}, "other than numbers",
    ),
    "negative shape": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3], "data": [1.0]}]}, {}, "no array has the shape",
    ),
    "a huge shape": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2**30] * 9, "data": [1.0]}]}, {}, "but shape says",
    ),
    "too large for FP32": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1e300, 1, 1]}]}, {}, "x: not finite",
    ),
    "twice": (_json_body(inputs=_json_body()["inputs"][:1] * 2), {}, "an input stands there twice"),
    "binary size": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}]}, {},
        "binary_data_size is 12, 0 bytes of the body are left",
    ),
    "header length": (_json_body(), {"inference_header_content_length": 10**6}, "content-length is '1000000'"),
    "header of text": (_json_body(), {"inference_header_content_length": "ten"}, "content-length is 'ten'"),
    "encoding": (_json_body(), {"content_encoding": "br"}, "content-encoding 'br' is not understood"),
    "no gzip": (_json_body(), {"content_encoding": "gzip"}, "the body is no gzip"),
    "half a gzip": (gzip.compress(b"x" * 10**4)[:-8], {"content_encoding": "gzip"}, "ends too early"),
    "two deflates": (zlib.compress(b"x") * 2, {"content_encoding": "deflate"}, "goes on after its end"),
    "two fingerprints": (
        _json_body(parameters={"darkop_fingerprint": "1" * 64}), {"darkop_fingerprint": "2" * 64}, "two fingerprints",
    ),
    "a fingerprint of numbers": (_json_body(parameters={"darkop_fingerprint": 1}), {}, "is no text"),
    "a timeout of text": (_json_body(parameters={"timeout": "1"}), {}, "parameter timeout is '1'"),
    "a flag of text": (_json_body(parameters={"binary_data_output": "no"}), {}, "binary_data_output is 'no'"),
    "a time": (_json_body(), {"darkop_timeout_s": "soon"}, "darkop-timeout-s is 'soon'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_a_wrong_body(sums_server: Any, case: str) -> None:
    body, headers, message = BODIES[case]
    connection = HTTPConnection(sums_server.http)
    response = _post(connection, body, **headers)
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 400
    assert re.search(message, answer["error"]), answer


def test_json_that_is_too_long_goes_as_binary_data(serve_models: Any, sums: Any) -> None:
    with serve_models({"sums": lambda: sums}, EngineSettings()) as server:
        connection = HTTPConnection(server.http)
        response = _post(connection, b" " * (16 * 1024 * 1024 + 1))
        assert response.status == 413
        assert "longer than the 16777216 bytes" in json.loads(response.read())["error"]
        connection.close()


def test_raw_contents_that_do_not_fit(sums_server: Any) -> None:
    with grpc.insecure_channel(sums_server.grpc) as channel:
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        few, both, other, short = (_grpc_request() for _ in range(4))
        del few.raw_input_contents[1]
        both.inputs[0].contents.fp32_contents.append(1.0)
        del other.raw_input_contents[:]
        other.inputs[0].contents.int_contents.extend([1, 2, 3])
        short.raw_input_contents[0] = short.raw_input_contents[0][:-1]
        for request, message in [
            (few, "2 inputs, but 1 raw_input_contents"),
            (both, "both contents and raw_input_contents"),
            (other, "contents other than fp32_contents"),
            (short, r"input x: 11 bytes, its shape \[1, 3\] needs 12 of FP32"),
            (service_pb2.ModelInferRequest(model_name="sums"), "holds no inputs"),
        ]:
            with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT") as error:
                stub.ModelInfer(request)
            assert re.search(message, error.value.details())


def test_bytes_that_are_no_message(sums_server: Any) -> None:
    with grpc.insecure_channel(sums_server.grpc) as channel:
        for method in ("ModelInfer", "ModelMetadata"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}", None, None)
            with pytest.raises(grpc.RpcError, match=f"the request is no {method}Request") as error:
                call(b"\xff\xff\xff")
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_every_method_of_the_protocol_answers(sums_server: Any) -> None:
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    with grpc.insecure_channel(sums_server.grpc) as channel:
        stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        codes = {
            method.name: getattr(stub, method.name).future(getattr(service_pb2, method.input_type.name)()).code()
            for method in service.methods
            if not method.client_streaming
        }
    assert {name for name, code in codes.items() if code == grpc.StatusCode.OK} == {
        "ServerLive", "ServerReady", "ServerMetadata", "RepositoryIndex", "ModelStatistics",
    }  # fmt: skip
    assert {name for name, code in codes.items() if code == grpc.StatusCode.NOT_FOUND} == {
        "ModelReady", "ModelMetadata", "ModelConfig",
    }  # fmt: skip
    assert codes["ModelInfer"] == grpc.StatusCode.INVALID_ARGUMENT
    assert list(codes.values()).count(grpc.StatusCode.UNIMPLEMENTED) == 10
