"""Proxies, tokens and keys: absent, ended, or ending before the run does."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from darkop_dist.config import DatasetRecord
from darkop_dist.execution import DatasetFiles
from darkop_dist.stages.preflight.access import check_access, find_credentials, token_end

VARIABLES = ("X509_USER_PROXY", "BEARER_TOKEN", "BEARER_TOKEN_FILE", "XDG_RUNTIME_DIR", "AWS_ACCESS_KEY_ID")


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: 987_654_321)  # nobody's proxy or token in /tmp


def files(*paths: str) -> list[DatasetFiles]:
    return [DatasetFiles(DatasetRecord(name="data", kind="data", files=("x",)), paths)]


def token(ends_s: float) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, {"exp": ends_s})]
    return ".".join([*parts, "signature"])


def test_local_and_public_files_need_nothing() -> None:
    assert check_access(files("/data/a.root"), 60.0)[0].message.startswith("all files are local")
    (finding,) = check_access(files("root://eospublic.cern.ch//eos/a.root", "root://eospublic.cern.ch//eos/b.root"), 60)
    assert (finding.status, finding.message) == ("ok", "public: needs neither proxy nor token")


def test_a_grid_site_without_proxy_and_token() -> None:
    (finding,) = check_access(files("root://xrootd.site.org//store/a.root"), 60.0)
    assert (finding.subject, finding.status) == ("root://xrootd.site.org", "warning")
    assert "voms-proxy-init" in finding.what_to_do


def test_replicas_are_looked_at_too() -> None:
    replicas = {"/data/a.root": ("root://xrootd.site.org//store/a.root",)}
    datasets = [DatasetFiles(files("x")[0].record, ("/data/a.root",), replicas)]
    assert check_access(datasets, 60.0)[0].subject == "root://xrootd.site.org"


def test_a_token_that_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bt").write_text(token(time.time() - 3 * 3600) + "\n")
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "bt"))
    (finding,) = check_access(files("roots://site.org//a.root"), 60.0)
    assert (finding.status, finding.message) == ("failed", f"token {tmp_path / 'bt'} ended 3.0 h ago")


def test_a_token_that_ends_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", token(time.time() + 1800.0))
    (finding,) = check_access(files("root://site.org//a.root"), 7200.0)
    assert finding.status == "failed"
    assert "lasts 30 min, but the run needs about 2.0 h" in finding.message
    assert check_access(files("root://site.org//a.root"), 60.0)[0].status == "ok"


def test_a_token_in_the_runtime_directory_that_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bt_u987654321").write_text("opaque")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert "does not say when it ends" in check_access(files("davs://site.org/a.root"), 60.0)[0].message
    assert token_end("a.b.c") is None


def test_a_proxy_that_is_named_and_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X509_USER_PROXY", "/nowhere/proxy")
    (finding,) = check_access(files("root://site.org//a.root"), 60.0)
    assert finding.status == "failed"
    assert "/nowhere/proxy (X509_USER_PROXY, no such file)" in finding.message


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_the_end_of_a_proxy_is_read_from_its_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proxy = tmp_path / "proxy.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=proxy -days 1 -keyout key.pem -out proxy.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv("X509_USER_PROXY", str(proxy))
    (found,) = find_credentials()
    assert found.ends_s == pytest.approx(time.time() + 86400, abs=120)
    (finding,) = check_access(files("root://site.org//a.root"), 2 * 86400.0)
    assert "lasts 24.0 h, but the run needs about 2.0 days" in finding.message


def test_buckets_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = check_access(files("s3://bucket/a.root"), 60.0)
    what = "Set them, or access.s3.anonymous: true if the bucket is public."
    assert (finding.status, finding.what_to_do) == ("warning", what)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert check_access(files("s3://bucket/a.root"), 60.0)[0].message == "keys from the environment"
