"""Reading the bodies of requests: never more than is allowed, into one buffer where the length is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from darkop_dist.scoring.wire.problem import Problem, RefusedError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

SLOWEST = 256 * 1024
"""Bytes in a second that a client must send at least."""


class GoneError(Exception):
    """The client went away; nobody waits for an answer."""


class Bodies:
    """The memory and the time that the bodies of requests may take.

    Args:
        most_bytes: of all bodies together.
        patience_s: how long one body may take to come, besides what it needs at the slowest rate.
    """

    def __init__(self, most_bytes: int = 1 << 30, patience_s: float = 30.0) -> None:
        self._most_bytes, self._used = most_bytes, 0
        self.patience_s = patience_s

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Keep memory for a body, until its request is answered.

        Raises:
            RefusedError: the bodies of other requests take it.
        """
        if self._used and self._used + size > self._most_bytes:
            detail = f"the bodies of other requests take {self._used} of {self._most_bytes} bytes. Try again in 1 s"
            raise RefusedError(Problem(code="busy", detail=detail, retry_after_s=1.0))
        self._used += size
        try:
            yield
        finally:
            self._used -= size


def declared_length(content_length: str | None) -> int | None:
    """The length of a body that its header declares; None without the header.

    Raises:
        RefusedError: it is no length.
    """
    if content_length is None:
        return None
    if not (content_length.isascii() and content_length.isdigit()):
        raise RefusedError(Problem(code="invalid-input", detail=f"content-length {content_length[:40]!r} is no length"))
    return int(content_length)


def check_length(length: int, most_bytes: int) -> None:
    """Check a body's length.

    Raises:
        RefusedError: it is longer than is allowed.
    """
    if length > most_bytes:
        detail = f"the body is longer than the {most_bytes} bytes that are allowed. Send the events in pieces"
        raise RefusedError(Problem(code="too-large", detail=detail, values={"most_bytes": most_bytes}))


async def read_body(receive: Receive, length: int | None, most_bytes: int, patience_s: float) -> Any:
    """The body of a request, as a buffer.

    Args:
        receive: as ASGI gives it.
        length: what was declared, checked before; None if the body comes in chunks of which nobody knows the number.
        most_bytes: where reading ends if the length is not known.
        patience_s: how long it may take, besides what it needs at the slowest rate.

    Raises:
        GoneError: the client went away.
        RefusedError: the body is longer than is allowed, or comes too slowly.
    """
    longest_s = patience_s + (most_bytes if length is None else length) / SLOWEST
    try:
        async with asyncio.timeout(longest_s):
            if length is None:
                return await _read_chunks(receive, most_bytes)
            return await _read_known(receive, length)
    except TimeoutError as error:
        detail = f"the body did not come within {longest_s:.3g} s"
        raise RefusedError(Problem(code="deadline", detail=detail)) from error


async def until_gone(receive: Receive) -> None:
    """Wait until the client goes away; its body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_known(receive: Receive, length: int) -> pa.Buffer:
    buffer = pa.allocate_buffer(length)  # from Arrow's pool: aligned, and used again without new pages
    view, filled, more = memoryview(buffer).cast("B"), 0, True
    while more:
        part, more = await _part(receive)
        if filled + len(part) > length:
            raise RefusedError(Problem(code="invalid-input", detail="the body is longer than its content-length"))
        view[filled : filled + len(part)] = part
        filled += len(part)
    if filled < length:
        raise RefusedError(Problem(code="invalid-input", detail="the body is shorter than its content-length"))
    return buffer


async def _read_chunks(receive: Receive, most_bytes: int) -> bytearray:
    body, more = bytearray(), True
    while more:
        part, more = await _part(receive)
        check_length(len(body) + len(part), most_bytes)
        body += part
    return body


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise GoneError
    return message.get("body", b""), message.get("more_body", False)
