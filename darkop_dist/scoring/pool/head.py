"""The Ray that a pool runs on: one of its own on this machine, or a cluster that is there already."""

from __future__ import annotations

import atexit
import logging
import math
import os
import random
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from darkop_dist.errors import RunError, UserError
from darkop_dist.scoring.pool.binding import binding_environment
from darkop_dist.scoring.pool.last_words import LastWords
from darkop_dist.scoring.pool.settings import PoolSettings

logger = logging.getLogger(__name__)

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}
_QUICK = {"RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1"}
"""Serve sees after three periods that a proxy is gone; with its own ten seconds clients wait for 40 s."""

_STAY = {"RAY_gcs_rpc_server_reconnect_timeout_s": "3600"}
"""Ray ends a process that has not reached its head for a minute, without a word to the program; a run that may score
without the pool must go on, and any other say why it stops. Ray holds up the end of such a process as long."""

_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray replaces 127.0.0.1 by the machine's address, except where it makes no clusters, as on macOS and Windows. Told
that this is such a place, all its processes bind to the loopback interface."""

_LAST_WORDS: list[LastWords] = []
"""Of this process while it is in a cluster: one, or none."""

_OWN_PORTS = range(20_000, 32_768)
"""Above those of Ray's workers, below those that Linux (from 32768) and others (from 49152) give to connections."""

_PORT_TRIALS = 20
_OBJECT_STORE_BYTES = 512 * 1024 * 1024
_SHORT = "/tmp"  # noqa: S108  # Ray's sockets lie there, whose paths may have 107 characters; the folder has a random name


@contextmanager
def own_ray(settings: PoolSettings, *, cpus: int | None = None, folder: str | None = None) -> Iterator[str]:
    """A Ray of the pool's own on this machine, reachable from this machine only; it ends with the block.

    Args:
        settings: what it is for.
        cpus: cores that Ray may share out; as many as the replicas want, or the machine has, by default.
        folder: where Ray keeps its session, a short path; by default one that only this user can enter, which is
            removed at the end.

    Yields:
        The address of its head, ``127.0.0.1:PORT``.

    Raises:
        RunError: it does not start.
    """
    wanted = max(os.cpu_count() or 1, math.ceil(settings.replicas.most * settings.cpus))
    gpus = {} if settings.gpus else {"num_gpus": 0}
    own = None if folder else tempfile.mkdtemp(prefix="darkop-ray-", dir=_SHORT)
    session = folder or f"{own}/ray"  # a level below, for Ray opens its folder to everybody
    with _environment({**_QUIET, **_QUICK, **_LOOPBACK_ONLY, **binding_environment(settings)}), _private_files():
        import ray

        _prepare(on_loopback=True)
        try:
            context = ray.init(
                address="local",
                num_cpus=cpus or wanted,
                include_dashboard=settings.dashboard,
                dashboard_host="127.0.0.1",
                object_store_memory=_OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _temp_dir=session,
                **gpus,
            )
        except Exception as error:  # whatever Ray raises, its processes must not stay
            ray.shutdown()
            raise RunError(f"Ray does not start: {error}. Its logs are below {session}") from error
    try:
        yield str(context.address_info["gcs_address"])
    except BaseException:
        ray.shutdown()
        logger.warning("Ray's logs are below %s", session)
        raise
    ray.shutdown()
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def joined_ray(address: str) -> Iterator[str]:
    """The Ray cluster at an address, for as long as the block lasts.

    Args:
        address: ``HOST:PORT`` of its head for a machine of the cluster, ``ray://HOST:PORT`` for one outside.

    Yields:
        The address.

    Raises:
        UserError: nobody answers there, the cluster does not let this process in, or it is in another one already.
    """
    import ray

    was_joined = ray.is_initialized()
    if was_joined:
        check_reachable(address)
        check_same(address)
    else:
        join_ray(address)
    try:
        yield address
    finally:
        if not was_joined:
            _call_off_last_words()
            ray.shutdown()


