"""Columns of a ROOT tree read straight from its baskets: one decompression and one copy, nothing in between.

Only columns of plain numbers and of variable-length lists of plain numbers with a counter are read here (all of NanoAOD
but a few); everything else is left to uproot. The layout of baskets is that of ROOT's TBasket: key, data, and for
lists the byte position of each entry.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np
import numpy.typing as npt
import uproot
import xxhash

from darkop_dist.events.files import Bytes, OpenFile, read_ranges, scratch

KEY = struct.Struct(">ihiIhh")
"""Start of a basket's key: bytes with key, version, bytes uncompressed, date, bytes of the key, cycle."""
BASKET = struct.Struct(">Hiiii")
"""End of a basket's key, before one last byte: version, buffer size, entry size, entries, end of the data."""
INTO = {b"L4": cramjam.lz4.decompress_block_into, b"ZS": cramjam.zstd.decompress_into}
CODECS = {b"ZL": uproot.compression.ZLIB(1), b"XZ": uproot.compression.LZMA(1)}
FULL = "failed to write whole buffer"
"""What cramjam says of a block of zstd that goes on when there is no room left; all room has been filled then."""
BLOCK_HEADER = 9
LZ4_CHECKSUM = 8

Column = npt.NDArray[Any]


class DamagedBasketError(ValueError):
    """Bytes of a basket that contradict its header or the tree."""


@dataclass(frozen=True)
class Branch:
    """Where the entries of a column are.

    Attributes:
        name: name of the branch.
        stored: type of its numbers in the file.
        counter: name of the branch that counts the numbers per entry; None for one number per entry.
        edges: entries at which baskets begin, and the end; shape (baskets + 1,).
        starts: position of each basket in the file, shape (baskets,).
        sizes: bytes of each basket, shape (baskets,).
        embedded: the last baskets, which some files hold in the headers: data, and for lists the byte position of each
            entry.
    """

    name: str
    stored: np.dtype[Any]
    counter: str | None
    edges: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    embedded: tuple[tuple[Bytes, Column | None], ...] = ()

    def baskets(self, start: int, stop: int) -> range:
        """Numbers of the baskets that hold the entries of a range."""
        if stop <= start:
            return range(0)
        first = int(np.searchsorted(self.edges, start, side="right")) - 1
        return range(first, int(np.searchsorted(self.edges, stop, side="left")))


def branch_of(file: OpenFile, tree: str, name: str) -> Branch | None:
    """A column of a tree; None if it is absent or of a kind that is not read here."""
    key = ("branch", tree, name)
    if key not in file.derived:
        file.derived[key] = _describe(file.directory[tree], name)
    found: Branch | None = file.derived[key]
    return found


def _describe(tree: Any, name: str) -> Branch | None:
    if name not in tree or not isinstance(tree[name], uproot.TBranch):
        return None
    branch = tree[name]
    numbers, counter = branch.interpretation, None
    if type(numbers) is uproot.AsJagged and numbers.header_bytes == 0:
        if branch.count_branch is None:
            return None
        numbers, counter = numbers.content, branch.count_branch.name
    if type(numbers) is not uproot.AsDtype or numbers.inner_shape or numbers.from_dtype.kind not in "biuf":
        return None
    embedded = tuple((basket.data, basket.byte_offsets) for basket in branch.embedded_baskets)
    count = branch.num_baskets - len(embedded)
    starts, sizes = (np.asarray(branch.member(m)[:count], np.int64) for m in ("fBasketSeek", "fBasketBytes"))
    return Branch(
        name, numbers.from_dtype, counter, np.asarray(branch.entry_offsets, np.int64), starts, sizes, embedded
    )


def read_branches(
    file: OpenFile, branches: Sequence[Branch], start: int, stop: int, lengths: Mapping[str, int]
) -> dict[str, Column]:
    """Numbers of several columns for a range of entries, with one request to the file.

    Args:
        file: the file.
        branches: the columns.
        start: first entry.
        stop: one past the last entry.
        lengths: how many numbers each list column holds in this range, by name of the column.

    Returns:
        By name: one number per entry, or for lists the numbers of all entries one after another.

    Raises:
        OSError: the file cannot be read.
        DamagedBasketError: a basket is not what the tree says.
        NotImplementedError: a list's basket does not say where its entries begin; uproot can help.
    """
    columns = {b.name: np.empty(lengths.get(b.name, stop - start), b.stored.newbyteorder("=")) for b in branches}
    wanted = [(branch, basket) for branch in branches for basket in branch.baskets(start, stop)]
    stored = [(branch, basket) for branch, basket in wanted if basket < len(branch.starts)]
    ranges = [(int(b.starts[basket]), int(b.starts[basket] + b.sizes[basket])) for b, basket in stored]
    raws = read_ranges(file, ranges)
    filled = dict.fromkeys(columns, 0)
    for branch, basket in wanted:
        raw = next(raws) if basket < len(branch.starts) else None
        part, at = _entries(branch, basket, raw, start, stop), filled[branch.name]
        filled[branch.name] += len(part)
        if filled[branch.name] > len(columns[branch.name]):
            break
        columns[branch.name][at : at + len(part)] = part
    for name, column in columns.items():
        if filled[name] != len(column):
            raise DamagedBasketError(f"{name} does not hold {len(column)} numbers")
    return columns


