"""Serving the Open Inference Protocol with grpc.aio, in the event loop of its engine and without Ray."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from darkop_dist.errors import InputFileError, UserError
from darkop_dist.scoring.server.front import Front
from darkop_dist.scoring.server.listen import Listen, check_listen
from darkop_dist.scoring.server.v2_grpc import GrpcServicer, add_to_server
from darkop_dist.scoring.server.v2_service import V2Service


@dataclass(frozen=True)
class GrpcSettings:
    """What a gRPC server allows itself.

    Attributes:
        most_bytes: most bytes of one message; what an engine takes, and its frame.
        most_requests: requests that may be under way at once; those above it are told RESOURCE_EXHAUSTED.
        grace_s: how long requests may take to end once the server is told to stop.
    """

    most_bytes: int = 64 * 1024 * 1024 + 64 * 1024
    most_requests: int = 1024
    grace_s: float = 30.0


@asynccontextmanager
async def grpc_server(front: Front, listen: Listen, settings: GrpcSettings | None = None) -> AsyncIterator[int]:
    """Serve for as long as the context lasts; requests under way are answered before it ends.

    Args:
        front: the engine, which belongs to this event loop, and what stands before it.
        listen: where.
        settings: limits.

    Yields:
        The port.

    Raises:
        UserError: it may not listen there, or the address is taken.
        InputFileError: a file of TLS cannot be used.
    """
    settings = settings or GrpcSettings()
    check_listen(listen, needs_token=front.access.needs_token)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.most_bytes),
            ("grpc.max_send_message_length", settings.most_bytes),
            ("grpc.so_reuseport", 0),  # a port that another server has is an error, not a port to share
        ],
        maximum_concurrent_rpcs=settings.most_requests,
    )
    add_to_server(GrpcServicer(V2Service(front)), server)
    port = _bind(server, listen)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(settings.grace_s)


def _bind(server: grpc.aio.Server, listen: Listen) -> int:
    host = f"[{listen.host.strip('[]')}]" if ":" in listen.host else listen.host
    address = f"{host}:{listen.port}"
    credentials = _credentials(listen)
    try:
        return int(server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address))
    except RuntimeError as error:  # gRPC does not say why
        raise UserError(f"nothing can listen at {address}: {error}. Choose another port") from error


def _credentials(listen: Listen) -> grpc.ServerCredentials | None:
    if listen.certificate is None or listen.key is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(listen.certificate, listen.key)  # gRPC names no file
        pair = (listen.key.read_bytes(), listen.certificate.read_bytes())
    except OSError as error:
        files = f"{listen.certificate}, {listen.key}"
        raise InputFileError(files, f"no certificate with its key: {error}", "Give PEM files") from error
    return grpc.ssl_server_credentials([pair])
