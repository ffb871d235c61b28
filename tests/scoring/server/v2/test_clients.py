"""tritonclient over HTTP and gRPC against a real model: the scores are those of the process, to the last bit."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.grpc import service_pb2

from darkop_dist.scoring.local import LocalScorer

MODULES: dict[str, ModuleType] = {"http": tritonclient.http, "grpc": tritonclient.grpc}
Fields = npt.NDArray[np.float32]


def fields(events: int, seed: int = 0) -> Fields:
    return np.random.default_rng(seed).exponential(1.0, (events, 2, 8, 16)).astype(np.float32)


def tensor(protocol: str, array: npt.NDArray[Any], datatype: str = "FP32", **settings: Any) -> Any:
    found = MODULES[protocol].InferInput("fields", list(array.shape), datatype)
    found.set_data_from_numpy(array, **settings)
    return found


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(server: Any, protocol: str) -> Iterator[Any]:
    with MODULES[protocol].InferenceServerClient(getattr(server, protocol)) as found:
        yield found


@pytest.mark.parametrize("events", [0, 1, 127, 128, 129, 513, 3000])
def test_the_scores_are_those_of_the_process(client: Any, protocol: str, toy: LocalScorer, events: int) -> None:
    x = fields(events)

    answer = client.infer("toy", [tensor(protocol, x)], request_id="mine")

    scores = answer.as_numpy("score")
    assert scores.shape == (events,)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, toy.score({"fields": x}))
    response = answer.get_response()
    if protocol == "http":
        assert response["id"] == "mine"
        assert response["parameters"]["darkop_fingerprint"] == toy.fingerprint
        assert response["parameters"]["darkop_compute_s"] >= 0
    else:
        assert response.id == "mine"
        assert response.parameters["darkop_fingerprint"].string_param == toy.fingerprint
        assert response.parameters["darkop_compute_s"].double_param >= 0


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_json_and_binary_tensors_over_http_give_the_same(
    server: Any, toy: LocalScorer, *, binary_in: bool, binary_out: bool
) -> None:
    x = fields(37)
    asked = tritonclient.http.InferRequestedOutput("score", binary_data=binary_out)
    with tritonclient.http.InferenceServerClient(server.http) as client:
        answer = client.infer("toy", [tensor("http", x, binary_data=binary_in)], outputs=[asked])

    np.testing.assert_array_equal(answer.as_numpy("score"), toy.score({"fields": x}))
    assert ("data" in answer.get_output("score")) is not binary_out


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client: Any, protocol: str, toy: LocalScorer, algorithm: str) -> None:
    x = fields(300)
    key = "request_compression_algorithm" if protocol == "http" else "compression_algorithm"

    answer = client.infer("toy", [tensor(protocol, x)], **{key: algorithm})

    np.testing.assert_array_equal(answer.as_numpy("score"), toy.score({"fields": x}))


def test_typed_contents_over_grpc(server: Any, toy: LocalScorer) -> None:
    x = fields(5)
    request = service_pb2.ModelInferRequest(model_name="toy")
    one = request.inputs.add(name="fields", datatype="FP32", shape=list(x.shape))
    one.contents.fp32_contents.extend(x.ravel().tolist())
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        answer = tritonclient.grpc.InferResult(client._client_stub.ModelInfer(request))

    np.testing.assert_array_equal(answer.as_numpy("score"), toy.score({"fields": x}))


def test_requests_at_once_are_not_mixed_up(client: Any, protocol: str, toy: LocalScorer) -> None:
    batches = [fields(10 + seed, seed) for seed in range(6)]
    if protocol == "http":
        handles = [client.async_infer("toy", [tensor(protocol, x)]) for x in batches]
        answers = [handle.get_result() for handle in handles]
    else:
        found: list[queue.Queue[Any]] = [queue.Queue() for _ in batches]
        for x, box in zip(batches, found, strict=True):
            client.async_infer(
                "toy", [tensor(protocol, x)], callback=lambda result, error, box=box: box.put(error or result)
            )
        answers = [box.get(timeout=30) for box in found]

    for x, answer in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answer.as_numpy("score"), toy.score({"fields": x}))


def test_a_stream_over_grpc_keeps_its_order_and_outlives_a_refusal(server: Any, toy: LocalScorer) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        for model, x in [("toy", fields(3, 1)), ("nobody", fields(3, 1)), ("toy", fields(4, 2))]:
            client.async_stream_infer(model, [tensor("grpc", x)])
        first, refused, last = (answers.get(timeout=30) for _ in range(3))
        client.stop_stream()

    np.testing.assert_array_equal(first.as_numpy("score"), toy.score({"fields": fields(3, 1)}))
    assert "there is no model 'nobody'" in str(refused)
    np.testing.assert_array_equal(last.as_numpy("score"), toy.score({"fields": fields(4, 2)}))


@pytest.mark.parametrize("module", [tritonclient.http.aio, tritonclient.grpc.aio], ids=["http", "grpc"])
def test_asynchronous_clients(server: Any, toy: LocalScorer, module: Any) -> None:
    protocol, x = module.__name__.split(".")[1], fields(20)

    async def infer() -> Any:
        async with module.InferenceServerClient(getattr(server, protocol)) as client:
            assert await client.is_server_ready()
            return await client.infer("toy", [tensor(protocol, x)])

    np.testing.assert_array_equal(asyncio.run(infer()).as_numpy("score"), toy.score({"fields": x}))


def test_what_the_model_is(client: Any, protocol: str, toy: LocalScorer) -> None:
    as_json = {} if protocol == "http" else {"as_json": True}
    metadata, config = client.get_model_metadata("toy", **as_json), client.get_model_config("toy", "1", **as_json)
    config = config if protocol == "http" else config["config"]

    assert metadata["name"] == "toy"
    assert metadata["versions"] == ["1"]
    (x,) = metadata["inputs"]
    assert (x["name"], x["datatype"], list(map(int, x["shape"]))) == ("fields", "FP32", [-1, 2, 8, 16])
    (score,) = metadata["outputs"]
    assert (score["name"], score["datatype"], list(map(int, score["shape"]))) == ("score", "FP32", [-1])
    assert list(map(int, config["input"][0]["dims"])) == [2, 8, 16]
    assert config["dynamic_batching"]["preferred_batch_size"] == [512]
    assert config["max_batch_size"] == 8192  # of 1024 bytes each
    said = {key: value["string_value"] for key, value in config["parameters"].items()}
    assert said["fingerprint"] == toy.fingerprint
    assert json.loads(said["score_edges"]) == list(toy.score_axis.edges)
    assert said["meaning_of_fields"] == toy.inputs[0].meaning
    if protocol == "http":
        assert metadata["parameters"]["fingerprint"] == toy.fingerprint
        assert metadata["parameters"]["score_edges"] == list(toy.score_axis.edges)
        assert x["parameters"]["meaning"] == toy.inputs[0].meaning


def test_what_the_server_is_and_has(client: Any, protocol: str) -> None:
    as_json = {} if protocol == "http" else {"as_json": True}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "1")
    assert client.get_server_metadata(**as_json)["name"] == "darkop-dist"
    index = client.get_model_repository_index(**as_json)
    assert (index if protocol == "http" else index["models"]) == [
        {"name": "toy", "version": "1", "state": "READY"} | ({"reason": ""} if protocol == "http" else {})
    ]


def test_statistics_count_events(client: Any, protocol: str) -> None:
    as_json = {} if protocol == "http" else {"as_json": True}

    def count() -> tuple[int, int]:
        (stats,) = client.get_inference_statistics("toy", **as_json)["model_stats"]
        return int(stats.get("inference_count", 0)), int(stats.get("execution_count", 0))

    events, requests = count()
    client.infer("toy", [tensor(protocol, fields(9))])
    assert count() == (events + 9, requests + 1)


@pytest.mark.parametrize("how", ["version", "parameter"])
def test_a_fingerprint_pins_the_model(client: Any, protocol: str, toy: LocalScorer, how: str) -> None:
    x = fields(4)

    def infer(fingerprint: str) -> Any:
        pin: dict[str, Any] = (
            {"model_version": fingerprint} if how == "version" else {"parameters": {"darkop_fingerprint": fingerprint}}
        )
        return client.infer("toy", [tensor(protocol, x)], **pin)

    np.testing.assert_array_equal(infer(toy.fingerprint).as_numpy("score"), toy.score({"fields": x}))
    with pytest.raises(tritonclient.utils.InferenceServerException, match="the run began with " + "0" * 64) as refused:
        infer("0" * 64)
    assert toy.fingerprint in str(refused.value)
    assert refused.value.status() == {"http": "409", "grpc": "StatusCode.FAILED_PRECONDITION"}[protocol]


def test_metadata_of_another_fingerprint_is_refused(client: Any, make_refused: Callable[..., str]) -> None:
    assert "which was asked for" in make_refused(lambda: client.get_model_metadata("toy", "0" * 64))


@pytest.fixture
def make_refused() -> Callable[..., str]:
    def refused(call: Callable[[], Any]) -> str:
        with pytest.raises(tritonclient.utils.InferenceServerException) as error:
            call()
        return str(error.value)

    return refused
