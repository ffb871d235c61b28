"""``darkop serve --measure`` and ``--plan``: how much a pool takes, and how large it must be."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT
from darkop_dist.errors import InputFileError, MissingExtraError, UnknownNameError, UserError

if TYPE_CHECKING:
    from darkop_dist.scoring.capacity import Curve, Plan, Point

CLIENTS = "1,2,4,8,16,32,64"
MOST_CLIENTS = 256
REPLY_S = 10.0
LONGEST_STEP_S = 600.0
WRITE_ONE = "Write one: darkop serve --measure ADDRESS --curve FILE"


def measure(
    address: str, *, model: str | None, events: int, clients: str, seconds: float, curve: Path | None, as_json: bool,
    replicas: str | None, access: dict[str, Any],
) -> None:  # fmt: skip
    """Measure the pool at an address, print a table, write the curve."""
    from darkop_dist.config.serving import Serving
    from darkop_dist.scoring.remote.load import measure_curve
    from darkop_dist.scoring.remote.reach import transport_to
    from darkop_dist.scoring.remote.transport import BusyError, OutageError, RejectedError

    numbers = _numbers(clients)
    if not 0 < seconds <= LONGEST_STEP_S:
        raise UserError(f"--seconds: {seconds:g} must be above zero and at most {LONGEST_STEP_S:g}")
    if curve is not None and not curve.absolute().parent.is_dir():
        raise UserError(f"--curve: {curve.parent}: there is no such directory. Make it first")
    if replicas is not None and not (replicas.isdecimal() and int(replicas)):
        raise UserError(
            f"--replicas: {replicas!r}: a pool is measured with a fixed number. Write it, as in --replicas 4"
        )
    draw = None if curve is None else _drawing()
    try:
        serving = Serving.model_validate({"at": address, "in_flight": min(64, numbers[-1]), **access})
    except ValidationError as error:
        raise UserError(f"--measure: {address!r} {error.errors()[0]['msg']}") from error
    if not serving.at.startswith(("http", "ray")):
        raise UserError(
            f"--measure: {address!r} is no pool. Give http://HOST:PORT, https://HOST:PORT or ray://HOST:PORT"
        )
    transport = transport_to(serving)
    try:
        served = {one.name: one for one in transport.models(REPLY_S)}
        if not served:
            raise UserError(f"--measure: the pool at {address} serves no model. Look at it: darkop serve --status")
        name = model or next(iter(served))
        if name not in served:
            raise UnknownNameError("served model", name, served, f"The pool has {', '.join(served)}")
        with ERR.status(f"measuring {name}: up to {numbers[-1]} clients") as shown:

            def say(point: Point) -> None:
                shown.update(f"measuring {name}: {point.clients} clients got {point.events_per_s:,.0f} events/s")

            known = int(replicas) if replicas else _running(serving.at)
            found = measure_curve(
                transport, served[name], events=events, clients=numbers, seconds=seconds, replicas=known, say=say
            )
    except (OutageError, BusyError, RejectedError) as error:
        raise UserError(f"--measure: {error}. Is the pool running?") from error
    finally:
        transport.close()
    if curve is not None and draw is not None:
        part = curve.with_name(f".{curve.name}.{os.getpid()}")
        part.write_text(found.model_dump_json(indent=1) + "\n")
        part.replace(curve)
        draw(found, curve.with_suffix(".png"))
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=1) + "\n")
        return
    show_curve(found)
    if curve is not None:
        OUT.print(f"written: {curve}; next: darkop serve --plan {curve} --workers N --worker-rate EVENTS", markup=False)


def plan(
    curve: Path, *, workers: int | None, worker_rate: float | None, use: float, cpus: float, gpus: float, as_json: bool
) -> None:
    """Print how many replicas a number of workers needs."""
    from darkop_dist.scoring.capacity import fit_scaling, plan_replicas

    if workers is None or worker_rate is None or workers < 1 or not 0 < worker_rate < inf or not 0 < use < 1:
        raise UserError(
            "--plan wants --workers, how many ask, and --worker-rate, the events per second for which one of them "
            "wants scores: those that it selects, not those that it reads. Both are above zero, --use is above zero "
            "and below one"
        )
    measured = read_curve(curve)
    found = plan_replicas(measured, workers=workers, worker_rate=worker_rate, use=use)
    law = fit_scaling(measured)
    if as_json:
        told = {
            "replicas": found.replicas, "gpus": found.replicas * gpus, "cpus": found.replicas * cpus,
            "used": found.used, "answer_s": found.answer_s, "chunk_s": found.chunk_s, "is_hidden": found.is_hidden,
            "slower": found.slower, "law": {"a": law.single, "s": law.serial, "k": law.company, "worst": law.worst},
        }  # fmt: skip
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    for line in plan_lines(measured, found, law.worst, workers, worker_rate, cpus, gpus):
        OUT.print(line, markup=False)


def plan_lines(
    curve: Curve, plan: Plan, worst: float, workers: int, worker_rate: float, cpus: float, gpus: float
) -> list[str]:
    """The plan as sentences."""
    whole, unit = (plan.replicas * gpus, "GPU") if gpus else (plan.replicas * cpus, "core")
    size = f"{whole:g} {unit}" + "s" * (whole != 1)
    many = "replica" if plan.replicas == 1 else "replicas"
    asked = f"{workers} workers ask for {workers * worker_rate:,.0f} events/s"
    own = f"a worker selects the next {curve.events} in {_time(plan.chunk_s)}"
    lines = [
        f"{plan.replicas} {many} ({size}): {asked}, {100 * plan.used:.0f}% of what they can give",
        f"an answer takes {_time(plan.answer_s)} on the mean; {own}",
    ]
    if plan.is_hidden:
        lines.append(
            "workers that read the next chunk while they wait (Dask) lose nothing; others take "
            f"{100 * plan.slower:.0f}% longer than without scores"
        )
    else:
        lines.append(
            f"an answer takes {plan.slower:.1f} times as long as reading its events: scores decide how long the run "
            "takes, however many replicas there are. Measure with larger requests, or give a quicker model or device"
        )
    lines.append(
        f"from {len(curve.points)} points of {curve.model} at {curve.at}, {curve.events} events a request; the law "
        f"(arXiv:0808.1431) misses them by up to {100 * worst:.0f}%. Further replicas are taken to have cores or GPUs "
        "of their own, and a network and proxies that keep up"
    )
    if curve.same_machine:
        lines.append("pool and client shared a machine when this was measured: alone, a replica may give more")
    return lines


def _drawing() -> Callable[[Curve, Path], object]:
    """What draws a curve, looked for before anything is measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from darkop_dist.report.load_curve import load_figure
        from darkop_dist.report.style import save_figure
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "report") from error
    return lambda found, path: save_figure(load_figure(found), path)


