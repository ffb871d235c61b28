"""dask-gateway: a server that starts schedulers and workers for its users."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from darkop_dist.config import Execution, parse_duration
from darkop_dist.errors import RunError, UserError
from darkop_dist.execution.sites.site import Site

WAIT_S = 600.0
STEP_S = 0.5


@contextmanager
def start(execution: Execution) -> Iterator[Site]:
    """Have the gateway make a cluster of its own for this run, and shut it down when the context ends."""
    import aiohttp
    from dask_gateway import GatewayClusterError, GatewayServerError

    section = execution.cluster
    wait_s = WAIT_S if section.wait is None else parse_duration(section.wait)
    with _gateway(execution) as gateway:
        try:
            name = gateway.submit(**section.options)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"the gateway {gateway.address} does not take these options: {error}. Correct cluster.options, or the "
                f"address if this is no gateway (where: {execution.where})."
            ) from error
        except aiohttp.ClientResponseError as error:
            advice = (
                "Log in or choose another way with cluster.auth." if error.status in (401, 403) else "Ask its operator."
            )
            raise RunError(
                f"the gateway {gateway.address} refuses: {error.status} {error.message}. {advice}"
            ) from error
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise RunError(
                f"no dask-gateway answers at {gateway.address} ({error}). Correct the address, or choose another "
                "execution.where."
            ) from error
        except (GatewayClusterError, GatewayServerError) as error:
            raise RunError(
                f"the gateway {gateway.address} cannot make a cluster: {error}. Ask its operator."
            ) from error
        try:
            _wait_for_scheduler(gateway, name, wait_s)
            with _connected(gateway, name) as cluster, cluster.get_client(set_as_default=False) as client:
                cluster.scale(execution.workers)
                client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
                yield Site(
                    client,
                    owned=True,
                    restarts=True,
                    wait_s=wait_s,
                    remedy="Look at the gateway's logs, ask for fewer workers, or wait longer (cluster.wait).",
                )
        finally:
            gateway.stop_cluster(name)


@contextmanager
def _gateway(execution: Execution) -> Iterator[Any]:
    from dask_gateway import Gateway

    section = execution.cluster
    address = section.address if execution.where == "gateway" else execution.where
    try:
        gateway = Gateway(address, auth=section.auth)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"where: {execution.where}: {error}. Write where: https://GATEWAY or cluster.address, and cluster.auth as "
            "the site's pages say."
        ) from error
    try:
        yield gateway
    finally:
        gateway.close()
        _forget(gateway)


@contextmanager
def _connected(gateway: Any, name: str) -> Iterator[Any]:
    cluster = gateway.connect(name)
    try:
        yield cluster
    finally:
        cluster.close()
        _forget(cluster.gateway)


def _forget(gateway: Any) -> None:
    """dask-gateway closes what is closed again when it is collected, and that fails: with this it leaves it be."""
    gateway._asynchronous = True  # noqa: SLF001


def _wait_for_scheduler(gateway: Any, name: str, wait_s: float) -> None:
    """The gateway's own connect waits for ever."""
    deadline = time.monotonic() + wait_s
    while True:
        found = [report for report in gateway.list_clusters() if report.name == name]
        if not found:
            raise RunError(
                f"the gateway {gateway.address} could not start the scheduler of cluster {name}. Its operator finds "
                "the reason in the server's logs; cluster.options may ask for what there is not."
            )
        if found[0].status.name == "RUNNING":
            return
        if time.monotonic() > deadline:
            raise RunError(
                f"the gateway {gateway.address} has not started the scheduler of cluster {name} within {wait_s:g} s. "
                "Wait longer (cluster.wait), or ask its operator."
            )
        time.sleep(STEP_S)
