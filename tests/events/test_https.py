"""Reading over HTTPS from a real server, whose certificate counts."""

import ipaddress
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")

READ = """
import sys
from darkop_dist.events.remote import open_root
with open_root(sys.argv[1]) as file:
    print(file["Events"]["x"].array(library="np").sum())
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that speaks for itself, with its key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begins = datetime.now(UTC) - timedelta(hours=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, plain, serialization.NoEncryption()))
    return path


@pytest.fixture
def server(tmp_path: Path, certificate: Path, serve_flaky: Callable[..., Any]) -> Iterator[Any]:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", {"x": np.dtype("f8")})
        file["Events"].extend({"x": np.arange(100.0)})
    with serve_flaky(tmp_path, certificate) as found:
        yield found


def read(server: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since Python's clients look for authorities once."""
    command = [sys.executable, "-c", READ, server.url("a.root")]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=100
    )


def test_ranges_come_encrypted_from_a_server_that_is_known(server: Any, certificate: Path) -> None:
    done = read(server, SSL_CERT_FILE=str(certificate))
    assert (done.stdout, done.returncode) == ("4950.0\n", 0), done.stderr
    assert all(request.stop - request.start < 100_000 for request in server.requests if request.method == "GET")


def test_a_server_that_nobody_knows_is_refused(server: Any) -> None:
    done = read(server)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr
    assert server.requests == []
