"""A scheduler that runs already: ``dask://HOST:PORT``, or ``tls://HOST:PORT`` with certificates."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from darkop_dist.config import Execution, Tls, parse_duration
from darkop_dist.errors import InputFileError, RunError
from darkop_dist.execution.sites.site import Site

WAIT_S = 30.0
CONNECT_S = 10.0
_REMEDY = "Start workers for this scheduler: see jobs/scheduler.sh."


@contextmanager
def start(execution: Execution) -> Iterator[Site]:
    """Connect to the scheduler; it goes on when this run ends."""
    section = execution.cluster
    scheme, _, place = execution.where.partition("://")
    encrypted = scheme == "tls"
    address = f"{'tls' if encrypted else 'tcp'}://{place}"
    security = security_of(section.tls) if encrypted and section.tls is not None else None
    try:
        client = _connect(address, security)
    except (OSError, TimeoutError, ValueError, MemoryError) as error:  # what others say is read as sizes of messages
        reason = _why(place, security) or f"{type(error).__name__}: {error}"
        raise RunError(
            f"no Dask scheduler answers at {execution.where}: {reason}. Start one (see jobs/scheduler.sh), correct the "
            "address, or use where: dask."
        ) from error
    wait_s = WAIT_S if section.wait is None else parse_duration(section.wait)
    with client:
        yield Site(client, owned=False, restarts=None, wait_s=wait_s, remedy=_REMEDY)


def _connect(address: str, security: Any) -> Any:
    """A client; one that does not get through is closed here and now.

    Dask leaves that to the garbage collector, which may come while the same thread holds the lock that closing takes.
    """
    from distributed import Client

    class Connected(Client):  # type: ignore[misc]
        def __init__(self) -> None:
            try:
                super().__init__(address, timeout=CONNECT_S, security=security, set_as_default=False)
            except BaseException:
                self.close()
                raise

    return Connected()


def security_of(tls: Tls) -> Any:
    """The files as Dask takes them: encryption in both directions, nothing in the clear.

    Raises:
        InputFileError: a file is missing, or is no certificate or key that fits the others.
    """
    from distributed.security import Security

    for key, path in tls:
        _require(f"execution.cluster.tls.{key}", path)
    context = ssl.create_default_context(cafile=None)
    try:
        context.load_verify_locations(tls.ca)
    except ssl.SSLError as error:
        raise InputFileError(str(tls.ca), f"holds no PEM certificate ({error})", "Name the authority's file") from error
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except ssl.SSLError as error:
        what = f"is no PEM certificate for the key {tls.key} ({error})"
        raise InputFileError(str(tls.cert), what, "Name a certificate and its own key") from error
    return Security(
        tls_ca_file=str(tls.ca),
        **{f"tls_{role}_{key}": str(path) for role in ("client", "worker", "scheduler") for key, path in
           (("cert", tls.cert), ("key", tls.key))},
        require_encryption=True,
    )  # fmt: skip


def _require(key: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except FileNotFoundError as error:
        raise InputFileError(str(path), f"no such file, named by {key}", "Correct the path") from error
    except OSError as error:
        raise InputFileError(str(path), f"cannot be read ({error}), named by {key}", "Correct its rights") from error


def _why(place: str, security: Any) -> str | None:
    """What a plain connection meets, which Dask's own message does not tell; None if the port answers as it should."""
    host, _, port = place.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=3)
    except OSError as error:
        return str(error)
    with closing(connection):
        if security is None:
            return "something listens there that does not speak unencrypted Dask; if it is encrypted, write tls://"
        context = security.get_connection_args("client")["ssl_context"]
        try:
            context.wrap_socket(connection).close()
        except OSError as error:  # ssl.SSLError is one
            return f"the encrypted connection fails ({error}); if it is not encrypted, write dask://"
    return None
