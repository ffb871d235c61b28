"""Workers as jobs of a batch system, through dask-jobqueue: what SLURM, HTCondor and LSF have in common."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.config import Execution, Tls, parse_duration
from darkop_dist.errors import OutputError, RunError, UserError
from darkop_dist.execution.sites.address import security_of
from darkop_dist.execution.sites.jobs import kept, settle
from darkop_dist.execution.sites.lifetime import clock, lifetime_for
from darkop_dist.execution.sites.site import Site
from darkop_dist.execution.sites.tuning import ENVIRONMENT

WAIT_S = 3600.0
DEATH_S = 60
JOB_NAME = "darkop"


@dataclass(frozen=True)
class BatchSystem:
    """What differs between batch systems.

    Attributes:
        name: as people call it.
        commands: programs that must be on this machine.
        make: makes dask-jobqueue's cluster from the section and the arguments that all systems share.
        states: the state of each of this user's jobs that has not ended, by job id; raises OSError or
            ``subprocess.SubprocessError`` where the system does not answer.
        remedy: the command that shows why jobs wait.
    """

    name: str
    commands: tuple[str, ...]
    make: Callable[[Execution, dict[str, Any]], Any]
    states: Callable[[], Mapping[str, str]]
    remedy: str


@contextmanager
def started(execution: Execution, system: BatchSystem) -> Iterator[Site]:
    """Submit jobs and keep their number; all are cancelled when the context ends.

    The scheduler runs in this process. Should this process be killed, the jobs end by themselves after a minute.
    """
    from distributed import Client

    absent = [command for command in system.commands if shutil.which(command) is None]
    if absent:
        raise UserError(
            f"where: {execution.where} needs the command {absent[0]}, which is not on this machine. Start the run on a "
            f"machine that submits to {system.name}, or choose another execution.where."
        )
    jobs = math.ceil(execution.workers / processes_of(execution))
    section = execution.cluster
    _make_log_directory(execution)
    with (
        _credentials(execution) as security,
        make_cluster(execution, system, security) as cluster,
        kept(cluster, system.states, log_directory_of(execution)) as keeper,
        Client(cluster, set_as_default=False) as client,
    ):
        _submit(cluster, jobs, system.name)
        yield Site(
            client,
            owned=True,
            restarts=True,
            wait_s=WAIT_S if section.wait is None else parse_duration(section.wait),
            remedy=f"See why with {system.remedy}; ask for less (execution.cluster) or wait longer (cluster.wait). "
            f"The logs of the jobs are in {log_directory_of(execution)}.",
            pending=lambda: _say_states(cluster, system),
            failure=keeper.failure,
        )


def make_cluster(execution: Execution, system: BatchSystem, security: Any) -> Any:
    """dask-jobqueue's cluster with its scheduler and no job yet; ``job_script()`` shows what a job would be."""
    section = execution.cluster
    address = {"interface": section.interface} if section.interface else {}
    return system.make(
        execution,
        {
            **address,
            "cores": section.cores,
            "processes": processes_of(execution),
            "memory": section.memory,
            "job_name": JOB_NAME,
            "python": section.python or sys.executable,
            "job_script_prologue": [
                *(f"export {name}={value}" for name, value in ENVIRONMENT.items()),
                *section.env_prologue,
            ],
            "job_extra_directives": list(section.job_extra),
            "worker_extra_args": _worker_arguments(execution),
            "death_timeout": DEATH_S,
            "local_directory": None if section.local_directory is None else str(section.local_directory),
            "log_directory": str(log_directory_of(execution)),
            "security": security,
            "protocol": "tls://",
            "scheduler_options": {"allowed_failures": 0, "dashboard_address": "127.0.0.1:0"},
            "silence_logs": "CRITICAL",
        },
    )


def _make_log_directory(execution: Execution) -> None:
    directory = log_directory_of(execution)
    others = "Name another, which this machine and the workers see: execution.cluster.shared_directory."
    if any(character.isspace() for character in str(directory)):
        raise OutputError(f"{directory}: job scripts cannot take a path with spaces. {others}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory}: the directory of the jobs' logs cannot be made ({error}). {others}") from error


