"""What a training depends on and what it lost: kept with the run, so that nothing after it can forget that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from darkop_dist.errors import InputFileError, LedgerError
from darkop_dist.execution import Closure, Ledger, LedgerEntry, Task, plan_chunks
from darkop_dist.execution.keys import hash_room, run_key
from darkop_dist.runs import RunDirectory, read_json, write_json
from darkop_dist.stages.search import Search, dataset_names
from darkop_dist.stages.settings import search_settings

SCHEMA = "darkop.training/2"
REASONS_SHOWN = 10


@dataclass(frozen=True)
class TrainingPlan:
    """What a training will read.

    Attributes:
        key: what it depends on, as one hash.
        tasks: the chunks of all datasets that it reads.
    """

    key: str
    tasks: tuple[Task, ...]

    def of(self, names: Sequence[str]) -> tuple[Task, ...]:
        """The chunks of some datasets."""
        return tuple(task for task in self.tasks if task.chunk.dataset in names)


@dataclass(frozen=True)
class TrainingRecord:
    """What a training depended on and what it lost.

    Attributes:
        key: of its plan.
        closure: what became of each dataset.
        lost: the chunks that were lost.
        may_pass: a chunk was lost for a reason that may be gone another time, and that the key does not tell.
    """

    key: str
    closure: tuple[Closure, ...]
    lost: tuple[LedgerEntry, ...]
    may_pass: bool

    @property
    def losses(self) -> tuple[str, ...]:
        """A sentence for each dataset that is not whole."""
        return tuple(f"{closure.dataset}: {closure.loss}" for closure in self.closure if not closure.closed)

    def require_whole(self, accepted: Iterable[str]) -> None:
        """Refuse a training that lost events.

        Args:
            accepted: datasets whose loss the user accepts by name.

        Raises:
            LedgerError: names each dataset, what was lost of it and why.
        """
        accepted = set(accepted)
        missing = [c for c in self.closure if not c.closed and c.dataset not in accepted]
        if not missing:
            return
        lines = [f"  {c.dataset}: lost {c.loss}" for c in missing]
        names = [c.dataset for c in missing]
        reasons = [f"  {e.file} [{e.start}:{e.stop}]: {e.reason}" for e in self.lost if e.dataset in names]
        options = " ".join(f"--accept-loss {name}" for name in names)
        raise LedgerError(
            "\n".join(["the training lost events:", *lines, *reasons[:REASONS_SHOWN]])
            + "\nRepair the files and run again with --resume, which trains again where that may help, or accept the "
            f"loss by name: {options}"
        )


def plan_training(search: Search) -> TrainingPlan:
    """Open the files that a training reads: those of its background and of the signals that it is tested on.

    The key covers code, settings and the identity of every file, so that a file that has changed, or that cannot be
    read this time, gives another one.

    Raises:
        InputFileError: a file cannot be used.
    """
    document = search.document
    operator, limits, execution = document.operator, document.limits, document.execution
    training = operator.train if operator else None
    signals = limits.signal if limits else ()
    wanted = dataset_names(search.records, (*(training.datasets if training else ()), *signals))
    plan = plan_chunks(
        [dataset for dataset in search.datasets if dataset.record.name in wanted],
        chunk_events=execution.chunk_events,
        whole_files=bool(getattr(search.processor, "whole_files", False)),
        retries=execution.retries,
    )
    records = {record.name: record.model_copy(update={"files": ()}) for record in search.records}
    processor = search.processor(search_settings(search), None)
    content = {
        "run": dict(run_key(processor, None).parts),
        "operators": hash_room("operators"),
        "train": training.model_dump(mode="json") if training else None,
        "signals": list(signals),
        "files": list(dict.fromkeys((c.dataset, c.label, c.identity if not c.lost else "lost") for c in plan)),
        "chunks": execution.chunk_events,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    access = search.document.access
    tasks = (Task(c, records[c.dataset], execution.retries, None, execution.chunk_timeout_s, access) for c in plan)
    return TrainingPlan(key, tuple(tasks))


def record_of(plan: TrainingPlan, entries: Sequence[LedgerEntry]) -> TrainingRecord:
    """What to keep of a training.

    Args:
        plan: what it was to read.
        entries: what became of the chunks.
    """
    lost = tuple(entry for entry in entries if entry.status == "failed")
    planned = {task.chunk.index for task in plan.tasks if task.chunk.lost}
    return TrainingRecord(plan.key, Ledger(tuple(entries)).closure(), lost, any(e.index not in planned for e in lost))


def note_training(record: TrainingRecord, run: RunDirectory) -> None:
    """Write down what the training of a run depended on and lost."""
    write_json(run.training, SCHEMA, asdict(record))


def training_of(run: RunDirectory) -> TrainingRecord | None:
    """What ``note_training`` wrote; None if the run trained nothing.

    Raises:
        InputFileError: the file is damaged.
    """
    if not run.training.exists():
        return None
    body: dict[str, Any] = read_json(run.training, SCHEMA)
    try:
        closure = tuple(Closure(**found) for found in body["closure"])
        lost = tuple(LedgerEntry(**found) for found in body["lost"])
        return TrainingRecord(str(body["key"]), closure, lost, bool(body["may_pass"]))
    except (KeyError, TypeError) as error:
        raise InputFileError(str(run.training), f"is damaged ({error})", "Run the search again.") from error


def is_trained(plan: TrainingPlan, run: RunDirectory) -> bool:
    """Whether a run holds the checkpoint that a training would now give again."""
    if not run.checkpoint.is_dir():
        return False
    try:
        record = training_of(run)
    except InputFileError:  # another version wrote it
        return False
    return record is not None and record.key == plan.key and not record.may_pass


def require_whole_training(run: RunDirectory, accepted: Iterable[str]) -> None:
    """Refuse to go on with an operator whose training lost events; a run that trained nothing is whole.

    Raises:
        LedgerError: the loss is not accepted.
    """
    record = training_of(run)
    if record is not None:
        record.require_whole(accepted)
