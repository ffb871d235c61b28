"""SLURM: each job is submitted with sbatch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from darkop_dist.config import Execution
from darkop_dist.execution.sites.batch import BatchSystem, ask, jobqueue, started, walltime_of
from darkop_dist.execution.sites.site import Site


def start(execution: Execution) -> AbstractContextManager[Site]:
    """Submit ``workers`` to the partition ``queue``."""
    return started(execution, SLURM)


def _make(execution: Execution, shared: dict[str, Any]) -> Any:
    section = execution.cluster
    return jobqueue().SLURMCluster(
        queue=section.queue, account=section.account, walltime=walltime_of(execution), **shared
    )


def _states() -> Mapping[str, str]:
    lines = ask(["squeue", "--me", "--noheader", "--format=%i %T (%r)"]).splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line.strip())


SLURM = BatchSystem("SLURM", ("sbatch", "squeue", "scancel"), _make, _states, "squeue --me")
