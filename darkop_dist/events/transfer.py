"""Bytes of any remote file, whatever its transport, as a download wants them: blocks, each with a deadline.

``darkop_dist.events.remote`` knows the transports and their traps; here they are asked from threads that
can be stopped.
"""

from __future__ import annotations

import asyncio
import email.utils
import importlib.util
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import TimeoutError as StillWaiting
from typing import Any
from urllib.parse import urlsplit

import fsspec

from darkop_dist.catalogue.fetch import Seen, Stopped
from darkop_dist.config.access import Access
from darkop_dist.errors import InputFileError, MissingExtraError
from darkop_dist.events.remote import DEFAULT, SLOWEST_BYTES_PER_S, TAGS, Transport, insisting, transport_of

LOOKS_FOR_STOP_S = 0.2
MODULES = {
    **dict.fromkeys(("root", "roots", "xroot", "xroots"), "XRootD"),
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
}


class RemoteTransport:
    """Asks and reads through ``darkop_dist.events.remote``; one is used by all threads of a download."""

    def __init__(self, access: Access = DEFAULT, stop: threading.Event | None = None) -> None:
        """Make one.

        Args:
            access: how remote files are reached. A block may take the longest silence and what its bytes need at
                ``SLOWEST_BYTES_PER_S``; each request is made once, since who downloads asks again.
            stop: set to end waiting.
        """
        self._access = access
        self._stop = stop or threading.Event()
        self._files: dict[str, Transport] = {}
        self._lock = threading.Lock()

    def ask(self, address: str) -> Seen:
        """Size and version of a file, which is opened anew.

        Raises:
            InputFileError: nothing is known of such addresses, or the server does not tell the size.
            MissingExtraError: what reads such addresses is not installed.
            OSError: as of ``darkop_dist.events.remote.open_root``.
            Stopped: the waiting was ended.
        """
        with self._lock:
            held = self._files.pop(address, None)
        if held is not None:
            held.close()  # it may be a file that is no longer there
        found = self._wait(address, lambda file: file.info(), self._access.timeout_s)
        size = found.get("size")
        if size is None or found.get("type") == "directory":
            problem = "is a directory" if found.get("type") == "directory" else "the server does not tell its size"
            raise InputFileError(address, problem, "Name a file that can be read in parts.")
        return Seen(int(size), next((str(found[key]) for key in TAGS if found.get(key)), ""))

    def read(self, address: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``.

        Raises:
            OSError: as ``ask``.
        """
        limit_s = self._access.timeout_s + (stop - start) / SLOWEST_BYTES_PER_S
        (block,) = self._wait(address, lambda file: file.read([(start, stop)]), limit_s)
        return bytes(block)

    def _wait(self, address: str, ask: Callable[[Transport], Awaitable[Any]], limit_s: float) -> Any:
        answer = asyncio.run_coroutine_threadsafe(self._asked(address, ask, limit_s), fsspec.asyn.get_loop())
        try:
            while True:
                if self._stop.is_set():
                    raise Stopped
                try:
                    return answer.result(LOOKS_FOR_STOP_S)
                except StillWaiting:
                    if answer.done():  # it is the answer that timed out, or came just now
                        return answer.result()
        except OSError as error:
            error.retry_after_s = _retry_after_s(error)  # type: ignore[attr-defined]  # for whoever tries again
            raise
        finally:
            answer.cancel()

    async def _asked(self, address: str, ask: Callable[[Transport], Awaitable[Any]], limit_s: float) -> Any:
        with self._lock:
            if address not in self._files:
                self._files[address] = _opened(address, self._access)
            file = self._files[address]
        return await insisting(lambda: ask(file), address, limit_s, 1)


def _opened(address: str, access: Access) -> Transport:
    scheme = urlsplit(address).scheme
    module = MODULES.get(scheme)
    if module is not None and importlib.util.find_spec(module) is None:
        raise MissingExtraError(module, "events" if module == "aiohttp" else "access")
    try:
        return transport_of(address, access)
    except ImportError as error:
        raise MissingExtraError(error.name or scheme, "access") from error
    except ValueError as error:
        known = ", ".join(f"{name}://" for name in ("https", "http", "root", "s3", "file"))
        raise InputFileError(address, f"no transport is known for {scheme}://", f"Known are {known}.") from error


def _retry_after_s(error: BaseException) -> float | None:
    """How long the server asks to be left alone: seconds or a date; None if it does not say."""
    link: BaseException | None = error
    while link is not None:
        headers: Mapping[str, str] = getattr(link, "headers", None) or {}
        said = headers.get("Retry-After", "")
        if said.strip().isdigit():
            return float(said)
        if said:
            try:
                return max(email.utils.parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
            except ValueError:
                return None
        link = link.__cause__
    return None
