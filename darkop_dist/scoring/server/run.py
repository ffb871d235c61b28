"""Serving an application with uvicorn, in this process and without Ray."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette

from darkop_dist.errors import InputFileError, RunError, UserError
from darkop_dist.scoring.server.engine import Engine
from darkop_dist.scoring.server.listen import Listen, check_listen

MOST_CONNECTIONS = 1024
KEEP_ALIVE_S = 75
GRACE_S = 30
"""How long requests may take to end once the server is told to stop."""


def lifespan_of(engine: Engine) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """What an application does with its engine: models are loaded before the first request, and drained at the end."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await engine.start()
        try:
            yield
        finally:
            await engine.drain()
            await engine.close()

    return lifespan


def serve(
    app: Starlette, listen: Listen, *, needs_token: bool, announce: Callable[[str], None] = lambda _: None
) -> None:
    """Serve an application until the process is told to stop (SIGINT, SIGTERM); requests under way are answered first.

    Args:
        app: made by ``http_app``.
        listen: where.
        needs_token: nobody is let in without a token.
        announce: called with the address, such as ``http://127.0.0.1:8000``, once requests are taken on.

    Raises:
        UserError: it may not listen there, the address is taken, or the files of TLS do not fit.
        RunError: the application did not start; the log says why.
    """
    with _bound(app, listen, needs_token=needs_token) as (config, sock, address):
        _run(uvicorn.Server(config), sock, lambda: announce(address))


@contextmanager
def serving(app: Starlette, listen: Listen, *, needs_token: bool) -> Iterator[str]:
    """Serve an application in a thread of this process, for as long as the context lasts.

    Args:
        app: made by ``http_app``.
        listen: where.
        needs_token: nobody is let in without a token.

    Yields:
        The address, such as ``http://127.0.0.1:8000``.

    Raises:
        UserError: it may not listen there, the address is taken, or the files of TLS do not fit.
        RunError: the application did not start; the log says why.
    """
    with _bound(app, listen, needs_token=needs_token) as (config, sock, address):
        server, started = uvicorn.Server(config), threading.Event()
        with ThreadPoolExecutor(1, thread_name_prefix="darkop-http") as thread:
            ending = thread.submit(_run, server, sock, started.set)
            ending.add_done_callback(lambda _: started.set())
            started.wait()
            if ending.done():
                ending.result()
            try:
                yield address
            finally:
                server.should_exit = True
                ending.result()


@contextmanager
def _bound(app: Starlette, listen: Listen, *, needs_token: bool) -> Iterator[tuple[uvicorn.Config, socket.socket, str]]:
    """What uvicorn is to do, the socket that it is to listen on, and its address."""
    check_listen(listen, needs_token=needs_token)
    config = uvicorn.Config(
        app,
        ssl_certfile=listen.certificate,
        ssl_keyfile=listen.key,
        lifespan="on",
        ws="none",
        log_config=None,  # handlers are the command line's business
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise InputFileError(
            f"{listen.certificate}, {listen.key}", f"no certificate with its key: {error}", "Give PEM files"
        ) from error
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        sock = socket.create_server((listen.host.strip("[]"), listen.port), family=family)
    except OSError as error:
        raise UserError(f"nothing can listen at {listen.host}:{listen.port}: {error}. Choose another port") from error
    with sock:
        yield config, sock, f"{listen.scheme}://{listen.host}:{sock.getsockname()[1]}"


def _run(server: uvicorn.Server, sock: socket.socket, announce: Callable[[], None]) -> None:
    """Serve until the server is told to stop."""

    async def announce_when_started() -> None:
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.005)
        announce()

    async def serve_and_announce() -> None:
        announcing = asyncio.create_task(announce_when_started())
        try:
            await server.serve(sockets=[sock])
        finally:
            announcing.cancel()

    try:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(serve_and_announce())
    except SystemExit as error:  # uvicorn's way to say that the application did not start
        raise RunError("the server of scores did not start; its log says why") from error
