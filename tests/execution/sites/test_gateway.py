"""Workers from a real dask-gateway server."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import dask
import dask_gateway  # noqa: F401  # before the fixture: its defaults must outlive dask.config.set
import pytest

from darkop_dist.config import Execution
from darkop_dist.errors import RunError, UserError
from darkop_dist.execution.sites import open_client


def section(where: str, **cluster: Any) -> Execution:
    return Execution.model_validate({"where": where, "workers": 2, "cluster": {"wait": "90 s", **cluster}})


@pytest.fixture(autouse=True)
def password() -> Any:
    """Where Dask's own configuration has it."""
    with dask.config.set(
        {"gateway.auth.type": "basic", "gateway.auth.kwargs": {"username": "ada", "password": "sesame"}}
    ):
        yield


def wait_for_no_cluster(gateway: Any) -> None:
    """The server answers before it has ended the processes; it waits ten seconds for each that does not go."""
    deadline = time.monotonic() + 40
    while list(gateway.clusters.iterdir()):
        assert time.monotonic() < deadline, "a cluster was left behind"
        time.sleep(0.2)


@pytest.mark.slow
def test_tasks_run_and_no_cluster_is_left_after_an_exception(gateway: Any) -> None:
    said: list[str] = []

    def interrupted() -> None:
        with open_client(section("gateway", options={"worker_cores": 1}), say=said.append) as site:
            assert (site.kind, site.owned, site.restarts) == ("gateway", True, True)
            assert site.dashboard.startswith(f"{gateway.address}/clusters/")
            assert site.client.gather(site.client.map(abs, range(-20, 0))) == list(range(20, 0, -1))
            assert site.client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 0
            assert len(list(gateway.clusters.iterdir())) == 1
            raise KeyboardInterrupt

    with dask.config.set({"gateway.address": gateway.address}), pytest.raises(KeyboardInterrupt):
        interrupted()
    assert said == []
    wait_for_no_cluster(gateway)


def test_options_that_the_gateway_does_not_know(gateway: Any) -> None:
    for options, found in (({"worker_core": 1}, "worker_core"), ({"worker_cores": 3}, "worker_cores")):
        message = rf"the gateway {re.escape(gateway.address)} does not take these options: .*{found}.*cluster\.options"
        with pytest.raises(UserError, match=message), open_client(section(gateway.address, options=options)):
            pass


def test_wrong_password(gateway: Any) -> None:
    wrong = {"gateway.auth.kwargs": {"username": "ada", "password": "open"}}
    with (
        dask.config.set(wrong),
        pytest.raises(RunError, match=r"refuses: 401 Unauthorized\. Log in or choose another way with cluster\.auth"),
        open_client(section(gateway.address)),
    ):
        pass


def test_nothing_answers() -> None:
    message = "no dask-gateway answers at http://127.0.0.1:9 .*Correct the address"
    with pytest.raises(RunError, match=message), open_client(section("http://127.0.0.1:9")):
        pass


def test_no_address_and_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    with pytest.raises(UserError, match=r"where: gateway: No dask-gateway address.*cluster\.address"):
        open_client(section("gateway")).__enter__()
    with dask.config.set({"gateway.auth.kwargs": {}}), pytest.raises(UserError, match=r"JupyterHub.*cluster\.auth"):
        open_client(section("gateway", address="http://127.0.0.1:9", auth="jupyterhub")).__enter__()


def test_an_address_that_is_no_gateway(tmp_path: Path, gateway: Any) -> None:
    with pytest.raises(UserError, match="or the address if this is no gateway"):
        open_client(section(f"{gateway.address}/clusters")).__enter__()
