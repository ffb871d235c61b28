"""A thread that waits for scores from elsewhere says so, and whoever runs it may let another one work meanwhile.

The code that waits says ``with waiting():``; whoever runs chunks says ``with on_waiting(meanwhile):`` around one, where
``meanwhile`` gives a context that is entered when the wait begins and left when it ends. Without that, waiting is
nothing but waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Meanwhile = Callable[[], AbstractContextManager[object]]


class _Here(threading.local):
    meanwhile: Meanwhile | None = None


_HERE = _Here()


def waiting() -> AbstractContextManager[object]:
    """The context for a wait of this thread."""
    return nullcontext() if _HERE.meanwhile is None else _HERE.meanwhile()


def is_elsewhere(scorer: object) -> bool:
    """Whether a scorer may wait for somebody else; it says so with an attribute ``waits``."""
    return bool(getattr(scorer, "waits", False))


@contextmanager
def on_waiting(meanwhile: Meanwhile) -> Iterator[None]:
    """Within, waits of this thread enter what ``meanwhile`` gives."""
    before, _HERE.meanwhile = _HERE.meanwhile, meanwhile
    try:
        yield
    finally:
        _HERE.meanwhile = before
