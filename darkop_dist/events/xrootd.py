"""Ranges of files over xrootd: many in one request, each with a deadline, and errors with numbers.

The client is XRootD's own (PyPI: ``xrootd``). fsspec-xrootd, through which uproot would call it, was tried against a
real server: it keeps a handle that has failed, so that no later try of the process succeeds; it drops the client's
numbers; and a request of exactly 1024 pieces fails. The client, as it comes, waits 15 s where 2 are asked for, takes
a refused connection for a slow one, and asks a server that broke a connection again only after half an hour.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import importlib
import math
import os
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

SCHEMES = ("root://", "xroot://", "roots://", "xroots://")
MOST_PIECES = 1024
LARGEST_PIECE = 2_097_136
"""The protocol's limits of one request for many pieces; what is larger is read by itself."""
LARGEST_WHOLE = 2**23
"""Bytes that one request of a whole file asks for."""
CLOSE_S = 5
LONGEST_CONNECT_S = 30
CLIENT_SETTINGS = {"ConnectionRetry": 1, "StreamErrorWindow": 0, "TimeoutResolution": 1}
SERVER_NUMBERS = {
    3001: errno.EINVAL,
    3008: errno.ENOMEM,
    3010: errno.EACCES,
    3011: errno.ENOENT,
    3016: errno.EISDIR,
    3030: errno.EACCES,
}
"""Errors that a server answers with, https://xrootd.web.cern.ch/doc/dev56/XRdv520.htm; all others are EIO."""
_ended_quietly: set[Callable[[], None]] = set()
CLIENT_NUMBERS = {
    101: errno.EHOSTUNREACH,
    102: errno.ECONNRESET,
    103: errno.ETIMEDOUT,
    104: errno.ECONNRESET,
    107: errno.ECONNRESET,
    108: errno.ECONNREFUSED,
    109: errno.ECONNRESET,
    204: errno.EACCES,
    206: errno.ETIMEDOUT,
}
"""Errors of the client (XrdCl/XrdClStatus.hh): address, socket, connection, session, authentication and
time; all others are EIO."""
ERROR_ANSWER = 400


def is_xrootd(path: str) -> bool:
    """Whether an address is one of an xrootd server."""
    return path.startswith(SCHEMES)


class XrootdFile:
    """A file on a server: opened when it is first read, opened anew after an error.

    It belongs to fsspec's event loop: all coroutines run there.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        """Prepare; nothing is asked of the server yet.

        Args:
            url: address of the file.
            timeout_s: longest silence of the server.

        Raises:
            ImportError: the client is not installed.
        """
        self._client = _configured_client(timeout_s)
        self._url, self._timeout_s = url, max(math.ceil(timeout_s), 1)
        self._opening = asyncio.Lock()
        self._held: list[Any] = []
        weakref.finalize(self, _close_all, self._held)

    async def info(self) -> dict[str, Any]:
        """Size in bytes and time of last change of the file as it was opened.

        Raises:
            OSError: see ``read``.
        """
        file = await self._file()
        found = await self._asked(file, lambda heard: file.stat(True, self._timeout_s, heard))
        return {"size": int(found.size), "mtime": int(found.modtime)}

    async def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes of each range, given as (start, stop); fewer where the file ends before.

        Raises:
            OSError: with the number of the cause.
        """
        file = await self._file()
        small = [place for place, (start, stop) in enumerate(ranges) if stop - start <= LARGEST_PIECE]
        groups = [small[first : first + MOST_PIECES] for first in range(0, len(small), MOST_PIECES)]
        single = [place for place, (start, stop) in enumerate(ranges) if stop - start > LARGEST_PIECE]
        single += [place for group in groups if len(group) == 1 for place in group]
        found: dict[int, bytes] = {}
        for group in groups:
            if len(group) > 1:
                pieces = await self._many(file, [ranges[place] for place in group])
                if pieces is None:  # the server takes fewer or smaller pieces, or the file ends before one of them
                    single += group
                else:
                    found.update(zip(group, pieces, strict=True))
        for place in single:
            found[place] = await self._one(file, *ranges[place])
        return [found[place] for place in range(len(ranges))]

    async def whole(self) -> bytes:
        """All bytes.

        Raises:
            OSError: see ``read``.
        """
        size = (await self.info())["size"]
        step = LARGEST_WHOLE
        parts = await self.read([(start, min(start + step, size)) for start in range(0, size, step)])
        return b"".join(parts)

    def close(self) -> None:
        """Give the handle back, without waiting for the server."""
        _close_all(self._held)

    async def _file(self) -> Any:
        async with self._opening:
            if not self._held:
                file = self._client.File()
                file.set_property("ReadRecovery", "false")  # else it would go on at another file of the same name
                flags = self._client.flags.OpenFlags.READ
                await self._asked(file, lambda heard: file.open(self._url, flags, 0, self._timeout_s, heard))
                self._held.append(file)
            return self._held[0]

    async def _one(self, file: Any, start: int, stop: int) -> bytes:
        def ask(heard: Callable[..., None]) -> Any:
            return file.read(start, stop - start, self._timeout_s, heard)

        return bytes(await self._asked(file, ask) or b"")

    async def _many(self, file: Any, ranges: Sequence[tuple[int, int]]) -> list[bytes] | None:
        """All ranges with one request; None if the server refuses that."""
        pieces = [(start, stop - start) for start, stop in ranges]
        try:
            found = await self._asked(file, lambda heard: file.vector_read(pieces, self._timeout_s, heard), keep=True)
        except OSError as error:
            if getattr(error, "answered", False):
                return None
            raise
        buffers = [bytes(piece.buffer) for piece in found.chunks]
        return buffers if [len(buffer) for buffer in buffers] == [size for _, size in pieces] else None

    async def _asked(self, file: Any, ask: Callable[[Callable[..., None]], Any], *, keep: bool = False) -> Any:
        """What the server answers. After an error, or when nobody waits any more, the file is given back.

        Args:
            file: what is asked.
            ask: sends the question, given what hears the answer.
            keep: whether the file is good for other questions if the server answers this one with an error.
        """
        whole = False
        try:
            status, content = await _answer(ask)
            whole = status.ok or (keep and status.code == ERROR_ANSWER)
        except ValueError as error:  # what the client raises on a file that it has closed itself
            raise ConnectionResetError(errno.ECONNRESET, "the server broke the connection", self._url) from error
        finally:
            if not whole:
                self._give_back(file)
        if not status.ok:
            raise _numbered(status, self._url)
        return content

    def _give_back(self, file: Any) -> None:
        if file in self._held:
            self._held.remove(file)
        _close(file)


