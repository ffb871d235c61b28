"""Schedulers that run already, plain and encrypted, with workers as on two machines."""

from __future__ import annotations

import os
import re
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from darkop_dist.config import Execution
from darkop_dist.errors import DocumentError, InputFileError, RunError
from darkop_dist.execution.sites import address, connect, get_client, open_client


def section(where: str, **cluster: Any) -> Execution:
    return Execution.model_validate({"where": where, "cluster": cluster})


def certificates(authority: Any, **changes: Path) -> dict[str, Path]:
    return {"ca": authority.ca, "cert": authority.cert, "key": authority.key} | changes


@pytest.mark.slow
def test_two_hosts_go_on_when_the_run_ends(two_hosts: Any) -> None:
    where = f"dask://127.0.0.1:{two_hosts.port}"
    for _ in range(2):
        with open_client(section(where)) as site:
            site.client.wait_for_workers(2, timeout=60)
            assert (site.kind, site.owned, site.restarts) == ("address", False, True)
            assert site.dashboard.startswith("http://127.0.0.1:")
            folders = site.client.run(os.getcwd)
            assert sorted(folders.values()) == sorted(map(str, two_hosts.workers))
            assert site.client.submit(abs, -3).result() == 3
    with open_client(section(where)) as site, open_client(section("dask"), client=site.client) as given:
        assert (given.kind, given.owned) == ("given", False)
        assert given.client is site.client
        assert given.client.status == "running"


@pytest.mark.slow
def test_a_client_that_was_passed_in_is_not_closed(two_hosts: Any) -> None:
    with Client(f"tcp://127.0.0.1:{two_hosts.port}", set_as_default=False) as client:
        for error in (None, ValueError):
            try:
                with open_client(section("slurm"), client=client):  # the document's site is not looked at
                    if error:
                        raise error
            except ValueError:
                pass
            assert client.status == "running"
            assert client.submit(abs, -3, pure=False).result() == 3


@pytest.mark.slow
def test_encrypted(encrypted_hosts: Any, authority: Any) -> None:
    where = f"tls://127.0.0.1:{encrypted_hosts.port}"
    with get_client(where, tls=certificates(authority)) as client:
        assert client.scheduler.address == where
        assert client.submit(abs, -3).result() == 3


@pytest.mark.slow
def test_strangers_are_refused_with_the_reason(encrypted_hosts: Any, authority: Any) -> None:
    port = encrypted_hosts.port
    other = authority.stranger
    wrong_authority = certificates(authority, ca=other / "ca.pem")
    with pytest.raises(
        RunError, match=rf"at tls://127\.0\.0\.1:{port}: the encrypted connection fails \(.*certificate"
    ):
        open_client(section(f"tls://127.0.0.1:{port}", tls=wrong_authority)).__enter__()
    wrong_certificate = certificates(authority, cert=other / "cert.pem", key=other / "key.pem")
    with pytest.raises(RunError, match=rf"no Dask scheduler answers at tls://127\.0\.0\.1:{port}"):
        open_client(section(f"tls://127.0.0.1:{port}", tls=wrong_certificate)).__enter__()
    with pytest.raises(RunError, match="does not speak unencrypted Dask; if it is encrypted, write tls://"):
        open_client(section(f"dask://127.0.0.1:{port}")).__enter__()


def test_certificates_that_cannot_be_used(authority: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    absent = tmp_path / "absent.pem"
    cases = [
        ({"ca": absent}, f"{absent}: no such file, named by execution.cluster.tls.ca. Correct the path"),
        ({"ca": tmp_path}, f"{tmp_path}: cannot be read"),
        ({"ca": tmp_path / "empty.pem"}, "empty.pem: holds no PEM certificate"),
        ({"key": authority.stranger / "key.pem"}, "cert.pem: is no PEM certificate for the key"),
        ({"cert": tmp_path / "empty.pem"}, "empty.pem: is no PEM certificate for the key"),
    ]
    for change, message in cases:
        with pytest.raises(InputFileError, match=re.escape(message)):
            open_client(section("tls://127.0.0.1:9", tls=certificates(authority, **change))).__enter__()


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "CONNECT_S", 1.0)
    message = "no Dask scheduler answers at dask://127.0.0.1:9: [Errno 111] Connection refused. Start one (see jobs/scheduler.sh)"
    with pytest.raises(RunError, match=re.escape(message)):
        open_client(section("dask://127.0.0.1:9")).__enter__()
    with pytest.raises(RunError, match=r"no Dask scheduler answers at dask://no\.such\.invalid:8786: .*[Nn]ame"):
        open_client(section("dask://no.such.invalid:8786")).__enter__()


def test_something_else_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def hang_up() -> None:
            for _ in range(50):
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        where = f"dask://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RunError, match="something listens there that does not speak unencrypted Dask"):
            open_client(section(where)).__enter__()


@pytest.mark.slow
def test_a_scheduler_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "GIVEN_WAIT_S", 2.0)
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50) as cluster:
        where = cluster.scheduler_address.replace("tcp://", "dask://")
        message = (
            r"no Dask worker came within 2 s \(address\)\. Start workers for this scheduler: see jobs/scheduler\.sh"
        )
        with pytest.raises(RunError, match=message):
            open_client(section(where, wait="2 s")).__enter__()
        with (
            Client(cluster, set_as_default=False) as client,
            pytest.raises(RunError, match=r"no Dask worker came within 2 s \(given\)\. Give the client workers"),
        ):
            open_client(section(where), client=client).__enter__()


def test_keys_that_the_site_cannot_use() -> None:
    with pytest.raises(DocumentError, match="tls:// address needs the key tls"):
        open_client(section("tls://127.0.0.1:9")).__enter__()
    with pytest.raises(DocumentError, match=r"execution\.cluster\.walltime: where: dask has no use for this key"):
        open_client(section("dask", walltime="1 h")).__enter__()
