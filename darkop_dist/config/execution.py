"""Section ``execution``: where the events are processed."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from darkop_dist.config.section import SECTION, rejected

_LATER = ("slurm", "htcondor", "kubernetes")


def _check_where(value: str) -> str:
    if value in ("local", "dask") or re.fullmatch(r"dask://[^/\s:]+:\d+", value):
        return value
    if value.split(":", maxsplit=1)[0] in _LATER:
        raise rejected(f"{value!r} is not in this version: must be 'local', 'dask' or 'dask://HOST:PORT'")
    raise rejected("must be 'local', 'dask' or 'dask://HOST:PORT'", value=value, choices=("local", "dask"))


class Execution(BaseModel):
    """Where and in which portions the events are processed."""

    model_config = SECTION

    where: Annotated[str, AfterValidator(_check_where)] = "local"
    """``local``: this process; ``dask``: a cluster on this machine; ``dask://HOST:PORT``: a running scheduler."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Number of worker processes."""
    chunk_events: Annotated[int, Field(ge=1)] = 250_000
    """Largest number of events read at once."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a chunk is tried again after an error of input, a time-out or the death of its worker."""
    chunk_timeout_s: Annotated[float, Field(gt=0)] | None = 1800.0
    """Seconds after which a chunk counts as hanging: its worker is ended and the chunk tried elsewhere; null for never."""
    merge_memory_mb: Annotated[int, Field(ge=16)] = 1000
    """Most megabytes of chunk results that one merge holds at a time; the rest waits on the disk."""
