"""A proxy that has expired is named, with the time, when a server refuses; unreadable ones too. No other file is blamed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.proxies import expired_proxy
from darkop_dist.events.read import inspect_file

x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
NOW = datetime(2030, 6, 1, tzinfo=UTC)


def certificate(ends: datetime) -> bytes:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(hours=12))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    pem: bytes = made.public_bytes(serialization.Encoding.PEM)
    return pem


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "proxy.pem"
    monkeypatch.setenv("X509_USER_PROXY", str(path))
    return path


def test_the_first_certificate_to_end_counts(proxy: Path) -> None:
    proxy.write_bytes(certificate(NOW + timedelta(hours=1)) + certificate(NOW + timedelta(days=300)))
    assert expired_proxy(NOW) is None
    told = expired_proxy(NOW + timedelta(hours=2))
    assert (
        told
        == f"The proxy {proxy} expired at 2030-06-01 01:00 UTC. Make a new one: voms-proxy-init --voms YOUR_EXPERIMENT"
    )


def test_what_is_no_proxy(proxy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot be read (No such file or directory). Make a proxy: voms-proxy-init" in str(expired_proxy())
    proxy.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    assert expired_proxy() is None
    monkeypatch.delenv("X509_USER_PROXY")
    assert expired_proxy() is None


def test_a_refusal_names_the_expired_proxy(proxy: Path, tmp_path: Path, xrootd_server: Callable[..., Any]) -> None:
    """The server refuses one file to everybody, by its rules of authorisation."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.root").write_bytes(b"x" * 1000)
    rules = tmp_path / "rules"
    rules.write_text("u * /other rl\n")
    server = xrootd_server(tmp_path / "served", lines=("ofs.authorize", f"acc.authdb {rules}"))
    record = DatasetRecord(name="a", kind="data", files=("x",))
    proxy.write_bytes(certificate(datetime.now(UTC) - timedelta(hours=1)))
    with pytest.raises(InputFileError, match=r"refuses the file.*3010.*proxy\.pem expired at .* UTC.*voms-proxy-init"):
        inspect_file(server.url("a.root"), record)
    proxy.write_bytes(certificate(datetime.now(UTC) + timedelta(hours=1)))
    with pytest.raises(InputFileError, match="refuses the file") as caught:
        inspect_file(server.url("a.root"), record)
    assert "expired" not in str(caught.value)
    server.stop()