def _entries(branch: Branch, basket: int, raw: Bytes | None, start: int, stop: int) -> Column:
    """The numbers of a basket's entries in a range; ``raw`` is None for an embedded one."""
    first, last = int(branch.edges[basket]), int(branch.edges[basket + 1])
    low, high = max(start - first, 0), min(stop, last) - first
    try:
        if raw is None:
            data, positions = branch.embedded[basket - len(branch.starts)]
        else:
            data, positions = _unpacked(raw, last - first, inside=(low, high) != (0, last - first))
        return _cut(branch, data, positions, low, high, last - first)
    except NotImplementedError:
        raise
    except Exception as error:  # damaged bytes make struct, numpy and the codecs raise what they like
        raise DamagedBasketError(f"basket {basket} of {branch.name}: {error}") from error


def _cut(branch: Branch, data: Bytes, positions: Column | None, low: int, high: int, entries: int) -> Column:
    """The numbers of some of a basket's entries."""
    size = branch.stored.itemsize
    if branch.counter is None:
        if len(data) != entries * size:
            raise DamagedBasketError(f"{len(data)} bytes, not {entries * size}")
        return data[low * size : high * size].view(branch.stored)
    if low == 0 and high == entries:
        return data.view(branch.stored)
    if positions is None:
        raise NotImplementedError(branch.name)
    begin = int(positions[low]) if low else 0
    end = int(positions[high]) if high < entries else len(data)
    return data[begin:end].view(branch.stored)


def _unpacked(raw: Bytes, entries: int, *, inside: bool) -> tuple[Bytes, Column | None]:
    """Data of a basket, and for lists the byte position of each entry if it is asked for: a third of all bytes."""
    total, _, size, _, key_bytes, _ = KEY.unpack_from(raw.data, 0)
    _, _, _, found, last = BASKET.unpack_from(raw.data, key_bytes - BASKET.size - 1)
    if total != len(raw):
        raise DamagedBasketError(f"{total} bytes where the tree says {len(raw)}")
    if found != entries:
        raise DamagedBasketError(f"{found} entries where the tree says {entries}")
    border = last - key_bytes
    needed = border if not inside and 0 <= border <= size else size
    data = raw[key_bytes:] if total - key_bytes == size else _decompressed(raw, key_bytes, size, needed)
    return data[:border], data[border:].view(">i4")[1:] - key_bytes if inside and border != size else None


def _decompressed(raw: Bytes, at: int, size: int, needed: int) -> Bytes:
    """The first bytes of a basket's content, as many as are needed of its size, or more."""
    view, data, done = raw.data, scratch("basket", size), 0
    while at < len(raw) and done < needed:
        codec = bytes(view[at : at + 2])
        packed = int.from_bytes(view[at + 3 : at + 6], "little")
        unpacked = int.from_bytes(view[at + 6 : at + 9], "little")
        at += BLOCK_HEADER
        block, room = view[at : at + packed], data[done : done + unpacked]
        if codec == b"L4":
            checksum, block = int.from_bytes(block[:LZ4_CHECKSUM], "big"), block[LZ4_CHECKSUM:]
            if xxhash.xxh64_intdigest(block) != checksum:
                raise DamagedBasketError("the checksum does not match")
        if codec == b"ZS" and needed < done + unpacked and _begins_with(block, room[: needed - done]):
            return data
        if codec in INTO:
            found = INTO[codec](block, room.data)
        elif codec in CODECS:
            text = CODECS[codec].decompress(block, unpacked)
            found = len(text)
            room[:] = np.frombuffer(text, np.uint8)
        else:
            raise DamagedBasketError(f"unknown compression {codec!r}")
        if found != unpacked:
            raise DamagedBasketError(f"{found} bytes decompressed, not {unpacked}")
        at, done = at + packed, done + unpacked
    if done < needed:
        raise DamagedBasketError(f"{done} bytes decompressed, not {needed}")
    return data


def _begins_with(block: Any, room: Bytes) -> bool:
    """Fill the room with the beginning of a block of zstd; whether that could be done."""
    try:
        cramjam.zstd.decompress_into(block, room.data)
    except cramjam.DecompressionError as error:
        return str(error) == FULL
    return False
