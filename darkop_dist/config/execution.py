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
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a chunk that failed is tried again."""