def _running(address: str) -> int | None:
    """Replicas of the pool whose Ray this process has joined; None over HTTP, where they are counted."""
    if not address.startswith("ray"):
        return None
    from darkop_dist.scoring.pool.status import look

    return look().replicas.get("RUNNING") or None


def show_curve(curve: Curve) -> None:
    """Print a measured curve."""
    table = Table(title=f"{curve.model} at {curve.at}, {curve.events} events a request", title_justify="left")
    for name in ("clients", "requests", "events/s", "p50", "p99", "model busy", "told to wait"):
        table.add_column(name, justify="right")
    for point in curve.points:
        table.add_row(*_row(point))
    OUT.print(table)
    saturation = curve.saturation
    OUT.print(
        f"saturated from {saturation.clients} clients on: {saturation.events_per_s:,.0f} events/s, p99 "
        f"{_time(saturation.p99_s)}",
        markup=False,
    )
    OUT.print(f"limit: {curve.limit}", markup=False)


def read_curve(path: Path) -> Curve:
    """A curve that ``--curve`` wrote.

    Raises:
        InputFileError: it is absent or something else.
    """
    from darkop_dist.scoring.capacity import Curve

    try:
        return Curve.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputFileError(str(path), error.strerror or str(error), WRITE_ONE) from error
    except ValidationError as error:
        problem = f"is no measured curve ({error.errors()[0]['msg']})"
        raise InputFileError(str(path), problem, WRITE_ONE) from error


def _row(point: Point) -> tuple[str, ...]:
    busy = "?" if point.model_share is None else f"{100 * point.model_share:.0f}%"
    return (
        str(point.clients), str(point.requests), f"{point.events_per_s:,.0f}", _time(point.p50_s), _time(point.p99_s),
        busy, str(point.busy),
    )  # fmt: skip


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({int(one) for one in text.split(",")}))
    except ValueError as error:
        raise UserError(f"--clients: {text!r} are no whole numbers. Write them as in {CLIENTS}") from error
    if numbers[0] < 1 or numbers[-1] > MOST_CLIENTS:
        raise UserError(f"--clients: {text!r} must be between 1 and {MOST_CLIENTS}. Write them as in {CLIENTS}")
    return numbers


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