async def _answer(ask: Callable[[Callable[..., None]], Any]) -> tuple[Any, Any]:
    """Status and content of an answer; the client tells them in a thread of its own."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[Any, Any]] = loop.create_future()

    def tell(status: Any, content: Any) -> None:
        if not answer.done():  # somebody waits still
            answer.set_result((status, content))

    def heard(status: Any, content: Any, _hosts: Any = None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, status, content)

    sent = ask(heard)
    return await answer if sent.ok else (sent, None)


def _configured_client(timeout_s: float) -> Any:
    """XRootD's client, told to be quick with bad news; what the user's environment says (``XRD_...``) holds instead."""
    client: Any = importlib.import_module("XRootD.client")  # it has no types
    _end_quietly(importlib.import_module("XRootD.client.finalize").finalize)
    settings = {**CLIENT_SETTINGS, "ConnectionWindow": max(min(int(timeout_s), LONGEST_CONNECT_S), 1)}
    for name, value in settings.items():
        if f"XRD_{name.upper()}" not in os.environ:
            client.EnvPutInt(name, value)
    return client


def _end_quietly(finalize: Callable[[], None]) -> None:
    """Let the client end without a word: it looks at every object, and torch has one that warns of being seen."""

    def finalize_quietly() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            finalize()

    if finalize not in _ended_quietly:
        _ended_quietly.add(finalize)
        atexit.unregister(finalize)
        atexit.register(finalize_quietly)


def _numbered(status: Any, url: str) -> OSError:
    """A status of the client as an error with a number."""
    answered = status.code == ERROR_ANSWER
    number = (SERVER_NUMBERS if answered else CLIENT_NUMBERS).get(status.errno if answered else status.code, errno.EIO)
    said = status.message.strip().removeprefix("[ERROR] ").removeprefix("[FATAL] ")
    if number == errno.ETIMEDOUT:
        # the address stands in the text, since futures keep no more of a TimeoutError than that
        return TimeoutError(number, f"the server of {url} does not answer in time")
    if number == errno.ENOENT:
        said = "no such file on the server"
    elif number == errno.EHOSTUNREACH:
        said = "the name of the server is not known here (no network, or a wrong address)"
    elif number == errno.EACCES:
        said = f"the server refuses the file ({said})"
    error = OSError(number, said, url)
    error.answered = answered  # type: ignore[attr-defined]
    return error


def _close_all(files: list[Any]) -> None:
    while files:
        _close(files.pop())


def _close(file: Any) -> None:
    """Close without waiting: the client would wait for a silent server when it forgets an open file."""
    try:
        file.close(CLOSE_S, lambda *_: file)
    except ValueError:
        return  # closed already
