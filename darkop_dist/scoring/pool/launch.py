"""A pool from its start to its end: started, given other checkpoints, drained and stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from darkop_dist.errors import RunError, UserError
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from darkop_dist.scoring.pool.head import free_port, joined_ray, own_ray
from darkop_dist.scoring.pool.settings import APPLICATION, PoolSettings, Record
from darkop_dist.scoring.pool.status import PoolStatus, look

logger = logging.getLogger(__name__)

_PATIENCE_S = 15.0
"""What Serve may take for everything else when a pool is stopped."""


@contextmanager
def running_pool(
    settings: PoolSettings, *, address: str | None = None, folder: str | None = None, cpus: int | None = None
) -> Iterator[PoolStatus]:
    """A pool for as long as the block lasts; then it is drained and stopped.

    Args:
        settings: what it is to be; ports of 0 are replaced by free ones.
        address: the Ray cluster that it runs on; one of its own on this machine by default.
        folder: where a Ray of its own keeps its sessions.
        cpus: cores that a Ray of its own may share out.

    Raises:
        UserError: a checkpoint, port, file or address cannot be used.
        RunError: a checkpoint is not what its card says, or the pool does not start.
    """
    checkpoints = load_checkpoints(settings.models)
    settings.check()
    if address is not None:
        settings.check_shared_ray(grpc=settings.grpc_port is not None)
    settings = _with_ports(settings.elsewhere(), is_here=address is None)
    with joined_ray(address) if address else own_ray(settings, cpus=cpus, folder=folder):
        _check_alone()
        try:
            yield deploy(settings, checkpoints)
        finally:
            _stop_within(settings.drain_s + _PATIENCE_S)


def load_checkpoints(models: Mapping[str, str]) -> dict[str, Checkpoint]:
    """Checkpoints by name, read and verified.

    Raises:
        UnknownNameError: there is no such checkpoint.
        InputFileError: a file of one is missing or corrupt.
        FingerprintError: weights or architecture are not those of the card.
    """
    return {name: load_checkpoint(find_checkpoint(place)) for name, place in models.items()}


def deploy(settings: PoolSettings, checkpoints: Mapping[str, Checkpoint]) -> PoolStatus:
    """Start the pool on the Ray that this process has joined, and wait until it answers.

    Raises:
        UserError: the cluster's Serve listens elsewhere than it should.
        RunError: the pool does not start.
    """
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.config import HTTPOptions, gRPCOptions

    from darkop_dist.scoring.pool import store
    from darkop_dist.scoring.pool.messages import SERVICER

    listen = settings.listen
    try:
        serve.start(
            http_options=HTTPOptions(
                host=listen.host,
                port=listen.port,
                ssl_keyfile=None if listen.key is None else str(listen.key),
                ssl_certfile=None if listen.certificate is None else str(listen.certificate),
            ),
            grpc_options=gRPCOptions()
            if settings.grpc_port is None
            else gRPCOptions(port=settings.grpc_port, grpc_servicer_functions=[SERVICER], enable_reflection=False),
        )
    except (RayError, TimeoutError) as error:
        ports = f"port {listen.port}" + (f" and {settings.grpc_port}" if settings.grpc_port is not None else "")
        raise RunError(
            f"Serve does not listen at {ports} of {listen.host}: {str(error).strip().splitlines()[-1]}. If somebody "
            "has taken a port meanwhile, start it again, or with other ports"
        ) from error
    _check_proxy(settings)
    fingerprints = {name: store.put_checkpoint(checkpoint) for name, checkpoint in checkpoints.items()}
    store.put_record(Record(settings=settings, fingerprints=fingerprints))
    _run(settings, fingerprints)
    return look()


def update(given: Mapping[str, str]) -> PoolStatus:
    """Give the pool of the Ray that this process has joined other checkpoints; no request is lost.

    Args:
        given: checkpoints by name; names that are served already are replaced, others added.

    Raises:
        UserError: there is no pool, or a checkpoint cannot be used.
        RunError: a checkpoint is not what its card says, or a replica does not take it up.
    """
    from darkop_dist.scoring.pool import store

    checkpoints = load_checkpoints(given)
    record = _record()
    settings = record.settings.model_copy(update={"models": {**record.settings.models, **given}})
    fresh = {name: store.put_checkpoint(checkpoint) for name, checkpoint in checkpoints.items()}
    fingerprints = {**record.fingerprints, **fresh}
    _run(settings, fingerprints)
    store.put_record(Record(settings=settings, fingerprints=fingerprints))
    store.forget_checkpoints({*fingerprints.values(), *record.fingerprints.values()})
    return look()


def stop() -> None:
    """Drain the pool of the Ray that this process has joined, and take it away; nothing where there is none.

    New requests are refused first, and told to come again; what was taken on is answered, within ``drain_s``.
    """
    import ray
    from ray import serve

    from darkop_dist.scoring.pool import store

    if not ray.is_initialized() or (record := store.get_record()) is None:
        return
    if look().replicas.get("RUNNING"):
        try:
            _run(record.settings, record.fingerprints, draining=True)
        except RunError as error:
            logger.warning("the pool does not drain: %s", error)
    serve.delete(APPLICATION)
    store.clear()


def _stop_within(limit_s: float) -> None:
    """Stop, but not for ever: where a signal to all processes has ended Ray already, its calls would not return."""

    def stop_and_tell() -> None:
        try:
            stop()
        except Exception:
            logger.exception("the pool was not drained")

    stopping = threading.Thread(target=stop_and_tell, name="darkop-stop", daemon=True)
    stopping.start()
    stopping.join(limit_s)
    if stopping.is_alive():
        logger.error("the pool was not drained within %.0f s: Ray does not answer. It is ended now", limit_s)


def _check_alone() -> None:
    from darkop_dist.scoring.pool import store

    if store.get_record() is not None:
        raise UserError(
            "this Ray cluster has a pool already. Give it other checkpoints with --update, or --stop it first"
        )


def _record() -> Record:
    from darkop_dist.scoring.pool import store

    if (record := store.get_record()) is None:
        raise UserError("this Ray cluster has no pool. Start one with darkop serve CHECKPOINT --ray-address HOST:PORT")
    return record


def _run(settings: PoolSettings, fingerprints: Mapping[str, str], *, draining: bool = False) -> None:
    from ray import serve

    from darkop_dist.scoring.pool.deployment import application

    try:
        serve.run(application(settings, fingerprints, draining=draining), name=APPLICATION, route_prefix="/")
    except (RuntimeError, TimeoutError) as error:
        raise RunError(f"the pool does not take up its models: {error}. Ray's logs say more") from error


def _with_ports(settings: PoolSettings, *, is_here: bool) -> PoolSettings:
    """The settings with ports that can be had, which only a machine itself can tell.

    Raises:
        UserError: a port is taken.
    """
    if not is_here:
        return settings
    host = settings.listen.host
    listen = replace(settings.listen, port=free_port(host, settings.listen.port, "--port"))
    grpc_port = None if settings.grpc_port is None else free_port(host, settings.grpc_port, "--grpc-port")
    return settings.model_copy(update={"listen": listen, "grpc_port": grpc_port})


def _check_proxy(settings: PoolSettings) -> None:
    """Serve that runs already keeps its own host and port, whatever it is told."""
    from ray.serve.context import _get_global_client

    found = _get_global_client().http_config
    if (found.host, found.port) != (settings.listen.host, settings.listen.port):
        raise UserError(
            f"Serve of this Ray cluster listens on {found.host}:{found.port} already, and keeps to it. "
            f"Give --host {found.host} --port {found.port}, or stop that Serve"
        )