def join_ray(address: str) -> None:
    """Join the Ray cluster at an address.

    A cluster on this machine's loopback interface is shown the token that Ray keeps for this user; for any other, set
    ``RAY_AUTH_MODE=token``, so that a token never goes where it was not meant to.

    Args:
        address: as for ``joined_ray``.

    Raises:
        UserError: nobody answers there, or the cluster does not let this process in.
    """
    check_reachable(address)
    is_here = address.startswith(("127.", "localhost:", "[::1]"))
    with _environment({**_QUIET, **_STAY}):
        import ray

        _prepare(on_loopback=is_here)
        if is_here:
            from ray._private.authentication import authentication_token_setup

            authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        try:
            atexit.register(prepare_to_leave)  # before Ray's own end, which was registered when ray was imported
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="serve")
            if not address.startswith("ray://"):  # a Ray client has no object store of its own
                _LAST_WORDS.append(LastWords(address))
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise UserError(
                f"{address}: this Ray cluster cannot be joined ({error}). Give the address that darkop serve printed; "
                "for a cluster that wants a token, set RAY_AUTH_MODE=token"
            ) from error


def check_same(address: str) -> None:
    """Check that the cluster that this process has joined is the one at an address; it can be in one only.

    Args:
        address: of its head; nothing is known of processes that came in through a server for Ray clients.

    Raises:
        UserError: it is another one.
    """
    import ray

    if ray.util.client.ray.is_connected():
        return
    joined = str(ray.get_runtime_context().gcs_address)
    if _place(address) != _place(joined):
        raise UserError(
            f"{address}: this process is in the Ray cluster at {joined} and cannot be in another one. Use a "
            "process for each"
        )


def _place(address: str) -> tuple[str, str]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with suppress(OSError):
        host = socket.gethostbyname(host.strip("[]"))
    return host, port


def leave_ray(limit_s: float = 10.0) -> bool:
    """Let this process leave its cluster.

    Args:
        limit_s: how long that may take; where the head has died, Ray waits for it to come back.

    Returns:
        Whether it has left; if not, the process cannot end in the ordinary way either.
    """
    import ray

    if not ray.is_initialized():
        return True
    prepare_to_leave()
    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(limit_s)
    return not leaving.is_alive()


def prepare_to_leave() -> None:
    """Before a process leaves a cluster: handles of Serve go on telling a pool that is out of reach, and complain."""
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    _call_off_last_words()


def _call_off_last_words() -> None:
    while _LAST_WORDS:
        _LAST_WORDS.pop().are_not_needed()


def check_reachable(address: str, timeout_s: float = 5.0) -> None:
    """Check that somebody listens at a Ray address; Ray itself would look for a minute.

    Raises:
        UserError: the address is none, or nobody listens there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise UserError(f"{address!r} is no Ray address. Write HOST:PORT, as darkop serve printed it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"{address}: no Ray answers there ({error}). Is the pool still running?") from error


def free_port(host: str, port: int, option: str) -> int:
    """A port that can be listened on, found out before Ray is started for nothing.

    Where any will do, it is none of those that the system gives to outgoing connections and Ray to its workers: Ray
    listens there only seconds later, and again after each restart of the proxy, and nobody should have it by then.

    Args:
        host: where.
        port: 0 for any.
        option: how another one is asked for.

    Raises:
        UserError: it cannot be had.
    """
    chance = random.SystemRandom()
    for trial in [chance.choice(_OWN_PORTS) for _ in range(_PORT_TRIALS)] if port == 0 else ():
        with suppress(OSError):
            return _listen_once(host, trial)
    try:
        return _listen_once(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"port {port} of {host} cannot be had: {reason}. Give another one with {option}") from error


def _listen_once(host: str, port: int) -> int:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((host, port))
        return int(trial.getsockname()[1])


@contextmanager
def _private_files() -> Iterator[None]:
    """What is written meanwhile, as Ray's token is, only this user can read."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _prepare(*, on_loopback: bool) -> None:
    """Set what Ray read from the environment when it was imported, perhaps long before."""
    from ray._private import auto_init_hook, ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = (
        not on_loopback
    )  # otherwise 127.0.0.1 becomes the machine's address, also in joins
    auto_init_hook.enable_auto_connect = False  # a thread that still polls would start another Ray after the end


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """What child processes inherit; put back afterwards."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
