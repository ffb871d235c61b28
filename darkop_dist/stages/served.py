"""The model of a run that a server holds: kept with the run, so that it ends with the model that it began with."""

from __future__ import annotations

from typing import Any

from darkop_dist.config.operator import Operator
from darkop_dist.errors import FingerprintError
from darkop_dist.runs import RunDirectory, read_json, write_json
from darkop_dist.scoring.contract import Scorer

SCHEMA = "darkop.served/1"


def keep_served(run: RunDirectory, operator: Operator, scorer: Scorer) -> None:
    """Note which model the server has; a run that goes on after a pause must find the same one.

    Args:
        run: the run, new or unfinished.
        operator: the section of the document.
        scorer: what it has become.

    Raises:
        FingerprintError: the run began with another model of that name.
    """
    if not operator.serve.is_remote:
        run.served.unlink(missing_ok=True)
        return
    told = {"checkpoint": operator.checkpoint, "model": operator.serve.model, "at": operator.serve.at}
    before = read_served(run)
    same = before is not None and all(before[key] == told[key] for key in ("checkpoint", "model"))
    if before is not None and same and before["fingerprint"] != scorer.fingerprint:
        raise FingerprintError(
            f"{operator.serve.at}: the model is now {scorer.fingerprint}, and the run began with "
            f"{before['fingerprint']}. Serve that model again, or begin a new run with --force"
        )
    write_json(run.served, SCHEMA, {**told, "fingerprint": scorer.fingerprint})


def read_served(run: RunDirectory) -> dict[str, Any] | None:
    """What ``keep_served`` noted; None for a run whose model nobody served.

    Raises:
        InputFileError: the file is damaged.
    """
    return read_json(run.served, SCHEMA) if run.served.exists() else None
