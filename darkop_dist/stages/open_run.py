"""Where a run goes that has lost events: to its place, unless there is a better one."""

from __future__ import annotations

from pathlib import Path

from darkop_dist.errors import InputFileError
from darkop_dist.execution import Ledger, load_ledger
from darkop_dist.runs import PendingRun, RunDirectory


def put_open_run(pending: PendingRun, ledger: Ledger) -> tuple[Path, str]:
    """Move a run with an open ledger to its place, or leave it beside the run there that holds more.

    Args:
        pending: the run, all of its files written.
        ledger: its ledger, which is not closed.

    Returns:
        Where it is, and a sentence about that for the user.
    """
    if not pending.target.exists() or holds_nothing_more(RunDirectory(pending.target), ledger):
        place = pending.finish().path
        return place, f"The events that were processed are kept in {place}."
    place = pending.set_aside().path
    return place, (
        f"The earlier run in {pending.target} stays as it is. The events that were processed now are kept in {place}: "
        "--resume goes on with them, --force throws them away."
    )


def holds_nothing_more(earlier: RunDirectory, ledger: Ledger) -> bool:
    """Whether all that an earlier run holds would be in a run with this open ledger too.

    A run that is closed, or that has come to p-values or limits, holds more; so does one with more events of a dataset.
    """
    if earlier.calibration.exists() or earlier.limits.exists():
        return False
    try:
        closures = load_ledger(earlier.ledger).closure()
    except InputFileError:  # there is none, or another version wrote it
        return not earlier.provenance.exists()
    processed = {closure.dataset: closure.processed for closure in ledger.closure()}
    return not all(c.closed for c in closures) and all(c.processed <= processed.get(c.dataset, 0) for c in closures)
