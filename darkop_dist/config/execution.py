"""Section ``execution``: where the events are processed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from darkop_dist.config.cluster import KEYS_OF_KIND, REQUIRED_OF_KIND, Cluster, parse_duration
from darkop_dist.config.section import SECTION, rejected
from darkop_dist.errors import nearest_names

WHERE = ("local", "dask", "slurm", "htcondor", "lsf", "gateway", "kubernetes")
_FORMS = (
    "'local', 'dask', 'dask://HOST:PORT', 'tls://HOST:PORT', 'slurm', 'htcondor', 'lsf', 'gateway', "
    "'https://GATEWAY' or 'kubernetes'"
)


def _check_where(value: str) -> str:
    if value in WHERE or re.fullmatch(r"(dask|tls)://([^/\s:]+|\[[0-9a-fA-F:]+\]):\d+|https?://[^/\s]+\S*", value):
        return value
    raise rejected(f"must be {_FORMS}", value=value, choices=WHERE)


def kind_of(where: str) -> str:
    """The kind of site that ``where`` names.

    >>> kind_of("tls://login.site.org:8786"), kind_of("https://gateway.site.org"), kind_of("slurm")
    ('address', 'gateway', 'slurm')
    """
    if where.startswith(("dask://", "tls://")):
        return "address"
    return "gateway" if where.startswith(("http://", "https://")) else where


class Execution(BaseModel):
    """Where and in which portions the events are processed."""

    model_config = SECTION

    where: Annotated[str, AfterValidator(_check_where)] = "local"
    """``local``: this process; ``dask``: a cluster on this machine; ``dask://HOST:PORT`` or ``tls://HOST:PORT``: a
    running scheduler; ``slurm``, ``htcondor``, ``lsf``: workers as batch jobs; ``gateway`` or the ``https://`` address
    of one: dask-gateway; ``kubernetes``: the Dask operator."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Number of worker processes."""
    cluster: Cluster = Cluster()
    """What the site must know: queue, walltime, memory, certificates."""
    chunk_events: Annotated[int, Field(ge=1)] = 250_000
    """Largest number of events read at once."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a chunk is tried again after an error of input, a time-out or the death of its worker."""
    chunk_timeout_s: Annotated[float, Field(gt=0)] | None = 1800.0
    """Seconds after which a chunk counts as hanging: its worker is ended, the chunk tried elsewhere; null for never."""
    merge_memory_mb: Annotated[int, Field(ge=16)] = 1000
    """Most megabytes of chunk results that one merge holds at a time; the rest waits on the disk."""


def check_cluster(execution: Execution) -> Iterator[tuple[str | None, str, tuple[str, ...]]]:
    """What ``cluster`` says that the kind of site cannot use or cannot do without.

    Args:
        execution: the section.

    Yields:
        The key below ``cluster`` (None for the whole section), what is wrong, and keys close to it.
    """
    kind, cluster = kind_of(execution.where), execution.cluster
    known = KEYS_OF_KIND[kind]
    bare = Cluster()
    given = {key for key in type(cluster).model_fields if getattr(cluster, key) != getattr(bare, key)}
    for key in sorted(given - known):
        takes = f"it takes {', '.join(sorted(known))}"
        yield key, f"where: {execution.where} has no use for this key: {takes}", nearest_names(key, known)
    for key in REQUIRED_OF_KIND.get(kind, ()):
        if getattr(cluster, key) is None:
            about = type(cluster).model_fields[key].description or ""
            yield None, f"where: {execution.where} needs the key {key}: {about}", ()
    if execution.where.startswith("tls://") and cluster.tls is None:
        yield None, "a tls:// address needs the key tls with ca, cert and key", ()
    if execution.where.startswith("dask://") and cluster.tls is not None:
        yield "tls", "dask:// addresses are not encrypted: write where: tls://HOST:PORT, or remove this key", ()
    if cluster.processes is not None and cluster.processes > cluster.cores:
        yield "processes", f"a job of {cluster.cores} cores cannot hold more processes than cores", ()
    if cluster.retire_before is not None:
        if cluster.walltime is None:
            yield "retire_before", "has no meaning without walltime", ()
        elif parse_duration(cluster.retire_before) >= parse_duration(cluster.walltime):
            yield "retire_before", "must be shorter than the walltime", ()
