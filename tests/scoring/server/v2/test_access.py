"""Tokens, TLS and rates in front of the Open Inference Protocol."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import gevent.ssl
import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from darkop_dist.errors import InputFileError, UserError
from darkop_dist.scoring.server import EngineSettings
from darkop_dist.scoring.server.access import Access, AccessSettings
from darkop_dist.scoring.server.listen import Listen

TOKEN, VARIABLE = "a-token-of-this-test-alone", "SCORES_TOKEN"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def sums_inputs(module: Any, events: int = 1) -> list[Any]:
    found = []
    for name, shape in (("x", [events, 3]), ("y", [events, 2, 2])):
        found.append(module.InferInput(name, shape, "FP32"))
        found[-1].set_data_from_numpy(np.ones(shape, dtype=np.float32))
    return found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost, signed by itself, and its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def locked(serve_models: Any, sums: Any, certificate: tuple[Path, Path]) -> Iterator[Any]:
    """A server with TLS and a token."""
    access = Access(AccessSettings(token_env=VARIABLE), {VARIABLE: TOKEN})
    with serve_models({"sums": lambda: sums}, EngineSettings(), access, tls=certificate) as found:
        yield found


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, locked: Any, certificate: tuple[Path, Path]) -> Iterator[Any]:
    if request.param == "grpc":
        with tritonclient.grpc.InferenceServerClient(
            locked.grpc, ssl=True, root_certificates=str(certificate[0])
        ) as found:
            yield found
        return
    with tritonclient.http.InferenceServerClient(
        locked.http, ssl=True, ssl_context_factory=lambda: gevent.ssl.create_default_context(cafile=certificate[0])
    ) as found:
        yield found


def module_of(client: Any) -> Any:
    return tritonclient.http if type(client).__module__.startswith("tritonclient.http") else tritonclient.grpc


def test_a_token_over_tls(client: Any) -> None:
    module = module_of(client)
    assert client.is_server_live(), "health needs no token"
    assert client.is_server_ready()
    answer = client.infer("sums", sums_inputs(module), headers=dict(BEARER))
    assert answer.as_numpy("score").tolist() == [7.0]
    assert client.get_model_metadata("sums", headers=BEARER)


@pytest.mark.parametrize("token", [None, "Bearer another-token-of-this-test", TOKEN, f"Basic {TOKEN}"])
def test_a_wrong_token_gets_nothing(client: Any, token: str | None) -> None:
    module, headers = module_of(client), {} if token is None else {"authorization": token}
    calls: list[Callable[[], Any]] = [
        lambda: client.infer("sums", sums_inputs(module), headers=dict(headers)),
        lambda: client.get_model_metadata("sums", headers=headers),
        lambda: client.get_model_config("sums", headers=headers),
        lambda: client.get_server_metadata(headers=headers),
        lambda: client.get_model_repository_index(headers=headers),
        lambda: client.get_inference_statistics("sums", headers=headers),
    ]
    for call in calls:
        with pytest.raises(InferenceServerException, match="Send the header authorization: Bearer TOKEN") as error:
            call()
        assert error.value.status() in {"401", "StatusCode.UNAUTHENTICATED"}
        assert TOKEN not in str(error.value)


def test_rates_hold_for_both(serve_models: Any, sums: Any) -> None:
    access = Access(AccessSettings(events_per_s=100.0, burst_s=1.0))
    with serve_models({"sums": lambda: sums}, EngineSettings(), access) as server:
        with tritonclient.http.InferenceServerClient(server.http) as client:
            client.infer("sums", sums_inputs(tritonclient.http, 150))  # more than the bucket holds: a debt
            with pytest.raises(InferenceServerException, match="more than 100 events a second"):
                client.infer("sums", sums_inputs(tritonclient.http, 100))
        with grpc.insecure_channel(server.grpc) as channel:  # from the same address
            request = service_pb2.ModelInferRequest(model_name="sums")
            for name, shape in (("x", [100, 3]), ("y", [100, 2, 2])):
                request.inputs.add(name=name, datatype="FP32", shape=shape)
                request.raw_input_contents.append(np.ones(shape, dtype=np.float32).tobytes())
            stub = tritonclient.grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError, match="more than 100 events a second") as error:
                stub.ModelInfer(request)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(error.value.trailing_metadata())["darkop-code"] == "rate-limited"
        assert int(dict(error.value.trailing_metadata())["retry-after"]) >= 1


def test_grpc_listens_on_loopback_alone_without_token_and_tls(start_grpc: Any, certificate: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"others can reach 0\.0\.0\.0, so a token is needed"):
        start_grpc(Access(), Listen("0.0.0.0", 0))  # noqa: S104
    access = Access(AccessSettings(token_env=VARIABLE), {VARIABLE: TOKEN})
    with pytest.raises(UserError, match=r"others can reach 0\.0\.0\.0, so TLS is needed"):
        start_grpc(access, Listen("0.0.0.0", 0))  # noqa: S104


def test_a_port_that_is_taken(start_grpc: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"nothing can listen at 127.0.0.1:{port}.*Choose another port"):
            start_grpc(Access(), Listen(port=port))


def test_a_certificate_that_is_none(start_grpc: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "cert.pem"
    wrong.write_text("no certificate")
    with pytest.raises(InputFileError, match="no certificate with its key"):
        start_grpc(Access(), Listen(port=0, certificate=wrong, key=wrong))


def test_an_unknown_address_tells_tritons_clients_too(sums_server: Any) -> None:
    connection = HTTPConnection(sums_server.http)
    connection.request("GET", "/v2/models/sums/trace/setting")
    response = connection.getresponse()
    assert response.status == 404
    assert b'"error": "GET /v2/models/sums/trace/setting: there is no such address' in response.read()
    connection.close()
