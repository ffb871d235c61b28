"""What coffea's Runner asks for, as a call that a worker can try once and judge.

The Runner wraps its function in ``automatic_retries``, which repeats whatever fails, bugs included, at once and on the
same worker, and returns None for what ``skipbadfiles`` lets pass: nobody hears of it. Here the wrapper is taken off,
and its intent kept: which errors may pass.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import cloudpickle
import pyarrow as pa
from coffea.processor.executor import FileMeta, WorkItem

from darkop_dist.config.access import Access
from darkop_dist.events.remote import root_options
from darkop_dist.execution.backend import with_own_modules
from darkop_dist.execution.deadline import deadline
from darkop_dist.execution.faults import Fault, Kind, classify
from darkop_dist.execution.keys import own_sources
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.execution.who import worker_name

DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class ItemWork:
    """A function for items.

    Attributes:
        function: called with an item; its result is accumulated.
        allowed: errors that may pass, at the price of the item.
        homes: names of the modules that hold the user's classes.
    """

    function: Callable[[Any], Any]
    allowed: tuple[type[BaseException], ...] = ()
    homes: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The work as bytes; the user's own modules travel along."""
        with with_own_modules(*filter(own_sources, self.homes)):
            return bytes(cloudpickle.dumps(self))


@dataclass(frozen=True, slots=True)
class ItemAttempt:
    """What one try at an item gave.

    Attributes:
        kind: ``done``, or why it was not.
        entry: the item's line of the ledger.
        value: the result.
        allowed: the error may pass.
        suspect: wrong bytes came over the network.
        wait_s: how long the server asks to be left alone.
        trace: the traceback of a bug.
    """

    kind: Kind | Literal["done"]
    entry: LedgerEntry
    value: Any = None
    allowed: bool = False
    suspect: bool = False
    wait_s: float | None = None
    trace: str = ""


@dataclass(frozen=True)
class FreshProcessor:
    """A processor made anew for every item, as coffea does it: what it keeps in itself reaches no other item."""

    payload: bytes

    def __call__(self, events: Any) -> Any:
        """Process events."""
        processor = cloudpickle.loads(self.payload)
        return processor.process(events) if hasattr(processor, "process") else processor(events)


def unwrapped(function: Callable[[Any], Any]) -> ItemWork:
    """The work behind the function that a Runner hands to its executor; any other function as it is."""
    if not (isinstance(function, partial) and _name(function) == "automatic_retries"):
        return ItemWork(function, homes=(getattr(function, "__module__", "") or "",))
    _, skip, inner, *rest = function.args
    inner = partial(inner, *rest) if rest else inner
    allowed = (OSError,) if skip is True else tuple(skip or ())
    homes = [found.__module__ for found in (*inner.args, *allowed) if isinstance(found, type)]
    processor = inner.keywords.get("processor_instance") if isinstance(inner, partial) else None
    if processor is not None:
        if isinstance(processor, bytes):
            processor = cloudpickle.loads(pa.input_stream(pa.py_buffer(processor), compression="lz4").read())
        made = processor if _name(processor) else type(processor)
        homes.append(made.__module__)
        with with_own_modules(*filter(own_sources, [made.__module__])):
            inner = partial(inner, processor_instance=FreshProcessor(cloudpickle.dumps(processor)))
    return ItemWork(inner, allowed, tuple(homes))


def attempt_item(
    work: ItemWork,
    item: Any,
    index: int,
    suspected: bool,  # noqa: FBT001  # calls travel with their arguments in order
    timeout_s: float | None,
    key: str,
) -> ItemAttempt:
    """Runs in a worker: one try at one item.

    Args:
        work: the function.
        item: what it gets.
        index: place of the item.
        suspected: wrong bytes came from its file before.
        timeout_s: after so many seconds the item counts as hanging; None for never.
        key: by which the driver knows a worker that hangs.
    """
    path = str(getattr(item, "filename", item))
    started, wall, cpu = time.time(), time.perf_counter(), time.thread_time()

    def entry(status: Any, reason: str, entries: int = 0) -> LedgerEntry:
        times = {"wall_s": time.perf_counter() - wall, "cpu_s": time.thread_time() - cpu, "started_s": started}
        return item_entry(item, index, status, reason, entries=entries, worker=worker_name(), **times)

    try:
        with deadline(timeout_s, key):
            value = _with_deadlines(work.function, item)(item)
        _require_own(value, item)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is judged
        fault = classify(error, path, suspected=suspected)
        *_, first = causes = tuple(_causes(error))
        allowed = any(isinstance(link, work.allowed) for link in causes)
        trace = "".join(traceback.format_exception(first, limit=-4, chain=False)) if fault.kind == "bug" else ""
        return _failed(fault, entry("failed", fault.reason), allowed=allowed, trace=trace)
    if value is None:
        return ItemAttempt("missing", entry("failed", "the function gave no result"))
    return ItemAttempt("done", entry("done", "", len(item) if isinstance(item, WorkItem) else 0), value)


def item_entry(item: Any, index: int, status: Any, reason: str, **measured: Any) -> LedgerEntry:
    """The line of the ledger of an item; a file whose metadata are wanted counts no entries yet."""
    known: dict[str, Any] = {"entries": 0, "wall_s": 0.0, "cpu_s": 0.0, "worker": "", "started_s": 0.0, **measured}
    start, stop = getattr(item, "entrystart", 0), getattr(item, "entrystop", 0)
    return LedgerEntry(
        index=index,
        dataset=str(getattr(item, "dataset", "")),
        file=str(getattr(item, "filename", item)),
        start=start,
        stop=stop,
        status="skipped" if status == "done" and isinstance(item, WorkItem) and start == stop else status,
        reason=reason,
        attempts=1,
        selected={},
        sum_weights=None,
        bytes=0,
        fingerprint=None,
        **known,
    )


def _failed(fault: Fault, entry: LedgerEntry, *, allowed: bool, trace: str) -> ItemAttempt:
    return ItemAttempt(
        fault.kind, entry, allowed=allowed, suspect=fault.suspect, wait_s=fault.retry_after_s, trace=trace
    )


def _require_own(value: Any, item: Any) -> None:
    """Check that a result says it is the item's: the Runner writes into it what was processed."""
    if isinstance(item, WorkItem) and isinstance(value, dict) and value.get("processed", {item}) != {item}:
        raise ValueError(f"the result for {item} says that it holds {value['processed']}")


def _with_deadlines(function: Callable[[Any], Any], item: Any) -> Callable[[Any], Any]:
    """The Runner's function with time-outs that hold: over fsspec uproot ignores the one that the Runner gives it."""
    if not isinstance(function, partial) or not isinstance(item, FileMeta | WorkItem):
        return function
    name = _name(function)
    if name == "_work_function" and function.args[0] == "root":
        given = function.keywords["uproot_options"]
        return partial(function, uproot_options=_options(item.filename, function.args[1], given))
    if name == "metadata_fetcher_root" and len(function.args) == 3:
        timeout_s, align, given = function.args
        return partial(function.func, timeout_s, align, _options(item.filename, timeout_s, given))
    return function


def _options(path: str, timeout_s: float | None, given: dict[str, Any]) -> dict[str, Any]:
    if "handler" in given:
        return given
    return {**root_options(path, Access(timeout_s=given.get("timeout", timeout_s) or DEFAULT_TIMEOUT_S)), **given}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _name(function: Any) -> str:
    return str(getattr(getattr(function, "func", function), "__name__", ""))
