"""Trying items, on any backend, until each is done or given up."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from darkop_dist.errors import ChunkError, DarkopError, RunError
from darkop_dist.execution.backend import Answer, Backend, Call
from darkop_dist.execution.ledger import LedgerEntry
from darkop_dist.execution.runner.work import ItemAttempt, attempt_item, item_entry

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0
MOST_AHEAD = 256


@dataclass(frozen=True)
class ItemResult:
    """What became of an item in the end.

    Attributes:
        entry: its line of the ledger.
        value: the result; None if it was given up.
        allowed: it was given up with an error that may pass.
    """

    entry: LedgerEntry
    value: Any = None
    allowed: bool = False


@dataclass
class _Tries:
    """An item on its way."""

    index: int
    reasons: list[str] = field(default_factory=list)
    suspected: bool = False
    avoid: set[str] = field(default_factory=set)


def run_items(
    items: Sequence[Any], backend: Backend, *, retries: int, timeout_s: float | None = None
) -> Iterator[ItemResult]:
    """Try all items and give their results in the order of the items, whatever the order in which they arrive.

    What may succeed is tried again with growing pauses, on another worker if there is one. No item begins that is more
    than ``MOST_AHEAD`` places ahead of the first that is not done, so that few results wait for their turn.

    Args:
        items: what the function of the backend's work gets.
        backend: made with ``ItemWork.to_bytes()``.
        retries: how often an item is tried again.
        timeout_s: after so many seconds an item counts as hanging; None for never.

    Raises:
        ChunkError: the processor failed, with the item that shows it.
        RunError: the cluster was lost.
    """
    state = _Trying(items, backend, retries, timeout_s)
    for index in range(len(items)):
        while index not in state.results:
            state.advance(index)
        yield state.results.pop(index)


class _Trying:
    """What is waiting, in flight and done."""

    def __init__(self, items: Sequence[Any], backend: Backend, retries: int, timeout_s: float | None) -> None:
        self._items, self._backend, self._retries, self._timeout_s = items, backend, retries, timeout_s
        self._next = 0
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, _Tries]] = []
        self._flying: dict[int, _Tries] = {}
        self.results: dict[int, ItemResult] = {}

    def advance(self, first: int) -> None:
        """Send what may be sent, and take what has come; ``first`` is the first item without a result."""
        while len(self._flying) < self._backend.width:
            if self._waiting and self._waiting[0][0] <= time.monotonic():
                self._send(heapq.heappop(self._waiting)[2])
            elif self._next < min(len(self._items), first + MOST_AHEAD):
                self._send(_Tries(self._next))
                self._next += 1
            else:
                break
        pause = max(self._waiting[0][0] - time.monotonic(), 0.0) if self._waiting else None
        if not self._flying:
            time.sleep(pause or 0.0)
            return
        for answer in self._backend.answers(pause):
            self._hear(answer)

    def _send(self, tries: _Tries) -> None:
        token = next(self._numbers)
        self._flying[token] = tries
        key = f"item-{tries.index}-{len(tries.reasons)}"
        arguments = (self._items[tries.index], tries.index, tries.suspected, self._timeout_s, key)
        self._backend.submit(Call(token, attempt_item, arguments, frozenset(tries.avoid), key))

    def _hear(self, answer: Answer) -> None:
        tries = self._flying.pop(answer.token)
        if answer.error is not None:
            raise answer.error if isinstance(answer.error, DarkopError) else _cannot_carry_out(answer.error)
        if answer.lost:
            entry = item_entry(self._items[tries.index], tries.index, "failed", answer.lost, worker=answer.worker)
            attempt = ItemAttempt("transient", entry)
        else:
            attempt = answer.value
        if attempt.kind == "done":
            self._conclude(tries, attempt, "retried" if tries.reasons else attempt.entry.status)
            return
        tries.reasons.append(attempt.entry.reason)
        tries.avoid.add(attempt.entry.worker)
        tries.suspected = tries.suspected or attempt.suspect
        if attempt.kind == "bug" and not attempt.allowed:
            raise ChunkError(
                f"the processor failed in {_named(attempt.entry)}\n{attempt.trace}"
                "Correct it; results of other items were discarded."
            )
        if attempt.kind in ("transient", "memory", "storage") and len(tries.reasons) <= self._retries:
            wait = min(max(FIRST_WAIT_S * 2 ** (len(tries.reasons) - 1), attempt.wait_s or 0.0), LONGEST_WAIT_S)
            heapq.heappush(self._waiting, (time.monotonic() + wait, next(self._numbers), tries))
            return
        self._conclude(tries, attempt, "failed")

    def _conclude(self, tries: _Tries, attempt: ItemAttempt, status: Any) -> None:
        counted = {why: tries.reasons.count(why) for why in dict.fromkeys(tries.reasons)}
        reason = "; ".join(f"{why} ({times} times)" if times > 1 else why for why, times in counted.items())
        attempts = len(tries.reasons) + (status != "failed")
        entry = replace(attempt.entry, status=status, reason=reason, attempts=attempts)
        self.results[tries.index] = ItemResult(entry, attempt.value, attempt.allowed)


def _named(entry: LedgerEntry) -> str:
    where = f" [{entry.start}:{entry.stop}]" if entry.stop else ""
    return f"{entry.dataset}: {entry.file}{where}" if entry.dataset else entry.file


def _cannot_carry_out(error: BaseException) -> RunError:
    return RunError(
        f"a worker could not carry out a call ({type(error).__name__}: {error}). Compare what is installed on the "
        "workers with what is installed here."
    )
