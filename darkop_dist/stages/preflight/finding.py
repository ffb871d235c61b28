"""What one check found, and how numbers are written for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from darkop_dist.errors import DarkopError, InputFileError, InputValueError

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check says of one subject.

    Attributes:
        check: which check, such as ``memory``.
        subject: of what: a dataset, a site, a directory.
        status: ``ok``; ``warning``, which does not stop a run; ``failed``; or ``skipped``, with the reason.
        message: what was found.
        what_to_do: how to mend it; empty if there is nothing to mend.
        numbers: what was measured or estimated, with the unit in the name.
    """

    check: str
    subject: str
    status: Status
    message: str
    what_to_do: str = ""
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


def failure(check: str, subject: str, error: DarkopError) -> Finding:
    """A finding that says what an error says."""
    if isinstance(error, InputFileError):
        return Finding(check, subject, "failed", f"{error.file}: {error.problem}", error.what_to_do)
    if isinstance(error, InputValueError):
        return Finding(check, subject, "failed", f"{error.thing}: {error.problem}", error.what_to_do)
    return Finding(check, subject, "failed", str(error))


def in_bytes(number: float) -> str:
    """Bytes as people write them.

    >>> in_bytes(1_300), in_bytes(560e6), in_bytes(999.96e6)
    ('1.3 kB', '560 MB', '1 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if float(f"{number:.3g}") < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def in_time(seconds: float) -> str:
    """A duration as people write it.

    >>> in_time(0.004), in_time(75), in_time(7300), in_time(200000)
    ('4 ms', '75 s', '2.0 h', '2.3 days')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
