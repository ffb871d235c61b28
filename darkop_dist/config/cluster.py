"""Section ``execution.cluster``: what a site must know before it lends workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from darkop_dist.config.section import SECTION, Name, rejected

_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_duration(text: str) -> int:
    """Seconds in a duration as batch systems write it.

    >>> parse_duration("02:30:00"), parse_duration("1-12:00:00"), parse_duration("90 min"), parse_duration("2h")
    (9000, 129600, 5400, 7200)

    Args:
        text: ``HH:MM:SS``, ``DAYS-HH:MM:SS``, or a number with one of s, min, h, d.

    Raises:
        ValueError: the text is none of these.
    """
    clock = re.fullmatch(r"\s*(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)\s*", text)
    if clock:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    plain = re.fullmatch(r"\s*(\d+)\s*(s|min|h|d)\s*", text)
    if plain:
        return int(plain[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[plain[2]]
    raise ValueError(text)


def parse_size(text: str) -> int:
    """Bytes in a size such as ``4 GB`` (10^9) or ``4 GiB`` (2^30).

    >>> parse_size("4 GB"), parse_size("1.5GiB")
    (4000000000, 1610612736)

    Raises:
        ValueError: the text is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?|)B\s*", text, re.IGNORECASE)
    if not found:
        raise ValueError(text)
    return int(float(found[1]) * _BYTES[found[2].lower()])


def _check_duration(value: str) -> str:
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise rejected("must be a time such as '02:00:00', '1-12:00:00', '90 min' or '2 h'") from None
    if seconds == 0:
        raise rejected("must be longer than zero")
    return value


def _check_size(value: str) -> str:
    try:
        size = parse_size(value)
    except ValueError:
        raise rejected("must be a size such as '4 GB' or '2000 MiB'") from None
    if size == 0:
        raise rejected("must be more than zero")
    return value


def _check_line(value: str) -> str:
    if not value.strip() or "\n" in value:
        raise rejected("must be one line of text")
    return value


Duration = Annotated[str, AfterValidator(_check_duration)]
Size = Annotated[str, AfterValidator(_check_size)]
Line = Annotated[str, AfterValidator(_check_line)]


class Tls(BaseModel):
    """Certificates for a connection that is encrypted and authenticated in both directions, as PEM files."""

    model_config = SECTION

    ca: Path
    """Certificate of the authority that both sides trust."""
    cert: Path
    """This side's certificate."""
    key: Path
    """The private key of that certificate."""


class Cluster(BaseModel):
    """What the site must know; each kind of site takes some of these keys and refuses the others."""

    model_config = SECTION

    queue: Name | None = None
    """Partition (SLURM) or queue (LSF) of the jobs."""
    account: Name | None = None
    """Account (SLURM), project (LSF) or accounting group (HTCondor) that the jobs are charged to."""
    walltime: Duration | None = None
    """Longest time of one job, such as ``02:00:00``; workers retire before it ends and new jobs take their place."""
    retire_before: Duration | None = None
    """How long before the end of the walltime every worker has retired; chosen from the walltime if absent."""
    cores: Annotated[int, Field(ge=1)] = 1
    """Cores of one job."""
    processes: Annotated[int, Field(ge=1)] | None = None
    """Workers that share one job; one for each core if absent."""
    memory: Size | None = None
    """Memory of one job (batch systems, Kubernetes) or of one worker (this machine), such as ``4 GB``."""
    disk: Size | None = None
    """Scratch disk of one job, HTCondor only."""
    job_extra: tuple[Line, ...] = ()
    """Further directives of the batch system, one line each: ``--constraint=avx2`` or ``+JobFlavour = "longlunch"``."""
    env_prologue: tuple[Line, ...] = ()
    """Shell lines that a job runs before its worker starts, such as ``source /cvmfs/.../setup.sh``."""
    python: Name | None = None
    """Python interpreter of the workers; the one that runs now if absent."""
    shared_directory: Path | None = None
    """Directory that this machine and the workers see: job logs and the workers' certificates go here."""
    local_directory: Path | None = None
    """Scratch directory of a worker on its own machine."""
    interface: Name | None = None
    """Network interface that scheduler and workers talk over, such as ``ib0``."""
    wait: Duration | None = None
    """How long to wait for the first worker: 30 s for a running scheduler, an hour for a batch system if absent."""
    tls: Tls | None = None
    """Certificates for ``tls://`` addresses, or for the connection between a batch system's jobs and this process."""
    auth: Literal["basic", "kerberos", "jupyterhub"] | None = None
    """How to log in at a gateway; what Dask's own configuration says if absent."""
    address: Name | None = None
    """Address of the gateway, for ``where: gateway``; what Dask's own configuration says if absent."""
    options: dict[str, Any] = {}
    """Options of the gateway's clusters, as its administrator named them."""
    image: Name | None = None
    """Container image of scheduler and workers, for Kubernetes."""
    namespace: Name | None = None
    """Kubernetes namespace."""


_ANY_JOB = {"walltime", "retire_before", "cores", "processes", "memory", "job_extra", "env_prologue", "python", "wait",
            "shared_directory", "local_directory", "interface", "tls", "account"}  # fmt: skip
KEYS_OF_KIND: dict[str, frozenset[str]] = {
    "local": frozenset({"memory", "local_directory"}),
    "dask": frozenset({"memory", "local_directory"}),
    "address": frozenset({"tls", "wait"}),
    "slurm": frozenset(_ANY_JOB | {"queue"}),
    "htcondor": frozenset(_ANY_JOB | {"disk"}),
    "lsf": frozenset(_ANY_JOB | {"queue"}),
    "gateway": frozenset({"address", "auth", "options", "wait"}),
    "kubernetes": frozenset({"image", "namespace", "memory", "wait"}),
}
"""Which keys of ``execution.cluster`` each kind of site takes."""
REQUIRED_OF_KIND: dict[str, tuple[str, ...]] = {
    "slurm": ("walltime", "memory"),
    "htcondor": ("memory", "disk"),
    "lsf": ("walltime", "memory"),
    "kubernetes": ("image",),
}
"""Which keys of ``execution.cluster`` a kind of site cannot do without."""
