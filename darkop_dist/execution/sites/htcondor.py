"""HTCondor: each job is submitted with condor_submit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from darkop_dist.config import Execution, parse_duration
from darkop_dist.execution.sites.batch import BatchSystem, ask, jobqueue, started
from darkop_dist.execution.sites.site import Site

_STATES = {"1": "IDLE", "2": "RUNNING", "3": "REMOVED", "4": "COMPLETED", "5": "HELD", "6": "RUNNING", "7": "SUSPENDED"}
_ENDED = {"3", "4"}


def start(execution: Execution) -> AbstractContextManager[Site]:
    """Submit ``workers`` to this machine's schedd."""
    return started(execution, HTCONDOR)


def _make(execution: Execution, shared: dict[str, Any]) -> Any:
    section = execution.cluster
    directives: dict[str, object] = {}
    if section.walltime is not None:
        directives["+MaxRuntime"] = parse_duration(section.walltime)
    if section.account is not None:
        directives["accounting_group"] = section.account
    for line in section.job_extra:
        key, _, value = line.partition("=")
        directives[key.strip()] = value.strip()
    return jobqueue().HTCondorCluster(disk=section.disk, **{**shared, "job_extra_directives": directives})


def _states() -> Mapping[str, str]:
    """Held jobs carry their reason: HTCondor holds what it cannot run instead of ending it."""
    lines = ask(["condor_q", "-autoformat:,", "ClusterId", "ProcId", "JobStatus", "HoldReason"]).splitlines()
    states = {}
    for line in lines:
        if line.count(",") >= 3:
            cluster, process, status, reason = (part.strip() for part in line.split(",", maxsplit=3))
            if status not in _ENDED:
                held = f" ({reason})" if reason not in ("", "undefined") else ""
                states[f"{cluster}.{process}"] = _STATES.get(status, status) + held
    return states


HTCONDOR = BatchSystem(
    "HTCondor", ("condor_submit", "condor_q", "condor_rm"), _make, _states, "condor_q -better-analyze"
)
