"""LSF: each job is submitted with bsub."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from darkop_dist.config import Execution
from darkop_dist.execution.sites.batch import BatchSystem, ask, jobqueue, started, walltime_of
from darkop_dist.execution.sites.site import Site

_NO_JOB = "No unfinished job found"


def start(execution: Execution) -> AbstractContextManager[Site]:
    """Submit ``workers`` to the queue ``queue``; LSF knows walltimes in minutes, which are rounded up."""
    return started(execution, LSF)


def _make(execution: Execution, shared: dict[str, Any]) -> Any:
    section = execution.cluster
    walltime = walltime_of(execution, with_seconds=False)
    return jobqueue().LSFCluster(queue=section.queue, project=section.account, walltime=walltime, **shared)


def _states() -> Mapping[str, str]:
    try:
        lines = ask(["bjobs", "-noheader", "-o", "jobid stat"]).splitlines()
    except subprocess.CalledProcessError as error:
        if _NO_JOB in error.stderr:
            return {}
        raise
    return dict(line.split(maxsplit=1) for line in lines if line.strip() and _NO_JOB not in line)


LSF = BatchSystem("LSF", ("bsub", "bjobs", "bkill"), _make, _states, "bjobs -p")
