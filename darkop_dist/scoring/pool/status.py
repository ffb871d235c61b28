"""What a pool does at this moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from darkop_dist.errors import UserError
from darkop_dist.scoring.pool.settings import APPLICATION


@dataclass(frozen=True)
class PoolStatus:
    """A pool, as those who use it reach it.

    Attributes:
        state: of the application in Serve's words: ``RUNNING``, ``DEPLOYING``, ``UNHEALTHY`` and others.
        message: what Serve says of it; empty if all is well.
        replicas: how many there are in each of Serve's states.
        proxies: state of each proxy, by node.
        models: fingerprint by name.
        http: address of HTTP, which a document names as ``operator.serve``.
        grpc: ``HOST:PORT`` of gRPC; None if there is none.
        ray: address of the Ray cluster's head.
        metrics: addresses of Ray's metrics, one per node.
        drain_s: how long a stop may take.
        token: what names the token that clients must show; None if they need none.
    """

    state: str
    message: str
    replicas: Mapping[str, int]
    proxies: Mapping[str, str]
    models: Mapping[str, str]
    http: str
    grpc: str | None
    ray: str
    metrics: tuple[str, ...]
    drain_s: float
    token: str | None

    @property
    def is_ready(self) -> bool:
        """Requests are answered."""
        return self.state == "RUNNING"


def look() -> PoolStatus:
    """The pool of the Ray that this process has joined.

    Raises:
        UserError: there is none.
    """
    import ray
    from ray import serve

    from darkop_dist.scoring.pool import store

    record = store.get_record()
    if record is None:
        raise UserError("this Ray cluster has no pool. Start one with darkop serve CHECKPOINT --ray-address HOST:PORT")
    found = serve.status()
    application = found.applications.get(APPLICATION)
    replicas: Counter[str] = Counter()
    for deployment in application.deployments.values() if application else ():
        replicas.update({str(getattr(state, "value", state)): n for state, n in deployment.replica_states.items()})
    access = record.settings.access
    return PoolStatus(
        state="NOT_STARTED" if application is None else str(application.status.value),
        message="" if application is None else str(application.message),
        replicas=dict(replicas),
        proxies={node: str(getattr(state, "value", state)) for node, state in found.proxies.items()},
        models=record.fingerprints,
        http=record.settings.address,
        grpc=record.settings.grpc_address,
        ray=str(ray.get_runtime_context().gcs_address),
        metrics=metrics_addresses(),
        drain_s=record.settings.drain_s,
        token=access.token_env or (None if access.token_file is None else str(access.token_file)),
    )


def metrics_addresses() -> tuple[str, ...]:
    """Where Ray's metrics of each living node can be scraped."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    return tuple(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in nodes)
