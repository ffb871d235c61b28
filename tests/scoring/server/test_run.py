"""Serving with uvicorn: TLS, addresses that cannot be had, and a stop that loses no request."""

from __future__ import annotations

import http.client
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from darkop_dist.errors import InputFileError, RunError, UserError
from darkop_dist.scoring.server import Engine
from darkop_dist.scoring.server.http import http_app
from darkop_dist.scoring.server.listen import Listen
from darkop_dist.scoring.server.run import lifespan_of, serving
from darkop_dist.scoring.wire import decode_scores, encode_batch


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that speaks for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begins = datetime.now(UTC) - timedelta(hours=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, plain, serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


def test_scores_over_tls(numbered: Any, numbers: Any, certificate: tuple[Path, Path]) -> None:
    engine = Engine({"m": lambda: numbered})
    listen = Listen(port=0, certificate=certificate[0], key=certificate[1])
    with serving(http_app(engine, lifespan=lifespan_of(engine)), listen, needs_token=False) as address:
        assert address.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate[0]))
        host, port = address.removeprefix("https://").split(":")
        client = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
        client.request("POST", "/v1/models/m/score", bytes(encode_batch(numbers(1, 100_000), numbered.inputs)))
        response = client.getresponse()
        assert response.status == 200
        assert decode_scores(response.read())[99_999] == 100_000
        client.close()
        stranger = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(), timeout=30)
        with pytest.raises(ssl.SSLCertVerificationError):
            stranger.request("GET", "/v2/health/live")
        stranger.close()


def test_files_that_are_no_certificate(tmp_path: Path, numbered: Any) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    listen = Listen(port=0, certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    with (
        pytest.raises(InputFileError, match="no certificate with its key"),
        serving(http_app(Engine({"m": lambda: numbered})), listen, needs_token=False),
    ):
        pass


def test_a_port_that_is_taken(numbered: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=rf"nothing can listen at 127\.0\.0\.1:{port}: .*Choose another port"),
            serving(http_app(Engine({"m": lambda: numbered})), Listen(port=port), needs_token=False),
        ):
            pass


def test_others_are_not_let_in_by_mistake(numbered: Any) -> None:
    with (
        pytest.raises(UserError, match=r"others can reach 0\.0\.0\.0, so a token is needed"),
        serving(http_app(Engine({"m": lambda: numbered})), Listen(host="0.0.0.0", port=0), needs_token=False),  # noqa: S104
    ):
        pass


def test_a_model_that_cannot_be_loaded_stops_the_start(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Any:
        raise OSError("no such checkpoint")

    engine = Engine({"m": load})
    with (
        pytest.raises(RunError, match="the server of scores did not start; its log says why"),
        serving(http_app(engine, lifespan=lifespan_of(engine)), Listen(port=0), needs_token=False),
    ):
        pass
    assert "model m cannot be loaded: no such checkpoint" in caplog.text


def test_a_stop_answers_what_is_under_way(numbered: Any, numbers: Any) -> None:
    engine = Engine({"m": lambda: numbered})
    with ThreadPoolExecutor(4) as pool:
        with serving(http_app(engine, lifespan=lifespan_of(engine)), Listen(port=0), needs_token=False) as address:
            numbered.call_s = 0.3

            def ask(first: int) -> float:
                client = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
                client.request("POST", "/v1/models/m/score", bytes(encode_batch(numbers(first, 1), numbered.inputs)))
                score = float(decode_scores(client.getresponse().read())[0])
                client.close()
                return score

            asked = [pool.submit(ask, first) for first in range(4)]
            while engine.stats().running + sum(engine.stats().waiting.values()) < 4:
                pass
        assert [one.result() for one in asked] == [0, 1, 2, 3]
    assert engine.stats().is_draining


SERVE = """
    import signal
    import sys
    from darkop_dist.scoring.local import LocalScorer
    from darkop_dist.scoring.server import Engine
    from darkop_dist.scoring.server.http import http_app
    from darkop_dist.scoring.server.listen import Listen
    from darkop_dist.scoring.server.run import lifespan_of, serve

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    engine = Engine({"toy": lambda: LocalScorer.from_checkpoint(sys.argv[1])})
    app = http_app(engine, lifespan=lifespan_of(engine))
    try:
        serve(app, Listen(port=0), needs_token=False, announce=lambda address: print(address, flush=True))
    except KeyboardInterrupt:
        print("stopped")
"""


def test_a_process_of_its_own(checkpoint_directory: Path, tmp_path: Path, repository: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(textwrap.dedent(SERVE))
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    process = subprocess.Popen(
        [sys.executable, str(script), str(checkpoint_directory)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        client = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        client.request("GET", "/v1/models/toy")
        assert client.getresponse().status == 200
        client.close()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out.strip()) == (0, "stopped")


def test_started_servers_end(numbered: Any, make_numbered: Callable[..., Any]) -> None:
    """Nothing is left of a server: neither its port nor its threads."""
    import threading

    engine = Engine({"m": make_numbered})
    with serving(http_app(engine, lifespan=lifespan_of(engine)), Listen(port=0), needs_token=False) as address:
        port = int(address.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("darkop-http")]
