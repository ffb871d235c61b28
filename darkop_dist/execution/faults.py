"""What an error means for a chunk: another try may help, another copy may, nothing may, or the processor has a bug."""

from __future__ import annotations

import errno
import traceback
import zlib
from typing import Literal

import uproot

Fault = Literal["transient", "damaged", "missing", "storage", "memory", "bug"]
CORRUPT = (uproot.DeserializationError, zlib.error, EOFError)


def classify(error: BaseException, path: str) -> Fault:
    """What an error that was raised while a chunk was processed means."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, CORRUPT):
        return "damaged"
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return "storage"
        return "damaged" if error.errno is None and "://" not in path and not isinstance(error, TimeoutError) else "transient"
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return "damaged" if any(name.split(".")[0] == "uproot" for name in frames[-3:]) else "bug"


def reason(error: BaseException) -> str:
    """The error in one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}"
