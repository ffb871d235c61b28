"""What every kind of site gives: a client, and what is known about workers that have not come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SiteClient:
    """A connected client with at least one checked worker.

    Attributes:
        client: the ``distributed.Client``.
        kind: ``local``, ``dask``, ``address``, ``slurm``, ``htcondor``, ``lsf``, ``gateway``, ``kubernetes``, or
            ``given`` for a client that the caller passed in.
        dashboard: link to the dashboard; None where there is none.
        owned: the cluster was made here and ends when the context ends.
        restarts: a worker that dies or leaves is replaced, by a nanny or by the site.
    """

    client: Any
    kind: str
    dashboard: str | None
    owned: bool
    restarts: bool


def _nothing_known() -> str:
    return ""


def _healthy() -> None:
    return None


@dataclass(frozen=True)
class Site:
    """A site that has been asked for workers.

    Attributes:
        client: the ``distributed.Client``.
        owned: the cluster was made here.
        restarts: a worker that dies is replaced; None if only the workers can tell.
        wait_s: how long the first worker may take.
        remedy: what to do when no worker comes.
        pending: what the site says about workers that have not come, for messages.
        failure: why no worker can ever come; None while one may.
    """

    client: Any
    owned: bool
    restarts: bool | None
    wait_s: float
    remedy: str
    pending: Callable[[], str] = _nothing_known
    failure: Callable[[], str | None] = _healthy
