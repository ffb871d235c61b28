"""Kubernetes, through the Dask operator: scheduler and workers as pods."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from darkop_dist.config import Execution, parse_duration, parse_size
from darkop_dist.errors import RunError, UserError
from darkop_dist.execution.sites.site import Site
from darkop_dist.execution.sites.tuning import ENVIRONMENT

WAIT_S = 600.0
_RESOURCE = "daskclusters.kubernetes.dask.org"


@contextmanager
def start(execution: Execution) -> Iterator[Site]:
    """Create a ``DaskCluster`` resource and delete it when the context ends."""
    from dask_kubernetes.operator import KubeCluster
    from distributed import Client

    section = execution.cluster
    wait_s = WAIT_S if section.wait is None else parse_duration(section.wait)
    _require_operator(section.namespace)
    try:
        cluster = KubeCluster(
            custom_cluster_spec=cluster_spec(execution),
            namespace=section.namespace,
            resource_timeout=int(wait_s),
            shutdown_on_close=True,
            quiet=True,
        )
    except Exception as error:  # kr8s, httpx and the operator each have their own root
        raise RunError(
            f"Kubernetes did not start the scheduler: {type(error).__name__}: {error}. Look at it with: kubectl "
            "describe daskcluster,pods; check cluster.image, cluster.memory and the namespace's quota."
        ) from error
    with cluster, Client(cluster, set_as_default=False) as client:
        yield Site(
            client,
            owned=True,
            restarts=True,
            wait_s=wait_s,
            remedy="Look at the pods with: kubectl get pods; ask for less (execution.workers, cluster.memory) or wait "
            "longer (cluster.wait).",
        )


def cluster_spec(execution: Execution) -> dict[str, Any]:
    """The ``DaskCluster`` resource: one worker with one thread in each pod."""
    from dask_kubernetes.operator import make_cluster_spec

    section = execution.cluster
    quantities = {"cpu": "1"} if section.memory is None else {"cpu": "1", "memory": str(parse_size(section.memory))}
    spec: dict[str, Any] = make_cluster_spec(
        name=f"darkop-{uuid.uuid4().hex[:8]}",
        image=section.image,
        n_workers=execution.workers,
        resources={"requests": quantities, "limits": quantities},
        env={"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", **ENVIRONMENT},
        worker_command="dask worker --nthreads 1",
    )
    return spec


def _require_operator(namespace: str | None) -> None:
    """Ask Kubernetes for Dask's resources before anything is made: a cluster that fails half made is hard to end.

    Raises:
        UserError: there are no credentials, or the operator is not installed.
        RunError: nothing answers.
    """
    import kr8s

    try:
        # Named, because kr8s answers a call without arguments with whatever this process asked for before.
        api = kr8s.api(kubeconfig=os.environ.get("KUBECONFIG", "~/.kube/config"), namespace=namespace)
        version = api.version()["gitVersion"]
    except ValueError as error:
        raise UserError(
            f"where: kubernetes finds no credentials for a cluster ({error}). Set KUBECONFIG, or start the run in a "
            "pod with a service account."
        ) from error
    except Exception as error:
        raise RunError(f"no Kubernetes answers ({_reason(error)}). Try: kubectl version.") from error
    try:
        list(api.get(_RESOURCE))
    except Exception as error:
        raise UserError(
            f"this Kubernetes ({version}) does not let you use {_RESOURCE} ({_reason(error)}). The Dask operator has "
            "to be installed (https://kubernetes.dask.org) and you need rights to it in the namespace "
            "(cluster.namespace)."
        ) from error


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None and not str(error):
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
