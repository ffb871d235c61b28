"""A packed result, in memory and as bytes.

The bytes: a magic number with the version, a CRC-32 of all that follows, the digest of the structure with five lengths,
the structure (zstd), and the numbers with the separate payloads (LZ4).
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from darkop_dist.errors import InputFileError
from darkop_dist.histograms.packed.structure import BYTES, Structure, structure_from

MAGIC = b"DARKOP\x00"
VERSION = 1
_HEAD = struct.Struct("<7sBI")
_FRAME = struct.Struct("<32sQQQQQ")
_KNOWN_MOST = 256
_known: OrderedDict[bytes, Structure] = OrderedDict()

Buckets = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Packed:
    """A result as a structure and its numbers. Not to be changed: parts share arrays with the bytes they came from.

    Attributes:
        structure: what it is made of.
        numbers: by bucket, all numbers that add; each of shape (numbers,).
        joined: one payload for each value that does not add number by number.
    """

    structure: Structure
    numbers: Buckets
    joined: tuple[bytes | memoryview, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in memory, without the structure, which equal results share."""
        return sum(array.nbytes for array in self.numbers.values()) + sum(len(payload) for payload in self.joined)

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return Packed.from_bytes, (self.to_bytes(),)

    def to_bytes(self) -> bytes:
        """The result as it stands in a file."""
        lengths = np.array([len(payload) for payload in self.joined], "<u8").tobytes()
        arrays = [np.ascontiguousarray(self.numbers[name]).tobytes() for name in self.structure.sizes]
        body = b"".join([lengths, *arrays, *self.joined])
        header = _squeezed_header(self.structure.header)
        squeezed: bytes = _lz4().compress(body, asbytes=True)
        frame = _FRAME.pack(
            self.structure.digest,
            len(self.structure.header), len(header), len(body), len(squeezed), len(self.joined),
        )  # fmt: skip
        rest = frame + header + squeezed
        return _HEAD.pack(MAGIC, VERSION, zlib.crc32(rest)) + rest

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, name: str = "packed result", *, checked: bool = False) -> Packed:
        """A result from the bytes of ``to_bytes``.

        Args:
            data: the bytes.
            name: what to call them in an error: the file they came from.
            checked: whoever calls has compared them with a hash of their own.

        Raises:
            InputFileError: the bytes are cut, changed or of another version.
        """
        if len(data) < _HEAD.size + _FRAME.size:
            raise _damaged(name, f"is cut: {len(data)} bytes are fewer than its head has")
        magic, version, checksum = _HEAD.unpack_from(data)
        if magic != MAGIC:
            raise _damaged(name, "is not a packed result, or its first bytes are damaged")
        if version != VERSION:
            raise _damaged(
                name, f"has version {version} of the format, or its head is damaged; this is version {VERSION}"
            )
        frame = _FRAME.unpack_from(data, _HEAD.size)
        start = _HEAD.size + _FRAME.size
        if len(data) != start + frame[2] + frame[4]:
            raise _damaged(name, f"is cut or damaged: {len(data)} bytes where it says {start + frame[2] + frame[4]}")
        if not checked and zlib.crc32(memoryview(data)[_HEAD.size :]) != checksum:
            raise _damaged(name, "is damaged: its content does not fit its checksum")
        try:
            return _opened(memoryview(data)[start:], *frame)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OSError) as error:
            raise _damaged(name, f"cannot be read: {error}") from error


def raw_bytes(packed: Packed) -> bytes:
    """A result without separate payloads as plain bytes, to be a payload of another."""
    arrays = [np.ascontiguousarray(packed.numbers[name]).tobytes() for name in packed.structure.sizes]
    header = packed.structure.header
    return b"".join([len(header).to_bytes(8, "little"), header, *arrays])


def from_raw_bytes(payload: bytes | memoryview) -> Packed:
    """What ``raw_bytes`` wrote."""
    length = int.from_bytes(payload[:8], "little")
    structure = structure_from(bytes(payload[8 : 8 + length]))
    numbers, _ = _split(memoryview(payload)[8 + length :], structure.sizes)
    return Packed(structure, numbers, ())


@lru_cache(maxsize=64)
def dtype_of(bucket: str) -> np.dtype[Any]:
    """The type of the numbers of a bucket: Python's own whole numbers are kept apart from numpy's."""
    return np.dtype({"int": "<i8", BYTES: "u1"}.get(bucket, bucket))


def _opened(
    content: memoryview, digest: bytes, header_length: int, header_size: int, length: int, size: int, joined: int
) -> Packed:
    structure = _known.get(digest)
    if structure is None:
        header = _zstd().decompress(bytes(content[:header_size]), header_length, asbytes=True)
        structure = structure_from(header)
        if structure.digest != digest:
            raise ValueError("its structure does not fit its digest")
        _known[digest] = structure
        if len(_known) > _KNOWN_MOST:
            _known.popitem(last=False)
    if structure.joined != joined:
        raise ValueError(f"{joined} payloads where its structure has {structure.joined}")
    body = memoryview(_lz4().decompress(content[header_size : header_size + size], length))
    lengths = np.frombuffer(body[: 8 * joined], "<u8").tolist()
    numbers, at = _split(body[8 * joined :], structure.sizes)
    payloads, rest = [], body[8 * joined + at :]
    if sum(lengths) != len(rest):
        raise ValueError("its payloads do not fill it")
    for one in lengths:
        payloads.append(rest[:one])
        rest = rest[one:]
    return Packed(structure, numbers, tuple(payloads))


def _split(body: memoryview, sizes: Mapping[str, int]) -> tuple[dict[str, npt.NDArray[Any]], int]:
    numbers, at = {}, 0
    for name, count in sizes.items():
        dtype = dtype_of(name)
        numbers[name] = np.frombuffer(body[at : at + count * dtype.itemsize], dtype)
        if len(numbers[name]) != count:
            raise ValueError("fewer numbers than its structure has")
        at += count * dtype.itemsize
    return numbers, at


def _damaged(name: str, problem: str) -> InputFileError:
    return InputFileError(name, problem, "Delete it; what it held is computed again")


@lru_cache(maxsize=64)
def _squeezed_header(header: bytes) -> bytes:
    return bytes(_zstd().compress(header, asbytes=True))


@lru_cache(maxsize=1)
def _lz4() -> Any:
    return pa.Codec("lz4_raw")


@lru_cache(maxsize=1)
def _zstd() -> Any:
    return pa.Codec("zstd", compression_level=3)
