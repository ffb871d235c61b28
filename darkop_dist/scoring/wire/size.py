"""How many bytes a body becomes once it is decoded, known before a byte is decompressed.

Arrow decompresses every buffer into memory of the size that the sender wrote before it, so a body of some kilobytes can
ask for terabytes. Here those numbers are added up from the messages' headers, as Arrow's format lays them down
(https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

MOST_MESSAGES = 4096
"""Messages of one body; a client writes two, and each costs time whatever it holds."""

_HEADER, _BUFFERS, _COMPRESSION = 2, 2, 3  # fields of Message and of RecordBatch in Arrow's Message.fbs
_NOT_COMPRESSED = -1


class TooLargeError(ValueError):
    """A body that would become larger than is allowed."""


@dataclass(frozen=True)
class Size:
    """What a body becomes.

    Attributes:
        decoded: bytes of all buffers, decompressed.
        compressed: whether any of them is compressed now.
    """

    decoded: int
    compressed: bool


def measure(body: Any) -> Size:
    """The size of a body once it is decoded.

    Args:
        body: an Arrow IPC stream.

    Raises:
        ValueError: it is no such stream, or holds messages that no batch of events needs.
    """
    decoded, compressed = 0, False
    try:
        reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
        for count, message in enumerate(reader):
            if count == MOST_MESSAGES:
                raise ValueError(
                    f"the body holds more than {MOST_MESSAGES} messages; send fewer, larger record batches"
                )
            if message.type == "record batch":
                size = _batch_size(memoryview(message.metadata), memoryview(message.body))
                decoded, compressed = decoded + size.decoded, compressed or size.compressed
            elif message.type != "schema":
                raise ValueError(f"the body holds a {message.type}; send record batches of plain numbers")
    except (pa.ArrowException, OSError, EOFError, struct.error, IndexError) as error:
        raise ValueError(f"the body is no Arrow IPC stream: {error}") from error
    return Size(decoded, compressed)


def _batch_size(metadata: memoryview, body: memoryview) -> Size:
    """The size of one record batch, from its FlatBuffers header."""
    message = _offset(metadata, 0)
    batch = _field(metadata, message, _HEADER)
    if batch is None:
        raise ValueError("the body is no Arrow IPC stream: a record batch without its header")
    batch = _offset(metadata, batch)
    compressed = _field(metadata, batch, _COMPRESSION) is not None
    field = _field(metadata, batch, _BUFFERS)
    if field is None:
        return Size(0, compressed)
    vector = _offset(metadata, field)
    (count,) = struct.unpack_from("<I", metadata, vector)
    pairs = struct.iter_unpack("<qq", metadata[vector + 4 : vector + 4 + 16 * count])
    return Size(sum(_decoded(body, start, length, compressed=compressed) for start, length in pairs), compressed)


def _decoded(body: memoryview, start: int, length: int, *, compressed: bool) -> int:
    """Bytes of one buffer; the first eight of a compressed one say how many it becomes."""
    if start < 0 or length < 0 or start + length > len(body):
        raise ValueError("the body is no Arrow IPC stream: a buffer lies outside its message")
    if not compressed or length < 8:
        return length
    (claimed,) = struct.unpack_from("<q", body, start)
    if claimed == _NOT_COMPRESSED:
        return length - 8
    if claimed < 0:
        raise ValueError(f"the body is no Arrow IPC stream: a buffer of {claimed} bytes")
    return int(claimed)


def _offset(metadata: memoryview, position: int) -> int:
    """Where the offset at a position leads."""
    (relative,) = struct.unpack_from("<I", metadata, position)
    return int(position + relative)


def _field(metadata: memoryview, table: int, number: int) -> int | None:
    """Where a field of a FlatBuffers table stands; None if it is absent."""
    (back,) = struct.unpack_from("<i", metadata, table)
    vtable = table - back
    (size,) = struct.unpack_from("<H", metadata, vtable)
    entry = 4 + 2 * number
    if entry + 2 > size:
        return None
    (relative,) = struct.unpack_from("<H", metadata, vtable + entry)
    return table + relative if relative else None
