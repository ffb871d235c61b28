"""The resource that the Dask operator would get, and what is said where there is no Kubernetes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.config import Execution
from darkop_dist.errors import RunError, UserError
from darkop_dist.execution.sites import open_client
from darkop_dist.execution.sites.kubernetes import cluster_spec


def section(**cluster: Any) -> Execution:
    return Execution.model_validate(
        {"where": "kubernetes", "workers": 3, "cluster": {"image": "registry/darkop:1", **cluster}}
    )


def test_resource() -> None:
    spec = cluster_spec(section(memory="4 GB", namespace="cms"))
    assert (spec["apiVersion"], spec["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    assert spec["metadata"]["name"].startswith("darkop-")
    worker, scheduler = spec["spec"]["worker"], spec["spec"]["scheduler"]
    assert worker["replicas"] == 3
    for part in (worker, scheduler):
        (container,) = part["spec"]["containers"]
        assert container["image"] == "registry/darkop:1"
        assert container["resources"]["limits"] == {"cpu": "1", "memory": "4000000000"}
        assert {"name": "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "value": "0"} in container["env"]
        assert {"name": "DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL", "value": "100ms"} in container["env"]
    assert worker["spec"]["containers"][0]["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert cluster_spec(section())["metadata"]["name"] != spec["metadata"]["name"]
    json.dumps(spec)


def write_kubeconfig(folder: Path, server: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me", "namespace": "cms"}}],
        "current-context": "here",
    }
    (folder / "config").write_text(json.dumps(config))
    return folder / "config"


def test_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"where: kubernetes finds no credentials .*Set KUBECONFIG"):
        open_client(section()).__enter__()


def test_nothing_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path, "http://127.0.0.1:9")))
    with pytest.raises(RunError, match=r"no Kubernetes answers \(.*\)\. Try: kubectl version\."):
        open_client(section()).__enter__()


@pytest.fixture
def bare_kubernetes() -> Iterator[str]:
    """Answers as the API server of a cluster without the Dask operator does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {"/version": {"gitVersion": "v1.31.0", "major": "1", "minor": "31"}, "/apis": {"groups": []}}
            found = known.get(self.path.partition("?")[0].rstrip("/"))
            body = json.dumps(
                found
                or {"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404}
            ).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_no_operator(bare_kubernetes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path, bare_kubernetes)))
    message = r"this Kubernetes \(v1\.31\.0\) does not let you use daskclusters.* The Dask operator has to be installed"
    with pytest.raises(UserError, match=message):
        open_client(section()).__enter__()
