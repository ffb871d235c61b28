"""On which interfaces Serve's processes listen, where Serve leaves no choice.

Ray 2.60 binds two servers to every interface whatever it is told: Serve's gRPC proxy, and in every replica a server for
calls between deployments. Both are looked up by name when they are started, so they are replaced here before, in the
processes of a pool that started its own Ray. The proxy also gets TLS here, which Serve 2.60 has for HTTP only. Remove
this when ``ray.serve.config.gRPCOptions`` has a host and certificates.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkop_dist.scoring.pool.settings import PoolSettings

logger = logging.getLogger(__name__)

_GRPC_HOST, _GRPC_CERT, _GRPC_KEY = "DARKOP_POOL_GRPC_HOST", "DARKOP_POOL_GRPC_CERT", "DARKOP_POOL_GRPC_KEY"
_LOOPBACK = "DARKOP_POOL_LOOPBACK"
_HEAD_BYTES = 64 * 1024


def binding_environment(settings: PoolSettings) -> Mapping[str, str]:
    """The environment that tells Serve's processes, before they start, where to listen."""
    return {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__name__}:bind_proxy",
        _GRPC_HOST: settings.listen.host,
        _GRPC_CERT: str(settings.listen.certificate or ""),
        _GRPC_KEY: str(settings.listen.key or ""),
        _LOOPBACK: "1",
        # before a token is looked at: Serve itself takes 2 GB
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(settings.engine.most_bytes + _HEAD_BYTES),
    }


def bind_proxy() -> list[Any]:
    """Serve calls it in a proxy, before the proxy listens; it may return more middleware, here none."""
    host = os.environ.get(_GRPC_HOST)
    if host:
        from ray.serve._private import default_impl

        def add_address(server: Any, address: str) -> None:
            place = f"[{host}]" if ":" in host else host
            _listen(server, f"{place}:{address.rpartition(':')[2]}")

        default_impl.add_grpc_address = add_address
    return []


def bind_replica() -> None:
    """Keep a replica's own gRPC server on the loopback interface, where the whole Ray is."""
    if os.environ.get(_LOOPBACK):
        from ray.serve._private import replica

        listen = replica.add_port_to_grpc_server
        if listen.__module__ != __name__:

            def add_port(server: Any, address: str) -> int:
                port: int = listen(server, f"127.0.0.1:{address.rpartition(':')[2]}")
                return port

            replica.add_port_to_grpc_server = add_port


def _listen(server: Any, address: str) -> None:
    cert, key = os.environ.get(_GRPC_CERT), os.environ.get(_GRPC_KEY)
    if not cert or not key:
        server.add_insecure_port(address)
        return
    import grpc

    pair = (Path(key).read_bytes(), Path(cert).read_bytes())
    server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