def processes_of(execution: Execution) -> int:
    """Workers in one job: one for each core, if the document does not say otherwise."""
    return execution.cluster.processes or execution.cluster.cores


def log_directory_of(execution: Execution) -> Path:
    """Where job logs and temporary certificates go: both this machine and the workers must see it."""
    return execution.cluster.shared_directory or Path.cwd() / "darkop-jobs"


def walltime_of(execution: Execution, *, with_seconds: bool = True) -> str | None:
    """The walltime as the batch system wants it; None if the document gives none."""
    walltime = execution.cluster.walltime
    return None if walltime is None else clock(parse_duration(walltime), with_seconds=with_seconds)


def jobqueue() -> Any:
    """The module ``dask_jobqueue``, imported without what it does to this process.

    Its import (0.9) takes the signals SIGINT and SIGTERM over and exits with status 0 on them:
    https://github.com/dask/dask-jobqueue/blob/0.9.0/dask_jobqueue/runner.py
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    import dask_jobqueue

    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler and handler is not None:
            signal.signal(number, handler)
    return dask_jobqueue


def ask(command: list[str]) -> str:
    """What a program of the batch system prints.

    Raises:
        subprocess.SubprocessError: it failed, or did not answer within a minute.
        OSError: it cannot be started.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)  # noqa: S603
    return done.stdout


def _worker_arguments(execution: Execution) -> list[str]:
    lifetime = lifetime_for(execution.cluster)
    if lifetime is None:
        return []
    return ["--lifetime", f"{lifetime.lifetime_s}s", "--lifetime-stagger", f"{lifetime.stagger_s}s"]


@contextmanager
def _credentials(execution: Execution) -> Iterator[Any]:
    """The document's certificates, or some for this cluster alone: whoever shares the machines has no way in."""
    if execution.cluster.tls is not None:
        yield security_of(execution.cluster.tls)
        return
    import cryptography  # noqa: F401  # Dask needs it for the temporary certificates and would raise a bare ImportError
    from distributed.security import Security

    made = Security.temporary()
    with tempfile.TemporaryDirectory(prefix=".certificates-", dir=log_directory_of(execution)) as folder:
        files = Tls(ca=Path(folder, "ca.pem"), cert=Path(folder, "cert.pem"), key=Path(folder, "key.pem"))
        for path, text in zip((files.ca, files.cert, files.key), _texts(made), strict=True):
            path.touch(mode=0o600)
            path.write_text(text)
        yield security_of(files)


def _texts(security: Any) -> tuple[str, str, str]:
    """Authority, certificate and key, which are the same for all roles."""
    return security.tls_ca_file, security.tls_worker_cert, security.tls_worker_key


def _submit(cluster: Any, jobs: int, system: str) -> None:
    """Submit the first jobs here, so that a refusal is an error of this call and not a line in a log."""
    while len(cluster.worker_spec) < jobs:
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        cluster.sync(settle, cluster)
    except (RuntimeError, ValueError, OSError) as error:
        raise RunError(f"{system} refused a job: {refusal(error)}. Correct execution.cluster.") from error


def refusal(error: Exception) -> str:
    """What the submit command wrote to its error stream, on one line, out of dask-jobqueue's message."""
    text = str(error)
    _, found, stream = text.partition("stderr:\n")
    return "; ".join(line.strip() for line in (stream if found else text).splitlines() if line.strip())


def _say_states(cluster: Any, system: BatchSystem) -> str:
    ids = {job.job_id for job in cluster.workers.values()}
    try:
        states = system.states()
    except (OSError, subprocess.SubprocessError) as error:
        return f"{system.name} does not say why ({error})."
    counts = Counter(states.get(identity, "ended") for identity in ids)
    return f"{system.name} says of {len(ids)} jobs: " + ", ".join(f"{n} {state}" for state, n in counts.items()) + "."
