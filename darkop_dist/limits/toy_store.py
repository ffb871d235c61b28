"""Toys that were computed already are not computed again: each batch is a file, named after all that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from darkop_dist.errors import InputFileError
from darkop_dist.limits.toys import Runner, ToyBatch, ToyTask
from darkop_dist.limits.workspace import Workspace
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.toys/3"  # a new number where the same task would give other toys


def kept_in(directory: Path, runner: Runner) -> Runner:
    """A runner that takes the batches of earlier runs from a directory and keeps there what it computes.

    A batch is kept as soon as it is there, so that what was done survives an interruption. Files that cannot be read
    are computed again; a batch that was lost is not kept.

    Args:
        directory: where the files are; it is made if needed.
        runner: computes what is missing.
    """

    def run(workspace: Workspace, tasks: Sequence[ToyTask]) -> Iterable[ToyBatch]:
        missing = []
        for task in tasks:
            found = _read(directory / _name(workspace, task), task)
            if found is None:
                missing.append(task)
            else:
                yield found
        for batch in runner(workspace, missing) if missing else ():
            if not batch.lost:
                directory.mkdir(parents=True, exist_ok=True)
                write_json(directory / _name(workspace, batch.task), SCHEMA, asdict(batch))
            yield batch

    return run


def _name(workspace: Workspace, task: ToyTask) -> str:
    content = json.dumps([SCHEMA, workspace.sha256, asdict(task)])
    return f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"


def _read(path: Path, task: ToyTask) -> ToyBatch | None:
    if not path.exists():
        return None
    try:
        content = read_json(path, SCHEMA)
        batch = TypeAdapter(ToyBatch).validate_python(
            {key: content.get(key) for key in ("task", "q", "failures", "discovery")}
        )
    except (InputFileError, ValidationError):
        return None
    return batch if batch.task == task else None
