"""How often and how long a request is tried: only what is safe, only while the deadline lasts."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from darkop_dist.scoring.remote.transport import BusyError, OutageError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True)
class Patience:
    """How patient a client is.

    Attributes:
        deadline_s: for a request with all its tries, in seconds.
        tries: how often a request is tried that met an outage; a busy server may be asked until the deadline.
    """

    deadline_s: float
    tries: int


def insist(attempt: Callable[[float], Result], patience: Patience, draw: random.Random) -> Result:
    """Try until an answer comes, with pauses that grow; scores are a pure function, so a second request is safe.

    A server that names a time to wait is left alone for that long. What it refuses is not tried again.

    Args:
        attempt: one try, told how many seconds are left.
        patience: limits.
        draw: draws the pauses, so that many clients do not come back at once.

    Raises:
        OutageError: no try succeeded, or the server wants to be left alone beyond the deadline.
        RejectedError: it refuses the request.
    """
    ends = time.monotonic() + patience.deadline_s
    failed = 0
    while True:
        try:
            return attempt(ends - time.monotonic())
        except BusyError as error:
            pause, why = error.retry_after_s * (1 + 0.1 * draw.random()), error
        except OutageError as error:
            failed += 1
            if failed >= patience.tries:
                raise OutageError(f"{error} (tried {failed} times)" if failed > 1 else str(error)) from error
            pause = min(FIRST_PAUSE_S * 2 ** (failed - 1), LONGEST_PAUSE_S) * (0.5 + draw.random())
            why = error  # type: ignore[assignment]
        if time.monotonic() + pause >= ends:
            raise OutageError(
                f"{why}; another try in {pause:.2g} s is beyond the deadline of {patience.deadline_s:g} s"
            )
        logger.info("%s; tried again in %.2g s", why, pause)
        time.sleep(pause)
