"""What the models of a replica share: the threads, and whose turn it is to compute."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

UNMEASURED_S = 1.0
"""What clients are told to wait before the first call has shown how fast the models are."""


class Accelerator:
    """Lets one model compute at a time, first come first served.

    Two calls at once would share the same cores or the same GPU: neither would end sooner, and both would need memory.

    Attributes:
        model_thread: where models compute.
        side_threads: where the next batch is joined and checked while a model computes.
        backlogs: by model, seconds until what it has taken on is done; None before its first call.
    """

    def __init__(self) -> None:
        self.model_thread = ThreadPoolExecutor(1, thread_name_prefix="darkop-model")
        self.side_threads = ThreadPoolExecutor(2, thread_name_prefix="darkop-side")
        self.backlogs: dict[str, Callable[[], float | None]] = {}
        self._taken = False
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def is_taken(self) -> bool:
        """A model computes."""
        return self._taken

    @property
    def is_wanted(self) -> bool:
        """Somebody waits for a turn."""
        return any(not turn.done() for turn in self._queue)

    def take_free_turn(self) -> None:
        """Take the turn while nobody has it; it must be given back."""
        self._taken = True

    async def take_turn(self) -> None:
        """Wait until it is the caller's turn; every turn must be given back."""
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back_turn()
            raise

    def give_back_turn(self) -> None:
        """Let the next one compute."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False

    def retry_after_s(self) -> float:
        """Seconds until everything that was taken on is done, from the measured rates."""
        backlogs = [backlog() for backlog in self.backlogs.values()]
        return sum(UNMEASURED_S if backlog is None else backlog for backlog in backlogs)

    def close(self) -> None:
        """Let the threads end."""
        self.model_thread.shutdown(wait=False, cancel_futures=True)
        self.side_threads.shutdown(wait=False, cancel_futures=True)
