"""The luminosity sections that a file says it was made from, those without events included.

ROOT files of NanoAOD say so in the tree ``LuminosityBlocks``, Parquet in the layout of NanoAOD in its metadata.
"""

from __future__ import annotations

import numpy as np

from darkop_dist.config.access import Access
from darkop_dist.config.datasets import is_root_file
from darkop_dist.events.files import open_file
from darkop_dist.events.nano_table import is_nano_table, open_table
from darkop_dist.events.remote import DEFAULT

TREE = "LuminosityBlocks"
COLUMNS = ("run", "luminosityBlock")
Ranges = tuple[tuple[int, int, int], ...]
"""Run, first and last section; disjoint, in rising order."""


def declared_ranges(path: str, layout: str, access: Access = DEFAULT) -> Ranges:
    """The sections that a file says it was made from; none where it does not say.

    Args:
        path: local path or address.
        layout: format of its dataset.
        access: how remote files are reached.

    Raises:
        OSError: it cannot be reached.
        Exception: what uproot and pyarrow raise on damaged files.
    """
    runs, numbers = _columns(path, layout, access)
    pairs = np.unique(np.stack([runs, numbers], axis=1), axis=0)
    breaks = np.flatnonzero((np.diff(pairs[:, 0]) != 0) | (np.diff(pairs[:, 1]) != 1)) + 1
    parts = np.split(pairs, breaks) if len(pairs) else []
    return tuple((int(part[0, 0]), int(part[0, 1]), int(part[-1, 1])) for part in parts)


def _columns(path: str, layout: str, access: Access) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    if is_root_file(path):
        directory = open_file(path, access).directory
        tree = directory.get(TREE, ())
        if all(name in tree for name in COLUMNS):
            found = tree.arrays(list(COLUMNS), library="np")
            return [np.asarray(found[name], np.int64) for name in COLUMNS]
    elif is_nano_table(path, layout):
        columns = open_table(path, access).trees.get(TREE, {})
        if all(name in columns for name in COLUMNS):
            return [np.asarray(columns[name]["values"], np.int64) for name in COLUMNS]
    return [np.zeros(0, np.int64) for _ in COLUMNS]
