"""What the workers see, asked on the workers themselves."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkop_dist.config import Execution, kind_of
from darkop_dist.config.access import Access
from darkop_dist.config.datasets import is_root_file
from darkop_dist.errors import DarkopError
from darkop_dist.events.remote import DEFAULT
from darkop_dist.execution.backend import by_value, unpacked
from darkop_dist.execution.sites import check_environment, open_client
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.waiting import is_elsewhere
from darkop_dist.stages.preflight.finding import Finding, failure, in_bytes
from darkop_dist.stages.search import Say

WORKERS_ASKED = 2
SCORES_S = 10.0
WAIT = "5 min"
BATCH = ("slurm", "htcondor", "lsf", "gateway", "kubernetes")


@dataclass(frozen=True)
class View:
    """What one worker told.

    Attributes:
        processor: why the processor cannot be imported there; empty if it can.
        silent: why the server of scores cannot be used there; empty if it can, or if there is none.
        unreadable: why a file cannot be opened there, by path.
        sees_output: the directory of the results is the one of this machine.
        scratch: the worker's local directory.
        scratch_problem: why it cannot be written; empty if it can.
        scratch_free: free bytes there.
        limit_bytes: memory that the worker may use, per task at a time; 0 for no limit.
    """

    processor: str
    silent: str
    unreadable: Mapping[str, str]
    sees_output: bool
    scratch: str
    scratch_problem: str
    scratch_free: int
    limit_bytes: int


@dataclass(frozen=True)
class Asked:
    """What came back from the workers.

    Attributes:
        findings: about them.
        limit_bytes: smallest memory of a worker per task; None if no worker was asked or none has a limit.
    """

    findings: tuple[Finding, ...]
    limit_bytes: int | None = None


def ask_workers(
    execution: Execution,
    processor: Any,
    files: Mapping[str, str],
    output: Path,
    *,
    say: Say,
    client: Any = None,
    access: Access = DEFAULT,
    scorer: Scorer | None = None,
) -> Asked:
    """Open the site, ask its workers what they see, and close it.

    Args:
        execution: the section of the document; at most two workers are started for the question.
        processor: the processor, which travels to the workers.
        files: first file of each dataset, by the dataset's name.
        output: directory of the result.
        say: is told what is waited for.
        client: a Dask client to use instead; it is not closed.
        access: how remote files are reached.
        scorer: scores the events; one that a server has is tried there.
    """
    update: dict[str, Any] = {"workers": min(execution.workers, WORKERS_ASKED)}
    if kind_of(execution.where) in BATCH and execution.cluster.wait is None:
        update["cluster"] = execution.cluster.model_copy(update={"wait": WAIT})
    try:
        with open_client(execution.model_copy(update=update), say=say, client=client) as site:
            return _ask(site.client, execution.where, processor, files, output, access, scorer)
    except DarkopError as error:
        return Asked((failure("workers", execution.where, error),))


def _ask(
    client: Any,
    where: str,
    processor: Any,
    files: Mapping[str, str],
    output: Path,
    access: Access,
    scorer: Scorer | None,
) -> Asked:
    remote: Any = getattr(scorer, "remote", scorer) if is_elsewhere(scorer) else None
    trial: Any = None if remote is None else remote.on_trial(SCORES_S)
    different = [str(difference) for difference in check_environment(client)]
    place = output.absolute().parent
    while not place.is_dir():
        place = place.parent
    token = place / f".darkop-check-{uuid.uuid4().hex}"
    with suppress(OSError):  # the check of space says that the directory cannot be written
        token.write_text(token.name)
    try:
        local = [path for path in files.values() if "://" not in path]
        views: dict[str, View] = client.run(
            look_around, by_value(processor), tuple(files.values()), token, access, trial
        )
    finally:
        token.unlink(missing_ok=True)
    names = {address: str(worker["name"]) for address, worker in client.scheduler_info(n_workers=-1)["workers"].items()}
    named = {f"{names.get(address, '?')} ({address})": view for address, view in views.items()}
    findings = [_versions(where, len(views), different), *_imports(named), *_files(named, files, bool(local))]
    findings += [] if remote is None else [_scores(named, remote.address, may_fall_back=remote is not scorer)]
    findings += [_output(named, place), *_scratch(named)]
    limits = [view.limit_bytes for view in views.values() if view.limit_bytes]
    return Asked(tuple(findings), min(limits) if limits else None)


def look_around(
    payload: bytes, files: Sequence[str], token: Path, access: Access, trial: Any = None, *, dask_worker: Any
) -> View:
    """Runs on a worker: tries what a run will do there.

    Args:
        payload: the processor, from this run's own client.
        files: to be opened.
        token: a file in the directory of the results that holds its own name.
        access: how remote files are reached.
        trial: a scorer that asks a server and is not patient; None where no server is asked.
        dask_worker: given by Dask.
    """
    scratch = str(dask_worker.local_directory)
    problem = _write_problem(Path(scratch))
    return View(
        processor=_import_problem(payload),
        silent="" if trial is None else _score_problem(trial),
        unreadable={path: problem for path in files if (problem := _open_problem(path, access))},
        sees_output=_reads(token),
        scratch=scratch,
        scratch_problem=problem,
        scratch_free=0 if problem else shutil.disk_usage(scratch).free,
        limit_bytes=int(dask_worker.memory_manager.memory_limit or 0) // max(dask_worker.state.nthreads, 1),
    )


def _import_problem(payload: bytes) -> str:
    try:
        unpacked(payload)
    except Exception as error:  # noqa: BLE001  # whatever the import of a user's module raises
        return f"{type(error).__name__}: {error}"
    return ""


def _score_problem(trial: Any) -> str:
    try:
        trial.score({spec.name: np.zeros((1, *spec.shape), dtype=np.dtype(spec.dtype)) for spec in trial.inputs})
    except DarkopError as error:
        return str(error)
    return ""


def _open_problem(path: str, access: Access) -> str:
    from darkop_dist.events.remote import is_remote, open_root

    try:
        if is_root_file(path):
            open_root(path, access).close()
        elif not is_remote(path):
            Path(path).open("rb").close()
    except Exception as error:  # noqa: BLE001  # uproot raises anything on a damaged file
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}"
    return ""


def _reads(token: Path) -> bool:
    try:
        return token.read_text() == token.name
    except OSError:
        return False


def _write_problem(directory: Path) -> str:
    file = directory / f".darkop-check-{os.getpid()}"
    try:
        file.write_text("")
        file.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _versions(where: str, workers: int, different: Sequence[str]) -> Finding:
    if different:
        hint = "Give the workers the same environment if results differ."
        return Finding("workers", where, "warning", "; ".join(different), hint)
    message = f"{workers} worker{'s' if workers > 1 else ''} asked: Python and packages as here"
    return Finding("workers", where, "ok", message, numbers={"workers": workers})


def _imports(views: Mapping[str, View]) -> Iterator[Finding]:
    bad = {name: view.processor for name, view in views.items() if view.processor}
    if bad:
        name, problem = next(iter(bad.items()))
        message = f"worker {name}{_more(bad)} cannot import the processor: {problem}"
        yield Finding("workers", "processor", "failed", message, "Install what it imports on the workers.")
    else:
        yield Finding("workers", "processor", "ok", "the workers can import it")


def _scores(views: Mapping[str, View], address: str, *, may_fall_back: bool) -> Finding:
    bad = {name: view.silent for name, view in views.items() if view.silent}
    if not bad:
        return Finding("workers", "scores", "ok", f"they get scores from {address}")
    name, problem = next(iter(bad.items()))
    message = f"worker {name}{_more(bad)} gets no scores: {problem}"
    if may_fall_back:
        return Finding("workers", "scores", "warning", message, "The model would run in these workers themselves.")
    return Finding(
        "workers", "scores", "failed", message, "Give the server an address that the workers reach, and them its token."
    )


def _files(views: Mapping[str, View], files: Mapping[str, str], local: bool) -> Iterator[Finding]:  # noqa: FBT001
    good = True
    for dataset, path in files.items():
        bad = {name: view.unreadable[path] for name, view in views.items() if path in view.unreadable}
        if not bad:
            continue
        good = False
        name, problem = next(iter(bad.items()))
        message = f"worker {name}{_more(bad)} cannot open {path}: {problem}"
        hint = "Put the files where the workers see them, or name them by an address (root://, https://)."
        if "://" in path:
            hint = "Look at the workers' network, and give them the proxy or token."
        yield Finding("workers", f"files of {dataset}", "failed", message, hint)
    if good and files:
        paths = "paths of this machine" if local else "addresses"
        yield Finding("workers", "files", "ok", f"they open the first file of each dataset ({paths})")


def _output(views: Mapping[str, View], place: Path) -> Finding:
    seen = sum(view.sees_output for view in views.values())
    if seen == len(views):
        return Finding("workers", "output", "ok", f"they see {place}: each writes its results there")
    who = "no worker sees" if not seen else f"only {seen} of {len(views)} workers see"
    message = f"{who} {place}: results come over the network to this machine, which merges them"
    return Finding("workers", "output", "ok" if not seen else "warning", message)


def _scratch(views: Mapping[str, View]) -> Iterator[Finding]:
    for name, view in views.items():
        if view.scratch_problem:
            message = f"worker {name} cannot write its directory {view.scratch}: {view.scratch_problem}"
            yield Finding("workers", "scratch", "failed", message, "Set execution.cluster.local_directory.")
            return
    least = min(views.values(), key=lambda view: view.scratch_free)
    numbers = {"free_bytes": least.scratch_free}
    message = f"{least.scratch} has {in_bytes(least.scratch_free)} free"
    if least.scratch_free < 1e9:
        hint = "Workers spill there when memory is short: make room."
        yield Finding("workers", "scratch", "warning", message, hint, numbers)
    else:
        yield Finding("workers", "scratch", "ok", message, numbers=numbers)


def _more(bad: Mapping[str, str]) -> str:
    return f" and {len(bad) - 1} more" if len(bad) > 1 else ""
