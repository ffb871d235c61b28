"""Results of chunks as numbers that lie together: written without pickle, and added fast.

Words:
    packed: a result (a coffea accumulatable) as its structure and its numbers.
    structure: the tree of the result with types, axes, categories and shapes; equal trees have equal digests.
    bucket: all numbers of one type that add, in one array.
    payload: the bytes of a value that does not add number by number: candidates, columns, text, lists.

Inputs: what processors return. Outputs: ``Packed``.
Files: bytes of ``Packed.to_bytes``, one result each, with a version and a checksum.
"""

from darkop_dist.histograms.packed.container import Packed
from darkop_dist.histograms.packed.fold import merge
from darkop_dist.histograms.packed.reading import unpack
from darkop_dist.histograms.packed.writing import pack

__all__ = ["Packed", "merge", "pack", "unpack"]
