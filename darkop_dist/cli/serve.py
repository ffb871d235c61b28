"""``darkop serve``: a pool of scores, started, looked at, updated and stopped."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkop_dist.cli import serve_capacity
from darkop_dist.cli.console import ERR, OUT
from darkop_dist.errors import EXIT_FAILURE, UserError

if TYPE_CHECKING:
    from darkop_dist.scoring.pool import PoolSettings
    from darkop_dist.scoring.pool.status import PoolStatus

LOOK_S = 5.0
ACTIONS = ("--status", "--update", "--stop", "--measure", "--plan")


def serve(
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(help="Packaged names or directories; NAME=PATH to serve one as NAME.", metavar="CHECKPOINT..."),
    ] = None,
    host: Annotated[str, typer.Option(help="Where HTTP and gRPC listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of HTTP; 0 for a free one.")] = 8000,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port of gRPC (Open Inference Protocol); 0 for a free one, none by default.")
    ] = None,
    replicas: Annotated[
        str | None, typer.Option(help="How many: 2, or 0..4 to follow the load; 1 by default.", metavar="N|N..M")
    ] = None,
    requests: Annotated[float, typer.Option(help="Requests at once that a replica should have.")] = 4.0,
    shrink_s: Annotated[float, typer.Option(help="Seconds after which a replica that is not needed ends.")] = 300.0,
    cpus: Annotated[float, typer.Option(help="Cores of a replica.")] = 1.0,
    gpus: Annotated[float, typer.Option(help="GPUs of a replica, 0.25 for a quarter of one.")] = 0.0,
    most_models: Annotated[int, typer.Option(help="Models that a replica holds in memory.")] = 4,
    most_events: Annotated[int, typer.Option("--max-events", help="Most events of a request.")] = 262_144,
    most_bytes: Annotated[int, typer.Option("--max-bytes", help="Most bytes of a request.")] = 64 * 1024 * 1024,
    rate: Annotated[float | None, typer.Option(help="Most requests of a client in a second, per replica.")] = None,
    events_rate: Annotated[float | None, typer.Option(help="Most events of a client in a second, per replica.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the token that clients must show.")] = None,
    token_env: Annotated[str | None, typer.Option(help="Environment variable with that token.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate of HTTP and gRPC (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    insecure_behind_tls_proxy: Annotated[
        bool, typer.Option("--insecure-behind-tls-proxy", help="A proxy in front speaks TLS; nobody else gets here.")
    ] = False,
    drain_s: Annotated[float, typer.Option(help="How long a stop may take to answer what was asked.")] = 30.0,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on; one of its own by default.", metavar="HOST:PORT")
    ] = None,
    ray_folder: Annotated[Path | None, typer.Option(help="Where a Ray of its own keeps its sessions.")] = None,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Start Ray's dashboard on the loopback.")] = False,
    status: Annotated[str | None, typer.Option(help="Show the pool of a Ray address.", metavar="HOST:PORT")] = None,
    update: Annotated[
        str | None, typer.Option(help="Give the pool of a Ray address these checkpoints.", metavar="HOST:PORT")
    ] = None,
    stop: Annotated[
        str | None, typer.Option(help="Drain and stop the pool of a Ray address.", metavar="HOST:PORT")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(help="Measure the pool at an address: events/s and latency by clients.", metavar="ADDRESS"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to measure; the first by default.")] = None,
    events: Annotated[int, typer.Option(help="Events of each request of the measurement.")] = 256,
    clients: Annotated[str, typer.Option(help="Numbers of clients.")] = serve_capacity.CLIENTS,
    seconds: Annotated[float, typer.Option(help="Least length of each step.")] = 5.0,
    curve: Annotated[Path | None, typer.Option(help="Where the measurement is written, for --plan.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Authority that signed the pool's certificate.")] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Say how many replicas a number of workers needs.", metavar="CURVE")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Workers of the plan.")] = None,
    worker_rate: Annotated[float | None, typer.Option(help="Events/s for which one of them wants scores.")] = None,
    use: Annotated[float, typer.Option(help="Part of a replica's best that the plan uses.")] = 0.7,
    as_json: Annotated[bool, typer.Option("--json", help="Print the pool as JSON.")] = False,
) -> None:
    """Serve scores of checkpoints: HTTP, gRPC and Ray, until Ctrl-C."""
    from darkop_dist.scoring.pool.settings import PoolSettings, Replicas, named_checkpoints, validated
    from darkop_dist.scoring.server import EngineSettings
    from darkop_dist.scoring.server.access import AccessSettings
    from darkop_dist.scoring.server.listen import Listen

    quiet()
    given = named_checkpoints(checkpoints or ())
    asked = [name for name, one in zip(ACTIONS, (status, update, stop, measure, plan), strict=True) if one]
    if len(asked) > 1:
        raise UserError(f"{', '.join(ACTIONS)} are done one at a time. Give one")
    if asked and given and not update:
        raise UserError(f"{asked[0]} takes no checkpoints. Leave them out")
    if measure:
        reach = {"token_env": token_env, "ca": None if ca is None else str(ca)}
        serve_capacity.measure(
            measure, model=model, events=events, clients=clients, seconds=seconds, curve=curve, as_json=as_json,
            replicas=replicas, access=reach,
        )  # fmt: skip
        return
    if plan:
        serve_capacity.plan(
            plan, workers=workers, worker_rate=worker_rate, use=use, cpus=cpus, gpus=gpus, as_json=as_json
        )
        return
    if status or stop:
        show_or_stop(str(status or stop), stopping=stop is not None, as_json=as_json)
        return
    if not given:
        raise UserError("no checkpoint to serve. Give names or directories, as in: darkop serve cylinder-fno-v1")
    if update:
        update_pool(update, given, as_json=as_json)
        return
    settings = validated(
        PoolSettings,
        models=given,
        engine=EngineSettings(
            best_events=max(1, min(EngineSettings.best_events, most_events)),
            most_events=most_events,
            most_bytes=most_bytes,
            most_models=most_models,
        ),
        replicas=Replicas.parse(replicas or "1").model_copy(update={"requests": requests, "shrink_s": shrink_s}),
        listen=Listen(host, port, tls_cert, tls_key, insecure_behind_tls_proxy),
        grpc_port=grpc_port,
        access=AccessSettings(token_file, token_env, rate, events_rate),
        cpus=cpus,
        gpus=gpus,
        drain_s=drain_s,
        dashboard=dashboard,
    )
    run_pool(settings, ray_address, None if ray_folder is None else str(ray_folder), as_json=as_json)


def run_pool(settings: PoolSettings, address: str | None, folder: str | None, *, as_json: bool) -> None:
    """Run a pool until a signal, or until somebody else stops it."""
    from darkop_dist.scoring.pool.launch import running_pool

    with (
        stopping() as stopped,
        ERR.status("starting the pool") as shown,
        running_pool(settings, address=address, folder=folder) as pool,
    ):
        stopped.take_over()
        shown.stop()
        show(pool, as_json=as_json)
        watch(stopped.event)
        ERR.print(f"stopping: what was asked is answered within {pool.drain_s:g} s", markup=False)
    ERR.print("stopped")


def watch(stopped: threading.Event) -> None:
    """Wait until the pool is to stop, or was stopped by somebody else; say what changes meanwhile."""
    from darkop_dist.scoring.pool.status import look

    state = "RUNNING"
    while not stopped.wait(LOOK_S):
        try:
            pool = look()
        except UserError:
            return  # by darkop serve --stop
        if pool.state != state:
            state = pool.state
            ERR.print(f"{state}: {pool.message or 'all replicas answer'}", markup=False)


def show_or_stop(address: str, *, stopping: bool, as_json: bool) -> None:
    """Print the pool of a Ray address, or stop it."""
    from darkop_dist.scoring.pool.head import joined_ray
    from darkop_dist.scoring.pool.launch import stop
    from darkop_dist.scoring.pool.status import look

    with joined_ray(address):
        pool = look()
        if stopping:
            stop()
            OUT.print(f"stopped: the pool of {address}", markup=False)
            return
    show(pool, as_json=as_json)
    if not pool.is_ready:
        raise typer.Exit(EXIT_FAILURE)


def update_pool(address: str, given: Any, *, as_json: bool) -> None:
    """Give the pool of a Ray address other checkpoints."""
    from darkop_dist.scoring.pool.head import joined_ray
    from darkop_dist.scoring.pool.launch import load_checkpoints, update

    load_checkpoints(given)  # their mistakes are told before Ray is asked
    with ERR.status("updating the pool"), joined_ray(address):
        pool = update(given)
    show(pool, as_json=as_json)


def show(pool: PoolStatus, *, as_json: bool) -> None:
    """Print a pool."""
    if as_json:
        sys.stdout.write(json.dumps({**asdict(pool), "ready": pool.is_ready}, indent=1) + "\n")
        sys.stdout.flush()
        return
    replicas = ", ".join(f"{count} {state}" for state, count in pool.replicas.items() if count) or "none yet"
    lines = [("pool", f"{pool.state}, replicas: {replicas}"), ("http", pool.http)]
    lines += [("grpc", pool.grpc)] if pool.grpc else []
    lines += [
        ("ray", f"ray://{pool.ray}"),
        ("metrics", ", ".join(pool.metrics)),
        ("", f"{pool.http}/metrics (one replica)"),
    ]
    lines += [("model", f"{name} {fingerprint}") for name, fingerprint in pool.models.items()]
    lines += [("token", f"in {pool.token}; clients send it as authorization: Bearer TOKEN")] if pool.token else []
    for name, text in lines:
        OUT.print(f"{name:8} {text}", markup=False)
    if pool.message:
        OUT.print(pool.message, markup=False)
    OUT.print(f"serve: {pool.http}", markup=False)


class Stopping:
    """Ctrl-C and SIGTERM: an exception while the pool starts, a drain once it runs."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def take_over(self) -> None:
        """From now on signals only say that the pool is to stop; Ray has put handlers of its own meanwhile."""
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, lambda *_: self.event.set())


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Signals as a pool needs them; as they were afterwards."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield Stopping()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def quiet() -> None:
    """What Serve tells of every step is for ``--verbose``."""
    if logging.getLogger().level > logging.INFO:
        for name in ("ray.serve", "ray._private.authentication.authentication_token_setup"):
            logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.ERROR)
