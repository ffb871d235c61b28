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
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import fsspec
import uproot
import uproot.source.coalesce
import uproot.source.fsspec
import uproot.source.futures

from darkop_dist.config.access import Access
from darkop_dist.events.proxies import expired_proxy
from darkop_dist.events.xrootd import XrootdFile, is_xrootd

SLOWEST_BYTES_PER_S = 100_000
REQUESTS_AT_ONCE = 32
TIMEOUTS_PER_FILE = 10
FIRST_WAIT_S = 0.2
HTTP = ("http://", "https://")
S3 = "s3://"
GONE = (404, 410)
REFUSED = (401, 403, 407, 451)
FINAL = (errno.ENOENT, errno.EACCES, errno.EISDIR)
"""Numbers of errors that another try cannot help."""
DEFAULT = Access()
CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or access.s3.anonymous: true for a public bucket"


def is_remote(path: str) -> bool:
    """Whether a path is an address of another machine.

    >>> is_remote("root://eospublic.cern.ch//eos/f.root"), is_remote("/data/f.root"), is_remote("file:///data/f.root")
    (True, False, False)
    """
    return "://" in path and not path.startswith("file://")


def open_root(path: str, access: Access = DEFAULT) -> Any:
    """Open a ROOT file, local or remote.

    Args:
        path: local path or address.
        access: see ``root_options``.

    Raises:
        OSError: the file cannot be reached, with the number of the cause: ENOENT, EACCES, ETIMEDOUT or EIO.
        ImportError: addresses of this kind need a library that is not installed.
        ValueError: there is no such kind of address.
    """
    return uproot.open({path: None}, **root_options(path, access))


def root_options(path: str, access: Access = DEFAULT) -> dict[str, Any]:
    """What ``uproot.open`` needs beside the path, also as ``uproot_options`` of coffea's Runner; empty for local files.

    Args:
        path: local path or address.
        access: the longest silence of the server, after which a request fails; a request may take this long and what
            its bytes need at ``SLOWEST_BYTES_PER_S``, whatever the server trickles. How often it is made, and the rest.
    """
    if not is_remote(path):
        return {}
    return {"handler": RemoteSource, "access": access}


def fetch(path: str, access: Access = DEFAULT) -> io.BytesIO:
    """A whole remote file, such as a table. It may take ``TIMEOUTS_PER_FILE`` time-outs in all.

    Raises:
        OSError: as ``open_root``.
    """
    transport = transport_of(path, access)
    try:
        limit_s = access.timeout_s * TIMEOUTS_PER_FILE
        answer = insisting(transport.whole, path, limit_s, access.tries)
        return io.BytesIO(asyncio.run_coroutine_threadsafe(answer, fsspec.asyn.get_loop()).result())
    finally:
        transport.close()


