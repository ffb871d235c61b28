"""Opening a site: start or find workers, wait for the first, check them, and leave nothing behind."""

from __future__ import annotations

import atexit
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pydantic import ValidationError

from darkop_dist.config import Execution, check_cluster, kind_of
from darkop_dist.config.mistakes import mistake_at, mistakes_from
from darkop_dist.errors import DocumentError, MissingExtraError, RunError
from darkop_dist.execution.sites.environment import check_environment
from darkop_dist.execution.sites.site import Site, SiteClient
from darkop_dist.execution.sites.tuning import SETTINGS

GIVEN_WAIT_S = 30.0
STEP_S = 1.0
SAY_EVERY_S = 15.0
_FILES = {"local": "local", "dask": "local", "address": "address"}


def _silent(_: str) -> None:
    return None


@contextmanager
def open_client(
    execution: Execution, *, say: Callable[[str], None] = _silent, client: Any = None
) -> Iterator[SiteClient]:
    """Workers for a run; what was started here ends with the context, however that is left.

    Args:
        execution: the section of the document. ``local`` stands for workers on this machine here, as ``dask`` does.
        say: is told what is waited for and which harmless differences the workers' environment has.
        client: a ``distributed.Client`` to use instead; it is checked, and never closed.

    Yields:
        The client and what is known of its site.

    Raises:
        DocumentError: the section asks for what the kind of site cannot give.
        MissingExtraError: a library of the kind of site is not installed.
        UserError: the site cannot be used from here, or a certificate cannot be read.
        RunError: nothing answers, no worker came in time, or the workers' environment does not fit.
    """
    if client is not None:
        site = Site(
            client,
            owned=False,
            restarts=None,
            wait_s=GIVEN_WAIT_S,
            remedy="Give the client workers: client.cluster.scale(1).",
        )
        yield _ready(site, "given", say)
        return
    findings = [
        mistake_at(("execution", "cluster", *([] if key is None else [key])), message, {}, {}, nearest=nearest)
        for key, message, nearest in check_cluster(execution)
    ]
    if findings:
        raise DocumentError(f"where: {execution.where}", findings)
    kind = kind_of(execution.where)
    start = importlib.import_module(f"darkop_dist.execution.sites.{_FILES.get(kind, kind)}").start
    with _started(start, execution) as site:
        yield _ready(site, kind, say)


@contextmanager
def _started(start: Callable[[Execution], Any], execution: Execution) -> Iterator[Site]:
    """A missing library is the user's matter, not a traceback; errors from inside the context pass untouched."""
    with ExitStack() as stack:
        try:
            import dask
            import distributed  # noqa: F401  # its own settings come first, or they would go with ours

            with dask.config.set(SETTINGS):
                site: Site = stack.enter_context(start(execution))
        except ModuleNotFoundError as error:
            module = (error.name or "dask").partition(".")[0]
            extra = "execution" if module in {"dask", "distributed", "cloudpickle"} else "sites"
            raise MissingExtraError(module, extra) from error
        yield site


def _ready(site: Site, kind: str, say: Callable[[str], None]) -> SiteClient:
    _wait_for_worker(site, kind, say)
    for difference in check_environment(site.client):
        say(f"the workers' environment differs: {difference}")
    restarts = _have_nannies(site.client) if site.restarts is None else site.restarts
    return SiteClient(site.client, kind, site.client.dashboard_link, site.owned, restarts)


def _wait_for_worker(site: Site, kind: str, say: Callable[[str], None]) -> None:
    began = told = time.monotonic()
    deadline = began + site.wait_s
    while True:
        failure = site.failure()
        if failure is not None:
            raise RunError(failure)
        left = deadline - time.monotonic()
        try:
            site.client.wait_for_workers(1, timeout=max(min(STEP_S, left), 0.1))
        except TimeoutError as error:
            now = time.monotonic()
            if now < min(deadline, told + SAY_EVERY_S):
                continue
            told, known = now, site.pending()
            if now >= deadline:
                raise RunError(
                    f"no Dask worker came within {site.wait_s:g} s ({kind}).{' ' * bool(known)}{known} {site.remedy}"
                ) from error
            say(f"waiting for the first worker.{' ' * bool(known)}{known}")
        else:
            return


def _have_nannies(client: Any) -> bool:
    """Whether every worker has a nanny, which starts a worker that died again."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return bool(workers) and all(worker.get("nanny") for worker in workers)


def get_client(where: str = "dask", *, workers: int = 1, say: Callable[[str], None] = print, **cluster: Any) -> Any:
    """A Dask client for any kind of site; closing it also ends the cluster that was made for it.

        client = do.get_client("slurm", workers=20, queue="short", walltime="02:00:00", memory="4 GB")

    Args:
        where: as ``execution.where`` in the document: ``local`` or ``dask`` (this machine), ``dask://HOST:PORT``,
            ``tls://HOST:PORT``, ``slurm``, ``htcondor``, ``lsf``, ``gateway``, ``https://GATEWAY`` or ``kubernetes``.
        workers: how many workers to ask for; a running scheduler keeps those that it has.
        say: is told what is waited for and how the workers' environment differs.
        cluster: the keys of ``execution.cluster`` in the document.

    Returns:
        A ``distributed.Client`` with at least one checked worker; use it in a ``with`` statement, or close it.

    Raises:
        UserError: a value or a certificate cannot be used, or a library is not installed.
        RunError: nothing answers, no worker came in time, or the workers' environment does not fit.
    """
    asked = {"where": where, "workers": workers, "cluster": cluster}
    try:
        execution = Execution.model_validate(asked)
    except ValidationError as error:
        raise DocumentError("get_client", mistakes_from(error, Execution, asked, {})) from error
    stack = ExitStack()
    client = stack.enter_context(open_client(execution, say=say)).client
    return _closing_all(client, stack)


def _closing_all(client: Any, stack: ExitStack) -> Any:
    """Let ``close`` of this one client end its cluster too; at the end of the process it is called if nobody did."""
    own_close = client.close

    def close(*args: Any, **keywords: Any) -> Any:
        client.close = own_close
        atexit.unregister(close)
        result = own_close(*args, **keywords)
        stack.close()
        return result

    client.close = close
    atexit.register(close)
    return client
