"""How often and how long a request is tried: only what is safe, only while the deadline lasts."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from darkop_dist.scoring.remote.transport import BusyError, FailedError, OutageError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
LONGEST_BUSY_PAUSE_S = 1.0
FAILED_TRIES = 3
"""A model that failed will often fail again: one such answer counts as so many tries."""
USUAL = 20.0
"""An answer that takes so many times as long as the longest of the last ones is looked for elsewhere,"""
LEAST_USUAL_S = 5.0
"""but never before so many seconds."""


@dataclass(frozen=True)
class Patience:
    """How patient a client is.

    Attributes:
        deadline_s: for a request with all its tries, in seconds.
        tries: how often a request is tried that met an outage; a busy server may be asked until the deadline.
    """

    deadline_s: float
    tries: int


class Usual:
    """How long the last answers took, and so how long one try may take before a replica that hangs is given up."""

    def __init__(self) -> None:
        self._last: deque[tuple[float, int]] = deque(maxlen=64)

    def note(self, taken_s: float, events: int) -> None:
        """An answer to so many events came after so many seconds."""
        self._last.append((taken_s, events))

    def longest_s(self, left_s: float, failed: int, events: int) -> float:
        """The longest that a try may take of which others may follow; twice as long after each that failed.

        Args:
            left_s: of the deadline; a first try has at most half of it, so that another one can follow.
            failed: tries before this one.
            events: in the request; more events than before may take longer in proportion.
        """
        taken = [taken_s * max(1.0, events / known) for taken_s, known in tuple(self._last)]
        most = left_s if failed else left_s / 2
        return min(most, max(LEAST_USUAL_S, USUAL * max(taken)) * 2**failed) if taken else most


def insist(
    attempt: Callable[[float], Result], patience: Patience, draw: random.Random, usual: Usual, events: int
) -> Result:
    """Try until an answer comes, with pauses that grow; scores are a pure function, so a second request is safe.

    A server that names a time to wait is left alone for that long. What it refuses is not tried again. A try that takes
    far longer than answers did is given up for another one, which meets another replica if there is one.

    Args:
        attempt: one try, told how many seconds it has.
        patience: limits.
        draw: draws the pauses, so that many clients do not come back at once.
        usual: how long answers take; it learns from those that come.
        events: in the request, one or more.

    Raises:
        OutageError: no try succeeded, or the server wants to be left alone beyond the deadline.
        RejectedError: it refuses the request.
    """
    ends = time.monotonic() + patience.deadline_s
    spent = failed = busy = 0
    while True:
        began = time.monotonic()
        left_s = ends - began
        try:
            found = attempt(left_s if spent + 1 >= patience.tries else usual.longest_s(left_s, failed, events))
        except BusyError as error:
            busy += 1  # who says 0 s is not asked without a pause all the same
            least = min(FIRST_PAUSE_S * 2 ** min(busy - 1, 10), LONGEST_BUSY_PAUSE_S)
            pause, why = max(error.retry_after_s, least) * (1 + 0.1 * draw.random()), error
        except OutageError as error:
            failed += 1
            spent += FAILED_TRIES if isinstance(error, FailedError) else 1
            if spent >= patience.tries:
                raise OutageError(f"{error} (tried {failed} times)" if failed > 1 else str(error)) from error
            pause = min(FIRST_PAUSE_S * 2 ** (failed - 1), LONGEST_PAUSE_S) * (0.5 + draw.random())
            why = error  # type: ignore[assignment]
        else:
            usual.note(time.monotonic() - began, events)
            return found
        if time.monotonic() + pause >= ends:
            raise OutageError(
                f"{why}; another try in {pause:.2g} s is beyond the deadline of {patience.deadline_s:g} s"
            )
        logger.info("%s; tried again in %.2g s", why, pause)
        time.sleep(pause)