class Transport(Protocol):
    """How one file is asked for; its coroutines run in fsspec's event loop."""

    async def info(self) -> dict[str, Any]:
        """Size and what else the server tells of the file."""

    async def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes of each range."""

    async def whole(self) -> bytes:
        """All bytes."""

    def close(self) -> None:
        """Forget the file."""


class RemoteSource(uproot.source.fsspec.FSSpecSource):  # type: ignore[misc]  # uproot has no types
    """Ranges of a remote file, each with a deadline."""

    def __init__(self, file_path: str, access: Access = DEFAULT, **options: Any) -> None:
        self._access = access
        # XRootD takes many ranges with one request, so that no gap between them has to be read
        gap = 0 if is_xrootd(file_path) else access.gap_bytes
        config = uproot.source.coalesce.CoalesceConfig(max_range_gap=gap)
        super().__init__(file_path, coalesce_config=config, **options)
        self._told: dict[str, Any] | None = None

    def _open(self) -> None:
        self._file_path = self._file_path_orig
        self._executor = uproot.source.fsspec.FSSpecLoopExecutor()
        self._transport = transport_of(self._file_path, self._access)
        self._closed = False

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_executor", "_transport")}

    def __exit__(self, *_: object) -> None:
        if not self._closed:
            self._transport.close()
        self._closed = True

    @property
    def num_bytes(self) -> int:
        """Size of the file as its server tells it, asked for once."""
        if self._told is None:
            self._told = self._info()
        return int(self._told["size"] or 0)

    def has_changed(self) -> bool:
        """Whether the server tells another size, tag or time of the file than when its size was first asked for."""
        size, now = self.num_bytes, self._info()
        told = self._told or {}
        return size != int(now["size"] or 0) or any(told.get(key) != now.get(key) for key in TAGS)

    def _info(self) -> dict[str, Any]:
        question = insisting(self._transport.info, self._file_path, self._access.timeout_s, self._access.tries)
        answer: dict[str, Any] = self._executor.submit(question).result()
        return answer

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
            limit_s = self._access.timeout_s + sum(stop - start for start, stop in asked) / SLOWEST_BYTES_PER_S
            request = insisting(lambda: self._transport.read(asked), self._file_path, limit_s, self._access.tries)
            return self._executor.submit(request)

        return uproot.source.coalesce.coalesce_requests(
            ranges, submit, self, notifications, config=self._coalesce_config
        )


TAGS = ("ETag", "Last-Modified", "LastModified", "mtime")
"""What servers tell of a file besides its size; it differs after a change."""


class FsspecFile:
    """A file over HTTP, S3 or whatever else fsspec knows, one request for each range."""

    def __init__(self, url: str, access: Access) -> None:
        self._url, self._access = url, access
        self._filesystem, self._path = fsspec.core.url_to_fs(url, **_client_options(url, access))

    async def info(self) -> dict[str, Any]:
        """Size and what else the server tells of the file."""
        if not self._filesystem.async_impl:
            return dict(await asyncio.to_thread(self._filesystem.info, self._path))
        fresh = {"refresh": True} if self._url.startswith(S3) else {}
        return dict(await self._filesystem._info(self._path, **fresh))  # noqa: SLF001  # fsspec names its coroutines so

    async def whole(self) -> bytes:
        """All bytes."""
        return await self._asked(None, None)

    async def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """All ranges; the first error ends the others too."""
        slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def one(start: int, stop: int) -> bytes:
            async with slots:
                limit_s = self._access.timeout_s + (stop - start) / SLOWEST_BYTES_PER_S
                found = await asyncio.wait_for(self._asked(start, stop), limit_s)
            if len(found) > stop - start:  # a server that knows no ranges sends the file from its beginning
                told = f"the server sends {len(found)} bytes where {stop - start} were asked for: it ignores ranges"
                raise OSError(errno.EIO, told, self._url)
            return found

        tasks = [asyncio.ensure_future(one(start, stop)) for start, stop in ranges]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        """Nothing is kept of a file."""

    async def _asked(self, start: int | None, stop: int | None) -> bytes:
        if not self._filesystem.async_impl:
            return bytes(await asyncio.to_thread(self._filesystem.cat_file, self._path, start=start, end=stop))
        return bytes(await self._filesystem._cat_file(self._path, start=start, end=stop))  # noqa: SLF001  # as above


def transport_of(path: str, access: Access) -> Transport:
    """How a file is asked for, by the kind of its address."""
    return XrootdFile(path, access.timeout_s) if is_xrootd(path) else FsspecFile(path, access)


async def insisting(ask: Callable[[], Awaitable[Any]], path: str, limit_s: float, tries: int) -> Any:
    """The answer to a request, or an OSError that says why there is none, even after several tries."""
    for attempt in range(tries):
        try:
            return await asyncio.wait_for(ask(), limit_s)
        except Exception as error:  # noqa: BLE001  # it is raised with a number
            numbered = _numbered(error, path)
            if attempt == tries - 1 or numbered.errno in FINAL:
                raise numbered from (error if error is not numbered else error.__cause__)
        await asyncio.sleep(FIRST_WAIT_S * 2**attempt)
    raise AssertionError("at least one try is made")


def _numbered(error: BaseException, path: str) -> OSError:
    """An error as an OSError with a number: fsspec gives none."""
    status = getattr(error, "status", None)
    hidden = error.__cause__ if isinstance(error, FileNotFoundError) and path.startswith(HTTP) else None
    if isinstance(hidden, Exception):  # fsspec calls a file absent whose size it could not ask for, whatever the reason
        return _numbered(hidden, path)
    if isinstance(error, TimeoutError):
        # the address stands in the text, since futures keep no more of a TimeoutError than that
        return TimeoutError(errno.ETIMEDOUT, f"the server of {path} does not answer in time")
    if isinstance(error, FileNotFoundError) or status in GONE:
        return FileNotFoundError(errno.ENOENT, "no such file on the server", path)
    if isinstance(error, PermissionError) or status in REFUSED:
        said = error.strerror if isinstance(error, OSError) and error.errno is not None else (status or error)
        refusal = said if str(said).startswith("the server") else f"the server refuses the file ({said})"
        return PermissionError(errno.EACCES, f"{refusal}{_about_proxy(path)}", path)
    if type(error).__name__ == "NoCredentialsError":
        return PermissionError(errno.EACCES, f"the server wants credentials, and there are none. {CREDENTIALS}", path)
    if isinstance(error, OSError) and error.errno is not None:
        return error
    text = f"the server answers with status {status}" if status else f"{type(error).__name__}: {error}"
    return OSError(errno.EIO, text, path)


def _about_proxy(path: str) -> str:
    expired = expired_proxy() if is_xrootd(path) else None
    return f". {expired}" if expired else ""


def _client_options(path: str, access: Access) -> dict[str, Any]:
    """Options of fsspec's file system: the clients' own time-outs give way to ours, over HTTP five minutes."""
    connect_s = min(access.timeout_s, 30.0)
    if path.startswith(HTTP):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=access.timeout_s)
        return {"client_kwargs": {"timeout": limits}}
    if path.startswith(S3):
        config = {"connect_timeout": connect_s, "read_timeout": access.timeout_s}
        return {"anon": access.s3.anonymous, "endpoint_url": access.s3.endpoint, "config_kwargs": config}
    return {}
