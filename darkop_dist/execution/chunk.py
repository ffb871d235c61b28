"""Processing one chunk, in whatever process that happens."""

from __future__ import annotations

import time
import traceback
import zlib
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import uproot

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import ChunkError, DarkopError, InputFileError
from darkop_dist.events.files import forget
from darkop_dist.events.read import has_column, is_damage, open_events
from darkop_dist.events.weights import generator_weights
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.execution.plan import Chunk
from darkop_dist.histograms.output import Output

CORRUPT = (uproot.DeserializationError, zlib.error, EOFError)
FIRST_WAIT_S = 0.2


@dataclass(frozen=True)
class ChunkResult:
    """What a chunk gave.

    Attributes:
        entry: its line in the ledger.
        output: what the processor returned; None if the chunk failed or held no rows.
    """

    entry: LedgerEntry
    output: Output | None


@dataclass(frozen=True)
class Task:
    """What a worker needs besides the processor.

    Attributes:
        chunk: the range of entries.
        record: the dataset.
        retries: how often an input/output error is tried again.
        fingerprint: of the operator; None without one.
    """

    chunk: Chunk
    record: DatasetRecord
    retries: int
    fingerprint: str | None


def process_chunk(task: Task, processor: Any) -> ChunkResult:
    """Read, select, score and fill one chunk.

    An error of input or output is tried again with growing pauses; after the last try the chunk is given up and its
    reason goes to the ledger.

    Raises:
        UserError: the file or its values cannot be used at all; another try would not help.
        ChunkError: the processor itself failed; names the chunk.
    """
    chunk = task.chunk
    if chunk.stop == chunk.start:
        weight = None if task.record.kind == "data" else chunk.file_sum_weights
        return ChunkResult(_entry(task, "skipped", "the file holds no rows", 1, None, weight), None)
    reason = ""
    wall, cpu = time.perf_counter(), time.process_time()
    for attempt in range(1, task.retries + 2):
        try:
            events = _open(task)
            output = processor.process(events)
            sum_weights = _generated_weight(task, events)
        except DarkopError:
            raise
        except CORRUPT as error:
            raise _unreadable(chunk, error) from error
        except ak.errors.FieldNotFoundError as error:
            raise InputFileError(
                chunk.path,
                f"lacks a branch that the processor reads ({str(error).strip().splitlines()[0]})",
                "Use files that hold it, or a processor that does without it",
            ) from error
        except OSError as error:
            if is_damage(chunk.path, error):
                raise _unreadable(chunk, error) from error
            reason = f"{type(error).__name__}: {error}"
            forget(chunk.path)
            time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1) if attempt <= task.retries else 0.0)
            continue
        except Exception as error:
            if _raised_by_uproot(error):
                raise _unreadable(chunk, error) from error
            raise ChunkError(
                f"the processor failed in chunk {chunk.name}\n{traceback.format_exc(limit=-6)}"
                "Correct the processor; nothing was written."
            ) from error
        status = "retried" if attempt > 1 else "done"
        times = (time.perf_counter() - wall, time.process_time() - cpu)
        return ChunkResult(_entry(task, status, reason, attempt, output, sum_weights, times), output)
    times = (time.perf_counter() - wall, time.process_time() - cpu)
    return ChunkResult(_entry(task, "failed", reason, task.retries + 1, None, None, times), None)


def _open(task: Task) -> ak.Array:
    chunk = task.chunk
    return open_events(chunk.path, task.record, chunk.start, chunk.stop, label=chunk.label)


def _raised_by_uproot(error: Exception) -> bool:
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(name.split(".")[0] == "uproot" for name in frames[-3:])


def _generated_weight(task: Task, events: ak.Array) -> float | None:
    chunk = task.chunk
    if task.record.kind == "data":
        return None
    if chunk.file_sum_weights is not None:
        return chunk.file_sum_weights * (chunk.stop - chunk.start) / chunk.file_entries
    if task.record.format == "nanoaod" and has_column(events, "genWeight"):
        return float(np.sum(generator_weights(events)))
    return None


def _unreadable(chunk: Chunk, error: Exception) -> InputFileError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return InputFileError(
        chunk.path,
        f"is truncated or corrupt in entries {chunk.start} to {chunk.stop} ({reason})",
        "Download it again and compare its checksum.",
    )


def _entry(
    task: Task,
    status: Any,
    reason: str,
    attempts: int,
    output: Output | None = None,
    sum_weights: float | None = None,
    times: tuple[float, float] = (0.0, 0.0),
) -> LedgerEntry:
    chunk = task.chunk
    cutflow = output["cutflow"].get(chunk.dataset, {}) if output else {}
    return LedgerEntry(
        index=chunk.index,
        dataset=chunk.dataset,
        file=chunk.path,
        start=chunk.start,
        stop=chunk.stop,
        status=status,
        reason=reason,
        attempts=attempts,
        entries=chunk.stop - chunk.start if output is not None else 0,
        selected={region: int(list(steps.values())[-1][0]) for region, steps in cutflow.items() if steps},
        sum_weights=sum_weights,
        wall_s=times[0],
        cpu_s=times[1],
        bytes=chunk.bytes,
        fingerprint=task.fingerprint,
    )
