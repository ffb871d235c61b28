"""Reading over the network with deadlines, and with errors that say what happened.

uproot's ``timeout`` has no effect on what it reads through fsspec (only aiohttp's limit of five minutes a request
holds), and fsspec's ``cat_ranges`` returns its errors as if they were data, so that a server's 503 arrives as
"TypeError: 'ClientResponseError' object is not subscriptable". Here every request has a deadline and fails as an
OSError with a number and the file's address.
"""

from __future__ import annotations

import asyncio
import errno
import io
import queue
from collections.abc import Awaitable, Sequence
from typing import Any

import fsspec
import uproot
import uproot.source.coalesce
import uproot.source.fsspec
import uproot.source.futures

TIMEOUT_S = 60.0
SLOWEST_BYTES_PER_S = 100_000
REQUESTS_AT_ONCE = 32
TIMEOUTS_PER_FILE = 10
HTTP = ("http://", "https://")
GONE = (404, 410)
REFUSED = (401, 403, 407, 451)


def is_remote(path: str) -> bool:
    """Whether a path is an address of another machine.

    >>> is_remote("root://eospublic.cern.ch//eos/f.root"), is_remote("/data/f.root"), is_remote("file:///data/f.root")
    (True, False, False)
    """
    return "://" in path and not path.startswith("file://")


def open_root(path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Open a ROOT file, local or remote.

    Args:
        path: local path or address.
        timeout_s: see ``root_options``.

    Raises:
        OSError: the file cannot be reached, with the number of the cause: ENOENT, EACCES, ETIMEDOUT or EIO.
    """
    return uproot.open({path: None}, **root_options(path, timeout_s=timeout_s))


def root_options(path: str, *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """What ``uproot.open`` needs beside the path, also as ``uproot_options`` of coffea's Runner; empty for local files.

    Args:
        path: local path or address.
        timeout_s: longest silence of the server; a request may take this long and what its bytes need at
            ``SLOWEST_BYTES_PER_S``, whatever the server trickles.
    """
    if not is_remote(path):
        return {}
    return {"handler": RemoteSource, "deadline_s": timeout_s, **_client_options(path, timeout_s)}


def fetch(path: str, *, timeout_s: float = TIMEOUT_S) -> io.BytesIO:
    """A whole remote file, such as a table. It may take ``TIMEOUTS_PER_FILE`` time-outs in all.

    Raises:
        OSError: as ``open_root``.
    """
    filesystem, name = fsspec.core.url_to_fs(path, **_client_options(path, timeout_s))
    request = _request(filesystem, name, None, None)
    answer = _translated(request, path, timeout_s * TIMEOUTS_PER_FILE)
    return io.BytesIO(asyncio.run_coroutine_threadsafe(answer, fsspec.asyn.get_loop()).result())


class RemoteSource(uproot.source.fsspec.FSSpecSource):  # type: ignore[misc]  # uproot has no types
    """Ranges of a remote file through fsspec, each with a deadline."""

    def __init__(self, file_path: str, deadline_s: float = TIMEOUT_S, **options: Any) -> None:
        super().__init__(file_path, **options)
        self._deadline_s = deadline_s
        self._size: int | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the file as its server tells it, asked for once."""
        if self._size is None:
            question = _translated(_question(self._fs, self._file_path), self._file_path, self._deadline_s)
            answer = self._executor.submit(question)
            self._size = int(answer.result()["size"] or 0)
        return self._size

    def chunk(self, start: int, stop: int) -> Any:
        """Bytes ``start`` to ``stop``; raises OSError."""
        found: queue.Queue[Any] = queue.Queue()
        (chunk,) = self.chunks([(start, stop)], found)
        chunk.wait(insist=False)  # as the parent class: whoever uses the bytes says how many are needed
        return chunk

    def chunks(self, ranges: list[tuple[int, int]], notifications: queue.Queue[Any]) -> Any:
        """Many ranges, joined into few requests; the chunks raise OSError when they are used."""
        if self.closed:
            raise OSError(errno.EBADF, "the file is closed", self._file_path)
        self._num_requests += 1
        self._num_requested_chunks += len(ranges)
        self._num_requested_bytes += sum(stop - start for start, stop in ranges)

        def submit(asked: list[tuple[int, int]]) -> Any:
            return self._executor.submit(_read(self._fs, self._file_path, asked, self._deadline_s))

        return uproot.source.coalesce.coalesce_requests(
            ranges, submit, self, notifications, config=self._coalesce_config
        )


async def _read(filesystem: Any, path: str, ranges: Sequence[tuple[int, int]], timeout_s: float) -> list[bytes]:
    """All ranges; the first error ends the others too."""
    slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def one(start: int, stop: int) -> bytes:
        async with slots:
            limit_s = timeout_s + (stop - start) / SLOWEST_BYTES_PER_S
            return bytes(await _translated(_request(filesystem, path, start, stop), path, limit_s))

    tasks = [asyncio.ensure_future(one(start, stop)) for start, stop in ranges]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _request(filesystem: Any, path: str, start: int | None, stop: int | None) -> Awaitable[Any]:
    if filesystem.async_impl:
        answer: Awaitable[Any] = filesystem._cat_file(path, start=start, end=stop)  # noqa: SLF001  # fsspec names its coroutines so
        return answer
    return asyncio.to_thread(filesystem.cat_file, path, start=start, end=stop)


def _question(filesystem: Any, path: str) -> Awaitable[Any]:
    if filesystem.async_impl:
        answer: Awaitable[Any] = filesystem._info(path)  # noqa: SLF001  # fsspec names its coroutines so
        return answer
    return asyncio.to_thread(filesystem.info, path)


async def _translated(request: Awaitable[Any], path: str, timeout_s: float) -> Any:
    """The answer to a request, or an OSError that says why there is none."""
    try:
        return await asyncio.wait_for(request, timeout_s)
    except Exception as error:
        raise _numbered(error, path) from error


def _numbered(error: BaseException, path: str) -> OSError:
    """An error as an OSError with a number: fsspec gives none, and XRootD puts its own into the text."""
    status, said = getattr(error, "status", None), str(error)
    hidden = error.__cause__ if isinstance(error, FileNotFoundError) else None
    if hidden is not None:  # fsspec calls a file absent whose size it could not ask for, whatever the reason
        return _numbered(hidden, path)
    if isinstance(error, TimeoutError) or "Operation expired" in said:
        # the address stands in the text, since futures keep no more of a TimeoutError than that
        return TimeoutError(errno.ETIMEDOUT, f"the server of {path} does not answer in time")
    if isinstance(error, FileNotFoundError) or status in GONE or "[3011]" in said:
        return FileNotFoundError(errno.ENOENT, "no such file on the server", path)
    if isinstance(error, PermissionError) or status in REFUSED or "[3010]" in said or "Auth failed" in said:
        return PermissionError(errno.EACCES, f"the server refuses the file ({status or said})", path)
    if isinstance(error, OSError) and error.errno is not None:
        return error
    text = f"the server answers with status {status}" if status else f"{type(error).__name__}: {said}"
    return OSError(errno.EIO, text, path)


def _client_options(path: str, timeout_s: float) -> dict[str, Any]:
    """Options of fsspec's file system: over HTTP the client's own limit of five minutes a request gives way to ours."""
    if not path.startswith(HTTP):
        return {}
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, sock_connect=min(timeout_s, 30.0), sock_read=timeout_s)
    return {"client_kwargs": {"timeout": limits}}
