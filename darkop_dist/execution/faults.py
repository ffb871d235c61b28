"""What an error says about the file, the worker or the processor, and so what to do about it.

Errors are judged where they are raised, since a traceback does not survive the way to another process, and with their
whole chain of causes: coffea and others wrap an error of the storage in a plain Exception.

What is decided by type and number follows from trials against a server that fails on command
(tests/execution/test_faults.py): fsspec, for one, hands uproot its errors as data, so that a connection that broke
within a basket arrives as ``TypeError: 'ClientPayloadError' object is not subscriptable``.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from darkop_dist.errors import DarkopError, ScoringOutageError
from darkop_dist.events.remote import GONE, REFUSED, is_remote

Kind = Literal["transient", "damaged", "missing", "storage", "memory", "bug"]

READERS = {"uproot", "fsspec", "aiohttp", "fsspec_xrootd", "XRootD", "s3fs", "gcsfs", "pyarrow"}
OWN_READERS = tuple(f"darkop_dist.events.{name}" for name in ("read", "remote", "tables", "baskets", "files", "source"))
STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
WRONG_BYTES = {errno.EINVAL, errno.EOVERFLOW}
HANDED_ON = re.compile(r"'(\w+)' object is not subscriptable")
SHORT = re.compile(r"expected Chunk of length (\d+),\s*received (\d+) bytes")
QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")
LONGEST_REASON = 200


@dataclass(frozen=True)
class Fault:
    """What an error means.

    Attributes:
        kind: ``transient``: another try may help, best elsewhere. ``damaged``: the file's bytes are wrong. ``missing``:
            the file or its tree is not there, or may not be read. ``storage``: the output cannot be written.
            ``memory``: too little of it. ``bug``: the processor failed, and would again.
        reason: one line for the ledger.
        suspect: the bytes that arrived were wrong. It is transient once, since the way from the server may be to blame;
            a second time the file is damaged.
        retry_after_s: how long the server asks to be left alone; None if it does not say.
    """

    kind: Kind
    reason: str
    suspect: bool = False
    retry_after_s: float | None = None

    @property
    def retriable(self) -> bool:
        """Whether another try at the same file may help."""
        return self.kind in ("transient", "memory")


def classify(error: BaseException, path: str, *, suspected: bool = False) -> Fault:
    """Judge an error that ended an attempt at a chunk.

    Args:
        error: as it was caught, with its traceback, in the process that raised it.
        path: the file that was read; wrong bytes of a local file are damage at once.
        suspected: an earlier attempt at the same file met wrong bytes.
    """
    chain = tuple(_chain(error))
    silent = next((link for link in chain if isinstance(link, ScoringOutageError)), None)
    if silent is not None:  # whatever the network said to that is no word on the file
        return Fault("transient", reason(silent))
    judged = [(link, _judge(link, path)) for link in chain]
    kinds: dict[Kind, BaseException] = {}
    for link, kind in judged:
        if kind is not None:
            kinds.setdefault(kind, link)
    for telling in ("memory", "storage"):  # whatever else is said of them
        if telling in kinds:
            return Fault(telling, reason(kinds[telling]))
    status = next((link for link in chain if _status(link) is not None), None)
    if status is not None:
        return Fault(_judge_status(status, path), reason(error), retry_after_s=_retry_after(status))
    link, kind = next(((link, kind) for link, kind in judged if kind is not None), (error, "bug"))
    if kind == "damaged" and is_remote(path) and not suspected:
        return Fault("transient", reason(link), suspect=True)
    return Fault(kind, reason(link), suspect=kind == "damaged")


def reason(error: BaseException) -> str:
    """One line that says what happened; the query of an address, where tokens travel, is left out."""
    status = next((found for link in _chain(error) if (found := _status(link)) is not None), None)
    text = str(error).strip()
    short = SHORT.search(text)
    handed_on = HANDED_ON.search(text)
    if status is not None:
        said = f"the server answers with status {status}"
    elif short:
        said = f"{short[2]} bytes came where {short[1]} were asked for"
    elif handed_on and _raised_by(error, "uproot"):
        said = f"the connection failed within a read ({handed_on[1]})"
    elif isinstance(error, OSError) and error.strerror:
        said = error.strerror
    else:
        whole = _comes_from(error, "uproot")  # what it failed to read stands on the lines that follow
        first = text if whole else text.partition("\n")[0]
        said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return QUERY.sub(r"\1", " ".join(said.split()))[:LONGEST_REASON]


def _judge(error: BaseException, path: str) -> Kind | None:
    """What one error of a chain says by itself; None if it only wraps another, or is the processor's own."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "memory"
    if isinstance(error, DarkopError):
        return None
    if isinstance(error, OSError):
        return _judge_os(error, path)
    if _comes_from(error, "aiohttp"):
        return "missing" if isinstance(error, ValueError) else "transient"  # an address that is none, or the network
    if not _raised_while_reading(error):
        return None
    if type(error).__name__ == "KeyInFileError":
        return "missing"
    handed_on = HANDED_ON.search(str(error)) if isinstance(error, TypeError) else None
    if handed_on and _raised_by(error, "uproot"):
        return "missing" if handed_on[1] in ("FileNotFoundError", "PermissionError") else "transient"
    return "damaged"


def _judge_os(error: OSError, path: str) -> Kind | None:
    if "Certificate" in type(error).__name__:
        return "missing"
    if error.errno in STORAGE:
        return "storage"
    if error.errno in MISSING or isinstance(error, (FileNotFoundError, PermissionError)):
        return "missing" if _is_about(error, path) else None
    if error.errno in WRONG_BYTES and _raised_while_reading(error):
        return "damaged"
    if error.errno is None and (SHORT.search(str(error)) or _raised_by(error, "pyarrow")):
        return "damaged"
    return "transient"


def _judge_status(error: BaseException, path: str) -> Kind:
    """What an answer over HTTP means: a refusal of another file than the one that is read is the processor's affair."""
    if _status(error) not in (*GONE, *REFUSED):
        return "transient"
    return "missing" if _is_about(error, path) else "bug"


def _is_about(error: BaseException, path: str) -> bool:
    """Whether an error names the file that is read, rather than one of the processor's own."""
    return path.partition("?")[0].rsplit("/", 1)[-1] in f"{getattr(error, 'filename', '')} {error}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes; what an error merely followed upon counts only where the error is a plain wrapper."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        wraps = type(link) in (Exception, RuntimeError) or isinstance(link, (DarkopError, OSError))
        link = link.__cause__ or (link.__context__ if wraps and not link.__suppress_context__ else None)


def _modules(error: BaseException) -> list[str]:
    return [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]


def _raised_while_reading(error: BaseException) -> bool:
    """Whether a reading library stands in the traceback: none of them calls a processor, so the error is below it."""
    return any(name.split(".")[0] in READERS or name in OWN_READERS for name in _modules(error))


def _raised_by(error: BaseException, package: str) -> bool:
    """Whether the innermost frames belong to a package."""
    return any(name.split(".")[0] == package for name in _modules(error)[-3:])


def _comes_from(error: BaseException, package: str) -> bool:
    return any(kind.__module__.split(".")[0] == package for kind in type(error).__mro__)


def _status(error: BaseException) -> int | None:
    """The status of an answer over HTTP, of aiohttp, urllib or requests."""
    found = getattr(error, "status", None) if _comes_from(error, "aiohttp") or _comes_from(error, "urllib") else None
    if found is None and _comes_from(error, "requests"):
        found = getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) and found >= 400 else None


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(float(headers.get("Retry-After", "")), 0.0)
    except ValueError:
        return None
