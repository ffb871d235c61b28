"""What ``serve deploy`` and KubeRay import: a pool from the arguments of a Serve configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darkop_dist.scoring.pool import store
from darkop_dist.scoring.pool.deployment import application
from darkop_dist.scoring.pool.launch import load_checkpoints
from darkop_dist.scoring.pool.settings import PoolSettings, Record, validated
from darkop_dist.scoring.server.listen import Listen


def build(args: dict[str, Any]) -> Any:
    """The application of a configuration file; Serve calls it on a node of the cluster, where the checkpoints must be.

    Where the pool listens is what the file says of Serve itself (``http_options``); this looks it up, so that a pool
    that others can reach has a token and TLS here too.

    Args:
        args: the fields of ``PoolSettings``, without ``listen``.

    Raises:
        UserError: a field is unknown or wrong, or others can reach the pool and there is no token or no TLS.
        RunError: a checkpoint is not what its card says.
    """
    given = dict(args)
    behind_proxy = bool(given.pop("insecure_behind_tls_proxy", False))
    settings = validated(PoolSettings, **given, listen=_listen(insecure_behind_tls_proxy=behind_proxy))
    settings.check()
    settings.check_shared_ray(grpc=_has_grpc())
    checkpoints = load_checkpoints(settings.models)
    fingerprints = {name: store.put_checkpoint(checkpoint) for name, checkpoint in checkpoints.items()}
    store.put_record(Record(settings=settings, fingerprints=fingerprints))
    return application(settings, fingerprints)


def _has_grpc() -> bool:
    import ray
    from ray.serve.context import _get_global_client

    controller = _get_global_client()._controller  # noqa: SLF001
    return bool(ray.get(controller.get_grpc_config.remote()).grpc_servicer_functions)


def _listen(*, insecure_behind_tls_proxy: bool) -> Listen:
    from ray.serve.context import _get_global_client

    http = _get_global_client().http_config
    certificate, key = (None if name is None else Path(name) for name in (http.ssl_certfile, http.ssl_keyfile))
    return Listen(http.host, http.port, certificate, key, insecure_behind_tls_proxy)
